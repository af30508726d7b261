//! Jobs, outputs and consumers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix::{Actor, Handler, Running};
use consumer_group::config::Overflow;
use consumer_group::{
    BatchConsumer, BatchSize, Cause, Consumer, ConsumerInfo, DeadReason, Deliver, Delivery, EventKind,
    Events, Failure, Group, Job, Placement,
};

use super::{Bomb, Bombs, in_a_process};
use crate::common::{
    Gate, calm, event, given_up, is_pending, local, next_outcome, probe, system, told, within,
};

/// Nothing but consumers may have ended, and not more of them than these.
#[track_caller]
fn only_consumers_ended(events: &mut Events, most: usize) {
    let mut ended = 0;
    for event in told(events) {
        match event {
            EventKind::ConsumerDown { .. } => ended += 1,
            EventKind::RoleDown { role, cause, .. } => panic!("{role:?} ended: {cause}"),
            EventKind::GroupFailed { reason } => panic!("the group failed: {reason}"),
            _ => {}
        }
    }
    assert!(ended <= most, "{ended} consumers ended");
}

/// Panics over 13 in the first attempt, and in every `Drop`.
struct Fragile(#[allow(dead_code, reason = "it is dropped")] Bomb);

impl Consumer for Fragile {
    type Job = u64;
    type Output = u64;

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
        assert!(*delivery.job() != 13 || delivery.attempt() > 1, "thirteen");
        Ok(delivery.job() * 2)
    }
}

#[test]
fn a_consumer_whose_drop_panics_while_its_own_panic_unwinds_costs_one_attempt() {
    in_a_process(
        "group::a_consumer_whose_drop_panics_while_its_own_panic_unwinds_costs_one_attempt",
        || {
            system(async {
                for placement in [Placement::Local, Placement::Arbiters(2)] {
                    let bombs = Bombs::default();
                    let makes = bombs.clone();
                    let group = Group::builder()
                        .placement(placement)
                        .configure(calm)
                        .consumers(2, move || Fragile(makes.bomb()))
                        .start()
                        .unwrap();
                    let mut events = group.events();
                    for job in 0..30 {
                        assert_eq!(
                            within("a job", group.producer().call(job)).await.unwrap(),
                            job * 2
                        );
                    }
                    assert_eq!(bombs.dropped(), 1);
                    only_consumers_ended(&mut events, 1);
                    assert!(within("the stop", group.stop()).await.unfinished.is_empty());
                    assert_eq!(bombs.dropped(), 3);
                }
            });
        },
    );
}

/// The same for many at once, and it holds a delivery when it panics.
struct FragileBatch(#[allow(dead_code, reason = "it is dropped")] Bomb);

impl BatchConsumer for FragileBatch {
    type Job = u64;
    type Output = u64;

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            assert!(*delivery.job() != 13 || delivery.attempt() > 1, "thirteen");
            let output = delivery.job() * 2;
            delivery.ack(output);
        }
        Ok(())
    }
}

#[test]
fn a_batch_consumer_whose_drop_panics_while_its_own_panic_unwinds_costs_one_attempt() {
    in_a_process(
        "group::a_batch_consumer_whose_drop_panics_while_its_own_panic_unwinds_costs_one_attempt",
        || {
            system(async {
                let bombs = Bombs::default();
                let makes = bombs.clone();
                let size = BatchSize {
                    most: 8,
                    wait: Duration::ZERO,
                };
                let group = local()
                    .batch_consumers(2, size, move || FragileBatch(makes.bomb()))
                    .start()
                    .unwrap();
                let mut events = group.events();
                let (producers, mut results) = group.producer_group();
                producers.send_batch(0..64).await.unwrap();
                for _ in 0..64 {
                    let outcome = next_outcome(&mut results, "a job ends").await;
                    assert!(outcome.result.is_ok(), "{:?}", outcome.result.err());
                }
                only_consumers_ended(&mut events, 1);
                assert!(within("the stop", group.stop()).await.unfinished.is_empty());
                assert_eq!(bombs.dropped(), 3);
            });
        },
    );
}

/// An actor that panics in whichever of its hooks it is told.
struct FragileActor {
    in_started: bool,
    in_stopping: bool,
    in_stopped: bool,
    _bomb: Option<Bomb>,
}

impl Actor for FragileActor {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(!self.in_started, "in started");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        assert!(!self.in_stopping, "in stopping");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        assert!(!self.in_stopped, "in stopped");
    }
}

impl Handler<Deliver<u64, u64>> for FragileActor {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, u64>, _: &mut Self::Context) {
        assert!(*delivery.job() != 13 || delivery.attempt() > 1, "thirteen");
        let output = delivery.job() * 2;
        delivery.ack(output);
    }
}

#[test]
fn an_actor_that_panics_in_each_of_its_hooks_and_its_drop_costs_one_attempt() {
    in_a_process(
        "group::an_actor_that_panics_in_each_of_its_hooks_and_its_drop_costs_one_attempt",
        || {
            system(async {
                let bombs = Bombs::default();
                // Each hook alone, and all at once with the `Drop`.
                for hook in 0..5 {
                    let makes = bombs.clone();
                    let group = local()
                        .actor_consumers(2, move |info: &ConsumerInfo| FragileActor {
                            in_started: (hook == 0 || hook == 4)
                                && info.incarnation.0 == 1
                                && info.slot.0 == 1,
                            in_stopping: hook == 1 || hook == 4,
                            in_stopped: hook == 2 || hook == 4,
                            _bomb: (hook >= 3).then(|| makes.bomb()),
                        })
                        .start()
                        .unwrap();
                    let mut events = group.events();
                    for job in 0..30 {
                        assert_eq!(
                            within("a job", group.producer().call(job)).await.unwrap(),
                            job * 2
                        );
                    }
                    only_consumers_ended(&mut events, 2);
                    assert!(within("the stop", group.stop()).await.unfinished.is_empty());
                }
                assert!(bombs.dropped() >= 6);
            });
        },
    );
}

/// Starts badly: an error or a panic in `started`, a panic in the factory.
struct BadStart(u32);

impl Consumer for BadStart {
    type Job = u64;
    type Output = u64;

    async fn started(&mut self, consumer: &ConsumerInfo) -> Result<(), Failure> {
        match consumer.incarnation.0 + self.0 {
            1 => panic!("in started"),
            2 => Err(Failure::retry("not yet")),
            _ => Ok(()),
        }
    }

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
        Ok(*delivery.job())
    }
}

#[test]
fn a_start_that_panics_is_a_failed_start_of_that_slot_alone() {
    system(async {
        let made = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let group = local()
            .consumers(2, move || {
                let made = made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                assert_ne!(made, 4, "in the factory");
                // The first slot starts well, so that there is always a neighbour.
                BadStart(if made == 0 { 100 } else { 0 })
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let mut causes = Vec::new();
        while causes.len() < 2 {
            let cause = event(&mut events, "a failed start", |event| match event {
                EventKind::ConsumerDown { cause, .. } => Some(cause.clone()),
                _ => None,
            });
            causes.push(cause.await);
        }
        let is_start = |cause: &Cause| match cause {
            Cause::StartFailed(text) => text.contains("not yet") || text.contains("in the factory"),
            Cause::Panicked(report) => &*report.message == "in started",
            _ => false,
        };
        assert!(causes.iter().all(is_start), "{causes:?}");
        assert_eq!(
            within("a neighbour works", group.producer().call(7))
                .await
                .unwrap(),
            7
        );
        within("the stop", group.stop()).await;
    });
}

/// What a job does, by its number, with a payload whose `Drop` panics.
struct Loaded {
    number: u64,
    _bomb: Bomb,
}

#[test]
fn payloads_whose_drop_panics_end_no_actor_wherever_they_are_dropped() {
    in_a_process(
        "group::payloads_whose_drop_panics_end_no_actor_wherever_they_are_dropped",
        || {
            system(async {
                let bombs = Bombs::default();
                let load = |number| Loaded {
                    number,
                    _bomb: bombs.bomb(),
                };
                let group: Group<Loaded, u64> = local()
                    .configure(|config| {
                        config.retry.attempts = 2;
                        config.queue.dead_letters = 5;
                    })
                    .consume_with(2, async |delivery: &Delivery<Loaded>| {
                        match delivery.job().number % 4 {
                            0 => Ok(delivery.job().number),
                            1 => Err(Failure::retry("again")),
                            2 => Err(Failure::reject("never")),
                            _ => panic!("over the job"),
                        }
                    })
                    .start()
                    .unwrap();
                let mut events = group.events();
                let (producers, mut results) = group.producer_group();
                for number in 0..40 {
                    producers.send(load(number)).await.unwrap();
                    let outcome = next_outcome(&mut results, "a job ends").await;
                    assert_eq!(outcome.result.is_ok(), number % 4 == 0);
                }
                // Five letters are kept, and their payloads.
                assert_eq!(within("dropped", until(|| bombs.dropped() == 35)).await, ());
                let old = Job::new(load(100))
                    .delay(Duration::from_millis(5))
                    .expires_after(Duration::from_millis(1));
                producers.send(old).await.unwrap();
                assert!(next_outcome(&mut results, "it expires").await.result.is_err());
                group.dead_letters().purge_all().await.unwrap();
                within("all are dropped", until(|| bombs.dropped() == 41)).await;
                only_consumers_ended(&mut events, 20);
                assert!(within("the stop", group.stop()).await.unfinished.is_empty());
            });
        },
    );
}

/// Lets others run until it is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn payloads_whose_drop_panics_are_refused_overtaken_and_handed_out_without_harm() {
    in_a_process(
        "group::payloads_whose_drop_panics_are_refused_overtaken_and_handed_out_without_harm",
        || {
            system(async {
                let bombs = Bombs::default();
                let load = |number| Loaded {
                    number,
                    _bomb: bombs.bomb(),
                };
                let group: Group<Loaded, u64> = local()
                    .configure(|config| {
                        config.queue.capacity = 4;
                        config.queue.overflow = Overflow::DropOldest;
                        config.queue.dead_letters = 0;
                    })
                    .consume_with(1, async |_: &Delivery<Loaded>| std::future::pending().await)
                    .start()
                    .unwrap();
                let mut events = group.events();
                for number in 0..50 {
                    group.producer().send(load(number)).await.unwrap();
                }
                within("the others are dropped", until(|| bombs.dropped() >= 40)).await;
                // The sender has gone before the queue refuses.
                let twice = |number| Job::new(load(number)).dedup(1);
                group.producer().send(twice(90)).await.unwrap();
                let before = bombs.dropped();
                let producer = group.producer();
                let mut sent = Box::pin(producer.send(twice(91)));
                assert!(is_pending(&mut sent));
                drop(sent);
                only_consumers_ended(&mut events, 0);
                let unfinished = within("the stop", group.stop()).await.unfinished;
                assert!((1..=6).contains(&unfinished.len()), "{}", unfinished.len());
                drop(unfinished);
                assert!(bombs.dropped() > before);
            });
        },
    );
}

#[test]
fn outputs_whose_drop_panics_end_no_actor_when_nobody_waits_for_them() {
    in_a_process(
        "group::outputs_whose_drop_panics_end_no_actor_when_nobody_waits_for_them",
        || {
            system(async {
                let bombs = Bombs::default();
                let makes = bombs.clone();
                let gate = Gate::shut();
                let holds = gate.clone();
                let group: Group<u64, Bomb> = local()
                    .consume_with(2, async move |_: &Delivery<u64>| {
                        holds.pass().await;
                        Ok(makes.bomb())
                    })
                    .start()
                    .unwrap();
                let mut events = group.events();
                // Nobody ever waited; the reader has gone; the reader never reads; the caller has gone.
                group.producer().send_batch(0..10).await.unwrap();
                let (gone, results) = group.producer_group();
                gone.send_batch(10..20).await.unwrap();
                drop(results);
                let (producers, results) = group.producer_group();
                producers.send_batch(20..30).await.unwrap();
                let producer = group.producer();
                let mut call = Box::pin(producer.call(30));
                assert!(is_pending(&mut call));
                drop(call);
                gate.open();
                within("all are done", until(|| bombs.dropped() >= 20)).await;
                within("those that are read", until(|| results.outstanding() == 0)).await;
                drop(results);
                within("those too", until(|| bombs.dropped() == 31)).await;
                only_consumers_ended(&mut events, 0);
                within("the stop", group.stop()).await;
            });
        },
    );
}

/// A future that panics when it is dropped, and is never ready or at once.
struct BadFuture {
    ready: Option<Bomb>,
    _bomb: Bomb,
}

impl Future for BadFuture {
    type Output = Result<Bomb, Failure>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.ready.take() {
            Some(output) => Poll::Ready(Ok(output)),
            None => Poll::Pending,
        }
    }
}

struct Futures(Bombs);

impl Consumer for Futures {
    type Job = u64;
    type Output = Bomb;

    fn consume(&mut self, delivery: &Delivery<'_, u64>) -> impl Future<Output = Result<Bomb, Failure>> {
        let is_ready = delivery.job().is_multiple_of(2);
        BadFuture {
            ready: is_ready.then(|| self.0.bomb()),
            _bomb: self.0.bomb(),
        }
    }
}

#[test]
fn futures_whose_drop_panics_cost_their_job_an_attempt_and_no_neighbour() {
    in_a_process(
        "group::futures_whose_drop_panics_cost_their_job_an_attempt_and_no_neighbour",
        || {
            system(async {
                let bombs = Bombs::default();
                let makes = bombs.clone();
                let group = local()
                    .configure(|config| {
                        config.retry.attempts = 2;
                        config.deadline = Duration::from_millis(200);
                    })
                    .consumers(2, move || Futures(makes.clone()))
                    .start()
                    .unwrap();
                let mut events = group.events();
                // It is ready, and panics when it is dropped, with its output in the hands of the shell.
                let ready = given_up(within("it is given up", group.producer().call(2)).await);
                assert!(
                    matches!(ready.reason, DeadReason::Poison { attempts: 2 }),
                    "{ready}"
                );
                // It waits for ever, and panics when it is dropped for that.
                let waits = given_up(within("it is given up", group.producer().call(3)).await);
                assert!(
                    waits
                        .history
                        .iter()
                        .all(|record| matches!(record.cause, Cause::DeadlinePassed(_))),
                    "{waits}"
                );
                only_consumers_ended(&mut events, 4);
                within("the stop", group.stop()).await;
            });
        },
    );
}

/// What a closure of the user holds; each clone panics in its `Drop`.
struct Held(Bombs, #[allow(dead_code, reason = "it is dropped")] Bomb);

impl Clone for Held {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.0.bomb())
    }
}

#[test]
fn closures_that_hold_what_panics_in_its_drop_end_with_the_group_without_harm() {
    in_a_process(
        "group::closures_that_hold_what_panics_in_its_drop_end_with_the_group_without_harm",
        || {
            system(async {
                let bombs = Bombs::default();
                let held = Held(bombs.clone(), bombs.bomb());
                let group = local()
                    .consume_with(2, async move |delivery: &Delivery<u64>| {
                        let _ = &held;
                        Ok(*delivery.job())
                    })
                    .start()
                    .unwrap();
                assert_eq!(within("a job", group.producer().call(1)).await.unwrap(), 1);
                assert!(within("the stop", group.stop()).await.unfinished.is_empty());
                within("all are dropped", until(|| bombs.dropped() == 3)).await;
            });
        },
    );
}

/// A reason that panics when it is read.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("in a Display")
    }
}

impl std::error::Error for Unspeakable {}

/// An error that can be read and panics when it is asked for its cause.
#[derive(Debug)]
struct Causeless;

impl fmt::Display for Causeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no cause")
    }
}

impl std::error::Error for Causeless {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        panic!("in source")
    }
}

#[test]
fn an_error_that_panics_when_it_is_read_is_one_failed_attempt() {
    system(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.retry.attempts = 1)
            .consume_with(1, async |delivery: &Delivery<u64>| match delivery.job() {
                0 => Err(Failure::retry(Unspeakable)),
                1 => Err(Unspeakable)?,
                _ => Err(Causeless)?,
            })
            .start()
            .unwrap();
        let mut events = group.events();
        for (job, expected) in [
            (0, "in a Display"),
            (1, "in a Display"),
            (2, "no cause (the text panicked: in source)"),
        ] {
            let letter = given_up(within("it is given up", group.producer().call(job)).await);
            assert!(letter.to_string().contains(expected), "{letter}");
        }
        only_consumers_ended(&mut events, 0);
        within("the stop", group.stop()).await;
    });
}

#[test]
fn a_panic_whose_payload_panics_in_its_drop_is_one_failed_attempt() {
    in_a_process(
        "group::a_panic_whose_payload_panics_in_its_drop_is_one_failed_attempt",
        || {
            system(async {
                let bombs = Bombs::default();
                let makes = bombs.clone();
                let group = local()
                    .consume_with(1, async move |delivery: &Delivery<u64>| {
                        if delivery.attempt() == 1 {
                            std::panic::panic_any(makes.bomb());
                        }
                        Ok(*delivery.job())
                    })
                    .start()
                    .unwrap();
                let mut events = group.events();
                assert_eq!(within("a job", group.producer().call(1)).await.unwrap(), 1);
                only_consumers_ended(&mut events, 1);
                assert_eq!(bombs.dropped(), 1);
                within("the stop", group.stop()).await;
            });
        },
    );
}

/// A waker of the user that panics.
struct BadWaker;

impl std::task::Wake for BadWaker {
    fn wake(self: std::sync::Arc<Self>) {
        panic!("in a waker");
    }
}

#[test]
fn a_waker_that_panics_ends_no_actor_and_loses_no_outcome() {
    system(async {
        let gate = Gate::shut();
        let holds = gate.clone();
        let (note, mut noted) = probe();
        let group = local()
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                note.send(()).unwrap();
                holds.pass().await;
                Ok(*delivery.job())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let bad = Waker::from(std::sync::Arc::new(BadWaker));
        let (producers, mut results) = group.producer_group();
        producers.send(1).await.unwrap();
        let mut next = Box::pin(results.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
        drop(next);
        let producer = group.producer();
        let mut call = Box::pin(producer.call(2));
        assert!(call.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
        noted.next("the first has begun").await;
        gate.open();
        noted.next("the second has begun").await;
        assert_eq!(within("the call", call).await.unwrap(), 2);
        assert_eq!(next_outcome(&mut results, "the outcome").await.result.unwrap(), 1);
        only_consumers_ended(&mut events, 0);
        within("the stop", group.stop()).await;
    });
}
