//! The stock shell: the actor in which consumers live that are no actors themselves.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, WrapFuture};

use super::inbox::Inbox;
use crate::actors::cell::note_cause;
use crate::protocol::{ConsumerAddr, ConsumerInfo, ConsumerUp, ConsumerWaits, DeliverBatch, SettleQueue};
use crate::types::{Cause, Failure};

/// The life of a consumer: it ends with the cause of its end.
type Life = Pin<Box<dyn Future<Output = Cause>>>;

/// What the life inside a shell needs to know and whom it can talk to.
pub(super) struct ShellParams<J: Send + Sync + 'static, O: Send + 'static> {
    pub(super) info: Arc<ConsumerInfo>,
    pub(super) settles: Arc<SettleQueue<O>>,
    pub(super) up: Recipient<ConsumerUp<J, O>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> ShellParams<J, O> {
    /// Tells the supervisor that deliveries can come.
    pub(super) fn tell_up(&self, address: ConsumerAddr<J, O>) {
        let ConsumerInfo {
            slot, incarnation, ..
        } = *self.info;
        self.up.do_send(ConsumerUp {
            slot,
            incarnation,
            address,
        });
    }
}

/// Why a consumer ended that could not start.
pub(super) fn not_started(failure: &Failure) -> Cause {
    Cause::StartFailed(failure.text().into())
}

/// Why a consumer ended that had its last word: it was asked to.
pub(super) fn stopped(ended: Result<(), Failure>) -> Cause {
    match ended {
        Ok(()) => Cause::Killed,
        Err(failure) => Cause::Failed(failure.text().into()),
    }
}

/// An inbox and a life that empties it.
pub(super) struct Shell<J> {
    /// Taken at the start.
    life: Option<Life>,
    inbox: Rc<Inbox<J>>,
}

impl<J: Send + Sync + 'static> Shell<J> {
    /// A shell for the life that `live` makes of the parameters, the door and the inbox.
    pub(super) fn new<O, F>(
        context: &mut Context<Self>,
        params: ShellParams<J, O>,
        live: impl FnOnce(ShellParams<J, O>, ConsumerAddr<J, O>, Rc<Inbox<J>>) -> F,
    ) -> Self
    where
        O: Send + 'static,
        F: Future<Output = Cause> + 'static,
    {
        let inbox = Rc::new(Inbox::new());
        let address = ConsumerAddr::Shell(context.address().recipient());
        let waits = ConsumerWaits::new(&params.info.own);
        let mut life = Box::pin(live(params, address, Rc::clone(&inbox)));
        // Once for each time that the loop runs, not for each job.
        let life = poll_fn(move |context| waits.inside(|| life.as_mut().poll(context)));
        Self {
            life: Some(Box::pin(life)),
            inbox,
        }
    }
}

impl<J: Send + Sync + 'static> Actor for Shell<J> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let Some(life) = self.life.take() else { return };
        context.spawn(life.into_actor(self).map(|cause, _, context| {
            note_cause(cause);
            context.terminate();
        }));
    }
}

impl<J: Send + Sync + 'static> Handler<DeliverBatch<J>> for Shell<J> {
    type Result = ();

    fn handle(&mut self, batch: DeliverBatch<J>, _: &mut Context<Self>) {
        self.inbox.put(batch);
    }
}
