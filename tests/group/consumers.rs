//! Consumers: the three doors, and every way in which a consumer can fail.

use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use crate::common::{
    Block, Gate, Log, calm, event, given_up, local, next_outcome, paused, probe, system, told, window, within,
};
use actix::prelude::*;
use consumer_group::{
    BatchConsumer, BatchSize, Cause, Consumer, ConsumerInfo, DeadReason, Deliver, Delivery, EventKind,
    Failure, Group, GroupConfig, Incarnation, JobId, Placement, SlotId,
};

/// ConsumerAddr 1 with a state of its own, a start and futures that cannot leave their thread.
struct Counter {
    done: Rc<std::cell::Cell<u32>>,
    seat: Option<(SlotId, Incarnation)>,
}

impl Consumer for Counter {
    type Job = u64;
    type Output = (u32, SlotId, Incarnation);

    async fn started(&mut self, consumer: &ConsumerInfo) -> Result<(), Failure> {
        tokio::task::yield_now().await;
        self.seat = Some((consumer.slot, consumer.incarnation));
        Ok(())
    }

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<Self::Output, Failure> {
        let kept = Rc::clone(&self.done);
        tokio::time::sleep(Duration::from_millis(1)).await;
        kept.set(kept.get() + 1);
        assert_ne!(*delivery.job(), 666, "dies");
        let (slot, incarnation) = self.seat.unwrap();
        Ok((kept.get(), slot, incarnation))
    }
}

#[test]
fn a_consumer_keeps_its_state_over_jobs_and_a_replacement_begins_afresh() {
    for placement in [Placement::Local, Placement::Arbiters(2), Placement::Dedicated] {
        system(async move {
            let group = Group::builder()
                .placement(placement)
                .configure(calm)
                .configure(|config| config.retry.attempts = 1)
                .consumers(1, || Counter {
                    done: Rc::default(),
                    seat: None,
                })
                .start()
                .unwrap();
            let producer = group.producer();
            let call = |job| within("a job is done", producer.call(job));
            assert_eq!(call(1).await.unwrap(), (1, SlotId(0), Incarnation(1)));
            assert_eq!(call(2).await.unwrap(), (2, SlotId(0), Incarnation(1)));
            assert!(call(666).await.is_err());
            assert_eq!(call(3).await.unwrap(), (1, SlotId(0), Incarnation(2)));
        });
    }
}

#[test]
fn a_consumer_gets_one_delivery_at_a_time() {
    paused(async {
        let running = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let group = local()
            .consume_with(1, async move |_: &Delivery<u64>| {
                use std::sync::atomic::Ordering::Relaxed;
                assert_eq!(running.fetch_add(1, Relaxed), 0, "two at once");
                tokio::time::sleep(Duration::from_millis(3)).await;
                running.fetch_sub(1, Relaxed);
                Ok(())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..20).await.unwrap();
        for _ in 0..20 {
            assert!(next_outcome(&mut results, "a job ends").await.result.is_ok());
        }
    });
}

#[test]
fn an_error_of_any_type_is_a_retry_and_its_causes_are_told() {
    paused(async {
        let group: Group<String, u32> = local()
            .configure(|config| config.retry.attempts = 1)
            .consume_with(1, async |delivery: &Delivery<String>| {
                Ok(delivery.job().parse::<u32>()?)
            })
            .start()
            .unwrap();
        let producer = group.producer();
        assert_eq!(producer.call("7".to_owned()).await.unwrap(), 7);
        let letter = given_up(producer.call("seven".to_owned()).await);
        assert_eq!(
            letter.history[0].cause,
            Cause::Failed("invalid digit found in string".into())
        );
    });
}

/// How the actor below treats a delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Acks,
    Fails,
    Rejects,
    Drops,
    Keeps,
    PanicsInTheHandler,
    PanicsInAnActorFuture,
    PanicsInAResponseFuture,
    PanicsInAnAtomicResponse,
    PanicsInRunLater,
    StopsItself,
    TerminatesItself,
    StopsItsArbiter,
}

/// What happens while it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Quiet,
    StoppingPanics,
    StoppingContinues,
    StoppedPanics,
    DropPanics,
}

/// ConsumerAddr 2: treats first attempts as the job says, and acks later ones.
struct Plain {
    ending: Ending,
    kept: Vec<Deliver<Way, u32>>,
}

impl Actor for Plain {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        match self.ending {
            Ending::StoppingPanics => panic!("stopping panics"),
            Ending::StoppingContinues => Running::Continue,
            _ => Running::Stop,
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        assert!(self.ending != Ending::StoppedPanics, "stopped panics");
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // A second panic while unwinding would end the process whoever runs the actor.
        assert!(
            self.ending != Ending::DropPanics || std::thread::panicking(),
            "drop panics"
        );
    }
}

/// The same deliveries again, in the kinds of futures that a handler may return.
struct Inner<T>(Deliver<Way, u32>, PhantomData<fn(T)>);

impl<T> Message for Inner<T> {
    type Result = ();
}

struct AsActorFuture;
struct AsAtomic;
struct AsFree;

impl Handler<Inner<AsActorFuture>> for Plain {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, message: Inner<AsActorFuture>, _: &mut Self::Context) -> Self::Result {
        let work = async move {
            message.0.job();
            tokio::task::yield_now().await;
            panic!("in an actor future")
        };
        Box::pin(work.into_actor(self))
    }
}

impl Handler<Inner<AsAtomic>> for Plain {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, message: Inner<AsAtomic>, _: &mut Self::Context) -> Self::Result {
        let work = async move {
            message.0.job();
            tokio::task::yield_now().await;
            panic!("in an atomic response")
        };
        AtomicResponse::new(Box::pin(work.into_actor(self)))
    }
}

impl Handler<Inner<AsFree>> for Plain {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Inner<AsFree>, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            message.0.job();
            tokio::task::yield_now().await;
            panic!("in a free future")
        })
    }
}

impl Handler<Deliver<Way, u32>> for Plain {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<Way, u32>, context: &mut Self::Context) {
        let (way, attempt) = (*delivery.job(), delivery.attempt());
        if attempt > 1 {
            return delivery.ack(attempt);
        }
        match way {
            Way::Acks => delivery.ack(attempt),
            Way::Fails => delivery.fail(Failure::retry("no luck")),
            Way::Rejects => delivery.finish(Err(Failure::reject("never"))),
            Way::Drops => drop(delivery),
            Way::Keeps => self.kept.push(delivery),
            Way::PanicsInTheHandler => panic!("in the handler"),
            Way::PanicsInAnActorFuture => context.notify(Inner::<AsActorFuture>(delivery, PhantomData)),
            Way::PanicsInAResponseFuture => context.notify(Inner::<AsFree>(delivery, PhantomData)),
            Way::PanicsInAnAtomicResponse => context.notify(Inner::<AsAtomic>(delivery, PhantomData)),
            Way::PanicsInRunLater => {
                context.run_later(Duration::from_millis(1), move |_, _| {
                    delivery.job();
                    panic!("in run_later")
                });
            }
            Way::StopsItself => {
                self.kept.push(delivery);
                context.stop();
            }
            Way::TerminatesItself => {
                self.kept.push(delivery);
                context.terminate();
            }
            Way::StopsItsArbiter => {
                self.kept.push(delivery);
                Arbiter::current().stop();
            }
        }
    }
}

fn plain(placement: Placement, ending: Ending) -> Group<Way, u32> {
    Group::builder()
        .placement(placement)
        .configure(calm)
        .configure(|config| config.deadline = Duration::from_millis(2_000))
        .actor_consumers(1, move |_: &ConsumerInfo| Plain {
            ending,
            kept: Vec::new(),
        })
        .start()
        .unwrap()
}

/// How the first attempt ended, by its record in the events; and in which attempt the job was done.
async fn first_attempt(placement: Placement, ending: Ending, way: Way) -> (Cause, u32) {
    let group = plain(placement, ending);
    let mut events = group.events();
    let attempt = within(&format!("{way:?} is done"), group.producer().call(way))
        .await
        .unwrap();
    let cause = event(
        &mut events,
        &format!("{way:?} is tried again"),
        |kind| match kind {
            EventKind::Retried { record, .. } => Some(record.cause.clone()),
            _ => None,
        },
    )
    .await;
    let again = within("the group goes on", group.producer().call(Way::Acks)).await;
    assert_eq!(again.unwrap(), 1, "{way:?}");
    (cause, attempt)
}

#[test]
fn an_actor_acks_fails_and_rejects() {
    paused(async {
        let group = plain(Placement::Local, Ending::Quiet);
        assert_eq!(group.producer().call(Way::Acks).await.unwrap(), 1);
        assert_eq!(group.producer().call(Way::Fails).await.unwrap(), 2);
        let letter = given_up(group.producer().call(Way::Rejects).await);
        assert_eq!(letter.reason, DeadReason::Rejected("never".into()));
        assert_eq!(group.health().await.unwrap().slots[0].restarts, 0);
    });
}

#[test]
fn a_delivery_that_is_dropped_without_a_word_is_tried_again_and_its_actor_lives_on() {
    paused(async {
        let group = plain(Placement::Local, Ending::Quiet);
        let mut events = group.events();
        assert_eq!(
            within("it is done", group.producer().call(Way::Drops))
                .await
                .unwrap(),
            2
        );
        assert_eq!(
            within("it is done", group.producer().call(Way::PanicsInAResponseFuture))
                .await
                .unwrap(),
            2
        );
        let causes: Vec<_> = told(&mut events)
            .into_iter()
            .filter_map(|kind| match kind {
                EventKind::Retried { record, .. } => Some(record.cause),
                _ => None,
            })
            .collect();
        assert_eq!(causes, [Cause::Abandoned, Cause::Abandoned]);
        assert_eq!(group.health().await.unwrap().slots[0].restarts, 0);
    });
}

#[test]
fn a_panic_in_any_kind_of_handler_ends_the_actor_and_the_job_is_done_by_the_next_one() {
    let ways = [
        (Way::PanicsInTheHandler, "in the handler"),
        (Way::PanicsInAnActorFuture, "in an actor future"),
        (Way::PanicsInAnAtomicResponse, "in an atomic response"),
        (Way::PanicsInRunLater, "in run_later"),
    ];
    for placement in [Placement::Local, Placement::Dedicated] {
        for (way, message) in ways {
            system(async move {
                let (cause, attempt) = first_attempt(placement, Ending::Quiet, way).await;
                let Cause::Panicked(report) = cause else {
                    panic!("{way:?}: {cause}")
                };
                assert_eq!(&*report.message, message);
                assert!(report.place.unwrap().contains("consumers.rs:"));
                assert_eq!(attempt, 2);
            });
        }
    }
}

/// With plain actix the first two of these end the whole process.
#[test]
fn an_actor_that_panics_again_while_it_ends_harms_nobody() {
    let endings = [
        Ending::StoppingPanics,
        Ending::StoppingContinues,
        Ending::StoppedPanics,
        Ending::DropPanics,
    ];
    for ending in endings {
        for way in [
            Way::PanicsInTheHandler,
            Way::PanicsInAnActorFuture,
            Way::PanicsInAnAtomicResponse,
            Way::PanicsInRunLater,
        ] {
            system(async move {
                let (cause, _) = first_attempt(Placement::Local, ending, way).await;
                assert!(
                    matches!(cause, Cause::Panicked(_)),
                    "{ending:?}, {way:?}: {cause}"
                );
            });
        }
    }
}

#[test]
fn an_actor_that_refuses_to_stop_is_ended_all_the_same_when_the_group_does() {
    for ending in [Ending::StoppingContinues, Ending::StoppingPanics] {
        system(async move {
            let group = plain(Placement::Arbiters(1), ending);
            assert_eq!(group.producer().call(Way::Acks).await.unwrap(), 1);
            within("the group stops", group.stop()).await;
        });
    }
}

#[test]
fn an_actor_that_ends_itself_with_a_delivery_in_its_hands_is_replaced() {
    for way in [Way::StopsItself, Way::TerminatesItself] {
        paused(async move {
            let (cause, attempt) = first_attempt(Placement::Local, Ending::Quiet, way).await;
            assert_eq!((cause, attempt), (Cause::Stopped, 2));
        });
    }
}

#[test]
fn a_consumer_that_stops_its_arbiter_is_replaced_on_another_one() {
    system(async {
        let group = plain(Placement::Dedicated, Ending::Quiet);
        let mut events = group.events();
        let done = within(
            "the job is done elsewhere",
            group.producer().call(Way::StopsItsArbiter),
        )
        .await;
        assert_eq!(
            done.unwrap(),
            2,
            "a job that ends arbiters for ever is poison as well"
        );
        let cause = event(&mut events, "the death is told", |kind| match kind {
            EventKind::ConsumerDown { cause, .. } => Some(cause.clone()),
            _ => None,
        })
        .await;
        assert_eq!(cause, Cause::ArbiterEnded);
    });
}

#[test]
fn a_delivery_that_an_actor_keeps_past_the_deadline_goes_to_its_replacement() {
    paused(async {
        let (cause, attempt) = first_attempt(Placement::Local, Ending::Quiet, Way::Keeps).await;
        assert_eq!(
            (cause, attempt),
            (Cause::DeadlinePassed(Duration::from_millis(2_000)), 2)
        );
    });
}

/// What a batch consumer does with a batch.
type Treatment = fn(&mut Vec<Deliver<u64, u64>>) -> Result<(), Failure>;

/// ConsumerAddr 3.
struct Batches {
    sizes: Log<usize>,
    way: Treatment,
}

impl BatchConsumer for Batches {
    type Job = u64;
    type Output = u64;

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
        self.sizes.note(batch.len());
        tokio::task::yield_now().await;
        (self.way)(batch)
    }
}

fn ack_all(batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
    for delivery in batch.drain(..) {
        let output = delivery.job() + 1;
        delivery.ack(output);
    }
    Ok(())
}

fn batches(most: usize, wait: Duration, way: Treatment) -> (Group<u64, u64>, Log<usize>) {
    batches_with(|config| config.retry.attempts = 3, most, wait, way)
}

fn batches_with(
    set: impl FnOnce(&mut GroupConfig),
    most: usize,
    wait: Duration,
    way: Treatment,
) -> (Group<u64, u64>, Log<usize>) {
    let sizes = Log::new();
    let noted = sizes.clone();
    let group = local()
        .configure(set)
        .batch_consumers(1, BatchSize { most, wait }, move || Batches {
            sizes: noted.clone(),
            way,
        })
        .start()
        .unwrap();
    (group, sizes)
}

/// A deadline that is soon over.
fn short_deadline(config: &mut GroupConfig) {
    config.deadline = Duration::from_millis(2_000);
}

async fn outcomes(group: &Group<u64, u64>, jobs: std::ops::Range<u64>) -> Vec<Result<u64, DeadReason>> {
    let (producers, mut results) = group.producer_group();
    let ids: Vec<JobId> = producers.send_batch(jobs).await.unwrap();
    let mut found = std::collections::BTreeMap::new();
    for _ in &ids {
        let outcome = next_outcome(&mut results, "a job ends").await;
        let result = outcome.result.map_err(|letter| letter.reason.clone());
        assert!(found.insert(outcome.id, result).is_none());
    }
    ids.iter().map(|id| found[id].clone()).collect()
}

#[test]
fn a_batch_closes_when_it_is_full() {
    paused(async {
        let (group, sizes) = batches(50, Duration::from_secs(3_600), ack_all);
        let before = tokio::time::Instant::now();
        let outputs = outcomes(&group, 0..100).await;
        assert_eq!(outputs, (1..=100).map(Ok).collect::<Vec<_>>());
        assert_eq!(sizes.all(), [50, 50]);
        assert_eq!(before.elapsed(), Duration::ZERO, "full batches wait for nothing");
    });
}

#[test]
fn a_batch_closes_when_its_first_delivery_has_waited_long_enough() {
    paused(async {
        let (group, sizes) = batches(50, Duration::from_millis(300), ack_all);
        let before = tokio::time::Instant::now();
        assert_eq!(outcomes(&group, 0..7).await.len(), 7);
        assert_eq!(sizes.all(), [7]);
        assert_eq!(before.elapsed(), Duration::from_millis(300));
    });
}

#[test]
fn the_wait_for_a_batch_is_no_hang() {
    paused(async {
        let (group, sizes) = batches_with(short_deadline, 50, Duration::from_secs(60), ack_all);
        let mut events = group.events();
        assert_eq!(outcomes(&group, 0..3).await.len(), 3);
        let deaths = told(&mut events)
            .into_iter()
            .filter(|kind| matches!(kind, EventKind::ConsumerDown { .. }))
            .count();
        assert_eq!((deaths, sizes.all()), (0, vec![3]));
    });
}

/// A batch consumer that waits for its next batch does not rest: what it gave to a task may hang there.
#[test]
fn deliveries_that_a_batch_gave_to_a_task_and_that_never_end_go_to_its_replacement() {
    paused(async {
        let give_away: Treatment = |batch| {
            for delivery in batch.drain(..) {
                if delivery.attempt() == 1 {
                    actix::spawn(async move {
                        std::future::pending::<()>().await;
                        drop(delivery);
                    });
                } else {
                    let attempt = u64::from(delivery.attempt());
                    delivery.ack(attempt);
                }
            }
            Ok(())
        };
        let (group, _) = batches_with(short_deadline, 10, Duration::from_millis(5), give_away);
        assert_eq!(outcomes(&group, 0..3).await, vec![Ok(2); 3]);
    });
}

#[test]
fn deliveries_that_a_batch_leaves_behind_are_tried_again() {
    paused(async {
        let (group, _) = batches(10, Duration::ZERO, |batch| {
            for delivery in std::mem::take(batch) {
                if delivery.attempt() > 1 || delivery.job() % 2 == 0 {
                    let attempt = u64::from(delivery.attempt());
                    delivery.ack(attempt);
                } else {
                    batch.push(delivery);
                }
            }
            Ok(())
        });
        let attempts = outcomes(&group, 0..6).await;
        assert_eq!(attempts, [1, 2, 1, 2, 1, 2].map(Ok));
    });
}

#[test]
fn a_batch_that_fails_fails_for_the_deliveries_that_are_left_in_it() {
    paused(async {
        let (group, _) = batches(10, Duration::ZERO, |batch| {
            let rest = batch.split_off(1);
            ack_all(batch)?;
            *batch = rest;
            Err(Failure::reject("the sink is full"))
        });
        group.pause();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..3).await.unwrap();
        crate::common::settle_down().await;
        group.resume();
        let mut ended = Vec::new();
        for _ in 0..3 {
            ended.push(next_outcome(&mut results, "a job ends").await.result.is_ok());
        }
        ended.sort_unstable();
        assert_eq!(ended, [false, false, true]);
        for letter in group.dead_letters().list(9).await.unwrap() {
            assert_eq!(letter.reason, DeadReason::Rejected("the sink is full".into()));
        }
    });
}

#[test]
fn a_batch_that_panics_costs_an_attempt_only_those_that_were_in_it_and_not_settled() {
    paused(async {
        let (group, _) = batches(4, Duration::ZERO, |batch| {
            if let Some(first) = batch
                .iter()
                .position(|delivery| *delivery.job() == 0 && delivery.attempt() == 1)
            {
                batch.remove(first).ack(100);
                panic!("the sink broke");
            }
            for delivery in batch.drain(..) {
                let attempt = u64::from(delivery.attempt());
                delivery.ack(attempt);
            }
            Ok(())
        });
        group.pause();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..8).await.unwrap();
        crate::common::settle_down().await;
        group.resume();
        let mut attempts = Vec::new();
        for _ in 0..8 {
            attempts.push(next_outcome(&mut results, "a job ends").await.result.unwrap());
        }
        attempts.sort_unstable();
        assert_eq!(attempts, [1, 1, 1, 1, 2, 2, 2, 100]);
    });
}

#[test]
fn consumers_on_threads_of_their_own_block_side_by_side() {
    system(async {
        let (block, (note, mut noted)) = (Block::new(), probe());
        let blocked = block.clone();
        let group = Group::builder()
            .placement(Placement::Dedicated)
            .configure(calm)
            .configure(|config| window(config, 1))
            .consume_with(3, async move |delivery: &Delivery<u64>| {
                note.send(std::thread::current().id()).unwrap();
                blocked.wait();
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..3).await.unwrap();
        let mut threads = Vec::new();
        for _ in 0..3 {
            threads.push(noted.next("each blocks at the same time").await);
        }
        threads.sort_unstable_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert_eq!(threads.len(), 3);
        let health = within("the group answers meanwhile", group.health())
            .await
            .unwrap();
        assert_eq!(health.in_flight, 3);
        block.release();
        for _ in 0..3 {
            let outcome = next_outcome(&mut results, "a job is done").await;
            assert_eq!(outcome.result.unwrap(), 1);
        }
    });
}

#[test]
fn a_job_is_shared_and_can_be_kept_longer_than_its_delivery() {
    paused(async {
        let group = local()
            .consume_with(1, async |delivery: &Delivery<Vec<u8>>| {
                let kept = delivery.shared_job();
                Ok(std::ptr::eq(&*kept.payload(), delivery.job()) && kept.id() == delivery.id())
            })
            .start()
            .unwrap();
        assert!(group.producer().call(vec![1, 2, 3]).await.unwrap());
    });
}

/// A pause between two jobs does not let the second one slip through.
#[test]
fn a_paused_group_begins_no_job_that_it_had_not_handed_out() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let begun: Log<u64> = Log::new();
        let noted = begun.clone();
        let group = local()
            .configure(|config| window(config, 1))
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                noted.note(*delivery.job());
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        group.producer().send_batch(0..5).await.unwrap();
        crate::common::settle_down().await;
        group.pause();
        gate.open();
        crate::common::settle_down().await;
        assert_eq!(begun.all(), [0]);
        group.resume();
        group.drain(Duration::from_secs(60)).await;
        assert_eq!(begun.all(), [0, 1, 2, 3, 4]);
    });
}
