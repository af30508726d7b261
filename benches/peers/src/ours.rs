//! This crate.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consumer_group::config::BackoffConfig;
use consumer_group::queue::MemoryQueue;
use consumer_group::{
    Consumer, ConsumerInfo, Delivery, Failure, Group, Job, Placement, Producer, ProducerGroup, Results,
    StrategyKind,
};

use crate::answered::ON_THE_WAY;
use crate::cases::{KEYS, Sending};
use crate::drive::Pool;
use crate::meter::{Handler, Meter};
use crate::payload::Payload;

/// Jobs that the queue has room for, if nothing else is said.
pub const ROOM: usize = 16_384;

struct Worker<J>(Arc<Meter>, PhantomData<fn() -> J>);

impl<J: Payload> Consumer for Worker<J> {
    type Job = J;
    type Output = u64;

    async fn started(&mut self, _: &ConsumerInfo) -> Result<(), Failure> {
        self.0.note_up();
        Ok(())
    }

    async fn consume(&mut self, delivery: &Delivery<'_, J>) -> Result<u64, Failure> {
        Ok(self.0.handle(delivery.job().look()).await)
    }
}

pub fn group<J: Payload>(
    workers: usize,
    arbiters: usize,
    room: usize,
    handler: Handler,
    meter: &Arc<Meter>,
) -> Group<J, u64> {
    group_of(workers, arbiters, room, (handler, false), meter)
}

/// A group that keeps the order of keys, or not.
pub fn group_of<J: Payload>(
    workers: usize,
    arbiters: usize,
    room: usize,
    (handler, in_order): (Handler, bool),
    meter: &Arc<Meter>,
) -> Group<J, u64> {
    let placement = if arbiters == 1 {
        Placement::Local
    } else {
        Placement::Arbiters(arbiters - 1)
    };
    let meter = Arc::clone(meter);
    let started = Group::builder()
        .placement(placement)
        .queue(MemoryQueue::bounded(room))
        .configure(|config| {
            config.quiet_panics = true;
            config.restart.intensity = 1_000_000;
            config.restart.backoff = BackoffConfig {
                min: Duration::ZERO,
                max: Duration::ZERO,
                ..config.restart.backoff
            };
            if in_order {
                config.order_by_key = true;
                config.strategy = StrategyKind::ConsistentHash;
            }
            if handler == Handler::OneInHundredSlow {
                config.strategy = StrategyKind::LeastLoaded;
            }
        })
        .consumers(workers, move || Worker(Arc::clone(&meter), PhantomData))
        .start();
    match started {
        Ok(group) => group,
        Err(error) => unreachable!("a plain group starts: {error}"),
    }
}

pub struct Ours<J: Payload> {
    group: Group<J, u64>,
    producer: Producer<J, u64>,
    results: Option<WithResults<J>>,
    in_batches: bool,
    has_keys: bool,
}

struct WithResults<J: Payload> {
    producers: ProducerGroup<J, u64>,
    results: Results<J, u64>,
    unread: usize,
}

impl<J: Payload> WithResults<J> {
    /// Sends, and reads what goes beyond `ON_THE_WAY`: results that nobody reads hold the group up.
    async fn send(&mut self, jobs: Range<u64>) {
        self.unread += jobs.clone().count();
        let _ = self.producers.send_batch(jobs.map(J::make)).await;
        self.read_to(ON_THE_WAY).await;
    }

    async fn read_to(&mut self, unread: usize) {
        while self.unread > unread && self.results.next().await.is_some() {
            self.unread -= 1;
        }
    }
}

impl<J: Payload> Ours<J> {
    pub fn new(group: Group<J, u64>, sending: Sending, has_keys: bool) -> Self {
        let results = (sending == Sending::WithResults).then(|| {
            let (producers, results) = group.producer_group();
            WithResults {
                producers,
                results,
                unread: 0,
            }
        });
        Self {
            producer: group.producer(),
            group,
            results,
            in_batches: sending == Sending::Batches,
            has_keys,
        }
    }

    async fn has_settled(&self) -> bool {
        let Ok(health) = self.group.health().await else {
            return true;
        };
        health.leased == 0 && health.queue.is_some_and(|queue| queue.unfinished() == 0)
    }
}

impl<J: Payload> Pool for Ours<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        if let Some(results) = &mut self.results {
            results.send(jobs).await;
        } else if self.has_keys {
            let jobs = jobs.map(|job| Job::new(J::make(job)).key(job % KEYS));
            let _ = self.producer.send_batch(jobs).await;
        } else if self.in_batches {
            let _ = self.producer.send_batch(jobs.map(J::make)).await;
        } else {
            for job in jobs {
                let _ = self.producer.send(J::make(job)).await;
            }
        }
    }

    /// Every job is acked. The last acks follow at once; if not, there is no hurry.
    async fn settled(&mut self) {
        if let Some(results) = &mut self.results {
            results.read_to(0).await;
        }
        for look in 0_u32.. {
            if self.has_settled().await {
                return;
            }
            if look < 20 {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
    }

    async fn end(self) {
        self.group.stop().await;
    }
}
