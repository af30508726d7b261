//! A job that cannot be done now comes again and has lost no attempt; and a group that has nothing to do says so.

use std::time::Duration;

use consumer_group::testing::ManualQueue;
use consumer_group::{DeadReason, Delivery, EventKind, Failure, GroupBuilder, GroupConfig, Job};
use tokio::time::Instant;

use super::common::{Gate, Log, event, given_up, is_pending, local, paused, settle_down};

/// Consumers of a remote that says ten times to come again in a minute, and then fails for good.
fn remote(tries: &Log<(u64, u32)>) -> GroupBuilder<u64, ()> {
    let (tries, began) = (tries.clone(), Instant::now());
    local()
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            tries.note((began.elapsed().as_secs(), delivery.attempt()));
            match tries.len() {
                1..=10 => Err(Failure::snooze(Duration::from_secs(60), "429, try again in 60 s")),
                _ => Err(Failure::retry_after(Duration::ZERO, "it is broken")),
            }
        })
        .configure(|config: &mut GroupConfig| config.retry.attempts = 2)
}

/// What a job of this group goes through.
async fn tried_and_snoozed(group: GroupBuilder<u64, ()>, tries: &Log<(u64, u32)>, job: Job<u64>) {
    let group = group.start().unwrap();
    let mut events = group.events();
    let letter = given_up(group.producer().call(job).await);
    assert_eq!(letter.reason, DeadReason::AttemptsUsedUp { attempts: 2 });
    assert_eq!(letter.history.len(), 2, "a snooze leaves no line");
    let mut expected: Vec<_> = (0..10).map(|minute| (minute * 60, 1)).collect();
    expected.extend([(600, 1), (600, 2)]);
    assert_eq!(tries.all(), expected);
    let (reason, after) = event(&mut events, "a snooze", |kind| match kind {
        EventKind::Snoozed { reason, after, .. } => Some((reason.to_string(), *after)),
        _ => None,
    })
    .await;
    assert_eq!((&*reason, after.as_secs()), ("429, try again in 60 s", 60));
    group.stop().await;
}

#[test]
fn a_snooze_costs_no_attempt() {
    paused(async {
        let tries = Log::new();
        tried_and_snoozed(remote(&tries), &tries, Job::new(1)).await;
    });
}

#[test]
fn a_snooze_costs_no_attempt_where_order_is_kept() {
    paused(async {
        let tries = Log::new();
        let ordered = remote(&tries).order_by_key();
        tried_and_snoozed(ordered, &tries, Job::new(1).key("host")).await;
    });
}

#[test]
fn where_order_is_kept_nothing_overtakes_a_job_that_is_snoozed() {
    paused(async {
        let log = Log::new();
        let noted = log.clone();
        let group = local::<u64, ()>()
            .order_by_key()
            .consume_with(4, async move |delivery: &Delivery<u64>| {
                noted.note(*delivery.job());
                if noted.len() == 1 {
                    return Err(Failure::snooze(Duration::from_secs(5), "later"));
                }
                Ok(())
            })
            .start()
            .unwrap();
        for job in 0..3 {
            group.producer().send(Job::new(job).key("host")).await.unwrap();
        }
        group.idle().await.unwrap();
        assert_eq!(log.all(), [0, 0, 1, 2]);
        group.stop().await;
    });
}

#[test]
fn a_snooze_of_nothing_comes_again_at_once() {
    paused(async {
        let began = Instant::now();
        let tries = Log::new();
        let noted = tries.clone();
        let group = local::<u64, u64>()
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                noted.note(delivery.attempt());
                match noted.len() {
                    50 => Ok(7),
                    _ => Err(Failure::snooze(Duration::ZERO, "once more")),
                }
            })
            .start()
            .unwrap();
        assert_eq!(group.producer().call(1).await.unwrap(), 7);
        assert_eq!(tries.all(), [1; 50]);
        assert!(began.elapsed() < Duration::from_secs(1));
        group.stop().await;
    });
}

#[test]
fn a_queue_without_delays_sees_nothing_of_a_snooze() {
    paused(async {
        let tries = Log::new();
        let queue = ManualQueue::new().automatic();
        let noted = tries.clone();
        let group = local::<u64, u64>()
            .queue(queue.clone())
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                noted.note(delivery.attempt());
                match noted.len() {
                    1 => Err(Failure::snooze(Duration::from_secs(60), "later")),
                    _ => Ok(7),
                }
            })
            .start()
            .unwrap();
        assert_eq!(group.producer().call(1).await.unwrap(), 7);
        settle_down().await;
        let settles = queue.settles();
        assert_eq!(settles.len(), 1, "{settles:?}");
        assert_eq!(tries.all(), [1, 1]);
        group.stop().await;
    });
}

#[test]
fn idle_waits_for_what_waits_is_delayed_or_in_hand_and_for_nothing_else() {
    paused(async {
        let gate = Gate::shut();
        let inside = gate.clone();
        let group = local::<u64, ()>()
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                if *delivery.job() == 13 {
                    return Err(Failure::reject("unlucky"));
                }
                inside.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        group.idle().await.unwrap();
        let producer = group.producer();
        producer.send(13).await.unwrap();
        group.idle().await.unwrap();
        producer.send(1).await.unwrap();
        producer
            .send(Job::new(2).delay(Duration::from_secs(60)))
            .await
            .unwrap();
        let began = Instant::now();
        let mut idle = Box::pin(group.idle());
        assert!(is_pending(&mut idle));
        gate.open();
        idle.await.unwrap();
        assert!(
            began.elapsed() >= Duration::from_secs(60),
            "a delayed job is waited for"
        );
        group.stop().await;
        assert!(group.idle().await.is_err());
    });
}
