//! Makers: how the supervisor gets a consumer, through whichever of the three doors it comes in.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use actix::{Addr, Recipient};
use tokio::sync::mpsc;

use super::batch_worker::{self, BatchSize};
use super::shell::{Shell, ShellParams};
use super::worker;
use crate::actors::cell::{CellHooks, CellSeed, spawn_in_cell};
use crate::protocol::{
    BatchConsumer, Consumer, ConsumerActor, ConsumerAddr, ConsumerDown, ConsumerInfo, ConsumerUp, SettleQueue,
};
use crate::types::Guarded;

/// The place that the supervisor has prepared for a consumer; it travels to the consumer's arbiter.
pub(crate) struct SpawnParams<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) info: Arc<ConsumerInfo>,
    pub(crate) settles: Arc<SettleQueue<O>>,
    pub(crate) seed: CellSeed,
    pub(crate) quiet: bool,
    pub(crate) up: Recipient<ConsumerUp<J, O>>,
    pub(crate) down: Recipient<ConsumerDown>,
    /// Held as long as the consumer exists, so that somebody can wait until none does.
    pub(crate) exists: mpsc::Sender<Infallible>,
}

/// Makes consumers, each on the thread where it shall live.
pub(crate) trait ConsumerMaker<J: Send + Sync + 'static, O: Send + 'static>: Send + Sync {
    fn make(&self, params: SpawnParams<J, O>);
}

impl<J: Send + Sync + 'static, O: Send + 'static> SpawnParams<J, O> {
    fn split(self) -> (CellSeed, CellHooks, bool, ShellParams<J, O>) {
        let Self {
            info,
            settles,
            seed,
            quiet,
            up,
            down,
            exists,
        } = self;
        let (at_end, at_down) = (Arc::clone(&info), Arc::clone(&info));
        let hooks = CellHooks {
            ended: Box::new(move |_| at_end.heartbeat.end()),
            down: Box::new(move |cause| {
                let ConsumerInfo {
                    slot, incarnation, ..
                } = *at_down;
                down.do_send(ConsumerDown {
                    slot,
                    incarnation,
                    cause,
                });
                drop(exists);
            }),
        };
        (seed, hooks, quiet, ShellParams { info, settles, up })
    }
}

/// ConsumerAddr 1: a type with an async method, in the stock shell.
pub(crate) struct ShellMaker<F>(pub(crate) Guarded<F>);

impl<C: Consumer, F: Fn() -> C + Send + Sync> ConsumerMaker<C::Job, C::Output> for ShellMaker<F> {
    fn make(&self, params: SpawnParams<C::Job, C::Output>) {
        let (seed, hooks, quiet, shell) = params.split();
        spawn_in_cell(seed, hooks, quiet, |context| {
            let consumer = (self.0)();
            Shell::new(context, shell, |params, address, inbox| {
                worker::work(consumer, params, address, inbox)
            })
        });
    }
}

/// ConsumerAddr 2: an actor of the user.
pub(crate) struct ActorMaker<F, A>(pub(crate) Guarded<F>, pub(crate) PhantomData<fn() -> A>);

impl<J, O, A, F> ConsumerMaker<J, O> for ActorMaker<F, A>
where
    J: Send + Sync + 'static,
    O: Send + 'static,
    A: ConsumerActor<J, O>,
    F: Fn(&ConsumerInfo) -> A + Send + Sync,
{
    fn make(&self, params: SpawnParams<J, O>) {
        let (seed, hooks, quiet, shell) = params.split();
        let address: Option<Addr<A>> = spawn_in_cell(seed, hooks, quiet, |_| (self.0)(&shell.info));
        if let Some(address) = address {
            shell.tell_up(ConsumerAddr::Actor(address.recipient()));
        }
    }
}

/// ConsumerAddr 3: a type that takes many deliveries at once, in its stock shell.
pub(crate) struct BatchMaker<F>(pub(crate) Guarded<F>, pub(crate) BatchSize);

impl<C: BatchConsumer, F: Fn() -> C + Send + Sync> ConsumerMaker<C::Job, C::Output> for BatchMaker<F> {
    fn make(&self, params: SpawnParams<C::Job, C::Output>) {
        let (seed, hooks, quiet, shell) = params.split();
        spawn_in_cell(seed, hooks, quiet, |context| {
            let (consumer, size) = ((self.0)(), self.1);
            Shell::new(context, shell, |params, address, inbox| {
                batch_worker::work(consumer, params, address, inbox, size)
            })
        });
    }
}
