//! What every peer's handler does, and what is noted of it.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
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
}

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
    /// How long jobs waited, in ns; only with a rate. Slow jobs themselves are left out.
    waits: Mutex<Vec<u64>>,
    /// Which of the jobs that panic have done so.
    panicked: Vec<AtomicBool>,
    answers: Option<UnboundedSender<u64>>,
}

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) as usize % 16
    };
}

impl Meter {
    pub fn new(
        handler: Handler,
        jobs: u64,
        rate: Option<u64>,
        answers: Option<UnboundedSender<u64>>,
    ) -> Self {
        let panics = if handler == Handler::OneInThousandPanics {
            jobs / 1_000 + 1
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
            waits: Mutex::default(),
            panicked: (0..panics).map(|_| AtomicBool::new(false)).collect(),
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
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.first_due
            .store(self.began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Jobs that were done since the start.
    pub fn done(&self) -> u64 {
        self.all_done() - self.warm.load(Ordering::Relaxed)
    }

    /// Jobs that were done, those before the start as well.
    pub fn all_done(&self) -> u64 {
        self.done
            .iter()
            .map(|shard| shard.0.load(Ordering::Relaxed))
            .sum()
    }

    /// The wait that a part of the jobs did not exceed.
    pub fn wait_at(&self, part: f64) -> Option<Duration> {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
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
        let is_slow = self.handler == Handler::OneInHundredSlow && job % 100 == 50;
        if let Some(due) = self.due(job)
            && !is_slow
        {
            let wait = self.elapsed().saturating_sub(due);
            self.waits
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(wait.as_nanos() as u64);
        }
        match self.handler {
            Handler::Nothing => None,
            Handler::Microsecond => {
                let began = Instant::now();
                while began.elapsed() < Duration::from_micros(1) {
                    std::hint::spin_loop();
                }
                None
            }
            Handler::Millisecond => Some(Duration::from_millis(1)),
            Handler::Forever => Some(Duration::from_secs(3_600)),
            Handler::OneInHundredSlow => is_slow.then_some(Duration::from_millis(10)),
            Handler::OneInThousandPanics => {
                if job % 1_000 == 500 && !self.panicked[job as usize / 1_000].swap(true, Ordering::Relaxed) {
                    panic!("job {job}");
                }
                None
            }
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
}
