//! The end of a mailbox: no life follows, and what waits goes back.

use std::sync::{Arc, PoisonError};

use actix::{Actor, Context};

use crate::actors::cell::guard_of_a_call;
use crate::actors::supervision::errors::NotDelivered;

use crate::types::{Cause, Down};

use super::message::refuse_all;
use super::{DoorState, PersistentMailbox, open};

impl<A: Actor<Context = Context<A>>> PersistentMailbox<A> {
    /// No life will follow by itself: what waits goes back, in order. A life that nobody has seen end counts as ended for
    /// `cause`: whoever could have told of its end has gone. Returns how many messages went back.
    pub(in crate::actors::supervision) fn over(&self, cause: &Cause) -> usize {
        if let Some(down) = self.unseen_end(cause)
            && self.ended(&down)
        {
            self.tell_down(&down);
        }
        let why = match open(&self.news).last.back() {
            Some(down) => NotDelivered::Ended(Arc::clone(down)),
            None => NotDelivered::NeverStarted,
        };
        let waiting = {
            let mut queue = open(&self.queue);
            queue.address = DoorState::Over(why.clone());
            queue.waker = None;
            std::mem::take(&mut queue.waiting)
        };
        let count = waiting.len();
        refuse_all(waiting, &why, self.undelivered.as_ref());
        count
    }

    /// The end, for `cause`, of a life that is still there.
    fn unseen_end(&self, cause: &Cause) -> Option<Arc<Down>> {
        let life = open(&self.queue).present.as_ref().map(|(_, _, life)| *life)?;
        Some(Arc::new(Down {
            child: self.path(),
            actor: self.actor().into(),
            life,
            cause: cause.clone(),
            in_hand: None,
        }))
    }

    /// As [`over`](Self::over), and nothing will ever follow: monitors and listeners hear the last of it and end.
    pub(in crate::actors::supervision) fn close(&self, cause: &Cause) -> usize {
        let count = self.over(cause);
        let (monitors, listeners) = {
            let mut news = open(&self.news);
            news.closed = true;
            (news.monitors.take(), std::mem::take(&mut news.listeners))
        };
        drop(monitors);
        // What a listener holds is the user's, and so is its drop.
        if let Err(report) = guard_of_a_call(|| drop(listeners)) {
            tracing::warn!(%report, "a panic in the drop of a listener");
        }
        count
    }

    /// A life will follow after all.
    pub(in crate::actors::supervision) fn open_again(&self) {
        let mut queue = open(&self.queue);
        if matches!(queue.address, DoorState::Over(_)) {
            queue.address = DoorState::Down;
            queue.stashed = 0;
        }
    }

    pub(in crate::actors::supervision) fn is_over(&self) -> bool {
        matches!(open(&self.queue).address, DoorState::Over(_))
    }
}

impl<A: Actor> Drop for PersistentMailbox<A> {
    fn drop(&mut self) {
        // The last handle and the supervisor are gone: nobody can be told but the senders that wait.
        let queue = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut queue.waiting);
        refuse_all(waiting, &NotDelivered::NeverStarted, self.undelivered.as_ref());
    }
}
