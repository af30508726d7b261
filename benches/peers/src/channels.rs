//! Bare channels: they keep nothing. A worker that panics is gone, and with it what waits for it alone.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::drive::Pool;
use crate::meter::Meter;

/// Places in a channel, if nothing else is said.
pub const ROOM: usize = 4_096;

/// A tokio channel for each worker, round robin: the pool that everybody writes first.
pub struct TokioMpsc {
    workers: Vec<mpsc::Sender<u64>>,
    next: usize,
}

impl TokioMpsc {
    pub fn new(workers: usize, room: usize, meter: &Arc<Meter>) -> Self {
        let room = (room * 4 / workers).clamp(16, room);
        let start = |_| {
            let (sender, mut receiver) = mpsc::channel(room);
            let meter = Arc::clone(meter);
            tokio::spawn(async move {
                meter.note_up();
                while let Some(job) = receiver.recv().await {
                    meter.handle(job).await;
                }
            });
            sender
        };
        Self {
            workers: (0..workers).map(start).collect(),
            next: 0,
        }
    }
}

impl Pool for TokioMpsc {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let worker = &self.workers[self.next];
            self.next = (self.next + 1) % self.workers.len();
            let _ = worker.send(job).await;
        }
    }
}

type Channel = (async_channel::Sender<u64>, async_channel::Receiver<u64>);

/// One channel that all workers take from.
pub struct AsyncChannel(async_channel::Sender<u64>);

impl AsyncChannel {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(async_channel::bounded(ROOM), workers, meter)
    }

    pub fn unbounded(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(async_channel::unbounded(), workers, meter)
    }

    fn over((sender, receiver): Channel, workers: usize, meter: &Arc<Meter>) -> Self {
        for _ in 0..workers {
            let (receiver, meter) = (receiver.clone(), Arc::clone(meter));
            tokio::spawn(async move {
                meter.note_up();
                while let Ok(job) = receiver.recv().await {
                    meter.handle(job).await;
                }
            });
        }
        Self(sender)
    }
}

impl Pool for AsyncChannel {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.0.send(job).await;
        }
    }
}

type Places = (crossbeam_channel::Sender<u64>, crossbeam_channel::Receiver<u64>);

/// One channel that all threads take from; a thread for each worker.
pub struct Crossbeam {
    sender: crossbeam_channel::Sender<u64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Crossbeam {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(crossbeam_channel::bounded(ROOM), workers, meter)
    }

    pub fn unbounded(workers: usize, meter: &Arc<Meter>) -> Self {
        Self::over(crossbeam_channel::unbounded(), workers, meter)
    }

    fn over((sender, receiver): Places, workers: usize, meter: &Arc<Meter>) -> Self {
        let start = |_| {
            let (receiver, meter) = (receiver.clone(), Arc::clone(meter));
            std::thread::spawn(move || {
                meter.note_up();
                for job in receiver {
                    meter.handle_blocking(job);
                }
            })
        };
        Self {
            threads: (0..workers).map(start).collect(),
            sender,
        }
    }
}

impl Pool for Crossbeam {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            // With a timeout: if all threads have panicked, nobody takes anything any more.
            let sent = self.sender.send_timeout(job, Duration::from_millis(100));
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
