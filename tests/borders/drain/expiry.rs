//! A job that expires before it begins never begins, wherever it waits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WrapFuture};
use consumer_group::{
    BatchConsumer, BatchSize, DeadReason, Deliver, Delivery, Failure, Group, GroupBuilder, Job, Producer,
};
use tokio::time::Instant;

use crate::common::{Gate, Log, given_up, is_pending, local, paused, settle_down, window, within};

const LONG: Duration = Duration::from_secs(3_600);

/// How long a job of these tests may wait.
const AGE: Duration = Duration::from_secs(5);

/// What consumers have begun, and how they are held up and ended.
#[derive(Clone)]
struct Bench {
    begun: Log<u64>,
    gate: Gate,
}

/// Ends its consumer.
const DEADLY: u64 = 13;

impl Bench {
    fn new() -> Self {
        Self {
            begun: Log::new(),
            gate: Gate::shut(),
        }
    }

    /// Odd numbers wait at the gate.
    async fn work(&self, job: u64) {
        self.begun.note(job);
        assert_ne!(job, DEADLY, "deadly");
        if job % 2 == 1 {
            self.gate.pass().await;
        }
    }
}

impl BatchConsumer for Bench {
    type Job = u64;
    type Output = ();

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, ()>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            self.work(*delivery.job()).await;
            delivery.ack(());
        }
        Ok(())
    }
}

impl Actor for Bench {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, ()>> for Bench {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, ()>, context: &mut Context<Self>) {
        let Some(delivery) = delivery.unless_expired() else {
            return;
        };
        if *delivery.job() == DEADLY {
            self.begun.note(DEADLY);
            return context.stop();
        }
        let bench = self.clone();
        let work = async move {
            bench.work(*delivery.job()).await;
            delivery.ack(());
        };
        context.wait(work.into_actor(self));
    }
}

#[derive(Debug, Clone, Copy)]
enum ConsumerAddr {
    Consumer,
    Actor,
    Batch,
}

const DOORS: [ConsumerAddr; 3] = [ConsumerAddr::Consumer, ConsumerAddr::Actor, ConsumerAddr::Batch];

impl ConsumerAddr {
    /// A group of one consumer with a window of four. One that dies is not replaced for an hour.
    fn group(self, bench: &Bench) -> GroupBuilder<u64, ()> {
        let builder = local().configure(|config| {
            window(config, 4);
            config.deadline = Duration::ZERO;
            config.retry.attempts = 2;
            config.restart.intensity = 0;
            config.restart.cool_down = Duration::from_millis(3_600_000);
        });
        let bench = bench.clone();
        let one = BatchSize {
            most: 1,
            wait: Duration::ZERO,
        };
        match self {
            Self::Consumer => builder.consume_with(1, async move |delivery: &Delivery<u64>| {
                bench.work(*delivery.job()).await;
                Ok(())
            }),
            Self::Actor => builder.actor_consumers(1, move |_| bench.clone()),
            Self::Batch => builder.batch_consumers(1, one, move || bench.clone()),
        }
    }
}

fn mortal(job: u64) -> Job<u64> {
    Job::new(job).expires_after(AGE)
}

/// Calls with a job that expires, and says when it did.
async fn expires(producer: &Producer<u64, ()>, job: u64) -> Duration {
    let before = Instant::now();
    let letter = given_up(within_a_day(producer.call(mortal(job))).await);
    assert_eq!(letter.reason, DeadReason::Expired);
    assert!(letter.history.is_empty(), "it has had no attempt: {letter:?}");
    before.elapsed()
}

async fn within_a_day<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(24 * LONG, work).await.unwrap()
}

/// What the queue holds. The queue knows of the end of a lease; without a consumer nobody else does anything.
async fn is_empty(group: &Group<u64, ()>) -> bool {
    settle_down().await;
    let health = group.health().await.unwrap();
    health.leased == 0 && health.queue.unwrap().unfinished() == 0
}

#[test]
fn a_job_in_the_window_of_a_busy_consumer_that_expires_there_is_not_begun() {
    for door in DOORS {
        paused(async move {
            let bench = Bench::new();
            let group = door.group(&bench).start().unwrap();
            let producer = group.producer();
            producer.send(1).await.unwrap();
            settle_down().await;
            let expired = expires(&producer, 2);
            let later = async {
                settle_down().await;
                producer.send(4).await.unwrap();
                settle_down().await;
                let held = group.health().await.unwrap().in_flight;
                assert_eq!(held, 3, "{door:?}: all of them are with the consumer");
                tokio::time::sleep(2 * AGE).await;
                bench.gate.let_through(1);
            };
            tokio::join!(expired, later);
            settle_down().await;
            assert_eq!(bench.begun.all(), [1, 4], "{door:?}");
            assert!(is_empty(&group).await, "{door:?}");
        });
    }
}

#[test]
fn a_job_that_expires_while_no_consumer_is_alive_is_told_at_its_moment() {
    for door in DOORS {
        paused(async move {
            let bench = Bench::new();
            let group = door.group(&bench).start().unwrap();
            let producer = group.producer();
            group.pause();
            producer.send(DEADLY).await.unwrap();
            let mut expired = Box::pin(expires(&producer, 2));
            assert!(is_pending(&mut expired));
            producer.send(4).await.unwrap();
            // The consumer holds all three when it dies.
            group.resume();
            let after = expired.await;
            assert!((AGE..AGE * 2).contains(&after), "{door:?}: after {after:?}");
            assert_eq!(bench.begun.all(), [DEADLY], "{door:?}");
            tokio::time::sleep(4 * LONG).await;
            settle_down().await;
            let mut begun = bench.begun.all();
            begun.sort_unstable();
            assert_eq!(begun, [4, DEADLY, DEADLY], "{door:?}: the others are done");
            assert!(is_empty(&group).await, "{door:?}");
        });
    }
}

#[test]
fn a_job_that_expires_behind_another_one_of_its_key_leaves_the_line_at_its_moment() {
    paused(async {
        let bench = Bench::new();
        let group = ConsumerAddr::Consumer
            .group(&bench)
            .configure(|config| config.order_by_key = true)
            .start()
            .unwrap();
        let producer = group.producer();
        for job in [1, 3] {
            producer.send(Job::new(job).key("k")).await.unwrap();
        }
        let before = Instant::now();
        let mut expired = Box::pin(producer.call(mortal(2).key("k")));
        assert!(is_pending(&mut expired));
        producer.send(Job::new(4).key("k")).await.unwrap();
        let letter = given_up(within_a_day(expired).await);
        assert_eq!(letter.reason, DeadReason::Expired);
        assert!(before.elapsed() < 2 * AGE, "{:?}", before.elapsed());
        assert_eq!(bench.begun.all(), [1], "the first one is still at work");
        bench.gate.open();
        settle_down().await;
        assert_eq!(bench.begun.all(), [1, 3, 4]);
        assert!(is_empty(&group).await);
    });
}

#[test]
fn a_job_that_expires_while_the_strategy_holds_it_leaves_at_its_moment() {
    paused(async {
        let bench = Bench::new();
        let holds = || consumer_group::strategy::strategy_fn(|_, _| consumer_group::strategy::Choice::Hold);
        let group = ConsumerAddr::Consumer
            .group(&bench)
            .strategy(holds)
            .start()
            .unwrap();
        let after = expires(&group.producer(), 2).await;
        assert!(after < 2 * AGE, "{after:?}");
        assert!(bench.begun.all().is_empty());
        assert!(is_empty(&group).await);
    });
}

#[test]
fn a_drain_waits_for_no_job_that_expires_while_no_consumer_is_alive() {
    paused(async {
        let bench = Bench::new();
        let group = ConsumerAddr::Consumer
            .group(&bench)
            .configure(|config| config.retry.attempts = 1)
            .start()
            .unwrap();
        let producer = group.producer();
        group.pause();
        producer.send(DEADLY).await.unwrap();
        let expired = producer.send(mortal(2)).await.unwrap();
        let before = Instant::now();
        let drained = within("the drain", group.drain(LONG)).await;
        assert!(before.elapsed() < 2 * AGE, "{:?}", before.elapsed());
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        let reasons: Vec<_> = drained.dead_letters.iter().map(|letter| letter.id()).collect();
        assert_eq!(reasons.last(), Some(&expired), "{drained:?}");
    });
}

#[test]
fn a_job_that_has_begun_does_not_expire_however_late_its_retry_is() {
    for own_letters in [true, false] {
        paused(async move {
            let builder = local().consume_with(1, async |delivery: &Delivery<u64>| {
                if delivery.attempt() == 1 {
                    return Err(Failure::retry_after(4 * AGE, "later"));
                }
                Ok(delivery.attempt())
            });
            let group = if own_letters {
                builder.start().unwrap()
            } else {
                builder.queue(super::without_letters()).start().unwrap()
            };
            let attempt = within_a_day(group.producer().call(mortal(1))).await.unwrap();
            assert_eq!(attempt, 2);
        });
    }
}

#[test]
fn a_job_that_expired_and_is_sent_back_is_done() {
    for own_letters in [true, false] {
        paused(async move {
            let bench = Bench::new();
            let builder = ConsumerAddr::Consumer.group(&bench);
            let group = if own_letters {
                builder.start().unwrap()
            } else {
                builder.queue(super::without_letters()).start().unwrap()
            };
            let producer = group.producer();
            producer.send(1).await.unwrap();
            settle_down().await;
            let expired = expires(&producer, 2);
            let opens = async {
                tokio::time::sleep(2 * AGE).await;
                bench.gate.open();
            };
            tokio::join!(expired, opens);
            let back = within("it goes back", group.dead_letters().requeue_all()).await;
            assert_eq!(back.unwrap().len(), 1);
            settle_down().await;
            assert_eq!(bench.begun.all(), [1, 2], "own letters: {own_letters}");
        });
    }
}

/// The clock of such a queue is that of the machine.
#[cfg(feature = "durable")]
#[test]
fn with_a_durable_queue_no_expired_job_begins_either() {
    crate::common::system(async {
        let folder = tempfile::tempdir().unwrap();
        let queue = consumer_group::durable::DurableQueue::open(folder.path().join("jobs.queue")).unwrap();
        let bench = Bench::new();
        let group = ConsumerAddr::Consumer
            .group(&bench)
            .queue(queue.clone())
            .start()
            .unwrap();
        let producer = group.producer();
        producer.send(1).await.unwrap();
        let age = Duration::from_millis(50);
        let in_window = producer.call(Job::new(2).expires_after(age));
        let opens = async {
            let is_leased = async {
                while queue.counts().leased < 2 && queue.counts().dead == 0 {
                    tokio::task::yield_now().await;
                }
            };
            within("it is leased", is_leased).await;
            tokio::time::sleep(2 * age).await;
            bench.gate.let_through(1);
        };
        let (expired, ()) = tokio::join!(in_window, opens);
        assert_eq!(given_up(expired).reason, DeadReason::Expired);
        assert_eq!(bench.begun.all(), [1]);
        group.pause();
        producer.send(DEADLY).await.unwrap();
        let mut alone = Box::pin(producer.call(Job::new(2).expires_after(age)));
        assert!(is_pending(&mut alone));
        group.resume();
        let letter = given_up(within("it expires without a consumer", alone).await);
        assert_eq!(letter.reason, DeadReason::Expired);
        assert!(!bench.begun.all().contains(&2));
        within("the stop", group.stop()).await;
    });
}

/// What the group before had leased and not begun expires as if it had never been leased; what had begun does not.
#[cfg(feature = "durable")]
#[test]
fn over_a_restart_a_leased_job_that_had_not_begun_expires_and_one_that_had_does_not() {
    crate::common::system(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.queue");
        let open = || {
            use consumer_group::codec::Json;
            use consumer_group::durable::DurableQueue;
            let opened = DurableQueue::at(&path, Json).open_when_free(Duration::from_secs(60));
            async move { opened.await.unwrap() }
        };
        let queue = open().await;
        let bench = Bench::new();
        let group = ConsumerAddr::Consumer
            .group(&bench)
            .queue(queue.clone())
            .start()
            .unwrap();
        let age = Duration::from_secs(1);
        let jobs = [1, 2].map(|job| Job::new(job).expires_after(age));
        group.producer().send_batch(jobs).await.unwrap();
        let is_leased = async {
            while queue.counts().leased < 2 || bench.begun.all().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        within("both are leased, and one has begun", is_leased).await;
        let drained = within("the stop", group.stop()).await;
        assert!(drained.unfinished.is_empty(), "they stay in the queue");
        drop((queue, group));
        tokio::time::sleep(2 * age).await;
        let counts = open().await.counts();
        assert_eq!(bench.begun.all(), [1]);
        assert_eq!((counts.ready, counts.dead), (1, 1));
    });
}
