//! The cell: the future in which every actor of a group lives.
//!
//! actix spawns an actor and forgets it; a panic ends it without a word. A cell polls the very same actor future inside its
//! own, so that it can catch a panic with its message and place, tell of the death at once, and end the actor from outside.
//! It works for every unmodified actix actor and costs one `catch_unwind` for each poll, not for each message.
//!
//! | what ends the actor | the cause in the death notice |
//! |---|---|
//! | a panic in a handler, a future of the actor, a timer, `started` | `Panicked` with message and place |
//! | a panic while it is made | `StartFailed` |
//! | `ctx.stop()`, `ctx.terminate()`, no address left | `Stopped` |
//! | the same, after [`note_cause`] | the cause given there |
//! | [`CellHandle::end`] | the cause given there |
//! | the handle is dropped | `Killed` |
//! | its arbiter ends | `ArbiterEnded` |
//!
//! A panic inside a `ResponseFuture` ends no actor: actix runs such a future on its own, outside of the actor.

mod life;
mod noted_cause;
mod panics;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Wake, Poll};

use actix::{Actor, Addr, AsyncContext, Context};
use tokio::sync::oneshot;

pub(crate) use life::Life;
pub(crate) use noted_cause::note_cause;

use crate::protocol::faults::{self, CellSeam, Order};
use crate::protocol::mark_inside_cell;
use crate::types::{Cause, Guarded, PanicReport, text_of};

/// What the maker of a cell wants to be told.
pub(crate) struct CellHooks {
    /// Called when the actor has ended and before it is dropped: from here on nothing that it holds may speak for it.
    pub(crate) ended: Box<dyn FnOnce(&Cause)>,
    /// Called last, with the cause.
    pub(crate) down: Box<dyn FnOnce(Cause)>,
}

/// Ends the actor in a cell. Dropping it ends the actor too.
///
/// It can be used from any thread. The actor ends between two polls: a handler that is running is not interrupted, a future
/// that waits is dropped where it waits.
#[derive(Debug)]
pub(crate) struct CellHandle {
    end: Option<oneshot::Sender<Cause>>,
    polling: Arc<AtomicBool>,
}

impl CellHandle {
    /// A handle and the other end that a cell is made with.
    pub(crate) fn new() -> (Self, CellSeed) {
        let (end, ended) = oneshot::channel();
        let polling = Arc::new(AtomicBool::new(false));
        (
            Self {
                end: Some(end),
                polling: Arc::clone(&polling),
            },
            CellSeed {
                ended,
                is_listening: false,
                polling,
            },
        )
    }

    /// Ends the actor with this cause. Only the first call counts.
    pub(crate) fn end(&mut self, cause: Cause) {
        if let Some(end) = self.end.take() {
            // An error means that the actor has ended already.
            let _ = end.send(cause);
        }
    }

    /// Whether a thread is inside the actor right now. True for long means that the actor blocks its thread.
    pub(crate) fn is_polling(&self) -> bool {
        self.polling.load(Ordering::Relaxed)
    }
}

/// What a cell needs of its handle; can be sent to the thread on which the cell shall live.
#[derive(Debug)]
pub(crate) struct CellSeed {
    ended: oneshot::Receiver<Cause>,
    /// Whether the task of the cell is known to `ended`.
    is_listening: bool,
    polling: Arc<AtomicBool>,
}

impl CellSeed {
    /// The cause with which the actor was ended, if it was; if not, the end will wake the task.
    ///
    /// A cell is one task for all its life and so has one waker, which need not be registered more than once. That it is the
    /// first poll of the task is what makes the registration sure: a task that has used up its turn is sent away without one.
    fn hear(&mut self, wake: &mut Wake<'_>) -> Option<Cause> {
        if std::mem::replace(&mut self.is_listening, true) {
            return match self.ended.try_recv() {
                Ok(cause) => Some(cause),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Cause::Killed),
            };
        }
        match Pin::new(&mut self.ended).poll(wake) {
            Poll::Ready(cause) => Some(cause.unwrap_or(Cause::Killed)),
            Poll::Pending => None,
        }
    }
}

/// Makes an actor and spawns it in a cell on the arbiter of this thread. Returns its address, or `None` if making it
/// panicked; the hooks have been called then.
///
/// # Panics
/// If the thread has no arbiter, as `actix_rt::spawn` does.
pub(crate) fn spawn_in_cell<A>(
    seed: CellSeed,
    hooks: CellHooks,
    quiet: bool,
    make: impl FnOnce(&mut Context<A>) -> A,
) -> Option<Addr<A>>
where
    A: Actor<Context = Context<A>>,
{
    panics::install_hook();
    let (seam, quiet) = (CellSeam::new(), quiet || faults::is_simulated());
    let mut context = Context::new();
    let address = context.address();
    match guarded(quiet, || make(&mut context)) {
        Ok(actor) => {
            let life = Box::new(Life::new(context, actor));
            actix_rt::spawn(Cell {
                life: Some(life),
                seed,
                hooks: Some(hooks),
                quiet,
                noted: None,
                seam,
            });
            Some(address)
        }
        Err(report) => {
            let cause = Cause::StartFailed(text_of(report));
            (hooks.ended)(&cause);
            (hooks.down)(cause);
            None
        }
    }
}

/// The future of an actor inside its guard.
struct Cell<A: Actor<Context = Context<A>>> {
    /// The actor's own future. `None` once it has ended.
    life: Option<Box<Life<A>>>,
    seed: CellSeed,
    /// `None` once they were called.
    hooks: Option<CellHooks>,
    quiet: bool,
    /// Why the actor stops, if it said so.
    noted: Option<Cause>,
    /// The tie to a simulation, if the cell was made in one.
    seam: Option<CellSeam>,
}

impl<A: Actor<Context = Context<A>>> Future for Cell<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, wake: &mut Wake<'_>) -> Poll<()> {
        let this = &mut *self;
        let order = this
            .seam
            .as_ref()
            .map_or(Order::Go, |seam| seam.order(wake.waker()));
        let hears = match &order {
            Order::WaitDeaf => return Poll::Pending,
            order => *order != Order::GoFirst,
        };
        if hears && let Some(cause) = this.seed.hear(wake) {
            this.finish(cause);
            return Poll::Ready(());
        }
        if let Some(polled) = this.obey(order) {
            return polled;
        }
        let Some(life) = &mut this.life else {
            return Poll::Ready(());
        };
        this.seed.polling.store(true, Ordering::Relaxed);
        let before = noted_cause::swap(this.noted.take());
        let polled = match &mut this.seam {
            Some(seam) => seam.enter(wake.waker(), |waker| {
                guarded(this.quiet, || {
                    Pin::new(&mut **life).poll(&mut Wake::from_waker(waker))
                })
            }),
            None => guarded(this.quiet, || Pin::new(&mut **life).poll(wake)),
        };
        this.seed.polling.store(false, Ordering::Relaxed);
        let noted = noted_cause::swap(before);
        this.note_blocking();
        match polled {
            Ok(Poll::Pending) => {
                this.noted = noted;
                Poll::Pending
            }
            Ok(Poll::Ready(())) => {
                this.finish(noted.unwrap_or(Cause::Stopped));
                Poll::Ready(())
            }
            Err(report) => {
                this.finish(Cause::Panicked(report));
                Poll::Ready(())
            }
        }
    }
}

impl<A: Actor<Context = Context<A>>> Cell<A> {
    /// Ends the life: first marks it as over, then drops the actor, then tells.
    fn finish(&mut self, cause: Cause) {
        let Some(hooks) = self.hooks.take() else { return };
        (hooks.ended)(&cause);
        if let Some(life) = self.life.take() {
            self.drop_life(life);
        }
        (hooks.down)(cause);
    }

    /// Drops the actor. Its hooks and its `Drop` run in here and may panic, each of them: caught apart from each other and
    /// from the panic that ended the actor, they are ordinary reports and not the end of the process.
    fn drop_life(&self, mut life: Box<Life<A>>) {
        // actix polls an actor that it drops once more, for its hooks. First that is done here, outside of any `Drop`, then
        // the actor is marked as stopped, so that its `Drop` polls nothing.
        warn_of_a_second(guarded(self.quiet, || life.call_hooks()));
        life.mark_stopped();
        warn_of_a_second(guarded(self.quiet, || drop(life)));
    }
}

impl<A: Actor<Context = Context<A>>> Cell<A> {
    /// Does what a simulation ordered instead of a poll; `None` if the cell is to be polled.
    fn obey(&mut self, order: Order) -> Option<Poll<()>> {
        match order {
            Order::Go | Order::GoFirst => return None,
            Order::Wait | Order::WaitDeaf => return Some(Poll::Pending),
            Order::End(cause) => self.finish(cause),
            // No code of the actor is at work here, so there is nothing that a real panic would unwind.
            Order::Panic => self.finish(Cause::Panicked(PanicReport {
                message: faults::PLANNED.into(),
                place: None,
            })),
            Order::Block(wait) => {
                self.seed.polling.store(true, Ordering::Relaxed);
                std::thread::sleep(wait);
                return None;
            }
            Order::EndArbiter => {
                actix_rt::Arbiter::current().stop();
                return Some(Poll::Pending);
            }
        }
        Some(Poll::Ready(()))
    }

    /// Whoever blocks a virtual thread has given the real one back, and still counts as being inside the actor.
    fn note_blocking(&self) {
        if self.seam.as_ref().is_some_and(CellSeam::is_blocking) {
            self.seed.polling.store(true, Ordering::Relaxed);
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Cell<A> {
    fn drop(&mut self) {
        // Only an arbiter that ends drops a cell before its time.
        self.finish(Cause::ArbiterEnded);
    }
}

/// An actor that has ended panicked once more.
fn warn_of_a_second(ended: Result<(), PanicReport>) {
    if let Err(report) = ended {
        tracing::warn!(%report, "an actor panicked while it was dropped");
    }
}

/// Runs a future that an actor left to itself under the same guard as the actor.
pub(crate) async fn guard_of_a_task<F: Future + Unpin>(
    quiet: bool,
    work: F,
) -> Result<F::Output, PanicReport> {
    // The future may panic once more when it is dropped.
    let mut work = Guarded::new(work);
    std::future::poll_fn(|wake| match guarded(quiet, || Pin::new(&mut *work).poll(wake)) {
        Ok(polled) => polled.map(Ok),
        Err(report) => Poll::Ready(Err(report)),
    })
    .await
}

/// Runs code of the user that is called outside of any actor; a panic comes back as a report.
pub(crate) fn guard_of_a_call<T>(work: impl FnOnce() -> T) -> Result<T, PanicReport> {
    guarded(false, work)
}

/// As [`guard_of_a_call`], for a panic that is an answer and no fault: the panic hook does not print it.
pub(crate) fn guard_quietly<T>(work: impl FnOnce() -> T) -> Result<T, PanicReport> {
    panics::install_hook();
    guarded(true, work)
}

/// Runs `work` as the code of an actor; a panic comes back as a report.
fn guarded<T>(quiet: bool, work: impl FnOnce() -> T) -> Result<T, PanicReport> {
    // Unwind safety: after a panic the actor is dropped and never looked at again.
    mark_inside_cell(|| panics::watching(quiet, || catch_unwind(AssertUnwindSafe(work))))
        .map_err(panics::report)
}
