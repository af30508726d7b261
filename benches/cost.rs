//! What a job costs from push to ack, in instructions and in allocations: counts, so they tell a change that costs also on
//! a noisy machine. The limits are held by `.ci/run`; the budget behind them stands in docs/performance.md.
//!
//! ```text
//! scripts/install-tools gungraun-runner     # once; valgrind comes from the system
//! cargo bench -p benches --bench cost
//! ```
//! Each benchmark sends [`JOBS`] jobs through a group that is warm, on one thread, under a paused clock (so that no window
//! and no flush depends on how slow valgrind is). Divide the totals by [`JOBS`] for the figures of one job.

#![allow(missing_docs, unreachable_pub, unused_qualifications)] // The macros of the harness make items of their own.

use std::hint::black_box;
use std::time::Duration;

use actix::SystemRunner;
use consumer_group::{Delivery, Group, Job, MemoryQueue, Placement};
use gungraun::prelude::*;
use gungraun::{Callgrind, Dhat, DhatMetric, EventKind};

/// Jobs in one measurement.
const JOBS: u64 = 16_384;

/// Jobs in one `send_batch`.
const BATCH: u64 = 256;

/// A group on a thread of its own making, warm.
struct Rig {
    system: SystemRunner,
    group: Group<u64, ()>,
}

fn rig(work: fn(&Rig)) -> Rig {
    let system = actix::System::with_tokio_rt(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        match runtime {
            Ok(runtime) => runtime,
            Err(error) => unreachable!("a runtime can be built: {error}"),
        }
    });
    let group = system.block_on(async {
        let started = Group::builder()
            .placement(Placement::Local)
            .queue(MemoryQueue::bounded(16_384))
            .configure(|config| {
                config.order_by_key = true;
                config.window.min = 1_024;
                config.window.max = 1_024;
            })
            .consume_with(4, async |delivery: &Delivery<u64>| {
                black_box(delivery.job());
                Ok(())
            })
            .start();
        match started {
            Ok(group) => group,
            Err(error) => unreachable!("a plain group starts: {error}"),
        }
    });
    let rig = Rig { system, group };
    work(&rig);
    rig
}

impl Rig {
    /// Runs `work` and waits until every job is acked.
    fn run(&self, work: impl Future<Output = ()>) {
        self.system.block_on(async {
            work.await;
            loop {
                let Ok(health) = self.group.health().await else {
                    return;
                };
                if health.leased == 0 && health.queue.is_some_and(|queue| queue.unfinished() == 0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}

fn in_batches(rig: &Rig) {
    rig.run(async {
        let producer = rig.group.producer();
        for first in (0..JOBS).step_by(BATCH as usize) {
            black_box(producer.send_batch(first..first + BATCH).await.is_ok());
        }
    });
}

fn one_by_one(rig: &Rig) {
    rig.run(async {
        let producer = rig.group.producer();
        for job in 0..JOBS {
            black_box(producer.send(job).await.is_ok());
        }
    });
}

fn with_keys(rig: &Rig) {
    rig.run(async {
        let producer = rig.group.producer();
        for first in (0..JOBS).step_by(BATCH as usize) {
            let jobs = (first..first + BATCH).map(|job| Job::new(job).key(job % 4_096));
            black_box(producer.send_batch(jobs).await.is_ok());
        }
    });
}

fn with_results(rig: &Rig) {
    rig.run(async {
        let (producers, mut results) = rig.group.producer_group();
        for first in (0..JOBS).step_by(BATCH as usize) {
            black_box(producers.send_batch(first..first + BATCH).await.is_ok());
            for _ in 0..BATCH {
                black_box(results.next().await.is_some());
            }
        }
    });
}

/// The limits: instructions and blocks of memory for one job, held over all [`JOBS`]. About 3 % above what was measured
/// when they were set; a change that costs more is either made cheaper or raises its limit here, with the reason.
///
/// Raised for the borders by 20 (single sends), 60 (keys) and 110 instructions (results): a push under way is known to the
/// intake until it was answered, so that a host that ends leaves no sender without its job; a delivery that may have expired
/// is looked at once more; and an outcome is dropped under a guard, since its `Drop` is the user's.
///
/// Raised by 5 (single sends), 25 (keys) and 35 (results): a begin is an exchange, since the supervisor may take the delivery
/// back at the same moment, and what earlier deliveries noted on a job is kept when it is leased.
fn limits(instructions: u64, blocks_in_hundred_jobs: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config
        .tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions * JOBS)]))
        // With the default of 12 callers, blocks made deep inside the actors would not be seen as the benchmark's.
        .tool(
            Dhat::with_args(["--num-callers=128"])
                .hard_limits([(DhatMetric::TotalBlocks, blocks_in_hundred_jobs * JOBS / 100)]),
        );
    config
}

#[library_benchmark(config = limits(465, 12), setup = rig)]
#[bench::of_256(in_batches)]
fn batches(rig: Rig) -> Rig {
    in_batches(&rig);
    rig
}

#[library_benchmark(config = limits(875, 11), setup = rig)]
#[bench::one_by_one(one_by_one)]
fn single_sends(rig: Rig) -> Rig {
    one_by_one(&rig);
    rig
}

#[library_benchmark(config = limits(3_915, 123), setup = rig)]
#[bench::in_order(with_keys)]
fn keys(rig: Rig) -> Rig {
    with_keys(&rig);
    rig
}

#[library_benchmark(config = limits(4_125, 146), setup = rig)]
#[bench::of_256(with_results)]
fn results(rig: Rig) -> Rig {
    with_results(&rig);
    rig
}

library_benchmark_group!(name = cost, benchmarks = [batches, single_sends, keys, results]);

main!(library_benchmark_groups = cost);
