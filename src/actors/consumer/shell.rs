//! The stock shell: the actor in which consumers live that are no actors themselves.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, WrapFuture};

use super::inbox::Inbox;
use crate::protocol::{ConsumerAddr, ConsumerInfo, ConsumerUp, DeliverBatch, SettleQueue};
use crate::types::{Cause, Failure};

/// The life of a consumer: it ends with an error only if it could not start.
type Life = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// What a shell notes on its way out: why it could not start.
pub(super) type StartFailure = Rc<RefCell<Option<Cause>>>;

/// What the life inside a shell needs to know and whom it can talk to.
pub(super) struct ShellParams<J: Send + Sync + 'static, O: Send + 'static> {
    pub(super) info: Arc<ConsumerInfo>,
    pub(super) settles: Arc<SettleQueue<O>>,
    pub(super) up: Recipient<ConsumerUp<J, O>>,
    pub(super) start_failure: StartFailure,
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

/// An inbox and a life that empties it.
pub(super) struct Shell<J> {
    /// Taken at the start.
    life: Option<Life>,
    inbox: Rc<Inbox<J>>,
    start_failure: StartFailure,
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
        F: Future<Output = Result<(), Failure>> + 'static,
    {
        let inbox = Rc::new(Inbox::new());
        let start_failure = Rc::clone(&params.start_failure);
        let address = ConsumerAddr::Shell(context.address().recipient());
        let life = live(params, address, Rc::clone(&inbox));
        Self {
            life: Some(Box::pin(life)),
            inbox,
            start_failure,
        }
    }
}

impl<J: Send + Sync + 'static> Actor for Shell<J> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let Some(life) = self.life.take() else { return };
        context.spawn(life.into_actor(self).map(|ended, shell, context| {
            if let Err(failure) = ended {
                shell
                    .start_failure
                    .replace(Some(Cause::StartFailed(failure.text().into())));
            }
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
