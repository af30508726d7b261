//! Bare channels: they keep nothing. A worker that panics is gone, and with it what waits for it alone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::cases::KEYS;
use crate::drive::Pool;
use crate::meter::Meter;
use crate::payload::Payload;

/// Places in a channel, if nothing else is said.
pub const ROOM: usize = 4_096;

/// Jobs that a worker takes out of its channel at once.
const TAKEN: usize = 256;

/// A tokio channel for each worker, round robin: the pool that everybody writes first. With keys, each key has its worker.
pub struct TokioMpsc<J> {
    workers: Vec<mpsc::Sender<J>>,
    next: usize,
    by_key: bool,
}

impl<J: Payload> TokioMpsc<J> {
    pub fn new(workers: usize, room: usize, by_key: bool, meter: &Arc<Meter>) -> Self {
        let room = (room * 4 / workers).clamp(16, room);
        let start = |_| {
            let (sender, mut receiver) = mpsc::channel::<J>(room);
            let meter = Arc::clone(meter);
            tokio::spawn(async move {
                meter.note_up();
                let mut jobs = Vec::with_capacity(TAKEN);
                while receiver.recv_many(&mut jobs, TAKEN).await > 0 {
                    for job in jobs.drain(..) {
                        meter.handle(job.look()).await;
                    }
                }
            });
            sender
        };
        Self {
            workers: (0..workers).map(start).collect(),
            next: 0,
            by_key,
        }
    }
}

impl<J: Payload> Pool for TokioMpsc<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let index = if self.by_key {
                let mut hasher = DefaultHasher::new();
                (job % KEYS).hash(&mut hasher);
                hasher.finish() as usize % self.workers.len()
            } else {
                let index = self.next;
                self.next = (self.next + 1) % self.workers.len();
                index
            };
            let _ = self.workers[index].send(J::make(job)).await;
        }
    }
}

type Channel<J> = (async_channel::Sender<J>, async_channel::Receiver<J>);

/// One channel that all workers take from.
pub struct AsyncChannel<J>(async_channel::Sender<J>);

impl<J: Payload> AsyncChannel<J> {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(async_channel::bounded(ROOM), workers, meter)
    }

    pub fn unbounded(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(async_channel::unbounded(), workers, meter)
    }

    fn over((sender, receiver): Channel<J>, workers: usize, meter: &Arc<Meter>) -> Self {
        for _ in 0..workers {
            let (receiver, meter) = (receiver.clone(), Arc::clone(meter));
            tokio::spawn(async move {
                meter.note_up();
                while let Ok(job) = receiver.recv().await {
                    meter.handle(job.look()).await;
                }
            });
        }
        Self(sender)
    }
}

impl<J: Payload> Pool for AsyncChannel<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.0.send(J::make(job)).await;
        }
    }
}

type Places<J> = (crossbeam_channel::Sender<J>, crossbeam_channel::Receiver<J>);

/// One channel that all threads take from; a thread for each worker.
pub struct Crossbeam<J> {
    sender: crossbeam_channel::Sender<J>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl<J: Payload> Crossbeam<J> {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(crossbeam_channel::bounded(ROOM), workers, meter)
    }

    pub fn unbounded(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(crossbeam_channel::unbounded(), workers, meter)
    }

    fn over((sender, receiver): Places<J>, workers: usize, meter: &Arc<Meter>) -> Self {
        let start = |_| {
            let (receiver, meter) = (receiver.clone(), Arc::clone(meter));
            std::thread::spawn(move || {
                meter.note_up();
                for job in receiver {
                    meter.handle_blocking(job.look());
                }
            })
        };
        Self {
            threads: (0..workers).map(start).collect(),
            sender,
        }
    }
}

impl<J: Payload> Pool for Crossbeam<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            // With a timeout: if all threads have panicked, nobody takes anything any more.
            let sent = self.sender.send_timeout(J::make(job), Duration::from_millis(100));
            if sent.is_err() {
                return;
            }
        }
    }

    async fn end(self) {
        drop(self.sender);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
