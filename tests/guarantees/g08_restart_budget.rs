//! Guarantee 8: restarts are budgeted in a sliding window; past it a slot rests, or the group fails and says why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use consumer_group::config::{BackoffConfig, PastBudget};
use consumer_group::events::SlotState;
use consumer_group::{
    CallError, Cause, Consumer, ConsumerInfo, Delivery, Event, EventKind, Events, Failure, Group,
    GroupBuilder, GroupConfig, GroupState, Incarnation, Placement, Role, SlotId,
};

use crate::common::{calm, event, paused, settle_down, within};

const COOL_DOWN: Duration = Duration::from_secs(7);

/// Two restarts within ten seconds, a tenth of a second between them.
fn strict(config: &mut GroupConfig) {
    calm(config);
    config.restart.intensity = 2;
    config.restart.period = Duration::from_millis(10_000);
    config.restart.cool_down = Duration::from_millis(7_000);
    config.restart.backoff = BackoffConfig {
        min: Duration::from_millis(100),
        max: Duration::from_millis(100),
        factor: 1.0,
        jitter: 0.0,
    };
}

/// How a consumer behaves in each of its lives, counted from one over all slots.
type Script = fn(u32) -> Life;

#[derive(Clone, Copy, PartialEq)]
enum Life {
    FactoryPanics,
    StartFails,
    StartPanics,
    StartHangs,
    DiesOfEveryJob,
    Works,
}

struct Scripted(Life);

impl Consumer for Scripted {
    type Job = u64;
    type Output = u32;

    async fn started(&mut self, _: &ConsumerInfo) -> Result<(), Failure> {
        match self.0 {
            Life::StartFails => Err(Failure::retry("no database")),
            Life::StartPanics => panic!("no luck"),
            Life::StartHangs => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u32, Failure> {
        delivery.job();
        assert!(self.0 != Life::DiesOfEveryJob, "dies");
        Ok(delivery.incarnation().0)
    }
}

fn scripted(consumers: usize, script: Script) -> (GroupBuilder<u64, u32>, Arc<AtomicU32>) {
    let lives = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&lives);
    let builder = Group::builder()
        .placement(Placement::Local)
        .configure(strict)
        .consumers(consumers, move || {
            let life = script(counted.fetch_add(1, Ordering::Relaxed) + 1);
            assert!(life != Life::FactoryPanics, "the factory panics");
            Scripted(life)
        });
    (builder, lives)
}

async fn next(events: &mut Events, what: &str, wanted: fn(&EventKind) -> bool) -> Event {
    loop {
        let event = within(what, events.next()).await.unwrap();
        if wanted(&event.kind) {
            return event;
        }
    }
}

/// Two restarts are allowed, the third death is one too many: the slot rests exactly for its cool-down.
async fn quarantined(script: Script, cause: fn(&Cause) -> bool) {
    let (builder, lives) = scripted(1, script);
    let group = builder.start().unwrap();
    let mut events = group.events();
    let began = group.health().await.unwrap().at;
    let call = async {
        within("the job is done in the end", group.producer().call(1))
            .await
            .unwrap()
    };
    let watch = async {
        let quarantine = next(&mut events, "the slot rests", |kind| {
            matches!(kind, EventKind::Quarantined { .. })
        })
        .await;
        let EventKind::Quarantined { slot, cool_down } = quarantine.kind else {
            unreachable!()
        };
        assert_eq!((slot, cool_down), (SlotId(0), COOL_DOWN));
        // Two waits of a tenth of a second, none of them before the first life.
        assert_eq!(quarantine.at.since(began).as_millis(), 200);
        assert_eq!(lives.load(Ordering::Relaxed), 3);
        let health = group.health().await.unwrap();
        assert_eq!(health.slots[0].state, SlotState::Quarantined);
        assert_eq!(health.slots[0].restarts, 3);
        let last = health.slots[0].last_cause.clone().unwrap();
        assert!(cause(&last), "{last}");
        let up = next(&mut events, "the slot is back", |kind| {
            matches!(kind, EventKind::ConsumerUp { .. })
        })
        .await;
        assert_eq!(up.at.since(quarantine.at), COOL_DOWN);
    };
    let (incarnation, ()) = tokio::join!(call, watch);
    assert_eq!(incarnation, 4);
}

#[test]
fn a_factory_that_panics_spends_the_budget_and_the_slot_rests() {
    paused(quarantined(
        |life| {
            if life <= 3 {
                Life::FactoryPanics
            } else {
                Life::Works
            }
        },
        |cause| matches!(cause, Cause::StartFailed(text) if text.contains("the factory panics")),
    ));
}

#[test]
fn a_start_that_fails_spends_the_budget_and_the_slot_rests() {
    paused(quarantined(
        |life| if life <= 3 { Life::StartFails } else { Life::Works },
        |cause| *cause == Cause::StartFailed("no database".into()),
    ));
}

#[test]
fn a_start_that_panics_spends_the_budget_and_the_slot_rests() {
    paused(quarantined(
        |life| if life <= 3 { Life::StartPanics } else { Life::Works },
        |cause| matches!(cause, Cause::Panicked(report) if *report.message == *"no luck"),
    ));
}

#[test]
fn deaths_at_work_spend_the_budget_and_the_slot_rests() {
    paused(quarantined(
        |life| {
            if life <= 3 {
                Life::DiesOfEveryJob
            } else {
                Life::Works
            }
        },
        |cause| matches!(cause, Cause::Panicked(_)),
    ));
}

#[test]
fn while_one_slot_rests_the_others_work() {
    paused(async {
        let (builder, _) = scripted(2, |life| if life == 1 { Life::Works } else { Life::StartFails });
        let group = builder.start().unwrap();
        let mut events = group.events();
        next(&mut events, "the second slot rests", |kind| {
            matches!(kind, EventKind::Quarantined { slot: SlotId(1), .. })
        })
        .await;
        for job in 0..10 {
            within("the first slot works", group.producer().call(job))
                .await
                .unwrap();
        }
        assert_eq!(group.state(), GroupState::Running);
    });
}

#[test]
fn deaths_that_are_further_apart_than_the_period_never_spend_the_budget() {
    paused(async {
        let (builder, lives) = scripted(1, |life| {
            if life <= 20 {
                Life::DiesOfEveryJob
            } else {
                Life::Works
            }
        });
        let group = builder
            .configure(|config| config.retry.attempts = 1)
            .start()
            .unwrap();
        let mut events = group.events();
        for job in 0..20 {
            assert!(group.producer().call(job).await.is_err());
            tokio::time::sleep(Duration::from_secs(11)).await;
        }
        assert_eq!(group.producer().call(20).await.unwrap(), 21);
        assert_eq!(lives.load(Ordering::Relaxed), 21);
        let rested = crate::common::told(&mut events)
            .into_iter()
            .any(|kind| matches!(kind, EventKind::Quarantined { .. }));
        assert!(!rested);
    });
}

#[test]
fn past_its_budget_an_escalating_group_fails_with_the_reason_and_gives_the_jobs_back() {
    paused(async {
        let (builder, _) = scripted(1, |_| Life::StartFails);
        let group = builder
            .configure(|config| config.restart.past_budget = PastBudget::Escalate)
            .start()
            .unwrap();
        let mut events = group.events();
        let producer = group.producer();
        let sent = producer.send(1).await.unwrap();
        let call = producer.call(2);
        let (called, reason) = tokio::join!(call, group.stopped());
        let reason = reason.unwrap();
        assert!(
            reason.contains("slot 0") && reason.contains("no database"),
            "{reason}"
        );
        assert_eq!(group.state(), GroupState::Failed);
        let CallError::Stopped(Some(job)) = called.unwrap_err() else {
            panic!("the caller did not get its job back")
        };
        assert_eq!(*job.payload(), 2);
        let told = event(&mut events, "the failure is told", |kind| match kind {
            EventKind::GroupFailed { reason } => Some(reason.clone()),
            _ => None,
        })
        .await;
        assert_eq!(told, reason);
        let rest = within("the rest is handed out", group.stop()).await;
        let ids: Vec<_> = rest.unfinished.iter().map(|rest| rest.id()).collect();
        assert_eq!(ids, [sent, job.id()]);
        assert!(producer.send(3).await.is_err());
        assert!(group.health().await.is_err());
    });
}

/// The look at a start that hangs must be set anew for each start, also while nothing is in flight.
#[test]
fn a_start_that_hangs_is_given_up_after_its_deadline_also_the_second_time() {
    paused(async {
        let (builder, _) = scripted(1, |life| match life {
            1 => Life::StartFails,
            2 => Life::StartHangs,
            _ => Life::Works,
        });
        let group = builder
            // Longer than the pause between two looks, so that no look at the first start is left over.
            .configure(|config| config.restart.backoff.min = Duration::from_millis(5_000))
            .configure(|config| config.restart.backoff.max = Duration::from_millis(5_000))
            .configure(|config| config.restart.start_deadline = Duration::from_millis(3_200))
            .start()
            .unwrap();
        settle_down().await;
        let done = within("the third consumer works", group.producer().call(1)).await;
        assert_eq!(done.unwrap(), 3);
        let cause = group.health().await.unwrap().slots[0].last_cause.clone();
        assert!(matches!(cause, Some(Cause::StartFailed(_))), "{cause:?}");
    });
}

#[test]
fn the_groups_own_actors_have_a_budget_too_and_past_it_the_jobs_come_back() {
    for role in [Role::Queue, Role::Strategy, Role::Supervisor, Role::Results] {
        paused(async move {
            let group: Group<u64, ()> = Group::builder()
                .placement(Placement::Local)
                .configure(strict)
                .consume_with(1, async |_: &Delivery<u64>| std::future::pending().await)
                .start()
                .unwrap();
            let ids = group.producer().send_batch(0..50).await.unwrap();
            settle_down().await;
            let mut events = group.events();
            for _ in 0..2 {
                group.end_role(role);
                event(&mut events, "the role is back", |kind| {
                    matches!(kind, EventKind::RoleUp { role: up, .. } if *up == role).then_some(())
                })
                .await;
            }
            group.end_role(role);
            let reason = within("the group fails", group.stopped()).await.unwrap();
            assert!(reason.contains(&role.to_string()), "{reason}");
            let rest = within("the rest is handed out", group.stop()).await;
            let named: Vec<_> = rest.unfinished.iter().map(|rest| rest.id()).collect();
            assert_eq!(named, ids, "{role}");
        });
    }
}

#[test]
fn a_strategy_whose_factory_panics_is_made_again_within_the_budget() {
    paused(async {
        let lives = std::cell::Cell::new(0);
        let group = Group::builder()
            .placement(Placement::Local)
            .configure(strict)
            .strategy(move || {
                lives.set(lives.get() + 1);
                assert!(lives.get() > 2, "not yet");
                consumer_group::strategy::RoundRobin::default()
            })
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(delivery.incarnation()))
            .start()
            .unwrap();
        let done = within("the third one works", group.producer().call(1)).await;
        assert_eq!(done.unwrap(), Incarnation(1));
    });
}
