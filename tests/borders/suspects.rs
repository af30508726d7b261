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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_group::codec::Compact;
use consumer_group::durable::inspect::QueueFile;
use consumer_group::durable::{Durability, DurableQueue};
use consumer_group::{Cause, DeadLetter, DeadReason, Delivery, Group, Job, Placement};
use tempfile::TempDir;

use crate::common::{idle, system};

/// What the child does; given to it in its environment.
const FOLDER: &str = "SUSPECTS_FOLDER";
const PLACEMENT: &str = "SUSPECTS_PLACEMENT";
const DURABILITY: &str = "SUSPECTS_DURABILITY";

/// A job from here on ends its process.
const DEADLY: u64 = 1_000_000;

const ATTEMPTS: u32 = 3;

/// Far beyond what any step needs, so that only one that hangs ever reaches it.
const LIMIT: Duration = Duration::from_secs(60);

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
        // The process before may still write its last changes.
        let queue = DurableQueue::at(folder.join("jobs.queue"), Compact)
            .durability(durability())
            .open_when_free(LIMIT)
            .await
            .unwrap();
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

/// A group that begins jobs and never ends one, with all of `jobs` leased.
async fn at_work(queue: &DurableQueue<u64>, jobs: u64) -> Group<u64, ()> {
    let group = Group::builder()
        .configure(|config| config.window.min = 1_024)
        .queue(queue.clone())
        .consume_with(1, async |_: &Delivery<u64>| std::future::pending().await)
        .start()
        .unwrap();
    group.producer().send_batch(0..jobs).await.unwrap();
    while group.health().await.unwrap().leased < jobs as usize {
        tokio::task::yield_now().await;
    }
    group
}

/// The file as another process would find it if this one died now.
fn after_a_crash(folder: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join("jobs.queue"), copy.path().join("jobs.queue")).unwrap();
    copy
}

#[test]
fn suspects_begin_before_everything_else_and_with_nothing_beside_them() {
    const SUSPECTS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    system(async move {
        let queue = open(folder.path(), Durability::EveryJob);
        let group = at_work(&queue, SUSPECTS).await;
        let copy = after_a_crash(&folder);
        group.stop().await;

        let queue = open(copy.path(), Durability::EveryJob);
        let idle_group = idle(&queue);
        idle_group
            .producer()
            .send_batch((SUSPECTS..100).map(|number| Job::new(number).priority(9)))
            .await
            .unwrap();
        idle_group.stop().await;
        drop((idle_group, queue));
        let queue = open(copy.path(), Durability::EveryJob);
        let in_hand = Arc::new(AtomicUsize::new(0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let (hand, seen) = (Arc::clone(&in_hand), Arc::clone(&order));
        let group = Group::<u64, ()>::builder()
            .queue(queue.clone())
            .consume_with(4, async move |delivery: &Delivery<u64>| {
                let beside = hand.fetch_add(1, Ordering::SeqCst);
                seen.lock()
                    .unwrap()
                    .push((*delivery.job(), delivery.attempt(), beside));
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                hand.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            })
            .start()
            .unwrap();
        until_empty(&queue).await;
        group.stop().await;
        let order = order.lock().unwrap();
        let alone: Vec<_> = (0..SUSPECTS).map(|number| (number, 1, 0)).collect();
        assert_eq!(order[..SUSPECTS as usize], alone);
        assert_eq!(order.len(), 100);
        assert!(order.iter().all(|(_, attempt, _)| *attempt == 1));
    });
}

#[test]
fn a_group_that_is_stopped_at_work_leaves_no_suspects() {
    let folder = tempfile::tempdir().unwrap();
    system(async move {
        let queue = open(folder.path(), Durability::EveryJob);
        let group = at_work(&queue, 50).await;
        let crashed = QueueFile::open(after_a_crash(&folder).path().join("jobs.queue"))
            .unwrap()
            .summary()
            .unwrap();
        assert_eq!(crashed.leased, 50, "so many would be suspects");
        group.stop().await;
        let stopped = after_a_crash(&folder);
        let queue = open(stopped.path(), Durability::EveryJob);
        let file = after_a_crash(&stopped);
        let summary = QueueFile::open(file.path().join("jobs.queue"))
            .unwrap()
            .summary()
            .unwrap();
        assert_eq!((summary.leased, summary.ready), (0, 50));
        drop(queue);
    });
}
