//! Whether actors can be started where we are.
//!
//! An actor is a task of its thread's `LocalSet`, and spawning one anywhere else is a panic deep inside of tokio, in code that
//! is no longer the caller's. Every door of the crate asks here first.

use actix_rt::{Arbiter, System};

use super::cell::guard_quietly;

/// Why no actor can be started here. Each says what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NoArbiter {
    /// This thread has no actix system, and never had one.
    #[error(
        "there is no actix system on this thread: start a `Host` and use `start_on(&host)`, which works from tokio and from a \
         plain main, or use #[actix::main]"
    )]
    NoSystem,
    /// This thread has an actix system, which does not run.
    #[error(
        "the actix system of this thread does not run: do this inside of `System::block_on`, or start a `Host` and use \
         `start_on(&host)`"
    )]
    NotRunning,
    /// The actix system of this thread has ended.
    #[error(
        "the actix system of this thread has ended: make a new one, or start a `Host` and use `start_on(&host)`"
    )]
    Ended,
    /// An actix system runs on this thread, but this task is not one of its arbiter's: it was spawned with `tokio::spawn`.
    #[error(
        "this task could move to another thread, where actors cannot follow: spawn it with `actix::spawn` and not with \
         `tokio::spawn`, or start a `Host` and use `start_on(&host)`"
    )]
    OutsideOfArbiter,
}

/// Says whether `spawn_local` works here, and if not, why.
///
/// tokio does not tell whether a task runs inside of a `LocalSet`, so it is tried out, with a future that does nothing and a
/// panic that is kept quiet. In a program built with `panic = "abort"` that cannot be tried: what can be known otherwise is
/// looked at, and for the rest the first spawn speaks for itself.
pub(crate) fn check_arbiter() -> Result<(), NoArbiter> {
    if System::try_current().is_none() {
        return Err(NoArbiter::NoSystem);
    }
    if !Arbiter::try_current().is_some_and(|arbiter| arbiter.alive()) {
        return Err(NoArbiter::Ended);
    }
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(NoArbiter::NotRunning);
    }
    if cfg!(panic = "abort") {
        return Ok(());
    }
    // The task is aborted before its first turn, so nothing of it is left for those who count turns.
    let tried = guard_quietly(|| actix_rt::spawn(std::future::ready(())).abort());
    tried.map_err(|_| NoArbiter::OutsideOfArbiter)
}
