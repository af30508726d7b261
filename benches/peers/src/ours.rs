//! This crate.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consumer_group::{
    BackoffConfig, Consumer, ConsumerInfo, Delivery, Failure, Group, MemoryQueue, Placement, Producer,
    ProducerGroup, Results, StrategyName,
};

use crate::answered::ON_THE_WAY;
use crate::cases::Sending;
use crate::drive::Pool;
use crate::meter::{Handler, Meter};

/// Jobs that the queue has room for, if nothing else is said.
pub const ROOM: usize = 16_384;

struct Worker(Arc<Meter>);

impl Consumer for Worker {
    type Job = u64;
    type Output = u64;

    async fn started(&mut self, _: &ConsumerInfo) -> Result<(), Failure> {
        self.0.note_up();
        Ok(())
    }

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
        Ok(self.0.handle(*delivery.job()).await)
    }
}

pub fn group(
    workers: usize,
    arbiters: usize,
    room: usize,
    handler: Handler,
    meter: &Arc<Meter>,
) -> Group<u64, u64> {
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
                min_ms: 0,
                max_ms: 0,
                ..config.restart.backoff
            };
            if handler == Handler::OneInHundredSlow {
                config.strategy = StrategyName::LeastLoaded;
            }
        })
        .consumers(workers, move || Worker(Arc::clone(&meter)))
        .start();
    match started {
        Ok(group) => group,
        Err(error) => unreachable!("a plain group starts: {error}"),
    }
}

pub struct Ours {
    group: Group<u64, u64>,
    producer: Producer<u64, u64>,
    results: Option<WithResults>,
    in_batches: bool,
}

struct WithResults {
    producers: ProducerGroup<u64, u64>,
    results: Results<u64, u64>,
    unread: usize,
}

impl WithResults {
    /// Sends, and reads what goes beyond `ON_THE_WAY`: results that nobody reads hold the group up.
    async fn send(&mut self, jobs: Range<u64>) {
        self.unread += jobs.clone().count();
        let _ = self.producers.send_batch(jobs).await;
        self.read_to(ON_THE_WAY).await;
    }

    async fn read_to(&mut self, unread: usize) {
        while self.unread > unread && self.results.next().await.is_some() {
            self.unread -= 1;
        }
    }
}

impl Ours {
    pub fn new(group: Group<u64, u64>, sending: Sending) -> Self {
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
        }
    }

    async fn has_settled(&self) -> bool {
        let Ok(health) = self.group.health().await else {
            return true;
        };
        health.leased == 0 && health.queue.is_some_and(|queue| queue.unfinished() == 0)
    }
}

impl Pool for Ours {
    async fn send(&mut self, jobs: Range<u64>) {
        if let Some(results) = &mut self.results {
            results.send(jobs).await;
        } else if self.in_batches {
            let _ = self.producer.send_batch(jobs).await;
        } else {
            for job in jobs {
                let _ = self.producer.send(job).await;
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
