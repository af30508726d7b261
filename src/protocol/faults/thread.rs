//! The world of a thread, and what a thread remembers for it. Compiled only with the feature `sim`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;

use super::{Act, Marks, Order, Seen, Who, World};

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
    /// It stands still. So much time has passed since that instant.
    Known(Instant, Duration),
}

/// Says what is known of the time. In a simulated run it stands still while anybody is at work: then a clock is read once, and
/// not hundreds of times a run. Whoever moves the time on says so.
pub(crate) fn note_time(known: Present) {
    PRESENT.set(known);
}

/// How much time has passed since a clock began; `read` reads it.
pub(crate) fn elapsed(began: Instant, read: impl FnOnce() -> Duration) -> Duration {
    match PRESENT.get() {
        Present::Known(of, elapsed) if of == began => elapsed,
        Present::Flows => read(),
        _ => {
            let elapsed = read();
            PRESENT.set(Present::Known(began, elapsed));
            elapsed
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

/// Makes cells within `work` live in this arbiter of the world. False, and nothing is done, if it has ended.
pub(crate) fn at_home(arbiter: u64, work: impl FnOnce()) -> bool {
    if ask(|world| world.home_lives(arbiter)) != Some(true) {
        return false;
    }
    let elsewhere = ELSEWHERE.with_borrow(Clone::clone);
    // An arbiter is no thread, but outlives the host all the same.
    let _elsewhere = elsewhere.as_deref().map(LocalSet::enter);
    let before = HOME.replace(Some(arbiter));
    work();
    HOME.set(before);
    true
}

/// From here on whoever is made in an arbiter of the world lives among these tasks, or where it was made.
pub(crate) fn live_elsewhere(tasks: Option<Rc<LocalSet>>) {
    // Dropped outside of the borrow: tasks of the user's may be in it.
    let before = ELSEWHERE.replace(tasks);
    drop(before);
}

/// The cell whose turn it is.
pub(super) fn present_cell() -> Option<u64> {
    CELL.get()
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
