//! The mail pump: brings a supervised actor its messages, inside of it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context};

use super::mailbox::{LifeNotes, Next};
use super::messages::ChildUp;

/// So many messages are handled before the neighbours on the arbiter and its timers have their turn.
const AT_ONCE: usize = 256;

/// Brings messages to the actor, inside of it.
pub(super) struct MailPump<A: Actor<Context = Context<A>>> {
    notes: Rc<LifeNotes<A>>,
    /// Whether it says so at its first turn, which comes after `started` and all that it waits for.
    tells_up: bool,
    /// The actor waits for something that the last message began, an atomic answer: it is at work meanwhile.
    at_work: bool,
}

impl<A: Actor<Context = Context<A>>> MailPump<A> {
    /// With `tells_up`, says at its first turn that the actor is up.
    pub(super) fn new(notes: Rc<LifeNotes<A>>, tells_up: bool) -> Self {
        Self {
            notes,
            tells_up,
            at_work: false,
        }
    }

    fn set_at_work(&mut self, at_work: bool) {
        match (std::mem::replace(&mut self.at_work, at_work), at_work) {
            (false, true) => self.notes.mailbox.answer_begins(),
            (true, false) => self.notes.mailbox.answer_ends(),
            (false, false) | (true, true) => {}
        }
    }

    fn tell_up(&mut self) {
        if std::mem::take(&mut self.tells_up) {
            self.notes.mailbox.up(self.notes.life);
            self.notes.reports.up.do_send(ChildUp {
                child: self.notes.child,
                life: self.notes.life,
            });
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for MailPump<A> {
    fn drop(&mut self) {
        self.set_at_work(false);
    }
}

impl<A: Actor<Context = Context<A>>> Unpin for MailPump<A> {}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for MailPump<A> {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        context: &mut Context<A>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        let this = &mut *self;
        if context.waiting() {
            // It is polled again when the wait is over, or never.
            return Poll::Pending;
        }
        // Whatever stayed in hand was an atomic answer, and it is done: nothing else runs meanwhile.
        this.notes.let_go();
        this.set_at_work(false);
        this.tell_up();
        for _ in 0..AT_ONCE {
            match this.notes.mailbox.next(this.notes.life, task.waker()) {
                Next::QueuedMessage(parcel) => parcel.open(actor, context, &this.notes),
                Next::Stop => context.stop(),
                Next::Fenced => {
                    // Not `stop`: an actor that answers `stopping` with `Continue` would go on for ever, and a life that is
                    // being dropped would never be gone.
                    context.terminate();
                    return Poll::Ready(());
                }
                Next::Nothing => return Poll::Pending,
            }
            if context.waiting() {
                this.set_at_work(true);
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
