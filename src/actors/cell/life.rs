//! The future of an actor that does not begin its life while it is dropped.
//!
//! actix polls an actor once more when it drops it. For one that was never polled before (its arbiter ended first) that
//! would run `started` where nothing can be started any more: a panic of a foreign crate in the face of a user who only
//! returned early.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Wake, Poll, Waker};

use actix::dev::ContextFut;
use actix::{Actor, ActorContext, Context};

/// What actix polls of an actor: the actor itself, its mailbox and its futures.
pub(crate) struct Life<A: Actor<Context = Context<A>>> {
    future: ContextFut<A, Context<A>>,
    /// Whether it was polled.
    has_begun: bool,
}

impl<A: Actor<Context = Context<A>>> Life<A> {
    pub(crate) fn new(context: Context<A>, actor: A) -> Self {
        Self {
            future: context.into_future(actor),
            has_begun: false,
        }
    }

    /// Lets the actor see its end, if it saw its beginning: `stopping` and `stopped` run in here.
    pub(super) fn call_hooks(&mut self) {
        if self.has_begun && self.future.alive() {
            self.future.ctx().stop();
            let _ = Pin::new(&mut self.future).poll(&mut Wake::from_waker(Waker::noop()));
        }
    }

    /// From here on its `Drop` polls nothing.
    pub(super) fn mark_stopped(&mut self) {
        self.future.ctx().terminate();
    }
}

impl<A: Actor<Context = Context<A>>> Future for Life<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, wake: &mut Wake<'_>) -> Poll<()> {
        self.has_begun = true;
        Pin::new(&mut self.future).poll(wake)
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Life<A> {
    fn drop(&mut self) {
        if !self.has_begun {
            self.mark_stopped();
        }
    }
}
