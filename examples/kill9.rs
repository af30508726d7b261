//! Kill -9: a process with producers, a group and a durable queue is killed at random moments, again and again, and a ledger
//! outside of it says whether anything was lost.
//!
//! The child writes two ledgers: `accepted`, once a send has returned, and `done`, by the consumer. What it has written before a
//! kill -9 stays in the files of the operating system, so the parent can read it. After the last round a child runs to its
//! end without a kill. A job that was accepted and is never done is lost. A job that is done more than once is repeated:
//! at-least-once allows that where a consumer was done and its ack was not yet on disk.
//!
//! With `--fight` two processes want the file in every round. One gets it, the other waits; whichever of them is killed, at a
//! random moment, the other one goes on with what is in the file, and is killed in its turn.
//!
//! Run it: `cargo run --release --features durable --example kill9 -- --rounds 20 [--fight] [--dir FOLDER] [--seed N]`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

#[path = "arguments/mod.rs"]
mod arguments;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use arguments::Arguments;
use consumer_group::codec::Compact;
use consumer_group::durable::DurableQueue;
use consumer_group::{Delivery, Failure, Group, Job};

type Outcome<T> = Result<T, Box<dyn Error>>;

const HELP: &str = "
Usage: kill9 [OPTIONS]

  --rounds N    how often the process is killed; 20 if nothing is said
  --dir DIR     where the queue and the ledgers are; a temporary folder if not given
  --seed N      for the moments of the kills; 1 if nothing is said
  --fight       two processes fight for the file in each round";

struct Args {
    rounds: u64,
    dir: Option<PathBuf>,
    seed: u64,
    fight: bool,
    /// Set for the child: which round it is.
    child: Option<u64>,
    /// Set for the last child: send nothing more, and end when everything is done.
    last: bool,
}

impl Args {
    fn parse() -> Self {
        let mut given = Arguments::of_this_process(HELP);
        let args = Self {
            rounds: given.value("--rounds").unwrap_or(20),
            dir: given.path("--dir"),
            seed: given.value("--seed").unwrap_or(1),
            fight: given.flag("--fight"),
            child: given.value("--child"),
            last: given.flag("--last"),
        };
        given.end();
        args
    }
}

fn main() -> Outcome<ExitCode> {
    let arguments = Args::parse();
    match (&arguments.child, &arguments.dir) {
        (Some(round), Some(folder)) => {
            actix::System::new().block_on(child(*round, arguments.last, folder))?;
            Ok(ExitCode::SUCCESS)
        }
        (Some(_), None) => Err("a child needs its folder".into()),
        (None, _) => parent(&arguments),
    }
}

/// Jobs that one producer sends at once, in turn: single ones and batches.
const BATCHES: [usize; 4] = [1, 7, 64, 400];

/// A ledger that several tasks write. One line is one `write`, so a kill never leaves half of one that counts.
#[derive(Clone)]
struct Ledger(Arc<File>);

impl Ledger {
    fn open(path: &Path) -> Outcome<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Arc::new(file)))
    }

    fn write(&self, numbers: impl IntoIterator<Item = u64>) -> std::io::Result<()> {
        let lines: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        (&*self.0).write_all(&lines)
    }

    fn read(path: &Path) -> Outcome<Vec<u64>> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        Ok(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect())
    }
}

/// How long a process waits for the one that has the file.
const LONG: Duration = Duration::from_secs(600);

async fn child(round: u64, is_last: bool, folder: &Path) -> Outcome<()> {
    let queue = DurableQueue::at(folder.join("jobs.queue"), Compact);
    let queue: DurableQueue<u64> = queue.open_when_free(LONG).await?;
    let (accepted, begun) = (
        Ledger::open(&folder.join("accepted"))?,
        Ledger::open(&folder.join("done"))?,
    );
    let done = begun.clone();
    let group = Group::<u64, ()>::builder()
        .configure(|config| config.retry.attempts = u32::MAX)
        .queue(queue.clone())
        .consume_with(4, async move |delivery: &Delivery<u64>| {
            // The work of a consumer: to note that it was done. Some fail once, so that retries are on their way too.
            let number = *delivery.job();
            if delivery.attempt() == 1 && number.is_multiple_of(101) {
                return Err(Failure::retry_after(Duration::from_millis(3), "not yet"));
            }
            done.write([number])?;
            Ok(())
        })
        .start()?;
    println!("ready");
    if is_last {
        while queue.counts().unfinished() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        group.stop().await;
        return Ok(());
    }
    let next = Arc::new(AtomicU64::new(round << 40));
    let producing = (0..3).map(|turn| {
        let (producer, accepted, next) = (group.producer(), accepted.clone(), Arc::clone(&next));
        actix::spawn(async move {
            for size in BATCHES.iter().cycle().skip(turn) {
                let from = next.fetch_add(*size as u64, Ordering::Relaxed);
                let numbers = from..from + *size as u64;
                let jobs = numbers.clone().map(|number| match number % 50 {
                    0 => Job::new(number).priority(5),
                    1 => Job::new(number).delay(Duration::from_millis(2)),
                    2 => Job::new(number).expires_after(Duration::from_secs(3600)),
                    _ => Job::new(number),
                });
                match producer.send_batch(jobs).await {
                    Ok(_) => accepted.write(numbers)?,
                    Err(error) => return Err(std::io::Error::other(error.to_string())),
                }
            }
            Ok(())
        })
    });
    for task in producing.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(())
}

fn parent(arguments: &Args) -> Outcome<ExitCode> {
    let own = std::env::temp_dir().join(format!("kill9-{}", std::process::id()));
    let folder = arguments.dir.clone().unwrap_or_else(|| own.clone());
    fs::create_dir_all(&folder)?;
    let mut random = arguments.seed;
    let began = Instant::now();
    for round in 1..=arguments.rounds {
        if arguments.fight {
            fight(&folder, round, &mut random)?;
        } else {
            let mut process = start(&folder, round, false)?;
            wait_until_ready(&mut process)?;
            a_moment(&mut random);
            process.kill()?;
            process.wait()?;
        }
        if round % 50 == 0 {
            println!("{round} rounds, {} s", began.elapsed().as_secs());
        }
    }
    let mut process = start(&folder, 2 * arguments.rounds + 2, true)?;
    wait_until_ready(&mut process)?;
    if !process.wait()?.success() {
        return Err("the last child failed".into());
    }
    let accepted = Ledger::read(&folder.join("accepted"))?;
    let mut times = BTreeMap::<u64, u64>::new();
    for number in Ledger::read(&folder.join("done"))? {
        *times.entry(number).or_default() += 1;
    }
    let lost: Vec<_> = accepted
        .iter()
        .filter(|number| !times.contains_key(number))
        .collect();
    let repeated: u64 = times.values().map(|times| times - 1).sum();
    for number in lost.iter().take(10) {
        println!("lost: {} of round {}", *number & ((1 << 40) - 1), *number >> 40);
    }
    if arguments.dir.is_none() {
        fs::remove_dir_all(&own)?;
    }
    println!(
        "rounds {} accepted {} lost {} repeated {repeated}",
        arguments.rounds,
        accepted.len(),
        lost.len()
    );
    Ok(if lost.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A moment between 0 and 40 ms, counted from when a group is up; some hit the first commits after an opening.
fn a_moment(random: &mut u64) {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    std::thread::sleep(Duration::from_micros((*random >> 33) % 40_000));
}

/// Two processes for one file. The owner is killed, or first the one that waits; then the other one.
fn fight(folder: &Path, round: u64, random: &mut u64) -> Outcome<()> {
    let (tell, told) = mpsc::channel();
    let mut processes = Vec::new();
    for which in 0..2 {
        let mut process = start(folder, 2 * round + which, false)?;
        let mut said = process.stdout.take().ok_or("the child has no output")?;
        let tell = tell.clone();
        std::thread::spawn(move || {
            let mut line = [0; 6];
            if said.read_exact(&mut line).is_ok() {
                // An error means that the round is over.
                let _ = tell.send((which, said));
            }
        });
        processes.push(process);
    }
    // The first one that is up has the file. Its output is kept open, or it could not write there.
    let (owner, _said) = told.recv_timeout(LONG)?;
    a_moment(random);
    let is_owner_first = !(*random >> 20).is_multiple_of(4);
    let order = if is_owner_first {
        [owner, 1 - owner]
    } else {
        [1 - owner, owner]
    };
    for (turn, which) in (0..).zip(order) {
        if turn == 1 && is_owner_first {
            let (next, _said) = told.recv_timeout(LONG)?;
            assert_eq!(next, which, "the one that waited has the file now");
            a_moment(random);
        }
        let process = processes.get_mut(which as usize).ok_or("there are two")?;
        process.kill()?;
        process.wait()?;
    }
    Ok(())
}

fn start(folder: &Path, round: u64, is_last: bool) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--dir")
        .arg(folder)
        .arg("--child")
        .arg(round.to_string());
    if is_last {
        command.arg("--last");
    }
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

/// The child says a line when its group is up.
fn wait_until_ready(process: &mut Child) -> Outcome<()> {
    let mut line = [0; 6];
    let mut said = process.stdout.take().ok_or("the child has no output")?;
    said.read_exact(&mut line)?;
    process.stdout = Some(said);
    Ok(())
}
