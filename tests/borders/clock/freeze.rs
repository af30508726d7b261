//! Time in which the watcher did not run is not the consumer's, and a hang is found when its deadline passes.

use std::time::Duration;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use consumer_group::events::SlotState;
use consumer_group::supervision::{Child, SupervisorSpec, TreeEvent};
use consumer_group::{Cause, Consumer, ConsumerInfo, Delivery, EventKind, Failure, Group, Placement};
use tokio::time::Instant;

use crate::child::{self, Other};
use crate::common::{Gate, event, local, next_outcome, paused, settle_down, system, told, within};

/// How a child process says that everybody is at work.
const AT_WORK: &str = "everybody is at work";

#[test]
fn a_process_that_is_stopped_longer_than_its_deadlines_loses_no_attempt_and_no_life() {
    let mut other = Other::ignored("clock::freeze::works_while_it_is_stopped");
    other.says(AT_WORK);
    other.signal("-STOP");
    std::thread::sleep(Duration::from_secs(3));
    other.signal("-CONT");
    // Only now they may end.
    other.go_on();
    other.ends_well();
}

struct Patient(Gate);

impl Actor for Patient {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Wait;

impl Handler<Wait> for Patient {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: Wait, _: &mut Context<Self>) -> Self::Result {
        let gate = self.0.clone();
        Box::pin(async move {
            gate.pass().await;
            1
        })
    }
}

/// The child process: groups of all placements and a tree, each at work until a line comes in.
#[test]
#[ignore = "runs in a process of its own"]
fn works_while_it_is_stopped() {
    const DEADLINE: u64 = 2_000;
    system(async {
        let gate = Gate::shut();
        let (at_work, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let mut groups = Vec::new();
        for placement in [Placement::Local, Placement::Arbiters(2), Placement::Dedicated] {
            let (gate, at_work) = (gate.clone(), at_work.clone());
            let group: Group<u64, u32> = local()
                .placement(placement)
                .configure(|config| {
                    config.deadline = Duration::from_millis(DEADLINE);
                    config.restart.kill_grace = Duration::from_millis(500);
                    config.retry.attempts = 1;
                })
                .consume_with(3, async move |delivery: &Delivery<u64>| {
                    at_work.send(()).unwrap();
                    gate.pass().await;
                    Ok(delivery.attempt())
                })
                .start()
                .unwrap();
            let events = group.events();
            let (producers, results) = group.producer_group();
            producers.send_batch(0..3).await.unwrap();
            groups.push((group, events, results));
        }
        for _ in 0..9 {
            begun.recv().await.unwrap();
        }
        let for_child = gate.clone();
        let mut child = Child::new("patient", move || Patient(for_child.clone()))
            .deadline(Duration::from_millis(DEADLINE));
        let patient = child.handle();
        let tree = SupervisorSpec::new("tree").child(child).start().await.unwrap();
        let mut tree_events = tree.events();
        let answer = patient.send(Wait);
        let (answer, ()) = tokio::join!(answer, async {
            child::say(AT_WORK, "");
            let gate = gate.clone();
            std::thread::spawn(move || {
                child::wait();
                gate.open();
            });
        });
        assert_eq!(answer.unwrap(), 1);
        for (group, mut events, mut results) in groups {
            for _ in 0..3 {
                let outcome = next_outcome(&mut results, "a job").await;
                assert_eq!(outcome.result.unwrap(), 1);
            }
            let lost = |kind: &EventKind| matches!(kind, EventKind::ConsumerDown { .. });
            let told = told(&mut events);
            assert!(!told.iter().any(lost), "{told:?}");
            within("the end", group.stop()).await;
        }
        while let Some(event) = tree_events.try_next() {
            assert!(!matches!(event, TreeEvent::Down(_)), "{event:?}");
        }
        within("the end", tree.stop()).await;
    });
}

#[test]
fn a_neighbour_that_blocks_the_thread_of_a_local_group_costs_the_one_that_waits_nothing() {
    system(async {
        let (gate, second) = (Gate::shut(), Gate::shut());
        let (opens, waits) = (gate.clone(), second.clone());
        let group: Group<u64, u32> = local()
            .configure(|config| {
                config.deadline = Duration::from_millis(400);
                config.retry.attempts = 1;
            })
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                if *delivery.job() == 0 {
                    // The other one is at work as well.
                    waits.pass().await;
                    std::thread::sleep(Duration::from_millis(1_500));
                    opens.open();
                } else {
                    waits.open();
                    opens.pass().await;
                }
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..2).await.unwrap();
        for _ in 0..2 {
            let outcome = next_outcome(&mut results, "a job").await;
            assert_eq!(outcome.result.expect("nobody is to blame"), 1);
        }
    });
}

#[test]
fn a_hang_is_found_when_its_deadline_passes() {
    for deadline in [20, 100, 333, 1_000, 7_777, 60_000] {
        paused(async move {
            let group: Group<u64, u32> = local()
                .configure(|config| config.deadline = Duration::from_millis(deadline))
                .consume_with(3, async |delivery: &Delivery<u64>| {
                    if delivery.attempt() == 1 {
                        std::future::pending::<()>().await;
                    }
                    Ok(delivery.attempt())
                })
                .start()
                .unwrap();
            let mut events = group.all_events();
            let producer = group.producer();
            let mut begun = [None; 3];
            // Begun at three moments that have nothing to do with each other.
            for pause in [0, deadline / 7, deadline / 3 + 1] {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                producer.send(1).await.unwrap();
                let slot = event(&mut events, "it begins", |kind| match kind {
                    EventKind::Delivered { slot, .. } => Some(slot.0 as usize),
                    _ => None,
                })
                .await;
                begun[slot] = Some(Instant::now());
            }
            for _ in 0..3 {
                let slot = event(&mut events, "it is found", |kind| match kind {
                    EventKind::ConsumerDown {
                        slot,
                        cause: Cause::DeadlinePassed(_),
                        ..
                    } => Some(slot.0 as usize),
                    _ => None,
                })
                .await;
                let took = begun[slot].take().expect("found once").elapsed().as_millis();
                let expected = u128::from(deadline)..=u128::from(deadline) + 3;
                assert!(expected.contains(&took), "{deadline} ms: found after {took} ms");
            }
        });
    }
}

#[test]
fn a_hang_after_work_that_was_told_is_found_when_its_deadline_passes() {
    paused(async {
        let group: Group<u64, u64> = local()
            .configure(|config| config.deadline = Duration::from_millis(1_000))
            .consume_with(1, async |delivery: &Delivery<u64>| {
                tokio::time::sleep(Duration::from_millis(37)).await;
                if *delivery.job() == 9 && delivery.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(*delivery.job())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..12).await.unwrap();
        for _ in 0..9 {
            next_outcome(&mut results, "a job before the one that hangs").await;
        }
        let began = Instant::now();
        event(&mut events, "it is found", |kind| {
            matches!(
                kind,
                EventKind::ConsumerDown {
                    cause: Cause::DeadlinePassed(deadline),
                    ..
                } if *deadline == Duration::from_secs(1)
            )
            .then_some(())
        })
        .await;
        let took = began.elapsed().as_millis();
        assert!((1_000..=1_004).contains(&took), "{took} ms");
    });
}

#[test]
fn one_that_hangs_indeed_is_found_a_deadline_after_the_freeze_at_the_latest() {
    paused(async {
        let group: Group<u64, u32> = local()
            .configure(|config| config.deadline = Duration::from_millis(1_000))
            .consume_with(1, async |delivery: &Delivery<u64>| {
                if delivery.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        let mut call = Box::pin(producer.call(1));
        tokio::select! {
            biased;
            _ = &mut call => panic!("it hangs"),
            () = tokio::time::sleep(Duration::from_millis(450)) => {}
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        let thawed = Instant::now();
        assert_eq!(within("another attempt", call).await.unwrap(), 2);
        let took = thawed.elapsed();
        assert!(
            took >= Duration::from_millis(500) && took <= Duration::from_millis(1_010),
            "{took:?}"
        );
    });
}

#[test]
fn a_watch_that_is_always_late_still_finds_hangs() {
    paused(async {
        let group: Group<u64, u32> = local()
            .configure(|config| config.deadline = Duration::from_millis(1_000))
            .consume_with(1, async |delivery: &Delivery<u64>| {
                if delivery.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        let mut call = Box::pin(producer.call(1));
        for _ in 0..1_000 {
            tokio::select! {
                biased;
                attempt = &mut call => return assert_eq!(attempt.unwrap(), 2),
                () = settle_down() => {}
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        panic!("it was not found in a thousand seconds");
    });
}

struct StartsSlowly(Gate);

impl Consumer for StartsSlowly {
    type Job = u64;
    type Output = u64;

    async fn started(&mut self, _: &ConsumerInfo) -> Result<(), Failure> {
        self.0.pass().await;
        Ok(())
    }

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
        Ok(*delivery.job())
    }
}

#[test]
fn a_start_that_was_frozen_is_not_taken_for_one_that_hangs() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let group: Group<u64, u64> = local()
            .configure(|config| config.restart.start_deadline = Duration::from_millis(1_000))
            .consumers(1, move || StartsSlowly(passed.clone()))
            .start()
            .unwrap();
        let mut events = group.events();
        settle_down().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        settle_down().await;
        gate.open();
        assert_eq!(within("a job", group.producer().call(1)).await.unwrap(), 1);
        let told = told(&mut events);
        assert!(
            !told
                .iter()
                .any(|kind| matches!(kind, EventKind::ConsumerDown { .. })),
            "{told:?}"
        );
        assert_eq!(group.health().await.unwrap().slots[0].state, SlotState::Live);
    });
}
