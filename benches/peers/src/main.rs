//! The same work on this crate and on its peers, in one run.
//!
//! ```text
//! cargo run --release -p peers                  # everything, medians of five: about a quarter of an hour
//! cargo run --release -p peers -- --quick       # the works that have a number to reach, and some more: under a minute
//! cargo run --release -p peers -- --json        # an object a line
//! cargo run --release -p peers -- --only batches --peers consumer-group,tokio --workers 4   # a part of it
//! cargo run --release -p peers -- --plots docs/plots                    # also draws throughput.svg and latency.svg there
//! cargo run --release -p peers -- --plots docs/plots --rows rows.json   # draws them from what --json printed
//! cargo run --release -p peers -- --soak        # a simulated day, then an hour at full load: memory must not grow
//! cargo run --release -p peers --features mimalloc -- --only batches    # with another allocator, for all alike
//! ```
//! What each work measures stands in `docs/performance.md`. The runs of the peers alternate, so that a busy moment of
//! the machine hits all of them. A run counts until every job is done, ours until every job is acked. Compare ratios;
//! absolute figures differ from machine to machine.

mod cases;
mod drive;
mod meter;
mod payload;
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
mod pictures;
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
    /// Only cases with so many workers.
    #[arg(long)]
    workers: Option<usize>,
    /// Writes throughput.svg and latency.svg into this directory.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Runs nothing: the pictures are drawn from what an earlier run with --json wrote into this file.
    #[arg(long, requires = "plots")]
    rows: Option<PathBuf>,
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
    match rows(&arguments).and_then(|rows| draw(&arguments, &rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The rows of a run, or those of an earlier one.
fn rows(arguments: &Arguments) -> Result<Vec<Row>, String> {
    if let Some(file) = &arguments.rows {
        return read(file).map_err(|error| format!("{} could not be read: {error}", file.display()));
    }
    silence_panics_on_purpose();
    Ok(all(arguments))
}

/// Jobs that panic are part of a work; their messages are not.
fn silence_panics_on_purpose() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(meter::ON_PURPOSE) {
            tell(panic);
        }
    }));
}

fn read(file: &Path) -> Result<Vec<Row>, std::io::Error> {
    let text = std::fs::read_to_string(file)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn draw(arguments: &Arguments, rows: &[Row]) -> Result<(), String> {
    match &arguments.plots {
        Some(directory) => pictures::write(directory, rows)
            .map_err(|error| format!("the pictures could not be written: {error}")),
        None => Ok(()),
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
    for mut set in cases::sets(arguments.quick) {
        set.retain(|case| arguments.workers.is_none_or(|workers| case.workers == workers));
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
