//! How long a job waits between `send` and its consumer, at a steady rate.
//!
//! ```text
//! cargo bench -p benches --bench latency
//! ```
//! Jobs are sent at a fixed rate for a second, each stamped when it should have been sent, so a producer that falls behind
//! counts as latency and is not left out ("coordinated omission").

#![allow(clippy::print_stdout)] // The table is what this program is for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use consumer_group::{Delivery, Group, Placement};

/// Sends `rate` jobs a second for a second; returns every job's wait, sorted.
fn waits(rate: u32, placement: Placement) -> Vec<Duration> {
    let waits = Arc::new(Mutex::new(Vec::with_capacity(rate as usize)));
    let noted = Arc::clone(&waits);
    actix::System::new().block_on(async move {
        let started = Group::builder()
            .placement(placement)
            .consume_with(4, async move |delivery: &Delivery<Instant>| {
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(delivery.job().elapsed());
                Ok(())
            })
            .start();
        let Ok(group) = started else { return };
        let producer = group.producer();
        let begun = Instant::now();
        for index in 0..rate {
            let due = begun + Duration::from_secs(1) / rate * index;
            while Instant::now() < due {
                // Sleeping is coarser than the pause between two jobs, so the producer lets others run instead.
                tokio::task::yield_now().await;
            }
            if producer.send(due).await.is_err() {
                return;
            }
        }
        group.drain(Duration::from_secs(10)).await;
    });
    let mut waits = waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    waits.sort_unstable();
    waits
}

fn at(waits: &[Duration], part: f64) -> Duration {
    let index = (waits.len() as f64 * part) as usize;
    waits
        .get(index.min(waits.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn main() {
    println!(
        "{:<14} {:>10} {:>12} {:>12} {:>12}",
        "consumers on", "jobs/s", "p50", "p99", "max"
    );
    for (name, placement) in [
        ("one arbiter", Placement::Local),
        ("another", Placement::Arbiters(1)),
    ] {
        for rate in [10_000, 100_000] {
            let waits = waits(rate, placement);
            let (p50, p99, max) = (at(&waits, 0.5), at(&waits, 0.99), at(&waits, 1.0));
            println!("{name:<14} {rate:>10} {p50:>12.1?} {p99:>12.1?} {max:>12.1?}");
        }
    }
}
