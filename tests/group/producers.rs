//! Producers: errors hand jobs back, sends and calls can be dropped half way, and each job has one outcome.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{
    Gate, Log, calm, given_up, is_pending, local, next_outcome, paused, probe, settle_down, system, within,
};
use consumer_group::{CallError, DeadReason, Delivery, Failure, Group, Job, Placement, Role, SendErrorKind};
use futures_util::FutureExt;
use tokio::time::Instant;

/// A job that nobody can clone.
#[derive(Debug, PartialEq)]
struct Only(u64);

/// A group on one thread that notes what it does, one job at a time.
fn noting() -> (Group<u64, u64>, Log<u64>) {
    let done = Log::new();
    let noted = done.clone();
    let group = local()
        .configure(|config| crate::common::window(config, 1))
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            noted.note(*delivery.job());
            Ok(*delivery.job() * 2)
        })
        .start()
        .unwrap();
    (group, done)
}

#[test]
fn a_call_returns_what_the_consumer_returned() {
    paused(async {
        let (group, _) = noting();
        assert_eq!(within("the call", group.producer().call(21)).await.unwrap(), 42);
    });
}

#[test]
fn many_calls_at_once_get_each_its_own_answer() {
    system(async {
        let group = Group::builder()
            .placement(Placement::Arbiters(2))
            .configure(calm)
            .consume_with(4, async |delivery: &Delivery<u64>| {
                if delivery.job().is_multiple_of(3) {
                    tokio::task::yield_now().await;
                }
                Ok(delivery.job() + 1)
            })
            .start()
            .unwrap();
        let producer = group.producer();
        let calls: Vec<_> = (0..500)
            .map(|job| {
                let producer = producer.clone();
                actix::spawn(async move { (job, producer.call(job).await.unwrap()) })
            })
            .collect();
        for call in calls {
            let (job, answer) = within("a call", call).await.unwrap();
            assert_eq!(answer, job + 1);
        }
    });
}

#[test]
fn a_call_whose_job_is_given_up_gets_the_dead_letter_with_the_job() {
    paused(async {
        let group: Group<Only, ()> = local()
            .consume_with(1, async |_: &Delivery<Only>| {
                Err(Failure::reject("no such account"))
            })
            .start()
            .unwrap();
        let error = within("the call", group.producer().call(Only(3)))
            .await
            .unwrap_err();
        assert_eq!(error.payload().as_deref(), Some(&Only(3)));
        let CallError::Failed(letter) = error else {
            panic!("{error:?}")
        };
        assert_eq!(letter.reason, DeadReason::Rejected("no such account".into()));
        assert_eq!(letter.history.len(), 1);
    });
}

#[test]
fn jobs_of_one_producer_are_queued_in_the_order_of_sending() {
    paused(async {
        let (group, done) = noting();
        let producer = group.producer();
        for job in 0..20 {
            producer.send(job).await.unwrap();
        }
        producer.send_batch(20..40).await.unwrap();
        producer.call(40).await.unwrap();
        assert_eq!(done.all(), (0..=40).collect::<Vec<_>>());
    });
}

#[test]
fn a_higher_priority_is_leased_first_and_one_priority_is_first_in_first_out() {
    paused(async {
        let (group, done) = noting();
        group.pause();
        let jobs = [(1, 0), (2, 5), (3, 0), (4, 9), (5, 5)];
        group
            .producer()
            .send_batch(jobs.map(|(job, priority)| Job::new(job).priority(priority)))
            .await
            .unwrap();
        settle_down().await;
        group.resume();
        group.drain(Duration::from_secs(60)).await;
        assert_eq!(done.all(), [4, 2, 5, 1, 3]);
    });
}

#[test]
fn a_delayed_job_is_done_exactly_when_its_delay_is_over() {
    paused(async {
        let (group, _) = noting();
        let before = Instant::now();
        let job = Job::new(1).delay(Duration::from_millis(1_234));
        group.producer().call(job).await.unwrap();
        assert_eq!(before.elapsed(), Duration::from_millis(1_234));
    });
}

#[test]
fn a_job_that_waits_past_its_time_is_a_dead_letter_and_its_caller_is_told_at_that_moment() {
    paused(async {
        let (group, done) = noting();
        group.pause();
        let before = Instant::now();
        let job = Job::new(1).expires_after(Duration::from_millis(1_234));
        let called = group.producer().call(job).await;
        assert_eq!(before.elapsed(), Duration::from_millis(1_234));
        let letter = given_up(called);
        assert_eq!(letter.reason, DeadReason::Expired);
        group.resume();
        settle_down().await;
        assert_eq!(done.len(), 0);
    });
}

#[test]
fn a_job_with_a_known_deduplication_key_comes_back_until_the_window_is_over() {
    paused(async {
        let (group, done) = noting();
        let producer = group.producer();
        let of = producer.send(Job::new(1).dedup("order 7")).await.unwrap();
        let error = producer.send(Job::new(2).dedup("order 7")).await.unwrap_err();
        assert_eq!(
            (error.job, error.kind),
            (
                Some(Job::new(2).dedup("order 7")),
                SendErrorKind::Duplicate { of }
            )
        );
        let error = producer
            .send_batch([
                Job::new(3),
                Job::new(4).dedup("order 7"),
                Job::new(5).dedup("order 8"),
            ])
            .await
            .unwrap_err();
        assert_eq!(error.accepted.len(), 2);
        assert_eq!(error.refused.len(), 1);
        assert_eq!(
            (error.refused[0].job.clone(), error.refused[0].kind),
            (
                Some(Job::new(4).dedup("order 7")),
                SendErrorKind::Duplicate { of }
            )
        );
        let error = producer.call(Job::new(6).dedup("order 8")).await.unwrap_err();
        assert_eq!(error.payload().as_deref(), Some(&6));
        // The default window is a minute.
        tokio::time::sleep(Duration::from_secs(61)).await;
        producer.send(Job::new(7).dedup("order 7")).await.unwrap();
        group.drain(Duration::from_secs(60)).await;
        assert_eq!(done.all(), [1, 3, 5, 7]);
    });
}

#[test]
fn a_duplicate_of_a_producer_group_comes_back_and_leaves_no_outcome_to_wait_for() {
    paused(async {
        let (group, _) = noting();
        let (producers, mut results) = group.producer_group();
        producers.send(Job::new(1).dedup("a")).await.unwrap();
        assert_eq!(
            producers.send(Job::new(2).dedup("a")).await.unwrap_err().job,
            Some(Job::new(2).dedup("a"))
        );
        assert_eq!(next_outcome(&mut results, "the outcome").await.result.unwrap(), 2);
        assert_eq!(results.outstanding(), 0);
    });
}

/// Each send is polled once and dropped; the queue then decides on the jobs that it got.
#[test]
fn a_send_of_a_producer_group_that_is_dropped_half_way_leaves_no_outcome_to_wait_for() {
    paused(async {
        let (group, _) = noting();
        let (producers, mut results) = group.producer_group();
        producers.send(Job::new(1).dedup("a")).await.unwrap();
        for _ in 0..10 {
            assert!(producers.send(Job::new(2).dedup("a")).now_or_never().is_none());
        }
        assert_eq!(next_outcome(&mut results, "the outcome").await.result.unwrap(), 2);
        settle_down().await;
        assert_eq!(results.outstanding(), 0, "duplicates have no outcome");
    });
}

#[test]
fn a_send_that_is_dropped_half_way_has_sent_nothing_or_the_whole_job() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let done = Log::new();
        let noted = done.clone();
        let group = local()
            .configure(|config| config.queue.capacity = 2)
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                passed.pass().await;
                noted.note(*delivery.job());
                Ok(())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        producer.send_batch([1, 2]).await.unwrap();
        // There is no room, so these are dropped while they wait.
        for job in 10..20 {
            let mut send = Box::pin(producer.send(job));
            assert!(is_pending(&mut send));
            settle_down().await;
        }
        gate.open();
        // The room that they waited for is not lost with them.
        for job in 3..9 {
            within("there is room", producer.send(job)).await.unwrap();
        }
        group.drain(Duration::from_secs(60)).await;
        assert_eq!(done.all(), [1, 2, 3, 4, 5, 6, 7, 8]);
    });
}

#[test]
fn a_send_whose_room_comes_just_as_it_is_dropped_gives_the_room_to_the_next() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let group = local()
            .configure(|config| config.queue.capacity = 1)
            .consume_with(1, async move |_: &Delivery<u64>| {
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        for job in 0..50 {
            producer.send(job).await.unwrap();
            let mut dropped = Box::pin(producer.send(100));
            assert!(is_pending(&mut dropped));
            gate.let_through(1);
            // The room is given to the send, which is not polled any more.
            settle_down().await;
            drop(dropped);
        }
        let done = group.health().await.unwrap().slots[0].acked;
        assert_eq!(done, 50);
    });
}

#[test]
fn a_call_that_is_dropped_leaves_its_job_in_the_group() {
    paused(async {
        let (note, mut noted) = probe();
        let group = local()
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                note.send(*delivery.job()).unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        assert!(producer.call(5).now_or_never().is_none());
        assert_eq!(noted.next("it is done all the same").await, 5);
        assert!(group.drain(Duration::from_secs(60)).await.unfinished.is_empty());
    });
}

#[test]
fn every_job_of_a_producer_group_has_exactly_one_outcome_even_if_it_is_done_twice() {
    paused(async {
        let done = Log::new();
        let noted = done.clone();
        let group = local()
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                noted.note(*delivery.job());
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(*delivery.job())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let other = producers.clone();
        let mut ids: BTreeSet<_> = producers.send_batch(0..60).await.unwrap().into_iter().collect();
        ids.extend(other.send_batch(60..120).await.unwrap());
        let mut outcomes = BTreeSet::new();
        for nth in 0..120 {
            let outcome = next_outcome(&mut results, "an outcome").await;
            assert!(outcomes.insert(outcome.id), "two outcomes of one job");
            if nth % 10 == 0 {
                group.end_role(Role::Supervisor);
            }
        }
        assert_eq!(outcomes, ids);
        assert!(
            done.len() > 120,
            "no job was done twice, so this test shows nothing"
        );
        group.stop().await;
        assert!(within("the stream ends", results.next()).await.is_none());
    });
}

#[test]
fn a_stop_gives_jobs_back_to_callers_and_ends_the_stream_of_a_producer_group() {
    paused(async {
        let group: Group<Only, ()> = local()
            .consume_with(1, async |_: &Delivery<Only>| std::future::pending().await)
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let sent = producers.send_batch([Only(1), Only(2)]).await.unwrap();
        let producer = group.producer();
        let mut call = Box::pin(producer.call(Only(3)));
        assert!(is_pending(&mut call));
        settle_down().await;
        let rest = within("the group stops", group.stop()).await;
        let error = within("the caller is told", call).await.unwrap_err();
        assert!(matches!(error, CallError::Stopped(Some(_))), "{error:?}");
        assert_eq!(error.payload().as_deref(), Some(&Only(3)));
        assert!(within("the stream ends", results.next()).await.is_none());
        assert_eq!(results.outstanding(), 2, "they have no outcome, and never will");
        assert_eq!(rest.unfinished.len(), 3);
        assert_eq!(
            [rest.unfinished[0].id(), rest.unfinished[1].id()],
            [sent[0], sent[1]]
        );
        let error = producers.send(Only(4)).await.unwrap_err();
        assert_eq!(
            (error.job, error.kind),
            (Some(Job::new(Only(4))), SendErrorKind::Closed)
        );
        drop(producer);
        let jobs: Vec<_> = rest
            .unfinished
            .into_iter()
            .take(2)
            .map(|rest| rest.into_job().unwrap().into_payload())
            .collect();
        assert_eq!(jobs, [Only(1), Only(2)]);
    });
}

#[test]
fn outcomes_that_came_before_the_stop_can_be_read_after_it() {
    paused(async {
        let (group, _) = noting();
        let (producers, mut results) = group.producer_group();
        producers.send_batch([1, 2, 3]).await.unwrap();
        group.drain(Duration::from_secs(60)).await;
        for output in [2, 4, 6] {
            assert_eq!(
                next_outcome(&mut results, "an outcome").await.result.unwrap(),
                output
            );
        }
        assert!(results.next().await.is_none());
    });
}

#[test]
fn a_producer_group_whose_reader_has_gone_gets_its_jobs_back() {
    paused(async {
        let (group, _) = noting();
        let (producers, results) = group.producer_group();
        producers.send(1).await.unwrap();
        drop(results);
        let error = producers.send(2).await.unwrap_err();
        assert_eq!(
            (error.job, error.kind),
            (Some(Job::new(2)), SendErrorKind::Closed)
        );
        let error = producers.send_batch([3, 4]).await.unwrap_err();
        assert!(error.accepted.is_empty());
        assert_eq!(error.refused.len(), 2);
        assert_eq!(group.producer().call(5).await.unwrap(), 10);
    });
}

#[test]
fn producers_can_be_used_from_any_thread() {
    system(async {
        let group = Group::builder()
            .placement(Placement::Arbiters(2))
            .configure(calm)
            .consume_with(2, async |delivery: &Delivery<u64>| Ok(delivery.job() + 1))
            .start()
            .unwrap();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let producer = group.producer();
                let (tell, told) = tokio::sync::oneshot::channel();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let sum = runtime.block_on(async {
                        let mut sum = 0;
                        for job in 0..50 {
                            sum += producer.call(thread * 100 + job).await.unwrap();
                        }
                        sum
                    });
                    tell.send(sum).unwrap();
                });
                told
            })
            .collect();
        for (thread, told) in (0..).zip(threads) {
            let sum: u64 = within("a thread is done", told).await.unwrap();
            assert_eq!(sum, (0..50).map(|job| thread * 100 + job + 1).sum::<u64>());
        }
    });
}

#[test]
fn an_empty_batch_is_accepted_and_does_nothing() {
    paused(async {
        let (group, done) = noting();
        assert!(
            group
                .producer()
                .send_batch(Vec::<u64>::new())
                .await
                .unwrap()
                .is_empty()
        );
        let (producers, results) = group.producer_group();
        assert!(producers.send_batch(Vec::<u64>::new()).await.unwrap().is_empty());
        assert_eq!((results.outstanding(), done.len()), (0, 0));
    });
}

#[test]
fn two_producer_groups_get_each_its_own_outcomes() {
    paused(async {
        let (group, _) = noting();
        let ((one, mut of_one), (two, mut of_two)) = (group.producer_group(), group.producer_group());
        let first = one.send_batch([1, 2]).await.unwrap();
        let second = two.send_batch([3, 4]).await.unwrap();
        for (results, ids) in [(&mut of_one, first), (&mut of_two, second)] {
            for id in ids {
                assert_eq!(next_outcome(results, "an outcome").await.id, id);
            }
            assert_eq!(results.outstanding(), 0);
        }
    });
}

/// The jobs of a batch travel in blocks; what happens to some of them is no other one's outcome.
#[test]
fn jobs_that_travel_together_have_each_their_own_outcome_over_failures_deaths_and_rejections() {
    paused(async {
        let group = local()
            .configure(|config| {
                config.quiet_panics = true;
                config.retry.attempts = 3;
            })
            .consume_with(3, async |delivery: &Delivery<Only>| {
                let number = delivery.job().0;
                match (number % 50, delivery.attempt()) {
                    (7, 1) => Err(Failure::retry("once more")),
                    (11, 1) => panic!("a consumer dies"),
                    (13, _) => Err(Failure::reject("never")),
                    _ => Ok(number * 2),
                }
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let ids = producers.send_batch((0..200).map(Only)).await.unwrap();
        let numbers: std::collections::BTreeMap<_, _> = ids.into_iter().zip(0_u64..).collect();
        let mut done = BTreeSet::new();
        for _ in 0..200 {
            let outcome = next_outcome(&mut results, "each job has an outcome").await;
            let number = numbers[&outcome.id];
            match outcome.result {
                Ok(output) => assert_eq!(output, number * 2),
                Err(letter) => {
                    assert_eq!((number % 50, letter.job.payload().0), (13, number));
                    assert_eq!(letter.reason, DeadReason::Rejected("never".into()));
                }
            }
            assert!(done.insert(number), "{number} has two outcomes");
        }
        assert_eq!(results.outstanding(), 0);
        group.stop().await;
    });
}

#[test]
fn jobs_with_keys_that_travel_together_go_each_to_the_consumer_of_its_key() {
    paused(async {
        let group = local()
            .configure(|config| config.strategy = consumer_group::StrategyKind::ConsistentHash)
            .consume_with(4, async |delivery: &Delivery<u64>| {
                assert_eq!(
                    delivery.key(),
                    Some(&consumer_group::Key::from(delivery.job() % 20))
                );
                Ok(delivery.slot())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let jobs = (0..400_u64).map(|number| Job::new(number).key(number % 20));
        let ids = producers.send_batch(jobs).await.unwrap();
        let keys: std::collections::BTreeMap<_, _> = ids
            .into_iter()
            .zip(0_u64..)
            .map(|(id, number)| (id, number % 20))
            .collect();
        let mut slots = std::collections::BTreeMap::new();
        for _ in 0..400 {
            let outcome = next_outcome(&mut results, "each job is done").await;
            let slot = outcome.result.unwrap();
            let first = *slots.entry(keys[&outcome.id]).or_insert(slot);
            assert_eq!(first, slot, "a key moved");
        }
        let used: BTreeSet<_> = slots.into_values().collect();
        assert!(used.len() > 1);
        group.stop().await;
    });
}
