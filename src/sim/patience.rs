//! Patience: how long a run is waited for before it counts as one that goes on no more.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use super::fault::FaultKind;
use super::plan::Plan;
use super::world::RunWorld;
use crate::types::{GroupConfig, Moment};

/// How often the end of a run is looked for.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// How long nothing may go on in a run, by its own clock, at least.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a run is waited for.
///
/// As long as something goes on: a job is begun or ends, a fault is over. If nothing does for longer than a consumer can be
/// hung and a successor can be waited for, the run is over. So is one that goes on without end.
pub(super) struct Patience<'w> {
    world: &'w RunWorld,
    still: Duration,
    /// Since when it is needed: before that, nothing had to go on.
    since: Cell<Moment>,
    end: Moment,
}

impl<'w> Patience<'w> {
    pub(super) fn new(plan: &Plan, config: &GroupConfig, world: &'w RunWorld) -> Self {
        let waits = [
            config.deadline,
            config.restart.kill_grace,
            config.retry.backoff.max,
            config.restart.backoff.max,
            config.restart.start_deadline,
            config.restart.stop_deadline,
            config.restart.cool_down,
        ];
        let sum = waits.into_iter().fold(Duration::ZERO, Duration::saturating_add);
        let still = PATIENCE.max(sum.saturating_mul(2));
        let attempts = plan.jobs.len().saturating_mul(config.retry.attempts as usize);
        let most = u32::try_from(attempts.saturating_add(1)).unwrap_or(u32::MAX);
        let last = Moment::from_millis(plan.last_ms());
        let jumps = plan.faults.iter().map(|fault| match fault.kind {
            FaultKind::ClockJump { ms } | FaultKind::Freeze { ms } => ms,
            _ => 0,
        });
        let jumps = Duration::from_millis(jumps.fold(0, u64::saturating_add));
        Self {
            world,
            still,
            since: Cell::default(),
            end: last.after(still.saturating_mul(most)).after(jumps),
        }
    }

    /// From here on something has to go on.
    pub(super) fn begin(&self) {
        self.since.set(self.world.now());
    }

    /// When it ends, if nothing goes on until then.
    fn limit(&self) -> Moment {
        let since = self.since.get().max(self.world.last_progress());
        since.after(self.still).min(self.end)
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.world.now() >= self.limit()
    }

    /// What comes of the work; `None` if the patience was used up before.
    pub(super) async fn wait_for<F: Future + Unpin>(&self, mut work: F) -> Option<F::Output> {
        loop {
            let limit = self.world.instant(self.limit().as_millis());
            if let Some(result) = within(limit, &mut work).await {
                return Some(result);
            }
            if self.is_used_up() {
                return None;
            }
        }
    }
}

/// What comes of the work; `None` if the limit came before.
pub(super) async fn within<T>(limit: tokio::time::Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(limit, work).await.ok()
}
