//! Batches: a consumer that takes many deliveries at once, as a bulk insert does.
//!
//! A batch closes when it is full or when its first delivery has waited long enough, whichever comes first. Each delivery in
//! it is settled on its own: here most are done, some are tried again, some are rejected.
//!
//! Run it: `cargo run --example batches`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use consumer_group::{BatchConsumer, BatchSize, Deliver, Failure, Group, ProducerGroup, Results};
use tokio::time::{sleep, timeout};

/// A batch has at most this many rows.
const MOST: usize = 50;

/// A row of the table: its number is its content.
type Row = u64;

/// What the producer gets back: in which batch the row was written, and how many rows that batch had.
struct Written {
    batch: u64,
    size: usize,
    attempt: u32,
}

/// Writes rows into a table, many at once.
#[derive(Default)]
struct BulkInsert {
    batches: u64,
}

impl BatchConsumer for BulkInsert {
    type Job = Row;
    type Output = Written;

    async fn consume(&mut self, batch: &mut Vec<Deliver<Row, Written>>) -> Result<(), Failure> {
        self.batches += 1;
        let size = batch.len();
        // One round trip for all rows. An error here, returned with `?`, would be the failure of every delivery in the batch.
        sleep(Duration::from_millis(2)).await;
        for delivery in batch.drain(..) {
            let (row, attempt) = (*delivery.job(), delivery.attempt());
            if row % 100 == 99 {
                delivery.fail(Failure::reject("the row breaks a rule of the table"));
            } else if row % 100 == 50 && attempt == 1 {
                delivery.fail(Failure::retry("the row was locked"));
            } else {
                delivery.ack(Written {
                    batch: self.batches,
                    size,
                    attempt,
                });
            }
        }
        Ok(())
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let size = BatchSize {
        most: MOST,
        wait: Duration::from_millis(20),
    };
    let group = Group::builder()
        .configure(|config| config.retry.backoff.min = Duration::from_millis(5))
        .batch_consumers(1, size, BulkInsert::default)
        .start()?;
    let (producers, mut results) = group.producer_group();

    let many = write(&producers, &mut results, 0..1_000).await?;
    println!("1,000 rows: {many}");
    assert_eq!((many.written, many.rejected, many.second_attempts), (990, 10, 10));
    assert_eq!(many.largest(), MOST, "no batch was closed by its size");

    // Far fewer than a batch: the time closes it.
    let few = write(&producers, &mut results, 0..7).await?;
    println!("7 rows: {few}");
    assert_eq!((few.written, few.rejected), (7, 0));
    assert!(few.largest() <= 7);

    group.stop().await;
    Ok(())
}

/// What became of some rows.
#[derive(Default)]
struct Report {
    written: usize,
    rejected: usize,
    second_attempts: usize,
    /// The size of each batch, by its number.
    sizes: BTreeMap<u64, usize>,
}

impl Report {
    fn largest(&self) -> usize {
        self.sizes.values().copied().max().unwrap_or(0)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} written ({} at the second attempt), {} rejected, {} batches, the largest of {}",
            self.written,
            self.second_attempts,
            self.rejected,
            self.sizes.len(),
            self.largest()
        )
    }
}

async fn write(
    producers: &ProducerGroup<Row, Written>,
    results: &mut Results<Row, Written>,
    rows: std::ops::Range<Row>,
) -> Result<Report, Box<dyn Error>> {
    let mut report = Report::default();
    for _ in producers.send_batch(rows).await? {
        let next = timeout(Duration::from_secs(10), results.next()).await?;
        match next.ok_or("the group ended")?.result {
            Ok(Written { batch, size, attempt }) => {
                report.written += 1;
                report.second_attempts += usize::from(attempt == 2);
                report.sizes.insert(batch, size);
            }
            Err(_letter) => report.rejected += 1,
        }
    }
    Ok(report)
}
