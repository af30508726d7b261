//! The course of one life of a group in a run: what strikes it, and when it is over.

use std::pin::pin;
use std::sync::Arc;

use super::history::{End, History, SentJob};

use super::fault::When;
use super::patience::{LOOK, Patience, within};
use super::plan::Plan;
use super::world::{Observed, RunWorld};
use crate::group::Group;

use crate::types::{GroupConfig, Priority};

/// What a run is of.
#[derive(Clone, Copy)]
pub(super) struct Run<'r> {
    pub(super) plan: &'r Plan,
    pub(super) is_virtual: bool,
    pub(super) world: &'r Arc<RunWorld>,
}

/// One life of a group.
pub(super) struct Course {
    pub(super) end: End,
    /// What was seen up to its end, if the world was asked for it then.
    pub(super) seen: Option<Observed>,
    /// Whether the queue has outlived it.
    pub(super) goes_on: bool,
}

impl Course {
    pub(super) fn into_history(self, run: Run<'_>, config: GroupConfig) -> History {
        let (entries, faults, sent) = self.seen.unwrap_or_else(|| run.world.finish());
        let jobs = run.plan.jobs.iter().zip(sent);
        History {
            config,
            jobs: jobs
                .map(|(job, (id, Priority(priority)))| SentJob {
                    key: job.key,
                    priority,
                    id,
                })
                .collect(),
            faults,
            entries,
            end: self.end,
        }
    }
}

/// Lets the faults that have a time happen.
pub(super) fn strike_in_time(plan: &Plan, world: &Arc<RunWorld>) {
    let mut due: Vec<(u64, usize)> = plan
        .faults
        .iter()
        .enumerate()
        .filter_map(|(index, fault)| match fault.when {
            When::Slot { at_ms, .. } | When::Time { at_ms } => Some((at_ms, index)),
            When::Attempt { .. } | When::Delivery { .. } => None,
        })
        .collect();
    if due.is_empty() {
        return;
    }
    due.sort_unstable();
    let world = Arc::clone(world);
    actix_rt::spawn(async move {
        for (at_ms, fault) in due {
            tokio::time::sleep_until(world.instant(at_ms)).await;
            world.strike(fault);
        }
    });
}

/// Waits until every job has its end and the group is whole again, or until the patience is used up.
pub(super) async fn converge<J: Send + Sync + 'static, O: Send + 'static>(
    plan: &Plan,
    world: &Arc<RunWorld>,
    group: &Group<J, O>,
    config: &GroupConfig,
    patience: &Patience<'_>,
) -> End {
    // Behind whatever is planned for the last moment.
    tokio::time::sleep_until(world.instant(plan.last_ms() + 1)).await;
    patience.begin();
    let mut end = End {
        wanted: config.consumers,
        ..End::default()
    };
    loop {
        // A zombie that comes back is part of the run, and may meet faults that hold it up again.
        while world.quiet_from() > world.now() {
            let wake = world.instant(world.quiet_from().as_millis() + 1);
            tokio::time::sleep_until(wake).await;
        }
        end.unfinished = world.open();
        end.live = world.live();
        if end.unfinished.is_empty() && end.live == end.wanted {
            match patience.wait_for(pin!(group.health())).await {
                Some(Ok(health)) => {
                    end.in_queue = health.queue.map_or(0, |counts| counts.unfinished());
                    end.leased = health.leased;
                    // A host whose end was ordered may still have answered.
                    let is_whole = end.in_queue == 0 && end.leased == 0 && !world.host.is_ending();
                    if is_whole && world.quiet_from() <= world.now() {
                        break;
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Some(Err(_)) => {
                    end.failed = Some(group.stopped().await.unwrap_or_else(|| "it ended".to_owned()));
                    break;
                }
                None => {
                    end.failed = Some("it did not say how it was".to_owned());
                    break;
                }
            }
        } else {
            let limit = tokio::time::Instant::now() + LOOK * 50;
            let news = within(limit, world.news.notified()).await;
            if news.is_none()
                && let Some(reason) = has_failed(group).await
            {
                end.failed = Some(reason);
                break;
            }
        }
        if patience.is_used_up() {
            break;
        }
    }
    end.at = world.now();
    end
}

async fn has_failed<J: Send + Sync + 'static, O: Send + 'static>(group: &Group<J, O>) -> Option<String> {
    use crate::types::GroupState;
    if matches!(group.state(), GroupState::Failed | GroupState::Stopped) {
        Some(group.stopped().await.unwrap_or_else(|| "it ended".to_owned()))
    } else {
        None
    }
}
