//! The seams at which a simulation looks on and steps in.
//!
//! Nothing here decides anything. A thread may have a [`World`]: then cells, deliveries, settles, arbiters and events ask it or
//! tell it, in the few lines that name this module. Without one, all of them go on as ever. Without the feature `sim` no thread
//! can have one: the functions are empty, and the compiler takes the lines away. Whoever names this module is compiled alike
//! with the feature and without, so what is simulated is what ships.
//!
//! | seam | who asks | what a world can do there |
//! |---|---|---|
//! | spawn | the cell, before each poll | let it wait, end it, let it panic, block its thread |
//! | work | the shells, before and after the work | panic, hang, report a failure |
//! | link | the settle queue, and the supervisor's intake of leases | lose, repeat or delay a settle; repeat a delivery |
//! | arbiters | the supervisor | be an arbiter that costs no thread |
//! | clock | the group's clock | say what the wall clock shows |
//! | disk | the engine of the durable queue | be a file that costs no file, fails, and forgets at a crash what was not synced |

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Waker;
use std::time::Duration;

use crate::rules::ledger::Plant;
use crate::types::{
    Cause, DeliveryNumber, Epoch, EventKind, Failure, Incarnation, JobId, KeyHash, Moment, Role, SlotId,
};

#[cfg(not(feature = "sim"))]
mod nothing;
#[cfg(feature = "sim")]
mod thread;

#[cfg(not(feature = "sim"))]
pub use nothing::*;
#[cfg(feature = "sim")]
pub use thread::*;

/// Who lives in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// One of the group's own actors.
    Role(Role),
    /// One life of the consumer in a slot.
    Consumer(SlotId, Incarnation),
    /// An actor that nobody named.
    Unnamed,
}

/// What a cell shall do instead of being polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Nothing: it is polled.
    Go,
    /// It is polled once before it looks whether it was ended: the thread comes back from where it was blocked.
    GoFirst,
    /// It waits; an end is heard.
    Wait,
    /// It waits and hears nothing: its thread is blocked.
    WaitDeaf,
    /// It ends.
    End(Cause),
    /// It panics.
    Panic,
    /// It blocks its thread, for real.
    Block(Duration),
    /// It ends the arbiter of this thread, for real.
    EndArbiter,
}

/// What a consumer shall do before or after the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Go,
    /// Panic. Only an actor of the user is told so, in the middle of its own code.
    Panic,
    /// Give the thread back once; the cell has its orders.
    Pause,
    /// Report a failure instead of the work.
    Fail,
    /// Block the thread, for real.
    Block(Duration),
}

/// What becomes of a settle on its way to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrive,
    /// It is lost.
    Lose,
    /// It arrives twice.
    Repeat,
    /// It arrives later.
    Delay(Duration),
    /// It arrives, and once more later.
    Echo(Duration),
}

/// One delivery, as a world sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The job.
    pub job: JobId,
    /// Its key.
    pub key: Option<KeyHash>,
    /// The attempt, counted from one.
    pub attempt: u32,
    /// To which slot.
    pub slot: SlotId,
    /// To which life of the consumer there.
    pub incarnation: Incarnation,
    /// By which life of the supervisor.
    pub epoch: Epoch,
    /// The running number.
    pub number: DeliveryNumber,
}

impl Seen {
    /// What names the delivery in all of a run.
    pub fn delivery(&self) -> (Epoch, DeliveryNumber) {
        (self.epoch, self.number)
    }
}

/// What a cell can see of the world's mind without asking. Both belong to one thread in a simulated run.
#[derive(Debug, Default)]
pub struct Marks {
    /// Whether the world may have an order for the cell, so that it must be asked before the next poll.
    pub asks: AtomicBool,
    /// Whether the cell counts as blocking its thread although it has given it back.
    pub blocks: AtomicBool,
}

/// What a new arbiter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewHome {
    /// An arbiter of the process: the world has no arbiters of its own.
    Arbiter,
    /// An arbiter of the world, by its number.
    Simulated(u64),
    /// No thread and no descriptor is left: none can be made.
    NothingLeft,
}

/// A file of a world.
pub trait WorldDisk: Debug + Send + Sync {
    /// Takes the lock on it; false if somebody has it.
    fn lock(&self) -> bool;
    /// Gives the lock back.
    fn unlock(&self);
    /// Its length in bytes.
    fn size(&self) -> u64;
    /// Makes it so long; what is new is zero.
    ///
    /// # Errors
    /// If a fault says so.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reads from `offset` on.
    ///
    /// # Errors
    /// If it is shorter.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes from `offset` on.
    ///
    /// # Errors
    /// If it is shorter, or a fault says so.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written outlive a crash.
    ///
    /// # Errors
    /// If a fault says so.
    fn sync(&self) -> io::Result<()>;
}

/// A broker of a world: a queue that outlives every process of the run, with a link that can break.
pub trait WorldBroker: Any + Send + Sync {
    /// A fault happens to the link or to its lanes.
    fn strike(self: Arc<Self>, fault: BrokerFault);
}

/// What happens to a broker's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerFault {
    /// It breaks, and every lease with it.
    LinkLost {
        /// For so long.
        wait: Duration,
    },
    /// A lane is given to somebody else, and comes back.
    LaneRevoked {
        /// Counted from zero; a greater one is as good as one of those that are there.
        lane: u32,
        /// How long what has begun may go on; no time at all: the leases are lost.
        within: Duration,
        /// For so long after that.
        wait: Duration,
    },
}

/// What another process did with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    /// There is no queue in it yet.
    NoQueue,
    /// It read all of it, found so many marks of others, and left one of its own.
    Left(u64),
    /// It could not be read.
    Unreadable(String),
}

/// How another process opens a file, reads it and leaves a mark.
pub type Visitor = fn(Arc<dyn WorldDisk>) -> Visit;

/// What looks on and steps in.
pub trait World: Send + Sync {
    /// Whether everything runs on one thread and a paused clock.
    fn is_virtual(&self) -> bool;
    /// A bug that the group shall have, to see that it is found.
    fn plant(&self) -> Option<Plant>;
    /// What the wall clock shows, if the world decides it.
    fn wall_clock(&self) -> Option<Moment>;
    /// Something happened in the group.
    fn told(&self, kind: &EventKind);
    /// A cell is made; the answer is its number. The world keeps the marks.
    fn cell_made(&self, who: Who, arbiter: Option<u64>, marks: Arc<Marks>) -> u64;
    /// A cell has ended.
    fn cell_gone(&self, cell: u64);
    /// A cell is about to be polled. Asked if the cell is marked for it, or by this waker for the first time.
    fn order(&self, cell: u64, waker: &Waker) -> Order;
    /// An actor of the simulation was woken from a thread that is not part of it.
    fn woken_from_outside(&self, who: Who);
    /// A consumer begins a delivery: the shell in this cell, or an actor of the user. Only a shell does what the answer says;
    /// to an actor it is done through its cell, and the answer says no more than whether it is.
    fn begins(&self, delivery: Seen, shell: Option<u64>) -> Act;
    /// A consumer has done the work of a delivery, or failed, and has not said so yet. A shell is told to pause where an actor
    /// of the user is told to panic: none of the user's code is at work in it, so its cell ends it.
    fn ends(&self, delivery: Seen, is_done: bool, shell: Option<u64>) -> Act;
    /// A settle is on its way.
    fn settles(&self, epoch: Epoch, number: DeliveryNumber) -> Fate;
    /// Whether the source delivers this job once more.
    fn repeats(&self, job: JobId, attempt: u32) -> bool;
    /// A new arbiter is to be made.
    fn home_made(&self) -> NewHome;
    /// Whether an arbiter of the world still takes consumers.
    fn home_lives(&self, arbiter: u64) -> bool;
    /// The file at this path, if the world has files of its own.
    fn disk(&self, path: &Path) -> Option<Arc<dyn WorldDisk>>;
    /// The broker of the run; made by this, the first time that it is asked for.
    fn broker(&self, make: &dyn Fn() -> Arc<dyn WorldBroker>) -> Arc<dyn WorldBroker>;
    /// Leases of these jobs ended at the broker before they were settled.
    fn leases_lost(&self, jobs: Vec<JobId>);
    /// How another process works with the files.
    fn visited_by(&self, visitor: Visitor);
    /// How long the next commit of a durable queue takes.
    fn commit_takes(&self) -> Duration;
    /// Whether the code of a consumer shall end here.
    fn fails_at(&self, cell: Option<u64>, place: &str) -> bool;
    /// What this fault held up goes on.
    fn over(&self, fault: usize);
    /// A word of the user's for the history.
    fn note(&self, text: String);
}

/// Whether this thread has a world.
#[inline(always)]
pub(crate) fn is_simulated() -> bool {
    ask(|_| ()).is_some()
}

/// What a planned panic, failure or error says.
pub(crate) const PLANNED: &str = "a planned fault";

/// The failure that a consumer reports where a fault says so.
pub(crate) fn planned_failure() -> Failure {
    Failure::retry(PLANNED)
}

/// Runs in place of the work of an actor that shall end by a panic.
#[allow(clippy::panic, reason = "the panic is the fault that was planned")]
pub(crate) fn panic_as_planned() -> ! {
    panic!("{PLANNED}")
}

/// A delivery leaves for an actor of the user. True if a fault is to meet it there: then it counts as begun, whether or not
/// the actor comes to look at it.
pub(crate) fn is_met_on_the_way(delivery: Seen) -> bool {
    ask(|world| world.begins(delivery, None)).is_some_and(|act| act != Act::Go)
}

/// What happens when an actor of the user gives its word on a delivery. True if that word shall be a failure.
///
/// # Panics
/// If that is the fault that was planned.
pub(crate) fn before_word(delivery: Seen, is_done: bool) -> bool {
    match ask(|world| world.ends(delivery, is_done, None)) {
        Some(Act::Panic) => panic_as_planned(),
        Some(Act::Fail) => true,
        _ => false,
    }
}

/// Ends the code of a consumer here, if a fault says so. Called by [`failpoint!`](crate::failpoint).
///
/// # Panics
/// If that is the fault that was planned.
#[doc(hidden)]
#[allow(clippy::panic, reason = "the panic is the fault that was planned")]
#[track_caller]
pub fn failpoint(place: &str) {
    if ask(|world| world.fails_at(present_cell(), place)) == Some(true) {
        panic!("{PLANNED} at {place}");
    }
}

/// Whether this bug was planted.
pub(crate) fn is_planted(plant: Plant) -> bool {
    ask(|world| world.plant()).flatten() == Some(plant)
}

/// How long the next commit of a durable queue takes.
#[cfg(feature = "durable")]
pub(crate) fn commit_takes() -> Duration {
    ask(|world| world.commit_takes()).unwrap_or_default()
}

/// A word for the history of the run, if there is one.
pub fn note(text: impl FnOnce() -> String) {
    ask(|world| world.note(text()));
}
