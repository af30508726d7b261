//! [`DurableQueue`]: the file, opened.

mod opening;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::actor::DurableActor;
use super::core::{Core, lock};
use super::durability::Durability;
use super::error::{OpenError, OpenErrorReason};
use super::wait::Wait;
use crate::actors::Clock;
use crate::actors::queue::{QueueRoom, QueueSource};
use crate::codec::{Codec, GuardedCodec, Json};
use crate::types::{Capabilities, Epoch, QueueConfig, QueueCounts, WriteFailure};

/// A queue in a file: jobs that outlive the process. Clones share it.
///
/// It does everything that the memory queue does. A send is answered when the job is on disk; jobs of a process that died are
/// ready again when the file is opened, those that were leased one at a time and before all others. One process at a time has a file open.
///
/// ```
/// use consumer_group::durable::DurableQueue;
/// use consumer_group::{Delivery, Group};
///
/// # actix::System::new().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("jobs.queue");
/// let group = Group::builder()
///     .queue(DurableQueue::open(&path)?)
///     .consume_with(4, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
///     .start()?;
/// assert_eq!(group.producer().call(21).await?, 42);
/// group.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct DurableQueue<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
    clock: Clock,
}

/// Says how a queue is opened. See [`DurableQueue::at`].
#[must_use = "nothing is opened before `.open()`"]
pub struct DurableBuilder<J> {
    path: PathBuf,
    codec: GuardedCodec<J>,
    config: QueueConfig,
    durability: Durability,
    dead_age: Option<Duration>,
    capacity_bytes: u64,
    cache: usize,
}

impl<J: Send + Sync + 'static> DurableQueue<J> {
    /// Opens the queue in this file, or makes it, with everything as it is by default. The folder must exist. The file is
    /// for its owner alone (mode 0600). Blocks the thread while it reads: seconds for tens of millions of jobs.
    ///
    /// # Errors
    /// [`OpenError`]: another process has it open, the folder is missing or read-only, the file is damaged or of another
    /// codec.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError>
    where
        J: Serialize + DeserializeOwned,
    {
        Self::at(path, Json).open()
    }

    /// Says how the queue in this file is opened, and by which codec its payloads are written.
    pub fn at(path: impl AsRef<Path>, codec: impl Codec<J>) -> DurableBuilder<J> {
        DurableBuilder {
            path: path.as_ref().to_owned(),
            codec: GuardedCodec::new(codec),
            config: QueueConfig::default(),
            durability: Durability::default(),
            dead_age: None,
            capacity_bytes: u64::MAX,
            cache: 64 << 20,
        }
    }

    /// How many commits were made since it was opened: with [`Durability::EveryJob`] each of them is one fsync. Jobs that
    /// come together share one.
    pub fn commits(&self) -> u64 {
        self.core
            .progress
            .commits
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Why it cannot write at present, and so takes no jobs; `None` while it can. It tries again by itself, at the latest
    /// every 3 s.
    pub fn write_failure(&self) -> Option<WriteFailure> {
        *held(&self.core.progress.failure)
    }

    /// What it holds now.
    pub fn counts(&self) -> QueueCounts {
        lock(&self.core.state).counts()
    }
}

impl<J: Send + Sync + 'static> DurableBuilder<J> {
    /// Capacity, overflow policy, the number of dead letters and deduplication keys that are kept: as for the memory queue.
    pub fn config(mut self, config: QueueConfig) -> Self {
        self.config = config;
        self
    }

    /// When an accepted job is safe.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Dead letters that are older go by themselves. By default only their number is bounded.
    pub fn keep_dead_letters_for(mut self, age: Duration) -> Self {
        self.dead_age = Some(age);
        self
    }

    /// The bytes of all unfinished jobs together, as they are written: payload, key and a head of some twenty bytes. Past it the
    /// overflow policy decides, as it does past the capacity in jobs: with `Wait` a send waits, a single job that is larger
    /// alone is refused as full whatever the policy but dropping. By default there is no such bound. Dead letters have one of
    /// their own (`queue.dead_letters`, `queue.dead_letter_bytes`); the file is about twice as large as what it holds.
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// The memory, in bytes, in which the engine keeps parts of the file. The default is 64 MiB.
    pub fn cache(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// Opens the queue, for the start of a program. Blocks the thread while the file is read. It waits for no other owner: one
    /// that is alive is told at once ([`FileError::InUse`](crate::durable::FileError::InUse)), because it may live on this
    /// very thread. Only a queue of this process whose last handle has gone already, and that is just writing its last
    /// changes, is waited for, a second at most.
    ///
    /// # Errors
    /// As [`DurableQueue::open`]; and a value of the configuration that cannot be.
    pub fn open(self) -> Result<DurableQueue<J>, OpenError> {
        let path = self.path.clone();
        let (tell, told) = mpsc::sync_channel(1);
        let answer = move |opened| {
            // An error means that the caller has gone, and then the queue closes again.
            let _ = tell.send(opened);
        };
        self.start(Wait::ForOneThatLeaves, answer)
            .and_then(|()| told.recv().unwrap_or_else(|_| Err(OpenErrorReason::died())))
            .map_err(|reason| OpenError { path, reason })
    }

    /// Opens the queue without blocking the thread, and waits for another owner, here or in another process, to let go of the
    /// file: at most for `within`. So a group that starts again can open the file that the group before it still has to
    /// close, on the same arbiter. The file is read on the thread that will write it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use consumer_group::codec::Json;
    /// use consumer_group::durable::DurableQueue;
    ///
    /// # actix::System::new().block_on(async {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("jobs.queue");
    /// let queue: DurableQueue<u64> = DurableQueue::at(&path, Json)
    ///     .open_when_free(Duration::from_secs(5))
    ///     .await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// If the future is dropped, the file is let go of, as soon as it has been read.
    ///
    /// # Errors
    /// As [`Self::open`]; [`FileError::InUse`](crate::durable::FileError::InUse) once `within` has passed.
    pub async fn open_when_free(self, within: Duration) -> Result<DurableQueue<J>, OpenError> {
        let path = self.path.clone();
        let (tell, told) = oneshot::channel();
        let tell = Arc::new(Mutex::new(Some(tell)));
        let caller = Arc::clone(&tell);
        let is_wanted = move || held(&caller).as_ref().is_some_and(|tell| !tell.is_closed());
        let answer = move |opened| {
            if let Some(tell) = held(&tell).take() {
                // An error means that the caller has gone, and then the queue closes again.
                let _ = tell.send(opened);
            }
        };
        let opened = match self.start(Wait::ForAll(within, Box::new(is_wanted)), answer) {
            Ok(()) => told.await.unwrap_or_else(|_| Err(OpenErrorReason::died())),
            Err(reason) => Err(reason),
        };
        opened.map_err(|reason| OpenError { path, reason })
    }
}

/// What is in there. Nothing that can panic is done while it is held.
fn held<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J: Send + Sync + 'static> QueueSource<J> for DurableQueue<J> {
    type Actor = DurableActor<J>;

    /// The clock that is given is not looked at: the queue counts by the one that began when it was opened, and so does
    /// the group over it.
    fn create(&self, _: Clock) -> Self::Actor {
        DurableActor::new(Arc::clone(&self.core))
    }

    fn clock(&self) -> Option<Clock> {
        Some(self.clock)
    }

    fn epoch(&self) -> Epoch {
        lock(&self.core.state).shell.epoch()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            volatile: false,
            ..Capabilities::MEMORY
        }
    }

    fn room(&self) -> Option<QueueRoom> {
        lock(&self.core.state).account.room()
    }
}

impl<J: Send + Sync + 'static> Clone for DurableQueue<J> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            clock: self.clock,
        }
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for DurableQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableQueue")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl<J> fmt::Debug for DurableBuilder<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableBuilder")
            .field("path", &self.path)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
