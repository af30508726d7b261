//! Collects log lines: reads them, parses them in consumers keyed by host, and writes them as JSON lines, in batches.
//!
//! ```text
//! cargo run --release --example log_collection -- examples/log_collection/samples/access.log
//! cargo run --release --example log_collection -- examples/log_collection/samples/app.jsonl --out app.out --dead app.dead
//! tail -f /var/log/nginx/access.log | cargo run --release --example log_collection
//! cargo run --release --example log_collection -- --help
//! ```
//!
//! Two groups, one behind the other:
//!
//! ```text
//! lines ──▶ PARSERS (4, keyed by host) ──results──▶ WRITER (1, takes batches) ──results──▶ counts
//!                    └── malformed lines: rejected, so they come back as dead letters
//! ```
//!
//! The lines of one host stay in order, even when parsers die on the way (`--panic-every`): the first group keeps order by
//! key, its results come in the order in which the lines were done, and the second group has one consumer.
//!
//! Exit status: 0 if all was read and written, malformed lines or not; 2 if the input cannot be read, the output cannot be
//! written, or the arguments cannot be used.
//!
//! Where to look: `parser.rs` and `writer.rs` are the consumers, `run` below puts the groups together. `json.rs` and
//! `combined.rs` know the two formats.

mod args;
#[path = "../arguments/mod.rs"]
mod arguments;
mod combined;
mod dead;
mod files;
mod json;
mod lines;
mod parser;
mod record;
mod report;
mod writer;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use consumer_group::{
    AS_CONFIGURED, BatchSize, Drained, Group, GroupConfig, Job, Placement, ProducerGroup, Results,
    StrategyKind,
};
use tokio::sync::mpsc;

use args::Args;
use dead::DeadFile;
use files::Files;
use lines::Line;
use parser::{ParseJob, Parsed, Parser};
use record::{Class, Record};
use report::{Report, Tally};
use writer::{Out, Writer};

/// The errors of this program are told once and end it, so a text is all that is known about them.
type Told<T> = Result<T, Box<dyn std::error::Error>>;

/// Lines that each part of the way may hold. It bounds the memory: a line has at most 256 KiB.
const HELD: usize = 1_024;

/// Lines that are sent at once.
const LOT: usize = 256;

/// How long a drain may take: as long as it needs. Whoever reads our output may be slow.
const NO_HURRY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn main() -> ExitCode {
    let args = Args::parse();
    let done = Files::open(&args).and_then(|files| actix::System::new().block_on(run(&args, files)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If even this cannot be written, the exit status still tells.
            let _ = writeln!(io::stderr(), "log_collection: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: &Args, files: Files) -> Told<()> {
    let Files { input, out, mut dead } = files;
    let out = Out::new(out);
    let parsers = Group::builder()
        .config(parsing(args))
        .consumers(AS_CONFIGURED, || Parser)
        .start()?;
    let makes_writer = out.clone();
    // A batch is whatever has arrived, up to `most`: nothing waits for others to come.
    let size = BatchSize {
        most: LOT,
        wait: Duration::ZERO,
    };
    let writers = Group::builder()
        .config(writing())
        .batch_consumers(1, size, move || Writer::new(makes_writer.clone()))
        .start()?;
    let (to_parsers, parsed) = parsers.producer_group();
    let (to_writer, written) = writers.producer_group();

    let mut tally = Tally::default();
    let lines = lines::on_a_thread(input, HELD)?;
    let feeding = async {
        let fed = feed(args, lines, to_parsers).await?;
        // Everything is sent. The group finishes it and ends, and with it ends the stream of its results.
        nothing_left(parsers.drain(NO_HURRY).await)?;
        Ok(fed)
    };
    let forwarding = async {
        let forwarded = forward(parsed, to_writer, &mut dead).await?;
        nothing_left(writers.drain(NO_HURRY).await)?;
        Ok(forwarded)
    };
    let counting = count(written, &mut tally);
    // All three at once: each part waits for the next one when that has enough to do.
    let (fed, forwarded, ()) = match tokio::try_join!(feeding, forwarding, counting) {
        Ok(done) => done,
        // Whoever reads our output has seen enough, as `head` does; that is no error.
        Err(_) if out.reader_has_gone() => return Ok(()),
        Err(error) => return Err(error),
    };
    let report = Report {
        read: fed.read,
        blank: fed.blank,
        malformed: forwarded.malformed,
        retries: forwarded.retries,
        tally,
    };
    dead.flush()?;
    report.tell(&mut io::stderr().lock())?;
    match fed.failed {
        Some(error) => Err(format!("the input cannot be read any further: {error}").into()),
        None => report.check(),
    }
}

/// The group that parses. Its lines of one host stay in order, and a host stays with a consumer.
fn parsing(args: &Args) -> GroupConfig {
    let mut config = GroupConfig {
        consumers: args.consumers,
        strategy: StrategyKind::Sticky,
        order_by_key: true,
        results: HELD,
        // A panic is told in the report.
        quiet_panics: true,
        ..GroupConfig::default()
    };
    config.queue.capacity = HELD;
    // They are written to a file as they come; nobody asks the group for them.
    config.queue.dead_letters = 0;
    if args.panic_every.is_some() {
        // The default budget takes a consumer that dies again and again for broken and lets it rest. Here the deaths are
        // ordered, and the consumers are well.
        config.restart.intensity = u32::MAX;
    }
    config
}

/// The group that writes.
fn writing() -> GroupConfig {
    let mut config = GroupConfig {
        // Writing blocks, so the consumer has a thread of its own. It may block for as long as the reader of our output
        // likes: that is not a hang, so there is no deadline.
        placement: Placement::Dedicated,
        deadline: Duration::ZERO,
        results: HELD,
        ..GroupConfig::default()
    };
    config.queue.capacity = HELD;
    config
}

/// What was read.
struct Fed {
    read: u64,
    blank: u64,
    failed: Option<io::Error>,
}

/// The producer: sends each line with its host as the key.
async fn feed(
    args: &Args,
    mut lines: mpsc::Receiver<io::Result<Line>>,
    to: ProducerGroup<ParseJob, Parsed>,
) -> Told<Fed> {
    let mut fed = Fed {
        read: 0,
        blank: 0,
        failed: None,
    };
    let mut arrived = Vec::with_capacity(LOT);
    while lines.recv_many(&mut arrived, LOT).await > 0 {
        let mut jobs = Vec::with_capacity(arrived.len());
        for line in arrived.drain(..) {
            match line {
                Ok(line) => {
                    fed.read += 1;
                    if line.is_blank() {
                        fed.blank += 1;
                    } else {
                        jobs.push(job(args, line));
                    }
                }
                Err(error) => fed.failed = Some(error),
            }
        }
        to.send_batch(jobs).await.map_err(|error| error.to_string())?;
    }
    Ok(fed)
}

fn job(args: &Args, line: Line) -> Job<ParseJob> {
    let panics = args
        .panic_every
        .is_some_and(|every| line.number.is_multiple_of(every));
    let format = args.format.of(&line.text);
    // Only the host is looked up here; the rest is the work of the consumers. A line without one is malformed.
    let host = record::host(format, &line.text);
    let job = Job::new(ParseJob { line, format, panics });
    match host {
        Some(host) => job.key(host),
        None => job,
    }
}

/// What became of the lines in the first group.
#[derive(Default)]
struct Forwarded {
    malformed: u64,
    /// Attempts beyond the first ones.
    retries: u64,
}

/// Parsed lines go on to the writer, malformed ones to the dead letters.
async fn forward(
    mut parsed: Results<ParseJob, Parsed>,
    to: ProducerGroup<Record, Class>,
    dead: &mut DeadFile,
) -> Told<Forwarded> {
    let mut forwarded = Forwarded::default();
    while let Some(outcome) = parsed.next().await {
        let attempt = match outcome.result {
            Ok(Parsed { record, attempt }) => {
                to.send(record).await?;
                attempt
            }
            Err(letter) => {
                forwarded.malformed += 1;
                dead.write(&letter)?;
                letter.history.last().map_or(1, |last| last.attempt)
            }
        };
        forwarded.retries += u64::from(attempt.saturating_sub(1));
    }
    Ok(forwarded)
}

/// Counts what was written.
async fn count(mut written: Results<Record, Class>, tally: &mut Tally) -> Told<()> {
    while let Some(outcome) = written.next().await {
        match outcome.result {
            Ok(class) => tally.note(class),
            Err(letter) => return Err(format!("the output cannot be written: {}", letter.reason).into()),
        }
    }
    Ok(())
}

/// A group that ends before its work is done has failed; its jobs came back.
fn nothing_left<J>(drained: Drained<J>) -> Told<()> {
    match drained.unfinished.len() {
        0 => Ok(()),
        left => Err(format!("a group ended with {left} lines left undone").into()),
    }
}
