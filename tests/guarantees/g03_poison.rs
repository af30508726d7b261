//! Guarantee 3: a poison job is dead-lettered after the limit with its whole history, and its neighbours are unharmed.

use std::sync::Arc;
use std::time::Duration;

use consumer_group::{
    Cause, DeadReason, Delivery, EventKind, Failure, Group, Incarnation, Job, Placement, Role, SlotId,
};

use crate::common::{
    Block, Gate, Log, calm, given_up, local, next_outcome, paused, probe, told, window, within,
};

const POISON: u64 = 13;

#[test]
fn a_poison_job_is_a_dead_letter_after_the_limit_with_its_whole_history() {
    paused(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.retry.attempts = 3)
            .consume_with(1, async |delivery: &Delivery<u64>| {
                panic!("poison in attempt {}", delivery.attempt())
            })
            .start()
            .unwrap();
        let called = within("the job is given up", group.producer().call(POISON)).await;
        let letter = given_up(called);
        assert_eq!(letter.reason, DeadReason::Poison { attempts: 3 });
        assert_eq!(*letter.job.payload(), POISON);
        let line: Vec<_> = letter
            .history
            .iter()
            .map(|record| (record.attempt, record.slot, record.incarnation))
            .collect();
        assert_eq!(
            line,
            [
                (1, SlotId(0), Incarnation(1)),
                (2, SlotId(0), Incarnation(2)),
                (3, SlotId(0), Incarnation(3)),
            ]
        );
        for record in &letter.history {
            let Cause::Panicked(report) = &record.cause else {
                panic!("{record}")
            };
            assert_eq!(*report.message, *format!("poison in attempt {}", record.attempt));
            let place = report.place.as_deref().unwrap();
            assert!(place.contains("g03_poison.rs:"), "{place}");
        }
        let listed = group.dead_letters().list(10).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].history, letter.history);
    });
}

/// The neighbours before the poison job are done and their settles may still be on the way; those behind it wait in the
/// same window. Neither costs them anything.
#[test]
fn the_neighbours_of_a_poison_job_are_done_once_and_their_attempts_are_not_counted() {
    paused(async {
        let done: Log<(u64, u32)> = Log::new();
        let noted = done.clone();
        let group = local()
            .configure(|config| config.retry.attempts = 3)
            .configure(|config| window(config, 32))
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                assert_ne!(*delivery.job(), POISON, "poison");
                noted.note((*delivery.job(), delivery.attempt()));
                Ok(())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        group.pause();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..30).await.unwrap();
        group.resume();
        for _ in 0..30 {
            next_outcome(&mut results, "a job ends").await;
        }
        let mut seen = done.all();
        seen.sort_unstable();
        let expected: Vec<_> = (0..30).filter(|job| *job != POISON).map(|job| (job, 1)).collect();
        assert_eq!(seen, expected);
        let retried = told(&mut events)
            .iter()
            .filter(|kind| matches!(kind, EventKind::Retried { .. }))
            .count();
        assert_eq!(retried, 2, "only the poison job was tried again, twice");
        assert_eq!(group.dead_letters().list(10).await.unwrap().len(), 1);
    });
}

#[test]
fn a_job_that_fails_without_killing_anyone_is_told_apart_from_poison() {
    paused(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.retry.attempts = 2)
            .consume_with(1, async |_: &Delivery<u64>| Err(Failure::retry("no luck")))
            .start()
            .unwrap();
        let called = within("the job is given up", group.producer().call(1)).await;
        let letter = given_up(called);
        assert_eq!(letter.reason, DeadReason::AttemptsUsedUp { attempts: 2 });
        let causes: Vec<_> = letter.history.iter().map(|record| &record.cause).collect();
        let failed = Cause::Failed(Arc::from("no luck"));
        assert_eq!(causes, [&failed, &failed]);
    });
}

#[test]
fn a_dead_letter_that_is_sent_back_has_all_its_attempts_again_and_keeps_its_history() {
    paused(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.retry.attempts = 2)
            .consume_with(1, async |delivery: &Delivery<u64>| {
                panic!("attempt {}", delivery.attempt())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let id = producers.send(1).await.unwrap();
        next_outcome(&mut results, "the job is given up").await;
        assert_eq!(group.dead_letters().requeue([id]).await.unwrap(), [id]);
        let letter = loop {
            // The second life of the job has no outcome for anyone, so its end shows in the dead letters.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some(letter) = group.dead_letters().list(1).await.unwrap().pop() {
                break letter;
            }
        };
        let attempts: Vec<_> = letter.history.iter().map(|record| record.attempt).collect();
        assert_eq!(attempts, [1, 2, 1, 2]);
    });
}

/// The first consumer blocks its thread, is given up on, and looks at the job once more while its successor has it.
#[test]
fn a_consumer_that_comes_back_does_not_wipe_out_that_its_successor_had_begun() {
    crate::common::system(async {
        let (block, gate, (note, mut noted)) = (Block::new(), Gate::shut(), probe());
        let (blocked, passed) = (block.clone(), gate.clone());
        let group: Group<u64, ()> = Group::builder()
            .placement(Placement::Dedicated)
            .configure(calm)
            .configure(|config| {
                config.deadline = Duration::from_millis(100);
                config.restart.kill_grace = Duration::from_millis(40);
                config.retry.attempts = 2;
            })
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                let attempt = delivery.attempt();
                note.send(attempt).unwrap();
                if attempt == 1 {
                    blocked.wait();
                    delivery.job();
                    note.send(0).unwrap();
                    return Ok(());
                }
                while !passed.is_open() {
                    delivery.extend();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                panic!("the second attempt dies")
            })
            .start()
            .unwrap();
        let producer = group.producer();
        let steer = async {
            assert_eq!(noted.next("the first attempt").await, 1);
            assert_eq!(noted.next("the second attempt").await, 2);
            block.release();
            assert_eq!(noted.next("the first one looks again").await, 0);
            gate.open();
        };
        let (ended, ()) = tokio::join!(within("the job ends", producer.call(1)), steer);
        let letter = given_up(ended);
        assert_eq!(letter.reason, DeadReason::Poison { attempts: 2 });
    });
}

/// Each supervisor numbers its deliveries by itself; what had begun under an earlier one says nothing about the present.
#[test]
fn a_delivery_that_began_under_an_earlier_supervisor_is_no_proof_against_its_job() {
    paused(async {
        let (gate, (note, mut noted)) = (Gate::shut(), probe());
        let passed = gate.clone();
        let group = local()
            .configure(|config| window(config, 4))
            .consume_with(1, async move |delivery: &Delivery<&'static str>| {
                let job = *delivery.job();
                note.send((job, delivery.attempt())).unwrap();
                if job == "bystander" {
                    passed.pass().await;
                }
                assert!(job != "poison" || delivery.attempt() > 1, "poison");
                Ok(())
            })
            .start()
            .unwrap();
        // Under the first supervisor: "first" is its first delivery and done, "bystander" its second and has begun.
        let producer = group.producer();
        producer.call("first").await.unwrap();
        producer.send("bystander").await.unwrap();
        assert_eq!(noted.next("the first").await, ("first", 1));
        assert_eq!(noted.next("the bystander begins").await, ("bystander", 1));
        // Under the second: "poison" is its first delivery and kills, "bystander" its second and has not begun.
        group.pause();
        producer.send(Job::new("poison").priority(9)).await.unwrap();
        let mut events = group.events();
        group.end_role(Role::Supervisor);
        crate::common::event(&mut events, "the next supervisor is up", |kind| {
            matches!(kind, EventKind::Attached { .. }).then_some(())
        })
        .await;
        group.resume();
        assert_eq!(noted.next("the poison begins").await, ("poison", 1));
        assert_eq!(noted.next("the poison again").await, ("poison", 2));
        assert_eq!(
            noted.next("the bystander").await,
            ("bystander", 1),
            "the bystander had not begun, so nothing counts against it"
        );
        gate.open();
    });
}
