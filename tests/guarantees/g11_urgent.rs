//! Guarantee 11, its second half: an urgent job overtakes what has not begun.

use std::time::Duration;

use actix::{Actor, AtomicResponse, Context, Handler, WrapFuture};
use consumer_group::config::Affinity;
use consumer_group::{
    BatchConsumer, BatchSize, Deliver, Delivery, EventKind, Failure, Group, GroupBuilder, GroupConfig, Job,
    Placement, Producer, SlotId, StrategyKind,
};

use crate::common::{Gate, Log, Probe, calm, event, local, paused, probe, system, told, window, within};

/// Every built-in strategy, with every affinity that it knows.
fn all() -> impl Iterator<Item = (StrategyKind, Option<Affinity>)> {
    StrategyKind::ALL.iter().flat_map(|kind| {
        let known: &[_] = match kind.binds_keys() {
            true => &[Some(Affinity::Prefer), Some(Affinity::Strict)],
            false => &[None],
        };
        known.iter().map(|affinity| (*kind, *affinity))
    })
}

/// Those with which any consumer may get any job.
fn free() -> impl Iterator<Item = (StrategyKind, Option<Affinity>)> {
    all().filter(|(_, affinity)| *affinity != Some(Affinity::Strict))
}

fn by((strategy, affinity): (StrategyKind, Option<Affinity>)) -> impl FnOnce(&mut GroupConfig) {
    move |config| {
        config.strategy = strategy;
        config.affinity = affinity;
    }
}

/// A job below this takes as many milliseconds as the test says; the others are urgent and take none.
const URGENT: u64 = 1_000;

/// Who began what.
type Begun = (SlotId, u64);

/// Plain jobs, each with a key of its own.
fn plain(count: u64) -> Vec<Job<u64>> {
    (0..count)
        .map(|number| Job::new(number).key(format!("key {number}").as_str()))
        .collect()
}

fn urgent(number: u64, priority: u8) -> Job<u64> {
    Job::new(URGENT + number)
        .priority(priority)
        .key(format!("urgent {number}").as_str())
}

/// A group in which every consumer notes what it begins, and then waits at the gate of its slot.
fn gated(builder: GroupBuilder<u64, ()>, gates: &[Gate]) -> (Group<u64, ()>, Probe<Begun>) {
    let (note, begun) = probe();
    let (own, count) = (gates.to_vec(), gates.len());
    let group = builder
        .consume_with(count, async move |delivery: &Delivery<u64>| {
            let slot = delivery.slot();
            note.send((slot, *delivery.job())).unwrap();
            own[slot.0 as usize].pass().await;
            Ok(())
        })
        .start()
        .unwrap();
    (group, begun)
}

/// As [`gated`], where a plain job takes `ms` or a little more, so that not all end at the same moment.
fn timed(builder: GroupBuilder<u64, ()>, consumers: usize, ms: u64) -> (Group<u64, ()>, Log<Begun>) {
    let begun = Log::new();
    let note = begun.clone();
    let group = builder
        .consume_with(consumers, async move |delivery: &Delivery<u64>| {
            note.note((delivery.slot(), *delivery.job()));
            if *delivery.job() < URGENT {
                tokio::time::sleep(Duration::from_millis(ms + delivery.job() % (ms / 4 + 1))).await;
            }
            Ok(())
        })
        .start()
        .unwrap();
    (group, begun)
}

/// A producer of a group whose windows are full of so many plain jobs. What began meanwhile is taken out.
async fn full<B: Send + 'static>(
    group: &Group<u64, ()>,
    jobs: u64,
    begun: &mut Probe<B>,
) -> Producer<u64, ()> {
    let producer = group.producer();
    producer.send_batch(plain(jobs)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    begun.so_far();
    producer
}

/// Sends a job, and waits until the group has looked who makes way for it.
async fn send_and_look(producer: &Producer<u64, ()>, job: Job<u64>) {
    producer.send(job).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// How many plain jobs each consumer began before the last urgent one, of those that were noted after the first `from`.
fn ahead(begun: &Log<Begun>, from: usize) -> Vec<usize> {
    let all = begun.all().split_off(from);
    let last = all.iter().rposition(|(_, job)| *job >= URGENT).unwrap();
    let mut counts = vec![0; 8];
    for (slot, _) in all[..last].iter().filter(|(_, job)| *job < URGENT) {
        counts[slot.0 as usize] += 1;
    }
    counts
}

#[test]
fn an_urgent_job_begins_next_at_the_first_consumer_that_ends_the_job_in_its_hand() {
    for strategy in free() {
        for first in 0..3 {
            paused(async move {
                let gates = [Gate::shut(), Gate::shut(), Gate::shut()];
                let (group, mut begun) = gated(local().configure(by(strategy)), &gates);
                let producer = full(&group, 200, &mut begun).await;
                send_and_look(&producer, urgent(0, 1)).await;
                gates[first].let_through(1);
                assert_eq!(
                    begun.next("the next job begins").await,
                    (SlotId(first as u32), URGENT),
                    "{strategy:?}"
                );
            });
        }
    }
}

#[test]
fn with_strict_affinity_it_begins_next_at_its_own_consumer() {
    for strategy in all().filter(|(_, affinity)| *affinity == Some(Affinity::Strict)) {
        paused(async move {
            let gates = [Gate::shut(), Gate::shut(), Gate::shut()];
            let (group, mut begun) = gated(local().configure(by(strategy)), &gates);
            let producer = full(&group, 200, &mut begun).await;
            send_and_look(&producer, urgent(0, 1)).await;
            for gate in &gates {
                gate.let_through(1);
            }
            let three = [
                begun.next("a job begins").await,
                begun.next("a job begins").await,
                begun.next("a job begins").await,
            ];
            assert!(
                three.iter().any(|(_, job)| *job == URGENT),
                "{strategy:?}: {three:?}"
            );
        });
    }
}

#[test]
fn an_urgent_job_begins_after_at_most_one_job_of_each_consumer_with_every_strategy() {
    for strategy in all() {
        for ms in [1, 3, 20] {
            paused(async move {
                let (group, begun) = timed(local().configure(by(strategy)), 4, ms);
                let producer = group.producer();
                producer.send_batch(plain(400)).await.unwrap();
                for nth in 0..5 {
                    tokio::time::sleep(Duration::from_millis(4 * ms + ms / 3)).await;
                    let from = begun.len();
                    within("it is done", producer.call(urgent(nth, 1))).await.unwrap();
                    let ahead = ahead(&begun, from);
                    // One job that takes as long as two looks may begin while the look is on its way.
                    let most = if ms < 5 { 2 } else { 1 };
                    assert!(
                        ahead.iter().all(|count| *count <= most),
                        "{strategy:?}, {ms} ms: {ahead:?}"
                    );
                }
            });
        }
    }
}

#[test]
fn the_more_urgent_one_goes_first_also_among_those_that_wait() {
    for strategy in free() {
        paused(async move {
            let gates = [Gate::shut(), Gate::shut()];
            let (group, mut begun) = gated(local().configure(by(strategy)), &gates);
            let producer = full(&group, 50, &mut begun).await;
            for (nth, priority) in [(0, 1), (1, 3), (2, 2), (3, 3)] {
                send_and_look(&producer, urgent(nth, priority)).await;
            }
            let mut order = Vec::new();
            for _ in 0..4 {
                gates[1].let_through(1);
                order.push(begun.next("the next job begins").await.1);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let urgent = [1, 3, 2, 0].map(|nth| URGENT + nth);
            assert_eq!(order, urgent, "{strategy:?}");
        });
    }
}

#[test]
fn more_urgent_jobs_than_the_group_holds_go_before_all_others() {
    for strategy in free() {
        paused(async move {
            let (group, begun) = timed(local().configure(by(strategy)), 4, 20);
            let producer = group.producer();
            producer.send_batch(plain(400)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let from = begun.len();
            let jobs: Vec<_> = (0..500).map(|nth| urgent(nth, 1)).collect();
            producer.send_batch(jobs).await.unwrap();
            within("all are begun", async {
                while begun.all().iter().filter(|(_, job)| *job >= URGENT).count() < 500 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
            let ahead = ahead(&begun, from);
            assert!(ahead.iter().all(|count| *count <= 1), "{strategy:?}: {ahead:?}");
        });
    }
}

#[test]
fn where_all_are_equally_urgent_nothing_is_taken_back() {
    paused(async {
        let begun = Log::new();
        let note = begun.clone();
        let group: Group<u64, ()> = local()
            .consume_with(4, async move |delivery: &Delivery<u64>| {
                note.note((delivery.slot(), *delivery.job()));
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            })
            .start()
            .unwrap();
        let mut events = group.all_events();
        let producer = group.producer();
        let jobs = (0..400).map(|nth| Job::new(nth).priority(7));
        producer.send_batch(jobs).await.unwrap();
        while begun.len() < 400 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if begun.len() < 380 {
                let recalled = |kind: &EventKind| matches!(kind, EventKind::Recalled { .. });
                assert!(!told(&mut events).iter().any(recalled));
            }
        }
        let mut shares = [0; 4];
        for (slot, _) in begun.all() {
            shares[slot.0 as usize] += 1;
        }
        assert_eq!(shares, [100; 4]);
    });
}

#[test]
fn an_urgent_job_waits_for_an_earlier_one_of_its_key() {
    for strategy in all() {
        paused(async move {
            let gates = [Gate::shut(), Gate::shut()];
            let (group, mut begun) = gated(local().configure(by(strategy)).order_by_key(), &gates);
            let producer = full(&group, 20, &mut begun).await;
            let waits = Job::new(URGENT).priority(9).key("key 19");
            producer.send(waits).await.unwrap();
            send_and_look(&producer, urgent(1, 1)).await;
            gates.iter().for_each(Gate::open);
            let mut order = Vec::new();
            while order.len() < 20 {
                order.push(begun.next("a job begins").await);
            }
            let place = |job: u64| order.iter().position(|begun| begun.1 == job).unwrap();
            assert!(place(19) < place(URGENT), "{strategy:?}: {order:?}");
            // The other one begins next where it lies: no plain job of that consumer stands before it.
            let free = place(URGENT + 1);
            assert!(
                order[..free].iter().all(|begun| begun.0 != order[free].0),
                "{strategy:?}: {order:?}"
            );
        });
    }
}

#[test]
fn a_consumer_that_dies_with_an_urgent_job_hands_it_to_the_next_before_all_others() {
    for strategy in free() {
        paused(async move {
            let (gate, begun) = (Gate::shut(), Log::new());
            let (pass, note) = (gate.clone(), begun.clone());
            let group: Group<u64, ()> = local()
                .configure(by(strategy))
                .consume_with(2, async move |delivery: &Delivery<u64>| {
                    note.note((delivery.attempt(), *delivery.job()));
                    match *delivery.job() {
                        URGENT if delivery.attempt() == 1 => panic!("it dies with the urgent one"),
                        URGENT => {}
                        _ => pass.pass().await,
                    }
                    Ok(())
                })
                .start()
                .unwrap();
            let producer = group.producer();
            producer.send_batch(plain(50)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            send_and_look(&producer, urgent(0, 1)).await;
            let from = begun.len();
            gate.let_through(1);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(begun.all()[from..].first(), Some(&(1, URGENT)), "{strategy:?}");
            // The other one, or the successor, takes it up again.
            gate.let_through(1);
            tokio::time::sleep(Duration::from_millis(10)).await;
            let between: Vec<_> = begun.all()[from + 1..].to_vec();
            let again = between.iter().position(|begun| *begun == (2, URGENT)).unwrap();
            assert!(again <= 1, "{strategy:?}: {between:?}");
        });
    }
}

#[test]
fn a_drain_does_the_urgent_ones_first_and_all_of_the_others() {
    for strategy in free() {
        paused(async move {
            let (group, begun) = timed(local().configure(by(strategy)), 2, 20);
            let producer = group.producer();
            producer.send_batch(plain(60)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let from = begun.len();
            producer
                .send_batch((0..10).map(|nth| urgent(nth, 1)))
                .await
                .unwrap();
            let drained = group.drain(Duration::from_secs(60)).await;
            assert!(drained.unfinished.is_empty() && drained.dead_letters.is_empty());
            assert_eq!(begun.len(), 70);
            let ahead = ahead(&begun, from);
            assert!(ahead.iter().all(|count| *count <= 1), "{strategy:?}: {ahead:?}");
        });
    }
}

#[test]
fn an_urgent_job_passes_what_waits_for_consumers_that_block_their_threads() {
    for strategy in free() {
        system(async move {
            let (note, mut begun) = probe();
            let (open, shut) = std::sync::mpsc::channel::<()>();
            let shut = std::sync::Arc::new(std::sync::Mutex::new(shut));
            let group: Group<u64, ()> = Group::builder()
                .placement(Placement::Dedicated)
                .configure(calm)
                .configure(by(strategy))
                .consume_with(2, async move |delivery: &Delivery<u64>| {
                    note.send(*delivery.job()).unwrap();
                    // Whoever comes first waits alone; the end of the channel lets everybody through.
                    let _ = shut.lock().unwrap().recv();
                    Ok(())
                })
                .start()
                .unwrap();
            let mut events = group.all_events();
            let producer = group.producer();
            producer.send_batch(plain(30)).await.unwrap();
            begun.next("the first one begins").await;
            begun.next("another one begins").await;
            producer.send(urgent(0, 1)).await.unwrap();
            event(&mut events, "the others make way", |kind| {
                matches!(kind, EventKind::Recalled { .. }).then_some(())
            })
            .await;
            open.send(()).unwrap();
            assert_eq!(begun.next("the next one begins").await, URGENT, "{strategy:?}");
            drop(open);
        });
    }
}

#[test]
fn a_batch_consumer_takes_an_urgent_job_into_its_next_batch() {
    paused(async {
        let (gate, (note, mut begun)) = (Gate::shut(), probe());
        let pass = gate.clone();
        let group: Group<u64, ()> = local()
            .batch_consumers(
                2,
                BatchSize {
                    most: 4,
                    wait: Duration::ZERO,
                },
                move || Batches(pass.clone(), note.clone()),
            )
            .start()
            .unwrap();
        let producer = full(&group, 60, &mut begun).await;
        send_and_look(&producer, urgent(0, 1)).await;
        gate.let_through(1);
        let batch = begun.next("the next batch begins").await;
        assert_eq!(batch.first(), Some(&URGENT), "{batch:?}");
    });
}

/// Notes its batches, and waits at a gate with each.
struct Batches(Gate, tokio::sync::mpsc::UnboundedSender<Vec<u64>>);

impl BatchConsumer for Batches {
    type Job = u64;
    type Output = ();

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, ()>>) -> Result<(), Failure> {
        let jobs = batch.iter().map(|delivery| *delivery.job()).collect();
        self.1.send(jobs).unwrap();
        self.0.pass().await;
        batch.drain(..).for_each(|delivery| delivery.ack(()));
        Ok(())
    }
}

#[test]
fn an_actor_of_ones_own_gets_an_urgent_job_as_soon_as_it_has_room() {
    paused(async {
        let (gate, (note, mut begun)) = (Gate::shut(), probe());
        let pass = gate.clone();
        let group: Group<u64, ()> = local()
            .configure(|config| window(config, 3))
            .actor_consumers(1, move |_| Handlers(pass.clone(), note.clone()))
            .start()
            .unwrap();
        let producer = full(&group, 60, &mut begun).await;
        send_and_look(&producer, urgent(0, 1)).await;
        // Two are in its mailbox, where nobody but the actor can take them out.
        for _ in 0..2 {
            gate.let_through(1);
            assert!(begun.next("a plain job begins").await < URGENT);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gate.let_through(1);
        assert_eq!(begun.next("the urgent job begins").await, URGENT);
    });
}

/// Does one delivery after the other.
struct Handlers(Gate, tokio::sync::mpsc::UnboundedSender<u64>);

impl Actor for Handlers {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, ()>> for Handlers {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, delivery: Deliver<u64, ()>, _: &mut Context<Self>) -> Self::Result {
        self.1.send(*delivery.job()).unwrap();
        let gate = self.0.clone();
        let work = async move {
            gate.pass().await;
            delivery.ack(());
        };
        AtomicResponse::new(Box::pin(work.into_actor(self)))
    }
}

#[test]
fn urgent_jobs_beyond_the_windows_have_a_bound() {
    paused(async {
        let gates = [Gate::shut(), Gate::shut()];
        let (group, _begun) = gated(local().configure(|config| window(config, 16)), &gates);
        let producer = group.producer();
        producer.send_batch(plain(200)).await.unwrap();
        producer
            .send_batch((0..1_000).map(|nth| urgent(nth, 1)))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let leased = group.health().await.unwrap().leased;
        // What waits for a consumer, in the ledger and parked for one, and what both windows hold.
        assert!(leased <= 64 + 64 + 2 * 16 * 2, "{leased}");
    });
}
