//! Durable: a sum that survives kill -9.
//!
//! The numbers 1 to N are sent to a queue on disk, once; consumers add them up in a file of their own, a line for each. Kill
//! the program at any moment with -9 and run it again with the same folder: it goes on where it was. At the end every number
//! was added, and the sums agree. A number that was done when the process died, and whose ack was not yet on disk, is done
//! again; the lines tell, and the sum counts it once: that is what the job's name is for in a sink of your own.
//!
//! Run it: `cargo run --features durable --example durable -- --dir FOLDER [--jobs N]`, and in another terminal, half way,
//! `kill -9` with the number that it prints. Or let it do that itself: `--demonstrate` starts itself, kills itself half way with
//! -9 and starts itself again.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

#[path = "arguments/mod.rs"]
mod arguments;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arguments::Arguments;
use consumer_group::durable::DurableQueue;
use consumer_group::{Delivery, Group};

type Outcome<T> = Result<T, Box<dyn Error>>;

const HELP: &str = "
Usage: durable --dir DIR [OPTIONS]

  --dir DIR        the folder of the queue and of the lines
  --jobs N         how many numbers; 2,000 if nothing is said
  --demonstrate    starts itself, kills itself half way with -9, and starts itself again";

struct Args {
    dir: PathBuf,
    jobs: u64,
}

fn main() -> Outcome<()> {
    let mut given = Arguments::of_this_process(HELP);
    let arguments = Args {
        dir: given.path("--dir").ok_or("--dir DIR says where the queue is")?,
        jobs: given.value("--jobs").unwrap_or(2_000),
    };
    let demonstrates = given.flag("--demonstrate");
    given.end();
    fs::create_dir_all(&arguments.dir)?;
    if demonstrates {
        demonstrate(&arguments)
    } else {
        actix::System::new().block_on(work(&arguments.dir, arguments.jobs))
    }
}

async fn work(folder: &Path, jobs: u64) -> Outcome<()> {
    println!("process {}", std::process::id());
    let queue: DurableQueue<u64> = DurableQueue::open(folder.join("jobs.queue"))?;
    println!("{} jobs wait from before", queue.counts().unfinished());
    let lines = Arc::new(
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("lines"))?,
    );
    let group = Group::builder()
        .queue(queue.clone())
        .consume_with(4, async move |delivery: &Delivery<u64>| {
            // The work: half a millisecond for a number.
            tokio::time::sleep(Duration::from_micros(500)).await;
            (&*lines).write_all(format!("{}\n", delivery.job()).as_bytes())?;
            Ok(())
        })
        .start()?;
    send_once(folder, jobs, &group).await?;
    while queue.counts().unfinished() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    group.stop().await;
    let done = read_lines(folder)?;
    let numbers: BTreeSet<u64> = done.iter().copied().collect();
    let (sum, wanted) = (numbers.iter().sum::<u64>(), (1..=jobs).sum::<u64>());
    println!(
        "done {} of {jobs}, {} done again after a kill",
        numbers.len(),
        done.len() - numbers.len()
    );
    println!(
        "sum {sum}, wanted {wanted}: {}",
        if sum == wanted {
            "they agree"
        } else {
            "THEY DIFFER"
        }
    );
    if sum == wanted {
        Ok(())
    } else {
        Err("numbers were lost".into())
    }
}

/// Sends the numbers that were not sent before. A number is noted after its send returned; the one that was on its way when
/// the process died is sent again under the same deduplication key, and refused if it was accepted.
async fn send_once(folder: &Path, jobs: u64, group: &Group<u64, ()>) -> Outcome<()> {
    let path = folder.join("sent");
    let sent: u64 = fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let producer = group.producer();
    for number in sent + 1..=jobs {
        let job = consumer_group::Job::new(number).dedup(number);
        match producer.send(job).await {
            Ok(_) => {}
            Err(error) if matches!(error.kind, consumer_group::SendErrorKind::Duplicate { .. }) => {}
            Err(error) => return Err(error.kind.to_string().into()),
        }
        // Renamed into place, so that a kill leaves the old number or the new one.
        let next = folder.join("sent.next");
        fs::write(&next, number.to_string())?;
        fs::rename(&next, &path)?;
    }
    Ok(())
}

fn read_lines(folder: &Path) -> Outcome<Vec<u64>> {
    let text = fs::read_to_string(folder.join("lines")).unwrap_or_default();
    text.lines().map(|line| Ok(line.parse()?)).collect()
}

fn demonstrate(arguments: &Args) -> Outcome<()> {
    let again = || -> Outcome<_> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--dir")
            .arg(&arguments.dir)
            .arg("--jobs")
            .arg(arguments.jobs.to_string());
        Ok(command.spawn()?)
    };
    let mut first = again()?;
    let began = Instant::now();
    while (read_lines(&arguments.dir)?.len() as u64) < arguments.jobs / 2 {
        if began.elapsed() > Duration::from_secs(60) || first.try_wait()?.is_some() {
            return Err("the first process did not come half way".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    first.kill()?;
    first.wait()?;
    println!("killed with -9 after {} lines", read_lines(&arguments.dir)?.len());
    if again()?.wait()?.success() {
        Ok(())
    } else {
        Err("the second process failed".into())
    }
}
