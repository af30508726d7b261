//! This crate.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use consumer_group::{
    BackoffConfig, Delivery, Group, MemoryQueue, Placement, Producer, ProducerGroup, Results, StrategyName,
};

use crate::drive::{ON_THE_WAY, Pool};
use crate::meter::{Handler, Meter};

pub struct Ours {
    group: Group<u64, u64>,
    producer: Producer<u64, u64>,
    results: Option<(ProducerGroup<u64, u64>, Results<u64, u64>)>,
    in_batches: bool,
}

pub fn group(
    workers: usize,
    arbiters: usize,
    room: usize,
    handler: Handler,
    meter: Arc<Meter>,
) -> Group<u64, u64> {
    let placement = if arbiters == 1 {
        Placement::Local
    } else {
        Placement::Arbiters(arbiters - 1)
    };
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
        .consume_with(workers, async move |delivery: &Delivery<u64>| {
            Ok(meter.handle(*delivery.job()).await)
        })
        .start();
    match started {
        Ok(group) => group,
        Err(error) => unreachable!("a plain group starts: {error}"),
    }
}

impl Ours {
    pub fn new(group: Group<u64, u64>, in_batches: bool, with_results: bool) -> Self {
        let results = with_results.then(|| group.producer_group());
        Self {
            producer: group.producer(),
            group,
            results,
            in_batches,
        }
    }
}

impl Pool for Ours {
    async fn send(&mut self, jobs: Range<u64>) {
        if let Some((producers, results)) = &mut self.results {
            let _ = producers.send_batch(jobs).await;
            while results.outstanding() > ON_THE_WAY {
                let _ = results.next().await;
            }
        } else if self.in_batches {
            let _ = self.producer.send_batch(jobs).await;
        } else {
            for job in jobs {
                let _ = self.producer.send(job).await;
            }
        }
    }

    /// Every job is acked.
    async fn settled(&mut self) {
        if let Some((_, results)) = &mut self.results {
            while results.outstanding() > 0 {
                let _ = results.next().await;
            }
        }
        while let Ok(health) = self.group.health().await {
            if health.in_flight == 0 && health.queue.is_some_and(|queue| queue.unfinished() == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    async fn end(self) {
        self.group.stop().await;
    }
}
