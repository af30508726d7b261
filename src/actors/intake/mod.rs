//! The intake: the group's door for producers.
//!
//! Producers put jobs into a shared buffer; one pump pushes whatever has gathered to the queue, one message for all, so
//! single sends form batches by themselves, and a queue that writes to a disk gets its group commit for nothing. The intake
//! outlives the queue actor: jobs on their way to a queue that died come back and are pushed to the next one.
//!
//! ```text
//! producers ──put──▶ buffer ──Push──▶ QUEUE
//!     ▲                                                │
//!     └──────── refused jobs, if the producer waits ◀──┘
//! ```

mod admission;
mod buffer;
mod hand_back;
mod pump;

pub(crate) use admission::AdmissionError;

use std::collections::VecDeque;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};

use buffer::{Buffer, Waiter};

use super::queue::QueueRoom;
use super::{Clock, EventBus};
use crate::protocol::OwnWaits;
use crate::rules::job_ids::JobIds;
use crate::rules::store::Refused;
use crate::types::{Capabilities, Job, JobId, JobRef, Moment, OpenBlock, Overflow, ReplyTo, Run};

/// Jobs that may be between producers and a queue that grants no room of its own.
const TRANSIT: usize = 65_536;

/// A producer that finds this many jobs in the buffer lets others run once before it goes on, so that on a shared arbiter
/// jobs are worked on while they are still in the processor's cache.
const CROWDED: usize = 1_024;

/// The shared door. See the module.
pub(crate) struct Intake<J> {
    buffer: Mutex<Buffer<J>>,
    /// Wakes the pump.
    filled: Notify,
    /// Wakes whoever waits for the intake to be empty.
    emptied: Notify,
    /// Permits for jobs: the queue's own, or those of the transit.
    room: Arc<Semaphore>,
    /// How many jobs one batch of permits may ask for.
    capacity: usize,
    overflow: Overflow,
    /// Whether permits come back when a job has been pushed (else when it leaves the queue).
    is_transit: bool,
    /// Whether a job counts as accepted once it is in the buffer.
    volatile: bool,
    /// Has no permits; closed together with the intake, to wake whoever waits for room.
    open: Semaphore,
    clock: Clock,
    /// Told of each job that the queue refused, also if the producer no longer waits: no outcome will come.
    turned_away: TurnedAway<J>,
    bus: EventBus,
    /// Which of the group's own consumers wait for it.
    own_waits: Arc<OwnWaits>,
}

/// Told of a job that the queue refused.
pub(crate) type TurnedAway<J> = Box<dyn Fn(&JobRef<J>) + Send + Sync>;

/// What becomes of jobs that were put.
pub(crate) struct Put<J, N> {
    /// Their names.
    pub(crate) names: N,
    /// The queue's word, where the sender has to wait for it.
    pub(crate) word: Option<Word<J>>,
    /// Whether so many jobs wait here that the sender should let others run.
    pub(crate) is_crowded: bool,
}

/// Jobs for one push, with the producers that wait for the queue's word on them.
type FilledRuns<J> = (Vec<Run<J>>, Vec<Waiter<J>>);

/// The queue's own word on jobs, to come.
pub(crate) struct Word<J> {
    /// Those that it refused. An error if it will never say so: the group ended first.
    pub(crate) answer: oneshot::Receiver<Vec<Refused<J>>>,
    /// The jobs, so that they can be handed back without an answer.
    pub(crate) jobs: Vec<JobRef<J>>,
}

impl<J: Send + Sync + 'static> Intake<J> {
    pub(crate) fn new(
        capabilities: Capabilities,
        room: Option<QueueRoom>,
        clock: Clock,
        ids: JobIds,
        turned_away: TurnedAway<J>,
        bus: EventBus,
    ) -> Self {
        let is_transit = room.is_none();
        let room = room.unwrap_or_else(|| QueueRoom {
            semaphore: Arc::new(Semaphore::new(TRANSIT)),
            capacity: TRANSIT,
            overflow: Overflow::Wait,
        });
        let buffer = Buffer {
            ids,
            runs: VecDeque::new(),
            open: OpenBlock::new(),
            len: 0,
            unix_ms: 0,
            waiters: VecDeque::new(),
            closed: false,
            pushing: 0,
            pause: Duration::ZERO,
            stranded: Vec::new(),
            left_waiting: Vec::new(),
        };
        Self {
            buffer: Mutex::new(buffer),
            filled: Notify::new(),
            emptied: Notify::new(),
            room: room.semaphore,
            capacity: room.capacity.min(TRANSIT),
            overflow: room.overflow,
            is_transit,
            volatile: capabilities.volatile,
            open: Semaphore::new(0),
            clock,
            turned_away,
            bus,
            own_waits: Arc::default(),
        }
    }

    /// Puts one admitted job into the buffer. `note` sees its name before any outcome can come. Gives the job back if the
    /// intake is closed.
    pub(crate) fn put_one(
        &self,
        job: Job<J>,
        reply_to: Option<ReplyTo>,
        note: impl FnOnce(JobId),
    ) -> Result<Put<J, JobId>, Job<J>> {
        let asks = self.asks(&job);
        let mut buffer = self.lock();
        if buffer.closed {
            drop(buffer);
            self.give_back(1);
            return Err(job);
        }
        let now = self.time_for(&mut buffer, job.is_plain());
        let unix_ms = buffer.unix_ms;
        let id = buffer.ids.next(unix_ms);
        // Under the lock, so that no outcome can come before it is expected.
        note(id);
        let from = buffer.len;
        if asks {
            buffer.close_block();
        }
        buffer.put(id, job, reply_to, now);
        Ok(self.finish_put(buffer, from, asks, id))
    }

    /// Puts one admitted job into the buffer that another group accepted and did not finish, under the name that it has. Gives
    /// it back if the intake is closed.
    pub(crate) fn put_again(&self, job: JobRef<J>) -> Result<(), JobRef<J>> {
        let mut buffer = self.lock();
        if buffer.closed {
            drop(buffer);
            self.give_back(1);
            return Err(job);
        }
        let from = buffer.len;
        buffer.put_again(job);
        self.finish_put(buffer, from, false, ());
        Ok(())
    }

    /// Puts admitted jobs into the buffer, as [`put_one`](Self::put_one).
    pub(crate) fn put(
        &self,
        jobs: Vec<Job<J>>,
        reply_to: Option<ReplyTo>,
        note: impl FnOnce(&[JobId]),
    ) -> Result<Put<J, Vec<JobId>>, Vec<Job<J>>> {
        let asks = !self.volatile || jobs.iter().any(|job| job.has_dedup());
        let mut buffer = self.lock();
        if buffer.closed {
            drop(buffer);
            self.give_back(jobs.len());
            return Err(jobs);
        }
        let now = self.time_for(&mut buffer, false);
        let unix_ms = buffer.unix_ms;
        let ids = buffer.ids.many(unix_ms, jobs.len());
        note(&ids);
        let from = buffer.len;
        if asks {
            // A job that is refused goes back to its sender, which may have to wait until nobody else holds its block.
            for (id, job) in ids.iter().zip(jobs) {
                buffer.close_block();
                buffer.put(*id, job, reply_to, now);
            }
        } else {
            buffer.put_all(&ids, jobs, reply_to, now);
        }
        Ok(self.finish_put(buffer, from, asks, ids))
    }

    /// The present moment. For a plain job, which has no use for it, that of the first job in the buffer will do.
    fn time_for(&self, buffer: &mut Buffer<J>, is_plain: bool) -> Moment {
        if is_plain && buffer.len > 0 {
            return Moment::START;
        }
        let now = self.clock.now();
        if buffer.len == 0 {
            buffer.unix_ms = now.as_millis();
        }
        now
    }

    /// Puts an admitted job back that was in the queue before. False if the intake is closed; the job is then among the
    /// unfinished ones.
    pub(crate) fn put_back(&self, job: JobRef<J>) -> bool {
        job.forget_expiry();
        let mut buffer = self.lock();
        if buffer.closed {
            buffer.stranded.push(job);
            return false;
        }
        let from = buffer.len;
        buffer.put_again(job);
        self.finish_put(buffer, from, false, ());
        true
    }

    /// Room that was granted and is not needed.
    pub(crate) fn give_back(&self, jobs: usize) {
        self.room.add_permits(jobs);
    }

    /// Notes who `asks` for the queue's word on the jobs from `from` on, and wakes the pump if it may sleep.
    fn finish_put<N>(
        &self,
        mut buffer: MutexGuard<'_, Buffer<J>>,
        from: usize,
        asks: bool,
        names: N,
    ) -> Put<J, N> {
        let word = asks.then(|| buffer.ask(from));
        let is_crowded = buffer.len >= CROWDED;
        drop(buffer);
        if from == 0 {
            self.filled.notify_one();
        }
        Put {
            names,
            word,
            is_crowded,
        }
    }

    /// Whether jobs are taken.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_closed()
    }

    /// Whether jobs were put that the queue has not answered for.
    pub(crate) fn has_jobs(&self) -> bool {
        let buffer = self.lock();
        buffer.len > 0 || buffer.pushing > 0
    }

    /// Takes no more jobs. What is in the buffer is still pushed.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.open.close();
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    /// Waits until everything that was put has reached the queue.
    pub(crate) async fn flushed(&self) {
        loop {
            let mut emptied = pin!(self.emptied.notified());
            // First the wait is registered, then the look: an end between the two is not missed.
            emptied.as_mut().enable();
            if self.is_flushed() {
                return;
            }
            emptied.await;
        }
    }

    fn is_flushed(&self) -> bool {
        let buffer = self.lock();
        buffer.len == 0 && buffer.pushing == 0
    }

    fn lock(&self) -> MutexGuard<'_, Buffer<J>> {
        // Nothing under this lock runs code of the user, so it cannot be poisoned half way.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
