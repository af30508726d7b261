//! Guarantee 7: a delivery past its deadline is a failure; whoever awaits for ever is replaced, whoever blocks is fenced.

use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use consumer_group::events::SlotState;
use consumer_group::{
    Cause, ConsumerInfo, DeadReason, Deliver, Delivery, EventKind, Group, GroupConfig, Placement,
};
use tokio::time::Instant;

use crate::common::{
    Block, Gate, calm, event, given_up, local, next_outcome, paused, probe, system, told, window, within,
};

#[test]
fn a_consumer_that_awaits_for_ever_is_replaced_right_after_its_deadline() {
    paused(async {
        let group = local()
            .configure(|config| config.deadline = Duration::from_millis(1_600))
            .consume_with(1, async |delivery: &Delivery<u64>| {
                if delivery.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let before = Instant::now();
        assert_eq!(
            within("another attempt", group.producer().call(1)).await.unwrap(),
            2
        );
        // It is looked at every sixteenth of the deadline.
        let took = before.elapsed().as_millis();
        assert!((1_600..=1_700).contains(&took), "{took} ms");
        let cause = event(&mut events, "the death is told", |kind| match kind {
            EventKind::ConsumerDown { cause, .. } => Some(cause.clone()),
            _ => None,
        })
        .await;
        assert_eq!(cause, Cause::DeadlinePassed(Duration::from_millis(1_600)));
    });
}

#[test]
fn jobs_behind_one_that_hangs_wait_for_its_deadline_only_once_and_cost_nothing() {
    paused(async {
        let group = local()
            .configure(|config| config.deadline = Duration::from_millis(1_600))
            .configure(|config| window(config, 8))
            .consume_with(1, async |delivery: &Delivery<u64>| {
                if *delivery.job() == 0 && delivery.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let before = Instant::now();
        producers.send_batch(0..8).await.unwrap();
        let mut attempts = Vec::new();
        for _ in 0..8 {
            attempts.push(next_outcome(&mut results, "a job ends").await.result.unwrap());
        }
        assert_eq!(attempts, [2, 1, 1, 1, 1, 1, 1, 1]);
        assert!(
            before.elapsed() <= Duration::from_millis(1_700),
            "{:?}",
            before.elapsed()
        );
    });
}

#[test]
fn a_consumer_that_gives_signs_of_life_may_take_as_long_as_it_likes() {
    paused(async {
        let group = local()
            .configure(|config| config.deadline = Duration::from_millis(1_600))
            .consume_with(1, async |delivery: &Delivery<u64>| {
                for _ in 0..100 {
                    tokio::time::sleep(Duration::from_millis(1_400)).await;
                    delivery.extend();
                }
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let before = Instant::now();
        let attempt = group.producer().call(1).await.unwrap();
        assert_eq!(attempt, 1);
        assert_eq!(before.elapsed(), Duration::from_millis(140_000));
        assert!(
            !told(&mut events)
                .iter()
                .any(|kind| matches!(kind, EventKind::ConsumerDown { .. }))
        );
    });
}

#[test]
fn a_job_that_hangs_every_time_is_a_dead_letter_with_the_deadline_as_the_cause() {
    paused(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.deadline = Duration::from_millis(1_600))
            .configure(|config| config.retry.attempts = 3)
            .consume_with(2, async |_: &Delivery<u64>| std::future::pending().await)
            .start()
            .unwrap();
        let letter = given_up(group.producer().call(1).await);
        assert_eq!(letter.reason, DeadReason::Poison { attempts: 3 });
        assert!(
            letter
                .history
                .iter()
                .all(|record| record.cause == Cause::DeadlinePassed(Duration::from_millis(1_600))),
            "{letter}"
        );
    });
}

#[test]
fn without_a_deadline_nothing_is_taken_for_hung() {
    paused(async {
        let group = local()
            .configure(|config| config.deadline = Duration::ZERO)
            .consume_with(1, async |delivery: &Delivery<u64>| {
                tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        assert_eq!(group.producer().call(1).await.unwrap(), 1);
    });
}

#[test]
fn an_idle_consumer_is_never_taken_for_hung() {
    paused(async {
        let group = local()
            .configure(|config| config.deadline = Duration::from_millis(100))
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(delivery.incarnation().0))
            .start()
            .unwrap();
        let producer = group.producer();
        assert_eq!(producer.call(1).await.unwrap(), 1);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(producer.call(2).await.unwrap(), 1);
    });
}

fn impatient(config: &mut GroupConfig) {
    calm(config);
    config.deadline = Duration::from_millis(80);
    config.restart.kill_grace = Duration::from_millis(40);
}

/// One thread for two consumers. One of them awaits, the other one blocks the thread of both.
#[test]
fn a_thread_that_is_blocked_is_given_up_and_the_neighbours_are_moved() {
    system(async {
        let (block, (note, mut noted)) = (Block::new(), probe());
        let blocked = block.clone();
        let gate = Gate::shut();
        let passed = gate.clone();
        let group = Group::builder()
            .placement(Placement::Arbiters(1))
            .configure(impatient)
            .configure(|config| window(config, 1))
            .consume_with(2, async move |delivery: &Delivery<&'static str>| {
                let (job, attempt) = (*delivery.job(), delivery.attempt());
                note.send((job, attempt, delivery.incarnation().0)).unwrap();
                match job {
                    "blocks" if attempt == 1 => blocked.wait(),
                    "awaits" => {
                        while !passed.is_open() {
                            delivery.extend();
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    }
                    _ => {}
                }
                Ok(attempt)
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let producer = group.producer();
        let awaits = producer.call("awaits");
        let rest = async {
            assert_eq!(noted.next("one awaits").await, ("awaits", 1, 1));
            let attempt = within("another thread does the job", producer.call("blocks")).await;
            assert_eq!(attempt.unwrap(), 2);
            gate.open();
        };
        let (awaited, ()) = tokio::join!(within("the neighbour's job is done", awaits), rest);
        assert_eq!(awaited.unwrap(), 1, "a neighbour's attempt does not count");
        let moved = event(&mut events, "the arbiter is given up", |kind| match kind {
            EventKind::ArbiterAbandoned { moved, .. } => Some(*moved),
            _ => None,
        })
        .await;
        assert_eq!(moved, 1);
        let health = group.health().await.unwrap();
        let mut causes: Vec<_> = health
            .slots
            .iter()
            .map(|slot| slot.last_cause.clone().unwrap())
            .collect();
        causes.sort_by_key(|cause| *cause == Cause::NeighbourBlockedThread);
        assert_eq!(causes, [Cause::ThreadBlocked, Cause::NeighbourBlockedThread]);
        block.release();
    });
}

#[test]
fn a_job_that_blocks_its_thread_every_time_is_a_dead_letter_and_the_group_works_on() {
    system(async {
        let block = Block::new();
        let blocked = block.clone();
        let group = Group::builder()
            .placement(Placement::Arbiters(2))
            .configure(impatient)
            .configure(|config| config.retry.attempts = 2)
            .consume_with(4, async move |delivery: &Delivery<&'static str>| {
                if *delivery.job() == "blocks" {
                    blocked.wait();
                }
                Ok(())
            })
            .start()
            .unwrap();
        let called = within("it is given up", group.producer().call("blocks")).await;
        let letter = given_up(called);
        assert_eq!(letter.reason, DeadReason::Poison { attempts: 2 });
        let causes: Vec<_> = letter.history.iter().map(|record| &record.cause).collect();
        assert_eq!(causes, [&Cause::ThreadBlocked, &Cause::ThreadBlocked]);
        for _ in 0..20 {
            within("others are done", group.producer().call("fine"))
                .await
                .unwrap();
        }
        block.release();
    });
}

/// Blocks its thread in a future that actix runs outside of the actor.
struct BlocksOutside(Block);

impl Actor for BlocksOutside {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, ()>> for BlocksOutside {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, delivery: Deliver<u64, ()>, _: &mut Context<Self>) -> Self::Result {
        let block = self.0.clone();
        Box::pin(async move {
            if *delivery.job() == 1 {
                block.wait();
            }
            delivery.ack(());
        })
    }
}

#[test]
fn a_job_that_blocks_outside_of_its_actor_every_time_is_a_dead_letter_as_well() {
    system(async {
        let block = Block::new();
        let blocked = block.clone();
        let group = Group::builder()
            .placement(Placement::Dedicated)
            .configure(impatient)
            .configure(|config| config.retry.attempts = 2)
            .actor_consumers(2, move |_: &ConsumerInfo| BlocksOutside(blocked.clone()))
            .start()
            .unwrap();
        let called = within("it is given up", group.producer().call(1)).await;
        let letter = given_up(called);
        assert_eq!(letter.history.len(), 2, "{letter}");
        within("others are done", group.producer().call(2)).await.unwrap();
        block.release();
    });
}

/// A free task that never ends: the actor lives and answers, and only the deadline tells.
struct AwaitsOutside;

impl Actor for AwaitsOutside {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, u32>> for AwaitsOutside {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, delivery: Deliver<u64, u32>, _: &mut Context<Self>) -> Self::Result {
        Box::pin(async move {
            delivery.job();
            if delivery.attempt() == 1 {
                std::future::pending::<()>().await;
            }
            let attempt = delivery.attempt();
            delivery.ack(attempt);
        })
    }
}

#[test]
fn a_task_outside_of_its_actor_that_awaits_for_ever_is_past_its_deadline_as_well() {
    paused(async {
        let group = local()
            .configure(|config| config.deadline = Duration::from_millis(1_600))
            .actor_consumers(1, |_: &ConsumerInfo| AwaitsOutside)
            .start()
            .unwrap();
        let before = Instant::now();
        assert_eq!(group.producer().call(1).await.unwrap(), 2);
        let took = before.elapsed().as_millis();
        assert!((1_600..=1_700).contains(&took), "{took} ms");
    });
}

/// A strategy that never answers is replaced after the deadline.
struct Silent(bool);

impl Actor for Silent {
    type Context = Context<Self>;
}

impl Handler<consumer_group::strategy::Assign> for Silent {
    type Result = ResponseFuture<consumer_group::strategy::Assigned>;

    fn handle(&mut self, assign: consumer_group::strategy::Assign, _: &mut Context<Self>) -> Self::Result {
        let is_silent = self.0;
        Box::pin(async move {
            if is_silent {
                std::future::pending::<()>().await;
            }
            assign.answer(|_, roster| consumer_group::strategy::Choice::Slot(roster.seats()[0].slot))
        })
    }
}

#[test]
fn a_strategy_that_does_not_answer_is_replaced() {
    paused(async {
        let lives = std::cell::Cell::new(0);
        let group = local()
            .configure(|config| config.deadline = Duration::from_millis(1_600))
            .strategy_actor(move || {
                lives.set(lives.get() + 1);
                Silent(lives.get() == 1)
            })
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(delivery.attempt()))
            .start()
            .unwrap();
        let before = Instant::now();
        assert_eq!(
            within("the next one answers", group.producer().call(1))
                .await
                .unwrap(),
            1
        );
        assert!(
            before.elapsed() <= Duration::from_millis(1_800),
            "{:?}",
            before.elapsed()
        );
        assert_eq!(group.health().await.unwrap().slots[0].state, SlotState::Live);
    });
}
