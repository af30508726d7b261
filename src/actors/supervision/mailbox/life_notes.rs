//! What one life of a supervised actor notes for its end.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context};

use super::PersistentMailbox;
use crate::actors::supervision::messages::{LifeFault, Reports};
use crate::rules::supervision::ChildNumber;
use crate::types::{Cause, Down};

/// What the parts of one life share, on the thread on which it is lived.
pub(in crate::actors::supervision) struct LifeNotes<A: Actor<Context = Context<A>>> {
    pub(in crate::actors::supervision) mailbox: Arc<PersistentMailbox<A>>,
    pub(in crate::actors::supervision) child: ChildNumber,
    pub(in crate::actors::supervision) life: u64,
    pub(in crate::actors::supervision) deadline: Option<Duration>,
    pub(in crate::actors::supervision) quiet: bool,
    /// Where a fault is told that the cell cannot see by itself.
    pub(in crate::actors::supervision) reports: Arc<Reports>,
    /// The type of the message that is worked on.
    in_hand: Cell<Option<&'static str>>,
    /// Ends of channels whose other ends shall see nothing before the cause is known.
    until_the_end: RefCell<Vec<Box<dyn Any>>>,
    is_over: Cell<bool>,
}

impl<A: Actor<Context = Context<A>>> LifeNotes<A> {
    pub(in crate::actors::supervision) fn new(
        mailbox: Arc<PersistentMailbox<A>>,
        (child, life): (ChildNumber, u64),
        deadline: Option<Duration>,
        quiet: bool,
        reports: Arc<Reports>,
    ) -> Self {
        Self {
            mailbox,
            child,
            life,
            deadline,
            quiet,
            reports,
            in_hand: Cell::new(None),
            until_the_end: RefCell::default(),
            is_over: Cell::new(false),
        }
    }

    pub(in crate::actors::supervision) fn take_in_hand(&self, message: &'static str) {
        self.in_hand.set(Some(message));
    }

    pub(in crate::actors::supervision) fn let_go(&self) {
        self.in_hand.set(None);
    }

    pub(in crate::actors::supervision) fn keep_until_the_end(&self, end: Box<dyn Any>) {
        // After the end it is dropped at once: the cause is known.
        if !self.is_over.get()
            && let Ok(mut kept) = self.until_the_end.try_borrow_mut()
        {
            kept.push(end);
        }
    }

    /// The life is ended for this cause, with this message in hand.
    pub(in crate::actors::supervision) fn fault(&self, cause: Cause, message: &'static str) {
        self.reports.faults.do_send(LifeFault {
            child: self.child,
            life: self.life,
            cause,
        });
        self.in_hand.set(Some(message));
    }

    pub(in crate::actors::supervision) fn deadline_passed(&self, message: &'static str) {
        self.fault(self.deadline_cause(), message);
    }

    pub(in crate::actors::supervision) fn deadline_cause(&self) -> Cause {
        Cause::DeadlinePassed(self.deadline.unwrap_or_default())
    }

    /// The life has ended and nothing of it has been dropped: says how. `None` if it was given up before: its end was told.
    pub(in crate::actors::supervision) fn ended(&self, cause: &Cause) -> Option<Arc<Down>> {
        // A stop that the supervisor asked for was not the actor's own will.
        let cause = match cause {
            Cause::Stopped if self.mailbox.was_asked() => Cause::Killed,
            cause => cause.clone(),
        };
        let down = Arc::new(Down {
            child: self.mailbox.path(),
            actor: self.mailbox.actor().into(),
            life: self.life,
            cause,
            in_hand: self.in_hand.get().map(Into::into),
        });
        let is_new = self.mailbox.ended(&down);
        // From here on senders that see their channel close find the cause.
        self.is_over.set(true);
        self.until_the_end.take();
        is_new.then_some(down)
    }
}
