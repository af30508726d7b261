//! Guarantee 6: everything is bounded, and past a limit the caller is told.

use std::time::Duration;

use consumer_group::config::Overflow;
use consumer_group::{
    DeadReason, Delivery, EventKind, Failure, Group, GroupConfig, Job, Placement, SendErrorKind,
};

use crate::common::{
    Gate, calm, event, given_up, is_pending, local, next_outcome, paused, probe, settle_down, told, window,
    within,
};

/// A paused group whose queue holds two jobs.
fn of_two(overflow: Overflow) -> Group<String, ()> {
    let group = local()
        .configure(|config| config.queue.capacity = 2)
        .configure(|config| config.queue.overflow = overflow)
        .consume_with(1, async |_: &Delivery<String>| Ok(()))
        .start()
        .unwrap();
    group.pause();
    group
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(str::to_owned).collect()
}

#[test]
fn a_send_to_a_full_queue_waits_until_there_is_room() {
    paused(async {
        let group = of_two(Overflow::Wait);
        let producer = group.producer();
        producer.send_batch(named(&["1", "2"])).await.unwrap();
        let mut third = Box::pin(producer.send("3".to_owned()));
        assert!(is_pending(&mut third));
        settle_down().await;
        assert!(is_pending(&mut third), "there is no room yet");
        group.resume();
        within("there is room", third).await.unwrap();
        assert!(group.drain(Duration::from_secs(60)).await.unfinished.is_empty());
    });
}

#[test]
fn who_waits_for_room_first_gets_it_first() {
    paused(async {
        let group = of_two(Overflow::Wait);
        let producer = group.producer();
        producer.send_batch(named(&["1", "2"])).await.unwrap();
        let mut first = Box::pin(producer.send("first".to_owned()));
        let mut second = Box::pin(producer.send("second".to_owned()));
        assert!(is_pending(&mut first));
        assert!(is_pending(&mut second));
        group.resume();
        within("the first", first).await.unwrap();
        within("the second", second).await.unwrap();
    });
}

#[test]
fn a_send_to_a_full_queue_that_rejects_hands_the_job_back() {
    paused(async {
        let group = of_two(Overflow::Reject);
        let producer = group.producer();
        producer.send("1".to_owned()).await.unwrap();
        let error = producer.send_batch(named(&["2", "3", "4"])).await.unwrap_err();
        assert_eq!(error.accepted.len(), 1);
        let back: Vec<_> = error
            .refused
            .iter()
            .map(|error| (error.job.as_ref().unwrap().payload().as_str(), error.kind))
            .collect();
        assert_eq!(back, [("3", SendErrorKind::Full), ("4", SendErrorKind::Full)]);
        let error = producer.send("5".to_owned()).await.unwrap_err();
        assert_eq!(
            (error.job.as_ref().unwrap().payload().as_str(), error.kind),
            ("5", SendErrorKind::Full)
        );
        group.resume();
        settle_down().await;
        producer.send("6".to_owned()).await.unwrap();
    });
}

/// One place is taken for an hour; a batch must go through the other one.
#[test]
fn a_batch_as_large_as_the_queue_goes_through_the_room_that_there_is() {
    paused(async {
        let group = of_two(Overflow::Wait);
        group.resume();
        let producer = group.producer();
        let long = Duration::from_secs(3_600);
        producer
            .send(Job::new("delayed".to_owned()).delay(long))
            .await
            .unwrap();
        let before = tokio::time::Instant::now();
        producer.send_batch(named(&["1", "2", "3"])).await.unwrap();
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
    });
}

async fn dropped_of_three(overflow: Overflow) -> (String, DeadReason) {
    let group = of_two(overflow);
    let mut events = group.events();
    let (producers, mut results) = group.producer_group();
    producers.send_batch(named(&["1", "2", "3"])).await.unwrap();
    settle_down().await;
    group.resume();
    let mut dropped = Vec::new();
    for _ in 0..3 {
        let outcome = next_outcome(&mut results, "each job has an outcome").await;
        if let Err(letter) = outcome.result {
            dropped.push((letter.job.payload().clone(), letter.reason.clone()));
        }
    }
    event(&mut events, "the drop is told", |kind| match kind {
        EventKind::DeadLettered { reason, .. } => Some(reason.clone()),
        _ => None,
    })
    .await;
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(group.dead_letters().list(9).await.unwrap().len(), 1);
    dropped.remove(0)
}

#[test]
fn a_full_queue_that_drops_the_oldest_makes_a_dead_letter_of_it() {
    paused(async {
        let dropped = dropped_of_three(Overflow::DropOldest).await;
        assert_eq!(dropped, ("1".to_owned(), DeadReason::DroppedByOverflow));
    });
}

#[test]
fn a_full_queue_that_drops_the_newest_makes_a_dead_letter_of_it() {
    paused(async {
        let dropped = dropped_of_three(Overflow::DropNewest).await;
        assert_eq!(dropped, ("3".to_owned(), DeadReason::DroppedByOverflow));
    });
}

#[test]
fn a_producer_group_that_does_not_read_holds_itself_up_and_nobody_else() {
    paused(async {
        let group = local()
            .configure(|config| config.results = 2)
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch([1, 2]).await.unwrap();
        let mut third = Box::pin(producers.send(3));
        assert!(is_pending(&mut third));
        settle_down().await;
        assert!(is_pending(&mut third), "two outcomes are unread");
        let call = within("others go on", group.producer().call(9)).await;
        assert_eq!(call.unwrap(), 9);
        assert_eq!(next_outcome(&mut results, "an outcome").await.result.unwrap(), 1);
        within("there is room for one more", third).await.unwrap();
        assert_eq!(next_outcome(&mut results, "an outcome").await.result.unwrap(), 2);
        assert_eq!(next_outcome(&mut results, "an outcome").await.result.unwrap(), 3);
    });
}

#[test]
fn the_oldest_dead_letter_goes_when_there_are_too_many() {
    paused(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.queue.dead_letters = 2)
            .consume_with(1, async |_: &Delivery<u64>| Err(Failure::reject("never")))
            .start()
            .unwrap();
        let mut events = group.events();
        let (producers, mut results) = group.producer_group();
        let ids = producers.send_batch([1, 2, 3]).await.unwrap();
        for _ in 0..3 {
            assert!(next_outcome(&mut results, "an outcome").await.result.is_err());
        }
        let letters = group.dead_letters().list(9).await.unwrap();
        let kept: Vec<_> = letters.iter().map(|letter| letter.id()).collect();
        assert_eq!(kept, ids[1..]);
        let dropped = event(&mut events, "the loss is told", |kind| match kind {
            EventKind::DeadLetterDropped { job } => Some(*job),
            _ => None,
        })
        .await;
        assert_eq!(dropped, ids[0]);
    });
}

#[test]
fn a_long_history_keeps_the_first_and_the_latest_attempts() {
    paused(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.queue.history = 4)
            .configure(|config| config.retry.attempts = 10)
            .consume_with(1, async |_: &Delivery<u64>| panic!("poison"))
            .start()
            .unwrap();
        let called = within("the job is given up", group.producer().call(1)).await;
        let letter = given_up(called);
        let attempts: Vec<_> = letter.history.iter().map(|record| record.attempt).collect();
        assert_eq!(attempts, [1, 8, 9, 10]);
    });
}

#[test]
fn no_consumer_holds_more_than_its_window_and_the_group_no_more_than_all_windows() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let group = local()
            .configure(|config| window(config, 3))
            .consume_with(2, async move |_: &Delivery<u64>| {
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        group.producer().send_batch(0..100).await.unwrap();
        for done in 0..20 {
            settle_down().await;
            let health = group.health().await.unwrap();
            for slot in &health.slots {
                assert!(slot.in_flight <= 3, "{slot:?}");
            }
            assert!(health.leased <= 6, "{health:?}");
            assert_eq!(health.queue.unwrap().unfinished(), 100 - done);
            gate.let_through(1);
        }
        gate.open();
    });
}

#[test]
fn jobs_that_wait_for_their_key_are_bounded_by_the_capacity_of_the_queue_and_stop_no_other_key() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let group = Group::builder()
            .config(GroupConfig {
                placement: Placement::Local,
                order_by_key: true,
                ..GroupConfig::default()
            })
            .configure(calm)
            .configure(|config| config.hold = 5)
            .configure(|config| window(config, 2))
            .configure(|config| {
                config.queue.capacity = 100;
                config.queue.overflow = Overflow::Reject;
            })
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                if *delivery.job() < 99 {
                    passed.pass().await;
                }
                Ok(())
            })
            .start()
            .unwrap();
        let jobs = (0..99).map(|job| Job::new(job).key("one"));
        group.producer().send_batch(jobs).await.unwrap();
        settle_down().await;
        let held = group.health().await.unwrap().held;
        // One of the key is out and all others wait behind it. That is no limit that is reached: the queue has one.
        assert_eq!((held.for_key, held.for_consumer, held.is_full), (98, 0, false));
        group.producer().call(Job::new(99).key("other")).await.unwrap();
        group.producer().send(Job::new(100).key("one")).await.unwrap();
        let refused = group.producer().send(Job::new(101).key("one")).await.unwrap_err();
        assert_eq!(refused.kind, SendErrorKind::Full);
        gate.open();
        let drained = group.drain(Duration::from_secs(60)).await;
        assert!(drained.unfinished.is_empty());
    });
}

#[test]
fn a_subscriber_that_is_too_slow_is_told_how_many_events_it_missed() {
    paused(async {
        let group = local()
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .start()
            .unwrap();
        let mut slow = group.all_events();
        let (producers, mut results) = group.producer_group();
        for lot in 0..20 {
            producers.send_batch(lot * 500..(lot + 1) * 500).await.unwrap();
            for _ in 0..500 {
                next_outcome(&mut results, "an outcome").await;
            }
        }
        let told = told(&mut slow);
        let EventKind::Missed { events } = told[0] else {
            panic!("{:?}", told[0])
        };
        let of_jobs =
            |kind: &&EventKind| matches!(kind, EventKind::Delivered { .. } | EventKind::Acked { .. });
        assert!(events > 0);
        assert!(
            told.iter().filter(of_jobs).count() as u64 + events >= 20_000,
            "missed and heard events are all events"
        );
        assert!(
            !told[1..]
                .iter()
                .any(|kind| matches!(kind, EventKind::Missed { .. }))
        );
    });
}

#[test]
fn the_window_of_slow_consumers_shrinks_so_that_idle_ones_get_the_jobs() {
    paused(async {
        let (note, mut noted) = probe();
        let group = local()
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = note.send(delivery.slot());
                Ok(())
            })
            .start()
            .unwrap();
        group.producer().send_batch(0..200).await.unwrap();
        for _ in 0..100 {
            noted.next("a job is done").await;
        }
        let health = group.health().await.unwrap();
        for slot in &health.slots {
            assert_eq!(slot.window, 1, "20 ms of work are more than the target: {slot:?}");
        }
    });
}
