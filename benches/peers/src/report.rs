//! Rows: medians of the runs of each peer, beside ours.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cases::Case;
use crate::drive::Run;
use crate::peers::Peer;
use crate::rounds::Entrant;

/// A line of the table, and an object of `--json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    pub work: String,
    pub peer: Cow<'static, str>,
    pub workers: usize,
    pub arbiters: usize,
    /// Jobs a second at which they are sent; absent: as fast as they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    pub jobs_per_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// Until the last worker is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_job: Option<f64>,
    /// The most that were lost in a run, and what was sent in that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Ours by its: of the first that the row has of bytes, start, p99 and throughput.
    pub ratio: Option<f64>,
    /// The throughput of this row by that of the same peer at `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_base: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip)]
    pub variant: Option<Peer>,
}

impl Row {
    fn figure(&self) -> Option<f64> {
        self.bytes_per_job
            .or(self.start_ms)
            .or(self.p99_us)
            .or(self.jobs_per_s)
    }
}

fn median(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect::<Option<_>>()?;
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The rows of a set, case by case.
pub fn rows(all: &[(&Case, Vec<Entrant>)]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut base: Option<(String, Vec<Row>)> = None;
    for (case, entrants) in all {
        let mut some = best_rows(case, entrants);
        match &base {
            Some((name, base)) => compare_with_base(&mut some, name, base),
            None => base = Some((format!("{}, {} workers", case.work, case.workers), some.clone())),
        }
        rows.append(&mut some);
        if case.shows_the_start() {
            rows.append(&mut start_rows(case, entrants));
        }
    }
    rows
}

/// The peers, each as it was set best.
pub fn best(case: &Case, entrants: &[Entrant]) -> Vec<Peer> {
    best_rows(case, entrants)
        .iter()
        .filter_map(|row| row.variant)
        .collect()
}

fn best_rows(case: &Case, entrants: &[Entrant]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for entrant in entrants {
        let row = row(case, entrant);
        match rows.iter_mut().find(|known| known.peer == row.peer) {
            Some(known) if is_better(&row, known) => *known = row,
            Some(_) => {}
            None => rows.push(row),
        }
    }
    compare(&mut rows);
    rows
}

fn row(case: &Case, Entrant { peer, runs }: &Entrant) -> Row {
    let of = |figure: fn(&Run) -> Option<f64>| median(runs.iter().map(figure));
    let worst = runs.iter().max_by_key(|run| run.lost);
    Row {
        work: case.work.to_owned(),
        peer: peer.name().into(),
        workers: case.workers,
        arbiters: case.arbiters,
        rate: case.rate,
        jobs_per_s: of(|run| run.jobs_per_s),
        p50_us: of(|run| run.p50.map(micros)),
        p99_us: of(|run| run.p99.map(micros)),
        lost: worst.map(|run| run.lost),
        sent: worst.map(|run| run.sent),
        note: runs.iter().find_map(|run| run.note.clone()),
        variant: Some(*peer),
        ..Row::default()
    }
}

/// The start of so many workers is a work of its own, seen in the same runs.
fn start_rows(case: &Case, entrants: &[Entrant]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for Entrant { peer, runs } in entrants {
        let row = Row {
            work: format!("start of {} workers", case.workers),
            peer: peer.name().into(),
            workers: case.workers,
            arbiters: case.arbiters,
            start_ms: median(runs.iter().map(|run| run.start.map(|start| micros(start) / 1e3))),
            note: runs.iter().find_map(|run| run.note.clone()),
            ..Row::default()
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
    let less_is_more = |row: &Row| row.start_ms.or(row.p99_us);
    match (less_is_more(row), less_is_more(than)) {
        (Some(one), Some(other)) => one < other,
        (Some(_), None) => true,
        _ => row.jobs_per_s > than.jobs_per_s,
    }
}

/// Fills in the ratios; ours is the row of this crate.
pub fn compare(rows: &mut [Row]) {
    let ours = rows
        .iter()
        .find(|row| row.peer == Peer::Ours.name())
        .and_then(Row::figure);
    for row in rows {
        row.ratio = ours.zip(row.figure()).map(|(ours, its)| ours / its);
    }
}

fn compare_with_base(rows: &mut [Row], name: &str, base: &[Row]) {
    for row in rows {
        let base = base.iter().find(|base| base.peer == row.peer);
        row.of_base = base
            .and_then(|base| base.jobs_per_s)
            .zip(row.jobs_per_s)
            .map(|(base, rate)| rate / base);
        row.base = row.of_base.map(|_| name.to_owned());
    }
}

fn micros(wait: Duration) -> f64 {
    wait.as_secs_f64() * 1e6
}
