//! How long short jobs wait when others are long, by strategy.
//!
//! ```text
//! cargo bench -p benches --bench waiting
//! ```
//! Consumers block their threads, each on one of its own, as those do that call something slow. Four cases:
//!
//! | column | consumers | jobs |
//! |---|---|---|
//! | one of two | 2 | one of 300 ms, then ten short ones: the last begins after |
//! | four of five | 5 | four of 500 ms, then a hundred short ones: the last begins after |
//! | 20 × 10 ms | 4 | one of 2 s, then twenty of 10 ms: the last begins after (three consumers need 60 ms) |
//! | p50, p99, max | 2 | 100 times one of 30 ms, and short ones behind it, one each ms: from `send` to its begin |

#![allow(clippy::print_stdout)] // The table is what this program is for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use consumer_group::config::Affinity;
use consumer_group::{Delivery, Group, GroupConfig, Placement, StrategyKind};

/// How long a job takes, and when it was sent.
#[derive(Clone, Copy)]
struct Work {
    ms: u64,
    sent: Instant,
}

fn work(ms: u64) -> Work {
    Work {
        ms,
        sent: Instant::now(),
    }
}

/// From `send` to the begin, of each short job.
type Waits = Arc<Mutex<Vec<Duration>>>;

fn group(strategy: StrategyKind, consumers: usize, waits: &Waits) -> Option<Group<Work, ()>> {
    let waits = Arc::clone(waits);
    let config = GroupConfig {
        strategy,
        affinity: Some(Affinity::Prefer),
        placement: Placement::Dedicated,
        ..GroupConfig::default()
    };
    let started = Group::builder()
        .config(config)
        .consume_with(consumers, async move |delivery: &Delivery<Work>| {
            let Work { ms, sent } = *delivery.job();
            if ms <= 10 {
                let mut waits = waits.lock().unwrap_or_else(PoisonError::into_inner);
                waits.push(sent.elapsed());
            }
            if ms > 0 {
                std::thread::sleep(Duration::from_millis(ms));
            }
            Ok(())
        })
        .start();
    started.ok()
}

/// After how long the last of the short jobs begins that are sent behind the long ones.
async fn last_begin(
    strategy: StrategyKind,
    consumers: usize,
    long: &[u64],
    short: &[u64],
) -> Option<Duration> {
    let waits = Waits::default();
    let group = group(strategy, consumers, &waits)?;
    let (producers, mut results) = group.producer_group();
    for ms in long {
        producers.send(work(*ms)).await.ok()?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    producers
        .send_batch(short.iter().map(|ms| work(*ms)).collect::<Vec<_>>())
        .await
        .ok()?;
    for _ in 0..short.len() + long.len() {
        results.next().await?;
    }
    let waits = waits.lock().unwrap_or_else(PoisonError::into_inner);
    waits.iter().max().copied()
}

/// A hundred long jobs with short ones behind them: the waits, sorted.
async fn stream(strategy: StrategyKind) -> Option<Vec<Duration>> {
    let waits = Waits::default();
    let group = group(strategy, 2, &waits)?;
    let (producers, mut results) = group.producer_group();
    for _ in 0..100 {
        producers.send(work(30)).await.ok()?;
        for _ in 0..20 {
            producers.send(work(0)).await.ok()?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..21 {
            results.next().await?;
        }
    }
    let mut sorted = waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    sorted.sort_unstable();
    Some(sorted)
}

fn at(waits: &[Duration], part: f64) -> Duration {
    let index = (waits.len() as f64 * part) as usize;
    waits
        .get(index.min(waits.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

async fn row(strategy: StrategyKind) -> Option<()> {
    let one = last_begin(strategy, 2, &[300], &[0; 10]).await?;
    let four = last_begin(strategy, 5, &[500; 4], &[0; 100]).await?;
    let twenty = last_begin(strategy, 4, &[2_000], &[10; 20]).await?;
    let waits = stream(strategy).await?;
    let (p50, p99, max) = (at(&waits, 0.5), at(&waits, 0.99), at(&waits, 1.0));
    println!(
        "{:<15} {one:>12.1?} {four:>12.1?} {twenty:>12.1?} {p50:>12.1?} {p99:>12.1?} {max:>12.1?}",
        format!("{strategy:?}")
    );
    Some(())
}

fn main() {
    println!(
        "{:<15} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "strategy", "one of two", "four of five", "20 x 10 ms", "p50", "p99", "max"
    );
    actix::System::new().block_on(async {
        for &strategy in StrategyKind::ALL {
            if row(strategy).await.is_none() {
                println!("{strategy:?} did not end");
            }
        }
    });
}
