//! Rows as they are printed.

use crate::report::Row;

pub fn print_head() {
    println!(
        "{:<23} {:>7} {:>8}  {:<14} {:>10} {:>9} {:>9} {:>8} {:>9} {:>8} {:>7} {:>7}",
        "work",
        "workers",
        "arbiters",
        "peer",
        "jobs/s",
        "p50 us",
        "p99 us",
        "start ms",
        "bytes/job",
        "lost",
        "ours/it",
        "of base"
    );
}

pub fn print(rows: &[Row]) {
    for row in rows {
        println!(
            "{:<23} {:>7} {:>8}  {:<14} {:>10} {:>9} {:>9} {:>8} {:>9} {:>8} {:>7} {:>7}{}",
            row.work,
            row.workers,
            row.arbiters,
            row.peer,
            show(row.jobs_per_s, 0),
            show(row.p50_us, 1),
            show(row.p99_us, 1),
            show(row.start_ms, 1),
            show(row.bytes_per_job, 0),
            row.lost.map_or("-".to_owned(), |lost| lost.to_string()),
            show(row.ratio, 2),
            show(row.of_base, 2),
            row.note
                .as_ref()
                .map_or(String::new(), |note| format!("  ({note})")),
        );
    }
}

fn show(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

pub fn print_json(rows: &[Row]) {
    for row in rows {
        match serde_json::to_string(row) {
            Ok(line) => println!("{line}"),
            Err(error) => panic!("a row is an object: {error}"),
        }
    }
}
