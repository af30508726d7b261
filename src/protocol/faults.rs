//! The seams at which a simulation looks on and steps in. Compiled only with the feature `sim`.
//!
//! Nothing here decides anything. A thread may have a [`World`]: then cells, deliveries, settles, homes and events ask it or
//! tell it, in the few lines that name this module. Without one, all of them go on as ever.
//!
//! | seam | who asks | what a world can do there |
//! |---|---|---|
//! | spawn | the cell, before each poll | let it wait, end it, let it panic, block its thread |
//! | work | the shells, before and after the work | panic, hang, report a failure |
//! | link | the desk, and the supervisor's intake of leases | lose, repeat or delay a settle; repeat a delivery |
//! | homes | the supervisor | be an arbiter that costs no thread |
//! | clock | the group's clock | say what the wall clock shows |
//! | disk | the engine of the durable queue | be a file that costs no file, fails, and forgets at a crash what was not synced |

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::rules::ledger::Plant;
use crate::words::{
    Cause, DeliveryNumber, Epoch, EventKind, Incarnation, JobId, KeyHash, Moment, Role, SlotId,
};

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

/// What a new home is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewHome {
    /// An arbiter of the process: the world has no homes of its own.
    Arbiter,
    /// A home of the world, by its number.
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
    /// What the wall clock shows, in ms, if the world decides it.
    fn unix_ms(&self) -> Option<u64>;
    /// Something happened in the group.
    fn told(&self, kind: &EventKind);
    /// A cell is made; the answer is its number. The world keeps the marks.
    fn cell_made(&self, who: Who, home: Option<u64>, marks: Arc<Marks>) -> u64;
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
    /// A new home is to be made.
    fn home_made(&self) -> NewHome;
    /// Whether a home of the world still takes consumers.
    fn home_lives(&self, home: u64) -> bool;
    /// The file at this path, if the world has files of its own.
    fn disk(&self, path: &Path) -> Option<Arc<dyn WorldDisk>>;
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

thread_local! {
    static WORLD: RefCell<Option<Arc<dyn World>>> = const { RefCell::new(None) };
    static WHO: Cell<Who> = const { Cell::new(Who::Unnamed) };
    static HOME: Cell<Option<u64>> = const { Cell::new(None) };
    static CELL: Cell<Option<u64>> = const { Cell::new(None) };
    static PRESENT: Cell<Present> = const { Cell::new(Present::Flows) };
    static ELSEWHERE: RefCell<Option<Rc<LocalSet>>> = const { RefCell::new(None) };
}

/// What is known of the time on this thread.
#[derive(Clone, Copy)]
pub(crate) enum Present {
    /// It goes on by itself.
    Flows,
    /// It stands still until it is moved on; nobody has looked at the clock since it was.
    Stands,
    /// It stands still. A clock that began at that instant shows this moment.
    Known(Instant, Moment),
}

/// Says what is known of the time. In a simulated run it stands still while anybody is at work: then a clock is read once, and
/// not hundreds of times a run. Whoever moves the time on says so.
pub(crate) fn note_time(known: Present) {
    PRESENT.set(known);
}

/// The present moment of a clock that began then; `read` reads it.
pub(crate) fn present(began: Instant, read: impl FnOnce() -> Moment) -> Moment {
    match PRESENT.get() {
        Present::Known(of, moment) if of == began => moment,
        Present::Flows => read(),
        _ => {
            let moment = read();
            PRESENT.set(Present::Known(began, moment));
            moment
        }
    }
}

/// Nobody has a turn on this thread any more. A turn that ended by a panic may have left its marks.
pub(crate) fn forget_cell() {
    WHO.set(Who::Unnamed);
    HOME.set(None);
    CELL.set(None);
}

/// The world of this thread.
pub fn world() -> Option<Arc<dyn World>> {
    WORLD
        .try_with(|world| world.try_borrow().ok().and_then(|world| world.clone()))
        .ok()
        .flatten()
}

/// From here on this thread has this world, or none. Returns the one before.
pub fn adopt(world: Option<Arc<dyn World>>) -> Option<Arc<dyn World>> {
    WORLD
        .try_with(|mine| {
            mine.try_borrow_mut()
                .ok()
                .and_then(|mut mine| std::mem::replace(&mut *mine, world))
        })
        .ok()
        .flatten()
}

/// Asks the world of this thread, without counting a reference.
pub fn ask<T>(question: impl FnOnce(&dyn World) -> T) -> Option<T> {
    WORLD
        .try_with(|world| match world.try_borrow() {
            Ok(world) => world.as_deref().map(question),
            Err(_) => None,
        })
        .ok()
        .flatten()
}

/// Makes cells within `work` known by this name.
pub(crate) fn named<T>(who: Who, work: impl FnOnce() -> T) -> T {
    let before = WHO.replace(who);
    let result = work();
    WHO.set(before);
    result
}

/// Makes cells within `work` live in this home of the world. False, and nothing is done, if it has ended.
pub(crate) fn at_home(home: u64, work: impl FnOnce()) -> bool {
    if ask(|world| world.home_lives(home)) != Some(true) {
        return false;
    }
    let elsewhere = ELSEWHERE.with_borrow(Clone::clone);
    // A home is no thread, but outlives the host all the same.
    let _elsewhere = elsewhere.as_deref().map(LocalSet::enter);
    let before = HOME.replace(Some(home));
    work();
    HOME.set(before);
    true
}

/// From here on whoever is made in a home of the world lives among these tasks, or where it was made.
pub(crate) fn live_elsewhere(tasks: Option<Rc<LocalSet>>) {
    // Dropped outside of the borrow: tasks of the user's may be in it.
    let before = ELSEWHERE.replace(tasks);
    drop(before);
}

/// What a planned panic says.
pub(crate) const PLANNED: &str = "a planned fault";

/// Runs in place of the work of an actor that shall end by a panic.
#[allow(clippy::panic, reason = "the panic is the fault that was planned")]
pub(crate) fn panic_as_planned() -> ! {
    panic!("{PLANNED}")
}

/// A cell's tie to the world.
pub(crate) struct CellSeam {
    world: Arc<dyn World>,
    cell: u64,
    who: Who,
    marks: Arc<Marks>,
    /// The waker that was last made to watch threads, and the one that it stands for.
    watched: Option<(Waker, Waker)>,
}

impl CellSeam {
    /// The tie of a cell that is being made, if this thread has a world.
    pub(crate) fn new() -> Option<Self> {
        let world = world()?;
        let who = WHO.get();
        let marks = Arc::new(Marks::default());
        let cell = world.cell_made(who, HOME.get(), Arc::clone(&marks));
        Some(Self {
            world,
            cell,
            who,
            marks,
            watched: None,
        })
    }

    pub(crate) fn order(&self, waker: &Waker) -> Order {
        let is_known = self.watched.as_ref().is_some_and(|(_, of)| of.will_wake(waker));
        if is_known && !self.marks.asks.load(Ordering::Relaxed) {
            return Order::Go;
        }
        self.world.order(self.cell, waker)
    }

    pub(crate) fn is_blocking(&self) -> bool {
        self.marks.blocks.load(Ordering::Relaxed)
    }

    /// Runs a poll of the cell with its mark on the thread.
    pub(crate) fn enter<T>(&mut self, waker: &Waker, poll: impl FnOnce(&Waker) -> T) -> T {
        let before = CELL.replace(Some(self.cell));
        let result = if self.world.is_virtual() {
            let known = self.watched.take().filter(|(_, of)| of.will_wake(waker));
            let (watched, of) = known.unwrap_or_else(|| (self.watch(waker), waker.clone()));
            let result = poll(&watched);
            self.watched = Some((watched, of));
            result
        } else {
            poll(waker)
        };
        CELL.set(before);
        result
    }

    fn watch(&self, waker: &Waker) -> Waker {
        Waker::from(Arc::new(WatchedWaker {
            inner: waker.clone(),
            world: Arc::clone(&self.world),
            who: self.who,
        }))
    }
}

impl Drop for CellSeam {
    fn drop(&mut self) {
        self.world.cell_gone(self.cell);
    }
}

/// Whether this is the thread of that world.
fn is_at_home(world: &Arc<dyn World>) -> bool {
    ask(|mine| std::ptr::addr_eq(mine, Arc::as_ptr(world))) == Some(true)
}

/// Tells the world when a wake comes from another thread.
struct WatchedWaker {
    inner: Waker,
    world: Arc<dyn World>,
    who: Who,
}

impl Wake for WatchedWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !is_at_home(&self.world) {
            self.world.woken_from_outside(self.who);
        }
        self.inner.wake_by_ref();
    }
}

/// A delivery leaves for an actor of the user. True if a fault is to meet it there: then it counts as begun, whether or not
/// the actor comes to look at it.
pub(crate) fn is_met_on_the_way(delivery: Seen) -> bool {
    ask(|world| world.begins(delivery, None)).is_some_and(|act| act != Act::Go)
}

/// What a shell does before the work on a delivery. True if the delivery shall be reported as failed instead.
pub(crate) async fn before_work(delivery: Seen) -> bool {
    obey(ask(|world| world.begins(delivery, CELL.get()))).await
}

/// What a shell does between the end of the work and the word on it. True if that word shall be a failure.
pub(crate) async fn after_work(delivery: Seen, is_done: bool) -> bool {
    obey(ask(|world| world.ends(delivery, is_done, CELL.get()))).await
}

/// A shell does what it was told. True if it shall report a failure.
async fn obey(act: Option<Act>) -> bool {
    match act {
        None | Some(Act::Go) => {}
        Some(Act::Fail) => return true,
        Some(Act::Block(wait)) => std::thread::sleep(wait),
        Some(Act::Pause | Act::Panic) => pause().await,
    }
    false
}

/// Gives the thread back once. Whoever gave the cell its orders wakes it.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
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
    if ask(|world| world.fails_at(CELL.get(), place)) == Some(true) {
        panic!("a planned fault at {place}");
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
