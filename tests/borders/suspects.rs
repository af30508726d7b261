//! Jobs that end the whole process, over a durable queue: each alone becomes a dead letter, its neighbours are done.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use consumer_group::durable::{Compact, Durability, DurableQueue};
use consumer_group::{Cause, DeadLetter, DeadReason, Delivery, Group, Placement};
use tempfile::TempDir;

use crate::common::system;

/// What the child does; given to it in its environment.
const FOLDER: &str = "SUSPECTS_FOLDER";
const PLACEMENT: &str = "SUSPECTS_PLACEMENT";
const DURABILITY: &str = "SUSPECTS_DURABILITY";

/// A job from here on ends its process.
const DEADLY: u64 = 1_000_000;

const ATTEMPTS: u32 = 3;

fn open(folder: &Path, durability: Durability) -> DurableQueue<u64> {
    DurableQueue::at(folder.join("jobs.queue"), Compact)
        .durability(durability)
        .open()
        .unwrap()
}

fn durability() -> Durability {
    match std::env::var(DURABILITY).as_deref() {
        Ok("lose") => Durability::LoseUpTo(Duration::from_secs(3600)),
        _ => Durability::EveryJob,
    }
}

fn placement() -> Placement {
    match std::env::var(PLACEMENT).as_deref() {
        Ok("own") => Placement::Dedicated,
        Ok("shared") => Placement::Arbiters(2),
        _ => Placement::Local,
    }
}

/// One line for each job that was done, written in one go.
fn note(folder: &Path, job: u64) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("done"))
        .unwrap();
    file.write_all(format!("{job}\n").as_bytes()).unwrap();
}

fn done(folder: &Path) -> Vec<u64> {
    let text = fs::read_to_string(folder.join("done")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

async fn until_empty(queue: &DurableQueue<u64>) {
    while queue.counts().unfinished() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The process of the tests below: does what is in the queue, and ends when it is empty or when a job ends it.
#[test]
#[ignore = "it is started by the other tests"]
fn a_life() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder).to_owned();
    system(async move {
        let queue = open(&folder, durability());
        let place = folder.clone();
        let group = Group::<u64, ()>::builder()
            .configure(|config| {
                config.retry.attempts = ATTEMPTS;
                config.window.min = 2_048;
                config.placement = placement();
            })
            .queue(queue.clone())
            .consume_with(4, async move |delivery: &Delivery<u64>| {
                let job = *delivery.job();
                if job >= DEADLY {
                    std::process::abort();
                }
                note(&place, job);
                Ok(())
            })
            .start()
            .unwrap();
        until_empty(&queue).await;
        group.stop().await;
    });
}

/// A folder with a queue, and the processes over it.
struct Lives {
    folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Lives {
    fn new(environment: &[(&'static str, &'static str)]) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            environment: environment.to_vec(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts jobs into the queue.
    fn send(&self, jobs: Vec<u64>) {
        let folder = self.path().to_owned();
        system(async move {
            let queue = open(&folder, Durability::EveryJob);
            let group = idle(&queue);
            group.producer().send_batch(jobs).await.unwrap();
            group.stop().await;
        });
    }

    /// One process, to its end. It leaves no core behind.
    fn live(&self) -> ExitStatus {
        Command::new("sh")
            .args(["-c", "ulimit -c 0; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "suspects::a_life", "--ignored", "--test-threads", "1"])
            .env(FOLDER, self.path())
            .envs(self.environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    }

    /// Processes one after the other until one has done everything. How many were ended by a job.
    fn live_until_done(&self) -> usize {
        let ended = std::iter::repeat_with(|| self.live())
            .take_while(|status| !status.success())
            .take(100);
        ended.count()
    }

    fn dead(&self) -> Vec<DeadLetter<u64>> {
        let folder = self.path().to_owned();
        let (tell, told) = std::sync::mpsc::channel();
        system(async move {
            let queue = open(&folder, Durability::EveryJob);
            assert_eq!(queue.counts().unfinished(), 0);
            let group = idle(&queue);
            tell.send(group.dead_letters().list(1_000).await.unwrap())
                .unwrap();
            group.stop().await;
        });
        told.recv().unwrap()
    }
}

/// A group that does nothing.
fn idle(queue: &DurableQueue<u64>) -> Group<u64, ()> {
    let group = Group::builder()
        .queue(queue.clone())
        .consume_with(1, async |_: &Delivery<u64>| Ok(()))
        .start()
        .unwrap();
    group.pause();
    group
}

/// The lives of which the history of a dead letter says that it ended them.
fn lives_ended(letter: &DeadLetter<u64>) -> Vec<u64> {
    let causes = letter.history.iter().map(|record| &record.cause);
    causes
        .map(|cause| match cause {
            Cause::ProcessEnded { life, .. } => *life,
            other => panic!("an attempt ended with {other}"),
        })
        .collect()
}

/// `before`: lives that end before there is a suspect.
fn alone_among(neighbours: u64, at: u64, before: u32, environment: &[(&'static str, &'static str)]) {
    let lives = Lives::new(environment);
    let mut jobs: Vec<u64> = (0..neighbours).collect();
    jobs.insert(usize::try_from(at).unwrap(), DEADLY);
    lives.send(jobs);
    // Then it alone ends one life for each attempt.
    assert_eq!(lives.live_until_done(), (before + ATTEMPTS) as usize);
    let dead = lives.dead();
    let dead_jobs: Vec<u64> = dead.iter().map(|letter| *letter.job.payload()).collect();
    assert_eq!(dead_jobs, [DEADLY]);
    assert_eq!(dead[0].reason, DeadReason::Poison { attempts: ATTEMPTS });
    // The first opening was that of the sender.
    let first = u64::from(2 + before);
    let ended: Vec<u64> = (first..first + u64::from(ATTEMPTS)).collect();
    assert_eq!(lives_ended(&dead[0]), ended);
    let mut done = done(lives.path());
    done.sort_unstable();
    done.dedup();
    assert_eq!(done, (0..neighbours).collect::<Vec<_>>());
}

#[test]
fn a_job_that_ends_the_process_is_the_only_dead_letter_among_200_neighbours() {
    alone_among(200, 0, 1, &[]);
}

#[test]
fn a_job_that_ends_the_process_is_the_only_dead_letter_among_1_000_neighbours_on_threads_of_their_own() {
    alone_among(1_000, 0, 1, &[(PLACEMENT, "own")]);
}

#[test]
fn a_job_that_ends_the_process_half_way_is_the_only_dead_letter_with_consumers_on_two_arbiters() {
    alone_among(200, 100, 1, &[(PLACEMENT, "shared")]);
}

#[test]
fn a_job_that_ends_the_process_is_found_also_if_commits_need_no_flush() {
    // After the first end what is leased is flushed, so the second one makes suspects.
    alone_among(200, 0, 2, &[(DURABILITY, "lose")]);
}
