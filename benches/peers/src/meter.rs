//! What every peer's handler does, and what is noted of it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

/// What a handler does with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// Looks at it.
    Nothing,
    /// Works for a microsecond.
    Microsecond,
    /// Sleeps for a millisecond.
    Millisecond,
    /// Never ends, so that all jobs but the first ones wait.
    Forever,
    /// Looks at it; one in a hundred sleeps for ten milliseconds.
    OneInHundredSlow,
    /// Looks at it; one in a thousand panics, the first time.
    OneInThousandPanics,
    /// Looks at it; `POISON` panics once each time that it is armed, and the wait is from there to the next job.
    PoisonPanics,
}

impl Handler {
    /// Whether it waits for anything, so that it has to be a future.
    pub fn waits(self) -> bool {
        matches!(self, Self::Millisecond | Self::Forever | Self::OneInHundredSlow)
    }
}

/// The job that kills its worker, with `Handler::PoisonPanics`.
pub const POISON: u64 = 1 << 62;

/// What the handlers themselves say when they panic. Every other panic is a surprise.
pub const ON_PURPOSE: &str = "a job that panics on purpose";

/// Jobs are numbered; whether one has panicked before is noted under its number modulo this.
const NUMBERS: u64 = 100_000_000;

/// A counter on a cache line of its own.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Shard(AtomicU64);

/// What one run has done so far. Shared by all handlers of the run.
#[derive(Debug)]
pub struct Meter {
    handler: Handler,
    began: Instant,
    /// When the first job of the work is due, in ns after the beginning: the pool has come up and is warm.
    first_due: AtomicU64,
    /// Jobs that were done before.
    warm: AtomicU64,
    /// Jobs a second, if they are sent at a steady rate.
    rate: Option<u64>,
    done: [Shard; 16],
    /// Workers that have come up, those that replace another included.
    up: AtomicU64,
    /// How long jobs waited, in ns; only with a rate. Slow jobs themselves are left out.
    waits: Mutex<Vec<u64>>,
    /// Which of the jobs that panic have done so.
    panicked: Vec<AtomicBool>,
    /// Whether the next `POISON` panics.
    is_armed: AtomicBool,
    /// When the last `POISON` panicked, in ns after the beginning; 0: a job has been handled since.
    died_at: AtomicU64,
    answers: Option<UnboundedSender<u64>>,
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) as usize % 16
    };
}

impl Meter {
    pub fn new(handler: Handler, rate: Option<u64>, answers: Option<UnboundedSender<u64>>) -> Self {
        let panics = if handler == Handler::OneInThousandPanics {
            NUMBERS / 1_000
        } else {
            0
        };
        Self {
            handler,
            began: Instant::now(),
            first_due: AtomicU64::new(0),
            warm: AtomicU64::new(0),
            rate,
            done: Default::default(),
            up: AtomicU64::new(0),
            // A second's jobs, so that it does not grow while it counts.
            waits: Mutex::new(Vec::with_capacity(rate.unwrap_or(0) as usize)),
            panicked: (0..panics).map(|_| AtomicBool::new(false)).collect(),
            is_armed: AtomicBool::new(false),
            died_at: AtomicU64::new(0),
            answers,
        }
    }

    /// When a job is due, after the beginning, at the rate of the run.
    pub fn due(&self, job: u64) -> Option<Duration> {
        let first = self.first_due.load(Ordering::Relaxed);
        self.rate
            .map(|rate| Duration::from_nanos(first + job * 1_000_000_000 / rate))
    }

    /// The pool is warm: from here on it counts.
    pub fn start(&self) {
        self.warm.store(self.all_done(), Ordering::Relaxed);
        self.waits().clear();
        self.first_due.store(self.nanos(), Ordering::Relaxed);
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Jobs that were done since the start.
    pub fn done(&self) -> u64 {
        self.all_done() - self.warm.load(Ordering::Relaxed)
    }

    /// Jobs that were done, those before the start as well.
    fn all_done(&self) -> u64 {
        self.done
            .iter()
            .map(|shard| shard.0.load(Ordering::Relaxed))
            .sum()
    }

    /// A worker is up.
    pub fn note_up(&self) {
        self.up.fetch_add(1, Ordering::Relaxed);
    }

    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// The next `POISON` panics.
    pub fn arm(&self) {
        self.is_armed.store(true, Ordering::Relaxed);
    }

    pub fn is_armed(&self) -> bool {
        self.is_armed.load(Ordering::Relaxed)
    }

    /// Waits that have been noted since the start.
    pub fn noted(&self) -> u64 {
        self.waits().len() as u64
    }

    /// The wait that a part of the jobs did not exceed.
    pub fn wait_at(&self, part: f64) -> Option<Duration> {
        let mut waits = self.waits();
        waits.sort_unstable();
        let index = ((waits.len() as f64 * part) as usize).min(waits.len().saturating_sub(1));
        waits.get(index).copied().map(Duration::from_nanos)
    }

    /// Does a job; for runtimes with futures.
    pub async fn handle(&self, job: u64) -> u64 {
        if let Some(pause) = self.begin(job) {
            tokio::time::sleep(pause).await;
        }
        self.end(job)
    }

    /// Does a job; for threads.
    pub fn handle_blocking(&self, job: u64) -> u64 {
        if let Some(pause) = self.begin(job) {
            std::thread::sleep(pause);
        }
        self.end(job)
    }

    /// Does what needs no wait, and says how long to wait.
    fn begin(&self, job: u64) -> Option<Duration> {
        let is_slow = self.handler == Handler::OneInHundredSlow && is_the_one(job, 100);
        if let Some(due) = self.due(job)
            && !is_slow
        {
            let wait = self.elapsed().saturating_sub(due);
            self.note_wait(wait.as_nanos() as u64);
        }
        match self.handler {
            Handler::Nothing => None,
            Handler::Microsecond => {
                work_for(Duration::from_micros(1));
                None
            }
            Handler::Millisecond => Some(Duration::from_millis(1)),
            Handler::Forever => Some(Duration::from_secs(3_600)),
            Handler::OneInHundredSlow => is_slow.then_some(Duration::from_millis(10)),
            Handler::OneInThousandPanics => {
                self.panic_the_first_time(job);
                None
            }
            Handler::PoisonPanics => {
                self.die_or_note(job);
                None
            }
        }
    }

    fn panic_the_first_time(&self, job: u64) {
        let is_one = self.counts() && is_the_one(job, 1_000);
        if is_one && !self.panicked[(job % NUMBERS) as usize / 1_000].swap(true, Ordering::Relaxed) {
            panic!("{}", ON_PURPOSE);
        }
    }

    /// Panics if this is the poison; otherwise this is the first job after it, or just one more.
    fn die_or_note(&self, job: u64) {
        if job == POISON && self.is_armed() {
            self.died_at.store(self.nanos(), Ordering::Relaxed);
            self.is_armed.store(false, Ordering::Relaxed);
            panic!("{}", ON_PURPOSE);
        }
        let died_at = self.died_at.swap(0, Ordering::Relaxed);
        if died_at != 0 {
            self.note_wait(self.nanos().saturating_sub(died_at));
        }
    }

    fn end(&self, job: u64) -> u64 {
        let shard = SHARD.with(|shard| *shard);
        self.done[shard].0.fetch_add(1, Ordering::Relaxed);
        if let Some(answers) = &self.answers {
            let _ = answers.send(job);
        }
        black_box(job)
    }

    /// Whether a job may be lost, since workers die.
    pub fn loses_workers(&self) -> bool {
        self.handler == Handler::OneInThousandPanics
    }

    /// Whether the pool is warm.
    fn counts(&self) -> bool {
        self.first_due.load(Ordering::Relaxed) != 0
    }

    fn nanos(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn note_wait(&self, nanos: u64) {
        self.waits().push(nanos);
    }

    fn waits(&self) -> MutexGuard<'_, Vec<u64>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One job in so many; never the same place of the round for two rounds, since workers may take turns.
fn is_the_one(job: u64, of: u64) -> bool {
    job % of == (job / of + of / 2) % of
}

fn work_for(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}
