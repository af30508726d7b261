//! Jobs a second through a whole group, every job acked, beside a hand-written pool of tokio tasks that promises nothing.
//!
//! ```text
//! cargo bench -p benches --bench throughput
//! ```
//! One measured step is 65,536 jobs, so a throughput of 1 Melem/s is a million jobs a second. Compare ratios within one run;
//! absolute times differ from machine to machine and from hour to hour.

use std::hint::black_box;
use std::time::{Duration, Instant};

use consumer_group::queue::MemoryQueue;
use consumer_group::{Delivery, Group, Placement, Producer, ProducerGroup, Results};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::sync::mpsc;

const JOBS: u64 = 65_536;
const BATCH: u64 = 256;
const CONSUMERS: usize = 4;

fn group(placement: Placement) -> Group<u64, ()> {
    let started = Group::builder()
        .placement(placement)
        .queue(MemoryQueue::bounded(16_384))
        .consume_with(CONSUMERS, async |delivery: &Delivery<u64>| {
            black_box(delivery.job());
            Ok(())
        })
        .start();
    match started {
        Ok(group) => group,
        Err(error) => unreachable!("a plain group starts: {error}"),
    }
}

async fn send_in_batches(producer: &Producer<u64, ()>) {
    for first in (0..JOBS).step_by(BATCH as usize) {
        let sent = producer.send_batch(first..first + BATCH).await;
        black_box(sent.is_ok());
    }
}

async fn send_singly(producer: &Producer<u64, ()>) {
    for job in 0..JOBS {
        black_box(producer.send(job).await.is_ok());
    }
}

/// Everything that was sent has been acked once the last jobs, sent as calls to an otherwise idle group, return.
async fn settle(group: &Group<u64, ()>) {
    loop {
        let Ok(health) = group.health().await else { return };
        if health.leased == 0 && health.queue.is_some_and(|queue| queue.unfinished() == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Runs `steps` steps of `work` on a fresh group and returns the time that they took.
fn timed<F>(placement: Placement, steps: u64, work: impl Fn(Producer<u64, ()>) -> F) -> Duration
where
    F: Future<Output = ()>,
{
    actix::System::new().block_on(async {
        let group = group(placement);
        work(group.producer()).await;
        settle(&group).await;
        let begun = Instant::now();
        for _ in 0..steps {
            work(group.producer()).await;
        }
        settle(&group).await;
        let took = begun.elapsed();
        group.stop().await;
        took
    })
}

async fn with_results(producers: &ProducerGroup<u64, ()>, results: &mut Results<u64, ()>) {
    let send = async {
        for first in (0..JOBS).step_by(BATCH as usize) {
            black_box(producers.send_batch(first..first + BATCH).await.is_ok());
        }
    };
    let read = async {
        for _ in 0..JOBS {
            black_box(results.next().await.is_some());
        }
    };
    futures_util::future::join(send, read).await;
}

fn timed_with_results(steps: u64) -> Duration {
    actix::System::new().block_on(async {
        let group = group(Placement::Local);
        let (producers, mut results) = group.producer_group();
        let begun = Instant::now();
        for _ in 0..steps {
            with_results(&producers, &mut results).await;
        }
        let took = begun.elapsed();
        group.stop().await;
        took
    })
}

/// The yardstick: a channel for each worker, round robin, nothing kept, nothing acked.
fn timed_bare_pool(steps: u64) -> Duration {
    actix::System::new().block_on(async {
        let begun = Instant::now();
        for _ in 0..steps {
            let (workers, tasks): (Vec<_>, Vec<_>) = (0..CONSUMERS)
                .map(|_| {
                    let (sender, mut receiver) = mpsc::channel::<u64>(4_096);
                    let task = actix_rt::spawn(async move {
                        while let Some(job) = receiver.recv().await {
                            black_box(job);
                        }
                    });
                    (sender, task)
                })
                .unzip();
            for (job, worker) in (0..JOBS).zip(workers.iter().cycle()) {
                black_box(worker.send(job).await.is_ok());
            }
            drop(workers);
            for task in tasks {
                black_box(task.await.is_ok());
            }
        }
        begun.elapsed()
    })
}

fn throughput(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("throughput");
    bench.throughput(Throughput::Elements(JOBS)).sample_size(10);
    let placements = [
        ("one arbiter", Placement::Local),
        ("two arbiters", Placement::Arbiters(1)),
    ];
    for (name, placement) in placements {
        bench.bench_function(BenchmarkId::new("batches of 256", name), |bencher| {
            bencher.iter_custom(|steps| {
                timed(placement, steps, |producer| async move {
                    send_in_batches(&producer).await
                })
            });
        });
        bench.bench_function(BenchmarkId::new("single sends", name), |bencher| {
            bencher.iter_custom(|steps| {
                timed(placement, steps, |producer| async move {
                    send_singly(&producer).await
                })
            });
        });
    }
    bench.bench_function("batches of 256 with results", |bencher| {
        bencher.iter_custom(timed_with_results)
    });
    bench.bench_function("bare tokio mpsc pool", |bencher| {
        bencher.iter_custom(timed_bare_pool)
    });
    bench.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
