//! The queue actor: the five messages of the queue protocol. It may die at any time; everything else outlives it.

use std::sync::Arc;

use actix::{Actor, Context, Handler};
use consumer_group::queue::{
    Attach, AttachError, Attached, Command, Demand, Later, Push, Pushed, QueueCommand, QueueReply, Refusal,
    Refused, Settle, SettleReply,
};

use crate::core::{Alive, Core, Wanted};
use crate::{burying, sending};

/// The actor of a [`KafkaQueue`](crate::KafkaQueue).
pub struct KafkaActor<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
    _alive: Arc<Alive<J>>,
}

impl<J: Send + Sync + 'static> KafkaActor<J> {
    pub(crate) fn new(alive: Arc<Alive<J>>) -> Self {
        let core = Arc::clone(&alive.0);
        core.operate(|partitions| partitions.shell.new_life());
        Self { core, _alive: alive }
    }

    fn hand_out(&self) {
        let dying = self.core.operate(|partitions| self.core.hand_out(partitions));
        burying::bury(&self.core, dying);
    }
}

impl<J: Send + Sync + 'static> Actor for KafkaActor<J> {
    type Context = Context<Self>;
}

impl<J: Send + Sync + 'static> Handler<Attach<J>> for KafkaActor<J> {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<J>, _: &mut Context<Self>) -> Self::Result {
        if let Some(why) = self.core.broken() {
            return Err(AttachError::OutOfOrder(why));
        }
        let attached = self.core.operate(|partitions| {
            let takes_back = partitions.shell.takes_back(attach.epoch)?;
            let returned = if takes_back { partitions.take_back() } else { 0 };
            partitions.shell.attached(attach);
            Ok(Attached { returned })
        })?;
        self.core.want(Wanted::Member);
        Ok(attached)
    }
}

impl<J: Send + Sync + 'static> Handler<Push<J>> for KafkaActor<J> {
    type Result = Later<Pushed<J>>;

    fn handle(&mut self, mut push: Push<J>, _: &mut Context<Self>) -> Self::Result {
        let jobs = push.take_jobs();
        if self.core.operate(|partitions| partitions.shell.is_closed()) {
            let refuse = |job| Refused {
                job,
                refusal: Refusal::Closed,
            };
            let refused = jobs.into_iter().map(refuse).collect();
            return Later::now(Pushed { refused });
        }
        let told = sending::push(&self.core, jobs);
        Later::new(async move {
            let refused = told.await.ok()?;
            Some(Pushed { refused })
        })
    }
}

impl<J: Send + Sync + 'static> Handler<Demand> for KafkaActor<J> {
    type Result = ();

    fn handle(&mut self, demand: Demand, _: &mut Context<Self>) {
        self.core.operate(|partitions| partitions.shell.demand(demand));
        self.hand_out();
    }
}

impl<J: Send + Sync + 'static> Handler<Settle> for KafkaActor<J> {
    type Result = SettleReply;

    fn handle(&mut self, settle: Settle, _: &mut Context<Self>) -> SettleReply {
        let (reply, dying) = self.core.operate(|partitions| partitions.settle(&settle));
        burying::bury(&self.core, dying);
        reply
    }
}

impl<J: Send + Sync + 'static> Handler<Command<J>> for KafkaActor<J> {
    type Result = Later<QueueReply<J>>;

    fn handle(&mut self, command: Command<J>, _: &mut Context<Self>) -> Self::Result {
        let reply = match command.command {
            QueueCommand::Close => self.core.operate(|partitions| partitions.shell.close()),
            QueueCommand::Counts => QueueReply::Counts(self.core.operate(|partitions| partitions.counts())),
            QueueCommand::Goodbye { epoch, within } => {
                let is_latest = self.core.operate(|partitions| {
                    let is_latest = partitions.shell.goodbye(epoch);
                    if is_latest {
                        partitions.take_back();
                    }
                    is_latest
                });
                if is_latest {
                    let left = self.core.leave();
                    return Later::new(async move {
                        // What was not committed in time is done once more by the next owner.
                        let _ = actix::clock::timeout(within, left).await;
                        Some(QueueReply::Done)
                    });
                }
                QueueReply::Done
            }
            QueueCommand::DeadLetters { .. } | QueueCommand::Requeue(_) | QueueCommand::Purge(_) => {
                QueueReply::Unsupported("the dead letters are records of their own topic: read them there")
            }
            QueueCommand::TakeUnfinished => QueueReply::Unsupported("the jobs stay in their topic"),
            _ => QueueReply::Unsupported("a queue on Kafka does not know that"),
        };
        Later::now(reply)
    }
}
