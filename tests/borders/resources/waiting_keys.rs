//! A retry that waits keeps its own key waiting and no other, however many wait; and a limit that is reached is told.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use consumer_group::events::HeldCounts;
use consumer_group::strategy::{AssignJob, Choice, Roster, strategy_fn};
use consumer_group::{Delivery, EventKind, Failure, Group, GroupBuilder, Job, Role, SlotId};
use tokio::time::Instant;

use crate::common::{Gate, Log, event, local, paused, settle_down, told, window, within};

const HOUR: Duration = Duration::from_secs(3_600);

/// A keyed group that may hold next to nothing, whose jobs below 1,000 fail once and then wait for an hour. It notes what it
/// has done.
fn waits_an_hour(done: &Log<u64>) -> GroupBuilder<u64, ()> {
    let done = done.clone();
    local()
        .order_by_key()
        .configure(|config| {
            config.hold = 2;
            config.queue.capacity = 2_000;
            window(config, 2);
        })
        .consume_with(2, async move |delivery: &Delivery<u64>| {
            if *delivery.job() < 1_000 && delivery.attempt() == 1 {
                return Err(Failure::retry_after(HOUR, "in an hour"));
            }
            done.note(*delivery.job());
            Ok(())
        })
}

#[test]
fn many_keys_whose_retries_wait_stop_no_other_key() {
    paused(async {
        let done = Log::new();
        let group = waits_an_hour(&done).start().unwrap();
        let mut events = group.events();
        let before = Instant::now();
        let waiting = (0..500).map(|job| Job::new(job).key(format!("waits {job}")));
        group.producer().send_batch(waiting).await.unwrap();
        settle_down().await;
        within(
            "another key",
            group.producer().call(Job::new(1_000).key("another")),
        )
        .await
        .unwrap();
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
        let held = group.health().await.unwrap().held;
        assert_eq!((held.for_retry, held.is_full), (500, false));
        assert!(
            !told(&mut events)
                .iter()
                .any(|kind| matches!(kind, EventKind::HoldFull { .. }))
        );
        assert!(group.drain(2 * HOUR).await.unfinished.is_empty());
    });
}

#[test]
fn one_key_with_a_long_line_behind_its_retry_stops_no_other_and_keeps_its_order() {
    paused(async {
        let done = Log::new();
        let group = waits_an_hour(&done).start().unwrap();
        let before = Instant::now();
        let line = std::iter::once(0)
            .chain(1_001..1_500)
            .map(|job| Job::new(job).key("waits"));
        group.producer().send_batch(line).await.unwrap();
        settle_down().await;
        let producer = group.producer();
        for job in 2_000..2_100 {
            let other = producer.call(Job::new(job).key(format!("another {job}")));
            within("another key", other).await.unwrap();
        }
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
        assert_eq!(done.all(), (2_000..2_100).collect::<Vec<_>>());
        let held = group.health().await.unwrap().held;
        assert_eq!((held.for_retry, held.for_key, held.is_full), (1, 499, false));
        let drained = group.drain(2 * HOUR).await;
        assert!(drained.unfinished.is_empty());
        let in_order: Vec<u64> = std::iter::once(0).chain(1_001..1_500).collect();
        assert_eq!(done.all().split_off(100), in_order);
    });
}

#[test]
fn the_order_of_a_key_that_waits_outlives_the_supervisor_and_the_queue() {
    for role in [Role::Supervisor, Role::Queue] {
        paused(async move {
            let done = Log::new();
            let group = waits_an_hour(&done).start().unwrap();
            let mut events = group.events();
            let line = std::iter::once(0)
                .chain(1_001..1_100)
                .map(|job| Job::new(job).key("waits"));
            group.producer().send_batch(line).await.unwrap();
            settle_down().await;
            group.end_role(role);
            event(&mut events, "it is back", |kind| match kind {
                EventKind::RoleUp { role: up, .. } if *up == role => Some(()),
                _ => None,
            })
            .await;
            let later = (1_100..1_200).map(|job| Job::new(job).key("waits"));
            group.producer().send_batch(later).await.unwrap();
            let drained = group.drain(3 * HOUR).await;
            assert!(drained.unfinished.is_empty());
            let in_order: Vec<u64> = std::iter::once(0).chain(1_001..1_200).collect();
            assert_eq!(done.all(), in_order, "{role:?}");
        });
    }
}

fn told_full(kind: &EventKind) -> Option<HeldCounts> {
    match kind {
        EventKind::HoldFull { held } => Some(*held),
        _ => None,
    }
}

#[test]
fn a_limit_that_is_reached_is_told_once_and_stands_in_the_health_until_there_is_room() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        // Everything for the first one, whether it has room or not.
        let first = || strategy_fn(|_: &AssignJob, _: &Roster| Choice::Slot(SlotId(0)));
        let group: Group<u64, ()> = local()
            .configure(|config| {
                config.hold = 4;
                window(config, 2);
            })
            .strategy(first)
            .consume_with(2, async move |_: &Delivery<u64>| {
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        group
            .producer()
            .send_batch((0..50).map(|job| Job::new(job).priority(1)))
            .await
            .unwrap();
        let held = event(&mut events, "the limit is reached", told_full).await;
        assert!(held.is_full && held.for_consumer >= 4, "{held:?}");
        settle_down().await;
        let health = group.health().await.unwrap();
        assert!(health.held.is_full, "{health:?}");
        assert!(health.leased < 50, "it goes on leasing");
        assert!(
            !told(&mut events).iter().any(|kind| told_full(kind).is_some()),
            "told twice"
        );
        gate.open();
        event(&mut events, "there is room again", |kind| {
            (*kind == EventKind::HoldHasRoom).then_some(())
        })
        .await;
        assert!(group.drain(HOUR).await.unfinished.is_empty());
    });
}

#[cfg(feature = "testing")]
#[test]
fn over_a_queue_without_delays_the_limit_for_waiting_retries_is_told_as_well() {
    use consumer_group::config::QueueConfig;
    use consumer_group::queue::Capabilities;
    use consumer_group::testing::ManualQueue;

    paused(async {
        let done = Log::new();
        let in_order = Capabilities {
            order_by_key: true,
            ..Capabilities::LEAST
        };
        let group = waits_an_hour(&done)
            // The bounds of a queue of one's own are set where it is made.
            .configure(|config| config.queue = QueueConfig::default())
            .queue(ManualQueue::with(in_order).automatic())
            .start()
            .unwrap();
        let mut events = group.events();
        let jobs = (0..100).map(|job| Job::new(job).key(job.to_string()));
        group.producer().send_batch(jobs).await.unwrap();
        let held = event(&mut events, "the limit is reached", told_full).await;
        assert!(held.is_full && held.for_retry >= 2, "{held:?}");
        settle_down().await;
        let leased = group.health().await.unwrap().leased;
        assert!(leased <= 2 + 4, "{leased} are leased");
    });
}
