//! Guarantee 9: a drain takes no more, finishes what is there within a deadline, and names what was not finished.

use std::time::Duration;

use consumer_group::{
    CallError, DeadReason, Delivery, EventKind, Failure, Group, GroupState, Job, Role, SendErrorKind,
};
use tokio::time::Instant;

use crate::common::{Gate, Log, is_pending, local, paused, probe, settle_down, told, within};

const LONG: Duration = Duration::from_secs(3_600);

/// A group whose consumers take 10 ms for a job and then note it.
fn noting_slowly(consumers: usize) -> (Group<u64, ()>, Log<u64>) {
    let done = Log::new();
    let noted = done.clone();
    let group = local()
        .consume_with(consumers, async move |delivery: &Delivery<u64>| {
            tokio::time::sleep(Duration::from_millis(10)).await;
            noted.note(*delivery.job());
            Ok(())
        })
        .start()
        .unwrap();
    (group, done)
}

#[test]
fn a_drain_finishes_every_accepted_job_and_then_the_group_has_ended() {
    paused(async {
        let (group, done) = noting_slowly(3);
        let mut events = group.events();
        group.producer().send_batch(0..100).await.unwrap();
        let drained = within("the drain ends", group.drain(LONG)).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        assert_eq!(done.len(), 100);
        assert_eq!(group.state(), GroupState::Stopped);
        assert_eq!(group.stopped().await, None);
        let told = told(&mut events);
        let draining = told.iter().position(|kind| *kind == EventKind::Draining);
        let drained = told
            .iter()
            .position(|kind| *kind == EventKind::Drained { unfinished: 0 });
        assert!(draining.is_some() && draining < drained, "{told:#?}");
    });
}

#[test]
fn a_drain_waits_for_retries_and_delayed_jobs() {
    paused(async {
        let group = local()
            .consume_with(1, async |delivery: &Delivery<u64>| {
                if delivery.attempt() == 1 {
                    return Err(Failure::retry_after(Duration::from_secs(5), "later"));
                }
                Ok(())
            })
            .start()
            .unwrap();
        let before = Instant::now();
        group
            .producer()
            .send(Job::new(1).delay(Duration::from_secs(60)))
            .await
            .unwrap();
        let drained = group.drain(LONG).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        let took = before.elapsed();
        assert!(
            took >= Duration::from_secs(65) && took < Duration::from_secs(66),
            "{took:?}"
        );
    });
}

#[test]
fn a_drain_does_not_wait_for_a_job_that_expired_meanwhile() {
    paused(async {
        let group: Group<u64, ()> = local()
            .consume_with(1, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        let job = Job::new(1)
            .delay(Duration::from_secs(60))
            .expires_after(Duration::from_secs(5));
        group.producer().send(job).await.unwrap();
        let before = Instant::now();
        let drained = group.drain(LONG).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        let took = before.elapsed();
        assert!(
            took < Duration::from_secs(6),
            "nothing was left after 5 s, and it took {took:?}"
        );
    });
}

#[test]
fn past_the_deadline_a_drain_names_what_was_not_finished_and_hands_it_back() {
    paused(async {
        let (note, mut noted) = probe();
        let group = local()
            .configure(|config| crate::common::window(config, 1))
            .configure(|config| config.deadline = Duration::ZERO)
            .consume_with(2, async move |delivery: &Delivery<String>| {
                note.send(delivery.id()).unwrap();
                if *delivery.job() != "quick" {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        producer.call("quick".to_owned()).await.unwrap();
        noted.next("the quick one").await;
        let mut ids = producer
            .send_batch(["hangs 1", "hangs 2", "waits 1", "waits 2"].map(str::to_owned))
            .await
            .unwrap();
        ids.push(
            producer
                .send(Job::new("delayed".to_owned()).delay(LONG * 2))
                .await
                .unwrap(),
        );
        noted.next("the first one hangs").await;
        noted.next("the second one hangs").await;
        let before = Instant::now();
        let drained = within("the drain ends", group.drain(Duration::from_secs(30))).await;
        assert_eq!(before.elapsed(), Duration::from_secs(30));
        let named: Vec<_> = drained.unfinished.iter().map(|rest| rest.id()).collect();
        assert_eq!(named, ids, "every job by its id, oldest first");
        let jobs: Vec<_> = drained
            .unfinished
            .into_iter()
            .map(|rest| rest.into_job().unwrap().into_payload())
            .collect();
        assert_eq!(jobs, ["hangs 1", "hangs 2", "waits 1", "waits 2", "delayed"]);
    });
}

#[test]
fn a_draining_group_takes_no_more_jobs_and_hands_them_back() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let group = local()
            .configure(|config| config.queue.capacity = 2)
            .consume_with(1, async move |_: &Delivery<String>| {
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        producer
            .send_batch(["1".to_owned(), "2".to_owned()])
            .await
            .unwrap();
        // The queue is full: this one waits for room when the drain begins.
        let mut waits = Box::pin(producer.send("waits".to_owned()));
        assert!(is_pending(&mut waits));
        let mut drain = Box::pin(group.drain(LONG));
        assert!(is_pending(&mut drain));
        settle_down().await;
        let error = within("whoever waits is told", waits).await.unwrap_err();
        assert_eq!(
            (error.kind, error.job.as_ref().unwrap().payload().as_str()),
            (SendErrorKind::Closed, "waits")
        );
        let error = producer.send("late".to_owned()).await.unwrap_err();
        assert_eq!(
            (error.kind, error.job.as_ref().unwrap().payload().as_str()),
            (SendErrorKind::Closed, "late")
        );
        let error = producer
            .send_batch(["a".to_owned(), "b".to_owned()])
            .await
            .unwrap_err();
        assert!(error.accepted.is_empty());
        let back: Vec<_> = error
            .refused
            .into_iter()
            .map(|error| error.job.unwrap().into_payload())
            .collect();
        assert_eq!(back, ["a", "b"]);
        let CallError::Send(error) = producer.call("call".to_owned()).await.unwrap_err() else {
            panic!("the call was not refused")
        };
        assert_eq!(
            (error.kind, error.job.as_ref().unwrap().payload().as_str()),
            (SendErrorKind::Closed, "call")
        );
        assert!(!producer.is_open());
        gate.open();
        assert!(within("the drain ends", drain).await.unfinished.is_empty());
    });
}

#[test]
fn a_closed_group_says_closed_also_where_the_full_queue_rejects() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let group = local()
            .configure(|config| config.queue.capacity = 1)
            .configure(|config| config.queue.overflow = consumer_group::config::Overflow::Reject)
            .consume_with(1, async move |_: &Delivery<u64>| {
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        producer.send(1).await.unwrap();
        assert_eq!(producer.send(2).await.unwrap_err().kind, SendErrorKind::Full);
        let mut drain = Box::pin(group.drain(LONG));
        assert!(is_pending(&mut drain));
        settle_down().await;
        assert_eq!(
            producer.send(2).await.unwrap_err().kind,
            SendErrorKind::Closed,
            "who is told that the queue is full tries again, and for ever"
        );
        gate.open();
        drain.await;
    });
}

#[test]
fn a_paused_group_is_resumed_for_its_drain() {
    paused(async {
        let group = local()
            .consume_with(1, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        group.pause();
        group.producer().send_batch(0..10).await.unwrap();
        let drained = within("the drain ends", group.drain(LONG)).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
    });
}

#[test]
fn a_drain_goes_on_over_deaths_of_the_groups_own_actors() {
    for role in [Role::Queue, Role::Supervisor, Role::Strategy, Role::Results] {
        paused(async move {
            let (group, done) = noting_slowly(2);
            group.producer().send_batch(0..50).await.unwrap();
            let mut drain = Box::pin(group.drain(LONG));
            assert!(is_pending(&mut drain));
            settle_down().await;
            group.end_role(role);
            let drained = within("the drain ends", drain).await;
            assert!(drained.unfinished.is_empty(), "{role}: {drained:?}");
            assert!((0..50).all(|job| done.all().contains(&job)), "{role}");
        });
    }
}

/// A stop right after the queue actor was ended: its successor hands out what it kept.
#[test]
fn a_stop_hands_every_job_back_even_if_the_queue_actor_has_just_died() {
    for turns in 0..12 {
        paused(async move {
            let group: Group<u64, ()> = local()
                .consume_with(1, async |_: &Delivery<u64>| Ok(()))
                .start()
                .unwrap();
            group.pause();
            group.producer().send_batch(0..100).await.unwrap();
            settle_down().await;
            group.end_role(Role::Queue);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let rest = within("the group stops", group.stop()).await;
            let jobs: Vec<_> = rest.unfinished.iter().map(|rest| *rest.payload()).collect();
            assert_eq!(jobs, (0..100).collect::<Vec<_>>(), "after {turns} turns");
        });
    }
}

#[test]
fn a_stop_hands_back_jobs_that_had_not_reached_the_queue_yet() {
    paused(async {
        let group: Group<u64, ()> = local()
            .consume_with(1, async |_: &Delivery<u64>| std::future::pending().await)
            .start()
            .unwrap();
        let ids = group.producer().send_batch(0..5_000).await.unwrap();
        let rest = within("the group stops", group.stop()).await;
        let named: Vec<_> = rest.unfinished.iter().map(|rest| rest.id()).collect();
        assert_eq!(named, ids);
    });
}

/// Whenever the stop comes, a caller learns what became of its job or gets it back.
#[test]
fn a_caller_never_loses_its_job_to_a_stop() {
    for rejects in [false, true] {
        for turns in 0..40 {
            paused(async move {
                let group: Group<u64, u64> = local()
                    .consume_with(1, async move |delivery: &Delivery<u64>| {
                        if rejects {
                            return Err(Failure::reject("never"));
                        }
                        Ok(*delivery.job())
                    })
                    .start()
                    .unwrap();
                settle_down().await;
                let producer = group.producer();
                let call = producer.call(7);
                let stop = async {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                    group.stop().await
                };
                let (called, rest) = within("both end", async { tokio::join!(call, stop) }).await;
                match called {
                    Ok(output) => assert_eq!(output, 7),
                    Err(CallError::Failed(letter)) => {
                        assert_eq!(letter.reason, DeadReason::Rejected("never".into()));
                    }
                    Err(CallError::Stopped(Some(job))) => {
                        assert_eq!(*job.payload(), 7);
                        assert_eq!(rest.unfinished.len(), 1);
                    }
                    Err(error) => panic!("after {turns} turns: {error:?}"),
                }
            });
        }
    }
}

#[test]
fn dropping_the_last_handle_stops_the_group_and_producers_get_their_jobs_back() {
    paused(async {
        let group: Group<u64, ()> = local()
            .consume_with(1, async |_: &Delivery<u64>| std::future::pending().await)
            .start()
            .unwrap();
        let producer = group.producer();
        let mut call = Box::pin(producer.call(5));
        assert!(is_pending(&mut call));
        settle_down().await;
        drop(group);
        let error = within("the caller is told", call).await.unwrap_err();
        assert!(matches!(error, CallError::Stopped(Some(_))), "{error:?}");
        assert_eq!(error.payload().as_deref(), Some(&5));
        assert_eq!(producer.send(6).await.unwrap_err().kind, SendErrorKind::Closed);
    });
}
