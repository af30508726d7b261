//! The same work on this crate and on its peers, in one run.
//!
//! ```text
//! cargo run --release -p peers                  # everything, medians of five: about half an hour
//! cargo run --release -p peers -- --quick       # four workers, small works: under a minute
//! cargo run --release -p peers -- --json        # an object a line
//! cargo run --release -p peers -- --plots docs  # also writes throughput.svg and latency.svg there
//! cargo run --release -p peers -- --soak        # a simulated day, then an hour at full load: memory must not grow
//! cargo run --release -p peers --features mimalloc -- --only batches   # with another allocator, for all alike
//! ```
//! The runs of the peers alternate, so that a busy moment of the machine hits all of them. A run counts until every job is
//! done, ours until every job is acked. Compare ratios; absolute figures differ from machine to machine.

mod cases;
mod drive;
mod meter;
mod peers;
mod rounds;

mod answered;
mod bare_actix;
mod channels;
mod driver_alone;
mod kameo_pool;
mod ours;
mod ractor_factory;
mod rust_stream;

mod memory;
mod plot;
mod report;
mod soak;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use peers::Peer;
use report::Row;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// Small works, four workers.
    #[arg(long)]
    quick: bool,
    /// An object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Only works whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Only peers whose name contains one of these; with commas in between.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Writes throughput.svg and latency.svg into this directory.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Sees whether memory grows over a simulated day and then at full load.
    #[arg(long)]
    soak: bool,
    /// How long the full load of the soak lasts.
    #[arg(long, default_value_t = 60)]
    soak_minutes: u64,
    /// Measures one peer's memory in this process.
    #[arg(long, hide = true)]
    memory_of: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(name) = &arguments.memory_of {
        memory::print_bytes(name);
    }
    if arguments.soak {
        return match soak::soak(arguments.soak_minutes) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    // Jobs that panic are part of a work; their messages are not.
    std::panic::set_hook(Box::new(|_| {}));
    let rows = all(&arguments);
    match arguments
        .plots
        .as_deref()
        .map(|directory| write_plots(directory, &rows))
    {
        Some(Err(error)) => {
            eprintln!("the plots could not be written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn all(arguments: &Arguments) -> Vec<Row> {
    let is_wanted = |work: &str| arguments.only.as_ref().is_none_or(|only| work.contains(only));
    let has_part = |peer: Peer| {
        let names = &arguments.peers;
        names.is_empty() || names.iter().any(|name| peer.name().contains(name))
    };
    let print = if arguments.json {
        table::print_json
    } else {
        table::print_head();
        table::print
    };
    let mut all = Vec::new();
    for set in cases::sets(arguments.quick) {
        // A case needs the first one of its set beside it.
        if set.iter().any(|case| is_wanted(case.work)) {
            let rows = rounds::rows(&set, has_part, arguments.quick);
            print(&rows);
            all.extend(rows);
        }
    }
    if is_wanted("memory") {
        let rows = memory::rows(has_part);
        print(&rows);
        all.extend(rows);
    }
    all
}

fn write_plots(directory: &Path, rows: &[Row]) -> std::io::Result<()> {
    let by_workers = |row: &Row| {
        let is_one = row.work == "batches" && row.arbiters == 1;
        is_one.then_some((row.workers as f64, row.jobs_per_s?))
    };
    let throughput = plot::chart(
        "Throughput by workers (batches, two arbiters)",
        "workers",
        "jobs a second",
        &lines(rows, by_workers),
    );
    let by_load = |row: &Row| {
        let is_one = row.arbiters == 1 && row.work.starts_with("latency");
        is_one.then_some((row.rate? as f64, row.p99_us?))
    };
    let latency = plot::chart(
        "Wait from send to handler, p99 (one arbiter, four workers)",
        "jobs a second",
        "microseconds",
        &lines(rows, by_load),
    );
    // With `--only` one of them may have nothing to show; then the picture that is there stays.
    for (name, chart) in [("throughput.svg", throughput), ("latency.svg", latency)] {
        if chart.contains("<polyline") {
            std::fs::write(directory.join(name), chart)?;
        }
    }
    Ok(())
}

fn lines(rows: &[Row], point: impl Fn(&Row) -> Option<(f64, f64)>) -> Vec<plot::Line> {
    let mut lines: Vec<plot::Line> = Vec::new();
    for row in rows {
        let Some(point) = point(row) else { continue };
        match lines.iter_mut().find(|line| line.name == row.peer) {
            Some(line) => line.points.push(point),
            None => lines.push(plot::Line {
                name: row.peer,
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    lines
}
