//! [`DurableQueue`]: the file, opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::actor::DurableActor;
use super::codec::{Codec, Json};
use super::core::{Core, Requests, lock};
use super::disk::Purpose;
use super::durability::Durability;
use super::engine::{Change, Engine, Meta, Table, Wait};
use super::error::FileError;
use super::paper::Paper;
use super::state::Recovered;
use super::writer::{Round, Writer};
use crate::actors::Clock;
use crate::actors::queue::{QueueRoom, QueueSource};
#[cfg(feature = "sim")]
use crate::protocol::faults;
use crate::words::{
    Capabilities, ConfigError, Epoch, GroupConfig, Guarded, QueueConfig, QueueCounts, WriteFailure,
};

/// The version of the file's layout. A file of another one is not opened.
pub(super) const FORMAT: u64 = 2;

/// Why a queue could not be opened. What is in the file is not touched.
#[derive(Debug, thiserror::Error)]
#[error("the queue {path} could not be opened: {reason}", path = path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub reason: OpenErrorReason,
}

/// What stood in the way of an opening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenErrorReason {
    /// The file, the disk, or another owner.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file was written by another version of this crate.
    #[error(
        "its format is version {found}, and this program knows version {known}; open it with a program of the version that wrote it"
    )]
    Format {
        /// The version of the file.
        found: u64,
        /// The one that this program knows.
        known: u64,
    },
    /// The file was written with another codec.
    #[error(
        "its payloads are written by the codec {found:?}, and not by {wanted:?}; open it with that codec"
    )]
    Codec {
        /// The codec of the file.
        found: String,
        /// The codec that was asked for.
        wanted: &'static str,
    },
    /// A value of the configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no thread for it.
    #[error("the thread that writes could not be started: {0}; the process needs room for one thread more")]
    Thread(#[source] std::io::Error),
}

impl OpenErrorReason {
    /// The thread has gone without an answer, which is a fault of this crate.
    fn died() -> Self {
        Self::Thread(std::io::Error::other("it ended before it had opened the file"))
    }
}

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
    codec: Box<dyn Codec<J>>,
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
            codec: Box::new(codec),
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
        self.core.commits.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Why it cannot write at present, and so takes no jobs; `None` while it can. It tries again by itself, at the latest
    /// every 3 s.
    pub fn write_failure(&self) -> Option<WriteFailure> {
        *held(&self.core.failure)
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
    /// that is alive is told at once ([`FileError::InUse`]), because it may live on this very thread. Only a queue of this
    /// process whose last handle has gone already, and that is just writing its last changes, is waited for, a second at most.
    ///
    /// # Errors
    /// As [`DurableQueue::open`]; and a value of the configuration that cannot be.
    pub fn open(self) -> Result<DurableQueue<J>, OpenError>
    where
        J: Send + Sync + 'static,
    {
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
    /// use consumer_group::durable::{DurableQueue, Json};
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
    /// As [`Self::open`]; [`FileError::InUse`] once `within` has passed.
    pub async fn open_when_free(self, within: Duration) -> Result<DurableQueue<J>, OpenError>
    where
        J: Send + Sync + 'static,
    {
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

    /// Opens the queue on the thread that will write it, which is the only one that ever touches the file.
    fn start(
        self,
        wait: Wait,
        answer: impl FnOnce(Result<DurableQueue<J>, OpenErrorReason>) + Send + 'static,
    ) -> Result<(), OpenErrorReason>
    where
        J: Send + Sync + 'static,
    {
        #[cfg(feature = "sim")]
        if super::simulated_disk::has_disks() {
            faults::ask(|world| world.visited_by(super::second_opener::visit));
            answer(self.opened(&wait).map(|(queue, writer)| {
                let bell = Arc::clone(&queue.core.requests.bell.0);
                actix_rt::spawn(writer.run_simulated(bell));
                queue
            }));
            return Ok(());
        }
        let work = move || match self.opened(&wait) {
            Ok((queue, writer)) => {
                answer(Ok(queue));
                writer.run();
            }
            Err(reason) => answer(Err(reason)),
        };
        let thread = std::thread::Builder::new().name("durable queue".into());
        thread.spawn(work).map_err(OpenErrorReason::Thread)?;
        Ok(())
    }

    fn opened(self, wait: &Wait) -> Result<(DurableQueue<J>, Writer<J>), OpenErrorReason>
    where
        J: Send + Sync + 'static,
    {
        let group = GroupConfig {
            queue: self.config,
            ..GroupConfig::default()
        };
        group.check()?;
        let mut engine = Engine::open(&self.path, self.cache, Purpose::Queue, wait)?;
        let first = check(&mut engine, self.codec.name())?;
        let clock = Clock::start();
        let paper = Arc::new(Paper {
            codec: Guarded::new(self.codec),
            clock,
        });
        let Recovered { state, mut changes } = Recovered::read(
            &mut engine,
            Arc::clone(&paper),
            group.queue,
            (self.capacity_bytes, self.dead_age),
        )?;
        changes.extend(first);
        if state.suspects() > 0 {
            tracing::warn!(
                jobs = state.suspects(),
                "the process before ended while these jobs were leased: they are begun one at a time, before all others"
            );
        }
        engine.commit(&changes, true)?;
        let state = Arc::new(Mutex::new(state));
        let (requests, asked) = mpsc::channel();
        let commits = Arc::<std::sync::atomic::AtomicU64>::default();
        let failure = Arc::<Mutex<Option<WriteFailure>>>::default();
        let core = Arc::new(Core {
            state: Arc::clone(&state),
            requests: Requests::new(requests),
            commits: Arc::clone(&commits),
            failure: Arc::clone(&failure),
            owner: engine.owner(),
        });
        let writer = Writer {
            engine,
            state,
            paper,
            durability: self.durability,
            requests: asked,
            round: Round::default(),
            unsaved: Vec::new(),
            waiting: Vec::new(),
            must_flush: false,
            flush_by: None,
            is_untidy: true,
            failing: None,
            needed: Vec::new(),
            unread: None,
            failure,
            commits,
        };
        Ok((DurableQueue { core, clock }, writer))
    }
}

/// What is in there. Nothing that can panic is done while it is held.
fn held<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compares format and codec. Gives what has to be written into a new file.
fn check(engine: &mut Engine, codec: &'static str) -> Result<Vec<Change>, OpenErrorReason> {
    if engine.is_new() {
        return Ok(vec![
            Change::meta(Meta::Format, FORMAT),
            Change::Put(Table::Meta, Meta::Codec as u64, codec.as_bytes().to_vec()),
        ]);
    }
    let format = engine.get(Table::Meta, Meta::Format as u64)?;
    let format = format.and_then(|format| format.try_into().ok());
    let format = format.map_or(u64::MAX, u64::from_le_bytes);
    if format != FORMAT {
        return Err(OpenErrorReason::Format {
            found: format,
            known: FORMAT,
        });
    }
    let found = engine.get(Table::Meta, Meta::Codec as u64)?.unwrap_or_default();
    if found != codec.as_bytes() {
        return Err(OpenErrorReason::Codec {
            found: String::from_utf8_lossy(&found).into_owned(),
            wanted: codec,
        });
    }
    Ok(Vec::new())
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
        lock(&self.core.state).epoch
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            volatile: false,
            ..Capabilities::MEMORY
        }
    }

    fn room(&self) -> Option<QueueRoom> {
        lock(&self.core.state).room.clone()
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
