//! Rows: medians of the runs of each peer, beside ours.

use std::time::Duration;

use serde::Serialize;

use crate::drive::Run;
use crate::works::{Case, Peer};

/// A line of the table, and an object of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub work: &'static str,
    pub peer: &'static str,
    pub workers: usize,
    pub arbiters: usize,
    /// Jobs a second at which they are sent; absent: as fast as they go.
    pub rate: Option<u64>,
    pub jobs_per_s: Option<f64>,
    pub p99_us: Option<f64>,
    pub lost: Option<u64>,
    pub bytes_per_job: Option<f64>,
    /// Ours by its: of the throughput; of the p99 where jobs are sent at a rate; of the bytes where memory is measured.
    pub ratio: Option<f64>,
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The rows of one case; of ractor's routers the best one stays.
pub fn rows(case: &Case, runs: &[(Peer, Vec<Run>)]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (peer, runs) in runs {
        let waits: Option<Vec<f64>> = runs.iter().map(|run| run.p99.map(micros)).collect();
        let row = Row {
            work: case.work,
            peer: peer.name(),
            workers: case.workers,
            arbiters: case.arbiters,
            rate: case.rate,
            jobs_per_s: median(runs.iter().map(|run| run.jobs_per_s).collect()),
            p99_us: waits.and_then(median),
            lost: runs.iter().map(|run| run.lost).max(),
            bytes_per_job: None,
            ratio: None,
        };
        match rows.iter_mut().find(|known| known.peer == row.peer) {
            Some(known) if is_better(&row, known) => *known = row,
            Some(_) => {}
            None => rows.push(row),
        }
    }
    compare(&mut rows);
    rows
}

fn is_better(row: &Row, than: &Row) -> bool {
    match (row.p99_us, than.p99_us) {
        (Some(one), Some(other)) => one < other,
        _ => row.jobs_per_s > than.jobs_per_s,
    }
}

/// Fills in the ratios; ours is the row of this crate.
pub fn compare(rows: &mut [Row]) {
    let figure = |row: &Row| row.bytes_per_job.or(row.p99_us).or(row.jobs_per_s);
    let ours = rows
        .iter()
        .find(|row| row.peer == Peer::Ours.name())
        .and_then(figure);
    for row in rows {
        row.ratio = ours.zip(figure(row)).map(|(ours, its)| ours / its);
    }
}

fn micros(wait: Duration) -> f64 {
    wait.as_secs_f64() * 1e6
}

pub fn print_head() {
    println!(
        "{:<20} {:>7} {:>8}  {:<15} {:>12} {:>10} {:>7} {:>9} {:>7}",
        "work", "workers", "arbiters", "peer", "jobs/s", "p99 us", "lost", "bytes/job", "ours/it"
    );
}

pub fn print(rows: &[Row]) {
    let show =
        |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for row in rows {
        println!(
            "{:<20} {:>7} {:>8}  {:<15} {:>12} {:>10} {:>7} {:>9} {:>7}",
            row.work,
            row.workers,
            row.arbiters,
            row.peer,
            show(row.jobs_per_s, 0),
            show(row.p99_us, 1),
            row.lost.map_or("-".to_owned(), |lost| lost.to_string()),
            show(row.bytes_per_job, 0),
            show(row.ratio, 2),
        );
    }
}

pub fn print_json(rows: &[Row]) {
    for row in rows {
        match serde_json::to_string(row) {
            Ok(line) => println!("{line}"),
            Err(error) => panic!("a row is an object: {error}"),
        }
    }
}
