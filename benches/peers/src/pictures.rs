//! The two pictures of the page on performance.

use std::path::Path;

use crate::plot::{self, Line, Words};
use crate::report::Row;

/// Writes throughput.svg and latency.svg. One that has nothing to show, because of `--only`, stays as it is.
pub fn write(directory: &Path, rows: &[Row]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let pictures = [
        ("throughput.svg", throughput(rows)),
        ("latency.svg", latency(rows)),
    ];
    for (name, picture) in pictures {
        if let Some(picture) = picture {
            std::fs::write(directory.join(name), picture)?;
        }
    }
    Ok(())
}

fn throughput(rows: &[Row]) -> Option<String> {
    let lines = lines(rows, |row| {
        let is_one = row.work == "batches" && row.arbiters == 1;
        is_one.then_some((row.workers as f64, row.jobs_per_s?))
    });
    let words = Words {
        title: "Throughput by workers",
        subtitle: "Batches of 256, one thread, handlers that do nothing; higher is better",
        across: "workers",
        up: "jobs per second",
    };
    is_a_line(&lines).then(|| plot::chart(&words, &lines))
}

fn latency(rows: &[Row]) -> Option<String> {
    let lines = lines(rows, |row| {
        let is_one = row.work.starts_with("latency") && row.arbiters == 1;
        is_one.then_some((row.rate? as f64, row.p99_us?))
    });
    let words = Words {
        title: "Wait from send to handler by load, p99",
        subtitle: "Single sends at a steady rate, one thread, four workers; lower is better",
        across: "jobs per second",
        up: "microseconds",
    };
    is_a_line(&lines).then(|| plot::chart(&words, &lines))
}

fn is_a_line(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.points.len() > 1)
}

/// A line for each peer, in the order of the rows: ours first.
fn lines(rows: &[Row], point: impl Fn(&Row) -> Option<(f64, f64)>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let Some(point) = point(row) else { continue };
        match lines.iter_mut().find(|line| line.name == row.peer) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name: row.peer.to_string(),
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    lines
}
