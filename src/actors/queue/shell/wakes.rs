//! The one timer of a queue.

use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, WeakRecipient};

use super::QueueShell;
use crate::types::Moment;

/// To a queue actor, from its own timer or from whoever works for it: something is due, or can be leased.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Wake;

impl<J: Send + Sync + 'static> QueueShell<J> {
    /// Sets the timer of the actor: it gets a [`Wake`] when something is due. One timer that is early is left alone, since it
    /// costs less than to replace it each time.
    pub fn wake_at<A>(&mut self, context: &mut Context<A>, now: Moment, due: Option<Moment>)
    where
        A: Actor<Context = Context<A>> + Handler<Wake>,
    {
        /// What timers can tell apart.
        const SHORTEST: Duration = Duration::from_millis(1);
        /// Whatever is later is looked at again then.
        const LONGEST: Duration = Duration::from_secs(24 * 3600);

        match (due, self.timer) {
            (None, None) => return,
            (Some(due), Some((set, _))) if set <= due => return,
            _ => {}
        }
        self.woken(context);
        self.timer = due.map(|due| {
            let wait = due.since(now).clamp(SHORTEST, LONGEST);
            (due, context.notify_later(Wake, wait))
        });
    }

    /// A [`Wake`] has come, perhaps from the timer: the next [`wake_at`](Self::wake_at) sets it again.
    pub fn woken<A: Actor<Context = Context<A>>>(&mut self, context: &mut Context<A>) {
        if let Some((_, handle)) = self.timer.take() {
            context.cancel_future(handle);
        }
    }

    /// Names this life of the actor, for [`wake`](Self::wake).
    pub fn woken_by(&mut self, actor: WeakRecipient<Wake>) {
        self.actor = Some(actor);
    }

    /// Sends a [`Wake`] to the actor that lives now, from whatever thread: something can be leased or told.
    pub fn wake(&self) {
        if let Some(actor) = self.actor.as_ref().and_then(WeakRecipient::upgrade) {
            actor.do_send(Wake);
        }
    }

    /// The moment for which the timer is set, if it is.
    #[cfg(test)]
    pub(in crate::actors::queue) fn timer(&self) -> Option<Moment> {
        self.timer.map(|(moment, _)| moment)
    }
}
