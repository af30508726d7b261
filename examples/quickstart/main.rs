//! SHA-256 of every file in a folder, computed by a group of supervised consumers.
//!
//! ```text
//! cargo run --release --example quickstart -- DIR
//! cargo run --release --example quickstart -- DIR --panic-every 50 > SHA256SUMS && sha256sum -c --quiet SHA256SUMS
//! cargo run --release --example quickstart -- DIR --weights 3,1,1
//! cargo run --release --example quickstart -- --help
//! ```
//!
//! The checksums go to the standard output in the format of `sha256sum`, sorted by path; the progress and the report go
//! to the standard error stream. `--panic-every` and `--block-every` break consumers on purpose: look at the report, and
//! see that no file is missing.
//!
//! Exit status: 0 if every file has its checksum, 1 if some could not be read (they are named at the end), 2 if the
//! arguments cannot be used or the group could not work.
//!
//! Where to look: `hasher.rs` is the consumer, `send` and `run` below are the producer and the reader of the results,
//! `settings.rs` puts the configuration together. The rest is file names and words for people.

mod args;
#[path = "../arguments/mod.rs"]
mod arguments;
mod checksums;
mod hasher;
mod progress;
mod report;
mod settings;
mod walk;

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use consumer_group::{AS_CONFIGURED, Group, GroupConfig, Job, ProducerGroup, SendError, SendErrorKind};
use tokio::sync::mpsc;

use args::Args;
use hasher::{Fault, FileJob, Hashed, Hasher};
use progress::Progress;
use report::Report;
use walk::Found;

/// The errors of this program are told once and end it, so a text is all that is known about them.
type Told<T> = Result<T, Box<dyn std::error::Error>>;

/// Names that the walk may be ahead of the producer.
const WALK_AHEAD: usize = 1_024;

fn main() -> ExitCode {
    let args = Args::parse();
    match settings::group_config(&args).and_then(|config| work(&args, config)) {
        Ok(report) => finish(&report),
        Err(error) => {
            tell_error(&*error);
            ExitCode::from(2)
        }
    }
}

fn work(args: &Args, config: GroupConfig) -> Told<Report> {
    walk::check_folder(&args.dir)?;
    actix::System::new().block_on(run(args, config))
}

/// Starts the group, sends it every file and reads the results meanwhile.
async fn run(args: &Args, config: GroupConfig) -> Told<Report> {
    let start = Instant::now();
    let progress = Progress::new();
    let group = Group::builder()
        .config(config)
        .consumers(AS_CONFIGURED, Hasher::new)
        .start()?;
    let mut events = group.events();
    let (producers, mut results) = group.producer_group();

    let mut report = Report::default();
    let mut sending = pin!(send(args, producers, &progress));
    let mut sent = None;
    // The results are read while files are still being sent: the group holds at most `results` of them for a reader that
    // does not come, and then lets the producer wait.
    while sent
        .as_ref()
        .is_none_or(|sent: &Sent| report.ended() < sent.files)
    {
        tokio::select! {
            done = &mut sending, if sent.is_none() => sent = Some(done?),
            outcome = results.next() => match outcome {
                Some(outcome) => report.note(outcome),
                None => return Err(early_end(&group).await.into()),
            },
        }
        progress.look(&mut events, report.ended());
    }
    report.unlisted = sent.map(|sent| sent.unlisted).unwrap_or_default();
    report.close(&group.health().await?, start.elapsed());
    group.stop().await;
    progress.clear();
    Ok(report)
}

/// What the producer has sent.
struct Sent {
    files: u64,
    /// Folders whose names could not be listed.
    unlisted: Vec<(PathBuf, io::Error)>,
}

/// The producer: sends a job for each file as the walk finds it. Waits while the group has enough to do.
async fn send(args: &Args, producers: ProducerGroup<FileJob, Hashed>, progress: &Progress) -> Told<Sent> {
    let mut found = walk_on_a_thread(args.dir.clone())?;
    let mut sent = Sent {
        files: 0,
        unlisted: Vec::new(),
    };
    while let Some(found) = found.recv().await {
        match found {
            Found::File(path) => {
                sent.files += 1;
                progress.sent();
                send_one(
                    &producers,
                    FileJob {
                        fault: fault(args, sent.files),
                        path,
                    },
                )
                .await?;
            }
            Found::Unlisted(path, error) => sent.unlisted.push((path, error)),
        }
    }
    Ok(sent)
}

async fn send_one(producers: &ProducerGroup<FileJob, Hashed>, job: FileJob) -> Told<()> {
    // The key is for the strategies that go by it: the same file meets the same consumer in every run.
    let key = job.path.to_string_lossy().into_owned();
    let mut job = Job::new(job).key(key);
    loop {
        match producers.send(job).await {
            Ok(_) => return Ok(()),
            // A configuration can ask for a full queue to say so instead of letting us wait. The job came back.
            Err(SendError {
                job: Some(back),
                kind: SendErrorKind::Full,
                ..
            }) => {
                job = back;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error.kind.to_string().into()),
        }
    }
}

/// What shall go wrong in the first attempt of the job with this number, counted from one.
fn fault(args: &Args, number: u64) -> Option<Fault> {
    let is_due = |every: Option<u64>| every.is_some_and(|every| number.is_multiple_of(every));
    if is_due(args.panic_every) {
        Some(Fault::Panic)
    } else if is_due(args.block_every) {
        Some(Fault::Block)
    } else {
        None
    }
}

/// Listing folders blocks, so it has a thread of its own. The channel is bounded: a walk that is far ahead waits.
fn walk_on_a_thread(folder: PathBuf) -> io::Result<mpsc::Receiver<Found>> {
    let (sender, found) = mpsc::channel(WALK_AHEAD);
    std::thread::Builder::new()
        .name("walk".to_owned())
        .spawn(move || walk::walk(folder, |found| sender.blocking_send(found).is_ok()))?;
    Ok(found)
}

/// The group has ended before its time; says why.
async fn early_end(group: &Group<FileJob, Hashed>) -> String {
    let reason = group.stopped().await;
    let reason = reason.unwrap_or_else(|| "it was stopped".to_owned());
    format!("the group ended before the work was done: {reason}")
}

fn finish(report: &Report) -> ExitCode {
    let written = checksums::write(&mut io::stdout().lock(), report.checksums());
    let told = report.tell(&mut io::stderr().lock());
    match written.and(told) {
        // Whoever reads our output may have seen enough, as `head` does; that is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell_error(&error);
            ExitCode::from(2)
        }
        Ok(()) | Err(_) if report.is_complete() => ExitCode::SUCCESS,
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}

/// Tells an error; its text holds its causes.
fn tell_error(error: &dyn std::error::Error) {
    // If even this cannot be written, the exit status still tells.
    let _ = writeln!(io::stderr(), "quickstart: {error}");
}
