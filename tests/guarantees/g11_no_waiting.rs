//! Guarantee 11: no job waits for a busy consumer while another one has room.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{Actor, AtomicResponse, Context, Handler, WrapFuture};
use consumer_group::config::Affinity;
use consumer_group::strategy::strategy_fn;
use consumer_group::{
    BatchConsumer, BatchSize, Cause, Deliver, Delivery, EventKind, Failure, Group, GroupBuilder, GroupConfig,
    Job, Placement, SlotId, StrategyKind,
};
use tokio::time::Instant;

use crate::common::{
    Block, Gate, Log, calm, event, local, next_outcome, paused, probe, system, window, within,
};

/// Every built-in strategy, those that bind a key to a consumer with the affinity that lets go.
fn all() -> impl Iterator<Item = (StrategyKind, Option<Affinity>)> {
    let letting_go = |kind: &StrategyKind| (*kind, kind.binds_keys().then_some(Affinity::Prefer));
    StrategyKind::ALL.iter().map(letting_go)
}

fn by(strategy: StrategyKind, affinity: Option<Affinity>) -> impl FnOnce(&mut GroupConfig) {
    move |config| {
        config.strategy = strategy;
        config.affinity = affinity;
    }
}

/// What a job says: how long it takes, in ms. The longest ones wait for the gate.
const LONG: u64 = u64::MAX;

/// Consumers that await: each job as long as it says.
fn awaiting(builder: GroupBuilder<u64, SlotId>, consumers: usize, gate: &Gate) -> GroupBuilder<u64, SlotId> {
    let gate = gate.clone();
    builder.consume_with(consumers, async move |delivery: &Delivery<u64>| {
        match *delivery.job() {
            LONG => gate.pass().await,
            0 => {}
            ms => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
        Ok(delivery.slot())
    })
}

#[test]
fn short_jobs_behind_a_long_one_are_done_within_5_ms_with_every_strategy() {
    for (strategy, affinity) in all() {
        paused(async move {
            let gate = Gate::shut();
            let group = awaiting(local().configure(by(strategy, affinity)), 2, &gate)
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            producers.send(LONG).await.unwrap();
            let sent = Instant::now();
            producers.send_batch(vec![0; 10]).await.unwrap();
            for _ in 0..10 {
                let outcome = next_outcome(&mut results, "a short job is done").await;
                assert!(outcome.result.is_ok());
            }
            assert!(
                sent.elapsed() <= Duration::from_millis(5),
                "{strategy:?}: {:?}",
                sent.elapsed()
            );
            gate.open();
            next_outcome(&mut results, "the long job is done").await;
        });
    }
}

#[test]
fn what_is_sent_without_a_mailbox_for_results_does_not_wait_either() {
    for (strategy, affinity) in all() {
        paused(async move {
            let gate = Gate::shut();
            let group = awaiting(local().configure(by(strategy, affinity)), 2, &gate)
                .start()
                .unwrap();
            let mut events = group.all_events();
            let producer = group.producer();
            producer.send(LONG).await.unwrap();
            producer.send_batch(vec![0; 200]).await.unwrap();
            let mut done = 0;
            while done < 200 {
                event(&mut events, "a short job is done", |kind| {
                    matches!(kind, EventKind::Acked { .. }).then_some(())
                })
                .await;
                done += 1;
            }
            gate.open();
        });
    }
}

#[test]
fn with_four_of_five_consumers_busy_the_fifth_does_all_jobs() {
    for (strategy, affinity) in all() {
        paused(async move {
            let gate = Gate::shut();
            let group = awaiting(local().configure(by(strategy, affinity)), 5, &gate)
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            // One after the other, so that each finds a consumer of its own.
            for _ in 0..4 {
                producers.send(LONG).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            producers.send_batch(vec![1; 100]).await.unwrap();
            for _ in 0..100 {
                next_outcome(&mut results, "a short job is done").await;
            }
            gate.open();
        });
    }
}

#[test]
fn twenty_jobs_of_10_ms_do_not_wait_for_one_of_2_s() {
    for (strategy, affinity) in all() {
        paused(async move {
            let group = awaiting(local().configure(by(strategy, affinity)), 4, &Gate::shut())
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            producers.send(2_000).await.unwrap();
            let sent = Instant::now();
            producers.send_batch(vec![10; 20]).await.unwrap();
            for _ in 0..20 {
                next_outcome(&mut results, "a short job is done").await;
            }
            // Three consumers: seven rounds of 10 ms.
            assert!(
                sent.elapsed() <= Duration::from_millis(220),
                "{strategy:?}: {:?}",
                sent.elapsed()
            );
        });
    }
}

#[test]
fn a_consumer_that_blocks_its_thread_does_not_keep_what_it_has_not_begun() {
    for (strategy, affinity) in all() {
        system(async move {
            let block = Block::new();
            let (long, held) = (block.clone(), Log::new());
            let noted = held.clone();
            let (begin, mut begun) = probe();
            let group: Group<u64, ()> = Group::builder()
                .placement(Placement::Dedicated)
                .configure(calm)
                .configure(by(strategy, affinity))
                .consume_with(2, async move |delivery: &Delivery<u64>| {
                    noted.note((delivery.id(), delivery.attempt()));
                    if *delivery.job() == LONG {
                        begin.send(()).unwrap();
                        long.wait();
                    }
                    Ok(())
                })
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            producers
                .send_batch([LONG, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
                .await
                .unwrap();
            begun.next("the long job has begun").await;
            for _ in 0..10 {
                next_outcome(&mut results, "a short job is done").await;
            }
            block.release();
            next_outcome(&mut results, "the long job is done").await;
            // The one that was blocked looks at what was taken from it, and leaves it alone.
            producers.send_batch([1; 100]).await.unwrap();
            for _ in 0..100 {
                next_outcome(&mut results, "a later job is done").await;
            }
            let mut all = held.all();
            assert!(
                all.iter().all(|(_, attempt)| *attempt == 1),
                "a recall costs no attempt"
            );
            all.sort_unstable();
            all.dedup();
            assert_eq!(
                (all.len(), held.len()),
                (111, 111),
                "{strategy:?}: each is begun once"
            );
        });
    }
}

#[test]
fn a_consumer_beside_one_that_blocks_their_thread_does_not_keep_its_jobs_either() {
    system(async {
        let block = Block::new();
        let long = block.clone();
        let (begin, mut begun) = probe();
        let group: Group<u64, SlotId> = Group::builder()
            .placement(Placement::Arbiters(2))
            .configure(calm)
            .configure(by(StrategyKind::RoundRobin, None))
            .consume_with(4, async move |delivery: &Delivery<u64>| {
                if *delivery.job() == LONG {
                    begin.send(()).unwrap();
                    long.wait();
                }
                Ok(delivery.slot())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send(LONG).await.unwrap();
        begun.next("the long job has begun").await;
        producers.send_batch([0; 40]).await.unwrap();
        for _ in 0..40 {
            next_outcome(&mut results, "a short job is done").await;
        }
        block.release();
        next_outcome(&mut results, "the long job is done").await;
        // Its neighbour, which begun nothing and lost all, works again.
        let mut seen = BTreeMap::new();
        within("all four work again", async {
            while seen.len() < 4 {
                producers.send_batch([0; 8]).await.unwrap();
                for _ in 0..8 {
                    let outcome = next_outcome(&mut results, "a job is done").await;
                    *seen.entry(outcome.result.unwrap()).or_insert(0) += 1;
                }
            }
        })
        .await;
    });
}

#[test]
fn what_waits_for_a_full_consumer_goes_to_an_idle_one() {
    for strategy in [StrategyKind::RoundRobin, StrategyKind::Weighted] {
        paused(async move {
            let gate = Gate::shut();
            let narrow = |config: &mut GroupConfig| window(config, 1);
            let group = awaiting(local().configure(by(strategy, None)).configure(narrow), 2, &gate)
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            producers.send(LONG).await.unwrap();
            producers.send_batch(vec![1; 50]).await.unwrap();
            for _ in 0..50 {
                next_outcome(&mut results, "a short job is done").await;
            }
            gate.open();
        });
    }
}

#[test]
fn a_consumer_that_is_new_takes_what_a_busy_one_has_not_begun() {
    paused(async {
        let gate = Gate::shut();
        let group = awaiting(local(), 1, &gate).start().unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch([LONG, 0, 0, 0]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        group.scale(2);
        for _ in 0..3 {
            let outcome = next_outcome(&mut results, "a short job is done").await;
            assert_eq!(outcome.result.unwrap(), SlotId(1));
        }
        gate.open();
    });
}

#[test]
fn a_consumer_that_gives_signs_of_life_is_busy_all_the_same() {
    paused(async {
        let (stop, stopped) = (Gate::shut(), Gate::shut());
        let (working, told) = (stop.clone(), stopped.clone());
        let group: Group<u64, ()> = local()
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                while *delivery.job() == LONG && !working.is_open() {
                    delivery.extend();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                told.let_through(1);
                Ok(())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch([LONG, 0, 0, 0, 0]).await.unwrap();
        for _ in 0..4 {
            next_outcome(&mut results, "a short job is done").await;
        }
        stop.open();
        next_outcome(&mut results, "the long job is done").await;
    });
}

#[test]
fn with_strict_affinity_a_job_waits_for_the_consumer_of_its_key() {
    for strategy in [StrategyKind::ConsistentHash, StrategyKind::Sticky] {
        paused(async move {
            let gate = Gate::shut();
            let group = awaiting(local().configure(by(strategy, None)), 2, &gate)
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            producers.send(Job::new(LONG).key("a")).await.unwrap();
            producers.send(Job::new(0).key("a")).await.unwrap();
            let waits = tokio::time::timeout(Duration::from_secs(10), results.next()).await;
            assert!(waits.is_err(), "{strategy:?}");
            gate.open();
            let slots = [
                next_outcome(&mut results, "the long job is done")
                    .await
                    .result
                    .unwrap(),
                next_outcome(&mut results, "the short job is done")
                    .await
                    .result
                    .unwrap(),
            ];
            assert_eq!(slots[0], slots[1]);
        });
    }
}

#[test]
fn jobs_of_a_key_keep_their_order_when_they_are_taken_back() {
    for (strategy, affinity) in all() {
        paused(async move {
            let (gate, done) = (Gate::shut(), Log::new());
            let (pass, note) = (gate.clone(), done.clone());
            let group: Group<u64, ()> = local()
                .configure(by(strategy, affinity))
                .order_by_key()
                .consume_with(3, async move |delivery: &Delivery<u64>| {
                    if *delivery.job() == LONG {
                        pass.pass().await;
                    }
                    note.note((delivery.key().cloned(), *delivery.job()));
                    Ok(())
                })
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            producers.send_batch([LONG, LONG]).await.unwrap();
            for nth in 0..60 {
                let key = format!("key {}", nth % 5);
                producers.send(Job::new(nth).key(key.as_str())).await.unwrap();
            }
            for _ in 0..60 {
                next_outcome(&mut results, "a short job is done").await;
            }
            let mut last = BTreeMap::new();
            for (key, nth) in done.all() {
                assert!(
                    last.insert(key.map(|key| format!("{key}")), nth) < Some(nth),
                    "{strategy:?}"
                );
            }
            gate.open();
        });
    }
}

#[test]
fn round_robin_and_weights_stay_exact_over_equal_work() {
    for (strategy, weights, shares) in [
        (StrategyKind::RoundRobin, vec![], [50, 50]),
        (StrategyKind::Weighted, vec![3, 1], [75, 25]),
    ] {
        paused(async move {
            let group = awaiting(local().configure(by(strategy, None)), 2, &Gate::shut())
                .configure(|config| config.weights = weights)
                .start()
                .unwrap();
            let (producers, mut results) = group.producer_group();
            let mut counts = [0; 2];
            // Never more than both can do side by side: else the one with the smaller share has room first.
            for _ in 0..100 {
                producers.send(10).await.unwrap();
                let outcome = next_outcome(&mut results, "a job is done").await;
                counts[outcome.result.unwrap().0 as usize] += 1;
            }
            assert_eq!(counts, shares, "{strategy:?}");
        });
    }
    paused(async {
        let group = awaiting(local(), 4, &Gate::shut()).start().unwrap();
        let (producers, mut results) = group.producer_group();
        let mut counts = [0; 4];
        producers.send_batch(vec![10; 400]).await.unwrap();
        for _ in 0..400 {
            let outcome = next_outcome(&mut results, "a job is done").await;
            counts[outcome.result.unwrap().0 as usize] += 1;
        }
        assert_eq!(
            counts, [100; 4],
            "while all are busy nobody has room, so everyone keeps its turns"
        );
    });
}

#[test]
fn a_strategy_of_ones_own_that_insists_is_obeyed() {
    paused(async {
        let gate = Gate::shut();
        let group = awaiting(
            local().strategy(|| {
                strategy_fn(|_, roster| {
                    roster
                        .seat(0)
                        .map_or(consumer_group::strategy::Choice::Hold, |seat| {
                            consumer_group::strategy::Choice::Slot(seat.slot)
                        })
                })
            }),
            2,
            &gate,
        )
        .start()
        .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch([LONG, 0, 0]).await.unwrap();
        let waits = tokio::time::timeout(Duration::from_secs(1), results.next()).await;
        assert!(waits.is_err());
        gate.open();
        for _ in 0..3 {
            let outcome = next_outcome(&mut results, "a job is done").await;
            assert_eq!(outcome.result.unwrap(), SlotId(0));
        }
    });
}

#[test]
fn a_consumer_from_which_all_was_taken_back_and_that_never_moves_again_is_replaced() {
    system(async {
        let block = Block::new();
        let long = block.clone();
        let group: Group<u64, SlotId> = Group::builder()
            .placement(Placement::Dedicated)
            .configure(calm)
            .configure(|config| {
                config.deadline = Duration::from_millis(300);
                config.restart.kill_grace = Duration::from_millis(50);
            })
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                if *delivery.job() == LONG && long.is_first() {
                    let long = long.clone();
                    // A task of its own that blocks the thread of its consumer, which holds nothing by then.
                    actix::spawn(async move { long.wait() });
                }
                Ok(delivery.slot())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let (producers, mut results) = group.producer_group();
        producers.send(LONG).await.unwrap();
        let first = next_outcome(&mut results, "the job is done")
            .await
            .result
            .unwrap();
        producers.send_batch([0; 20]).await.unwrap();
        for _ in 0..20 {
            let outcome = next_outcome(&mut results, "a short job is done").await;
            assert!(outcome.result.is_ok());
        }
        event(&mut events, "the consumer is replaced", |kind| match kind {
            EventKind::ConsumerDown {
                slot, cause, held, ..
            } if *slot == first => {
                assert!(
                    matches!(cause, Cause::ThreadBlocked | Cause::DeadlinePassed(_)),
                    "{cause}"
                );
                assert_eq!(*held, 0);
                Some(())
            }
            _ => None,
        })
        .await;
        block.release();
    });
}

#[test]
fn a_batch_consumer_gives_up_what_is_not_in_its_batch() {
    paused(async {
        let group: Group<u64, SlotId> = local()
            .batch_consumers(
                2,
                BatchSize {
                    most: 2,
                    wait: Duration::ZERO,
                },
                || Batches,
            )
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send(LONG).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        producers.send_batch([0; 12]).await.unwrap();
        for _ in 0..12 {
            next_outcome(&mut results, "a short job is done").await;
        }
    });
}

/// The long one never ends.
struct Batches;

impl BatchConsumer for Batches {
    type Job = u64;
    type Output = SlotId;

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, SlotId>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            if *delivery.job() == LONG {
                std::future::pending::<()>().await;
            }
            let slot = delivery.slot();
            delivery.ack(slot);
        }
        Ok(())
    }
}

#[test]
fn what_is_in_the_mailbox_of_an_actor_stays_and_what_waits_for_it_goes() {
    paused(async {
        let gate = Gate::shut();
        let pass = gate.clone();
        let group: Group<u64, SlotId> = local()
            .configure(|config| window(config, 2))
            .actor_consumers(2, move |_| Handlers(pass.clone()))
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        // The first one gets the long job and one behind it; four more wait for its room, when it is their turn.
        producers.send(LONG).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        producers.send_batch((0..11).map(Job::new)).await.unwrap();
        let mut done = 0;
        while let Ok(Some(outcome)) = tokio::time::timeout(Duration::from_secs(5), results.next()).await {
            assert_eq!(outcome.result.unwrap(), SlotId(1));
            done += 1;
        }
        assert_eq!(done, 10, "one is in the mailbox of the busy one");
        gate.open();
        for _ in 0..2 {
            let outcome = next_outcome(&mut results, "the rest is done").await;
            assert_eq!(outcome.result.unwrap(), SlotId(0));
        }
    });
}

/// Does one delivery after the other, and the long one when the gate opens.
struct Handlers(Gate);

impl Actor for Handlers {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, SlotId>> for Handlers {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, delivery: Deliver<u64, SlotId>, _: &mut Context<Self>) -> Self::Result {
        let gate = self.0.clone();
        let work = async move {
            if *delivery.job() == LONG {
                gate.pass().await;
            }
            let slot = delivery.slot();
            delivery.ack(slot);
        };
        AtomicResponse::new(Box::pin(work.into_actor(self)))
    }
}

#[test]
fn a_failure_after_a_recall_is_the_first_attempt() {
    paused(async {
        let gate = Gate::shut();
        let pass = gate.clone();
        let group: Group<u64, u32> = local()
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                match *delivery.job() {
                    LONG => pass.pass().await,
                    _ if delivery.attempt() == 1 => return Err(Failure::retry("once")),
                    _ => {}
                }
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch([LONG, 0, 0, 0, 0]).await.unwrap();
        for _ in 0..4 {
            assert_eq!(
                next_outcome(&mut results, "a short job is done")
                    .await
                    .result
                    .unwrap(),
                2
            );
        }
        gate.open();
    });
}
