//! A command: counts the words of files, line by line. `cargo run -p services --bin count -- README.md`. Ctrl-C finishes
//! what was begun and says how far it came; a second one ends at once.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use consumer_group::config::Overflow;
use consumer_group::{Host, Producer, Signals};
use services::Store;

/// Counts the words of files.
#[derive(Parser)]
struct Arguments {
    /// How many lines are worked on at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    consumers: u16,
    /// How many seconds the end may take.
    #[arg(long, default_value_t = 30)]
    within: u64,
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Sends every line that has a word in it: how many were accepted. Ends early when the group takes no more.
async fn send(files: Vec<PathBuf>, producer: Producer<String, usize>) -> std::io::Result<usize> {
    let mut accepted = 0;
    for file in files {
        for line in BufReader::new(File::open(file)?).lines() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            if producer.send(line).await.is_err() {
                return Ok(accepted);
            }
            accepted += 1;
            if accepted == 1 {
                println!("counting");
            }
        }
    }
    Ok(accepted)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let signals = Signals::stop()?;
    let within = Duration::from_secs(arguments.within);
    let store = Arc::new(Store::default());
    let host = Host::start()?;
    // Lines wait for room in the queue, and the reader with them.
    let builder = services::words(&store).configure(|config| {
        config.consumers = arguments.consumers.into();
        config.queue.overflow = Overflow::Wait;
    });
    let group = builder.start_on(&host).await?;
    let sender = tokio::spawn(send(arguments.files, group.producer()));
    let end = group.clone();
    let draining = tokio::spawn(async move { end.drain_on(signals, within).await });
    let accepted = sender.await??;
    // Everything is sent, or the group drains already; then this waits for that drain.
    let mut report = group.drain(within).await;
    let other = draining.await?;
    if report.is_clean() {
        report = other;
    }
    println!(
        "{accepted} lines accepted, {} counted, {} words; {report}",
        store.done(),
        store.words()
    );
    println!("{}", host.shutdown(within).await);
    Ok(())
}
