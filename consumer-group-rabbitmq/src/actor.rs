//! The queue actor: the messages of the protocol. Everything that must outlive it is in the core.

use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Context, Handler};
use consumer_group::queue::{
    Attach, AttachError, Attached, Command, Demand, Epoch, Handover, Later, Push, Pushed, QueueCommand,
    QueueReply, Refusal, Refused, Run, Settle, SettleReply,
};
use tokio::sync::oneshot;

use crate::core::Core;
use crate::error::PublishError;
use crate::publisher::{Publication, Until};
use crate::state::Errand;

/// The actor of a [`RabbitMqQueue`](crate::RabbitMqQueue).
pub struct RabbitMqActor<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
}

impl<J: Send + Sync + 'static> RabbitMqActor<J> {
    pub(crate) fn new(core: Arc<Core<J>>) -> Self {
        core.lock().shell.new_life();
        Self { core }
    }
}

impl<J: Send + Sync + 'static> Actor for RabbitMqActor<J> {
    type Context = Context<Self>;
}

impl<J: Send + Sync + 'static> Handler<Attach<J>> for RabbitMqActor<J> {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<J>, _: &mut Context<Self>) -> Self::Result {
        let (attached, _) = self.core.operate(|state, _| {
            let attached = match state.shell.takes_back(attach.epoch) {
                Ok(takes_back) => {
                    let returned = if takes_back { state.take_back() } else { 0 };
                    state.shell.attached(attach);
                    Ok(Attached { returned })
                }
                Err(superseded) => Err(superseded),
            };
            (attached, Vec::new())
        });
        attached
    }
}

impl<J: Send + Sync + 'static> Handler<Demand> for RabbitMqActor<J> {
    type Result = ();

    fn handle(&mut self, demand: Demand, _: &mut Context<Self>) {
        let _ = self
            .core
            .operate(|state, _| (state.shell.demand(demand), Vec::new()));
    }
}

impl<J: Send + Sync + 'static> Handler<Settle> for RabbitMqActor<J> {
    type Result = Later<SettleReply>;

    fn handle(&mut self, settle: Settle, _: &mut Context<Self>) -> Self::Result {
        let (reply, leaving) = self.core.operate(|state, now| state.settle(&settle, now));
        if leaving.is_empty() {
            return Later::now(reply);
        }
        Later::new(async move {
            for left in leaving {
                // An error means that the connections have ended: what did not leave comes again.
                let _ = left.await;
            }
            Some(reply)
        })
    }
}

impl<J: Send + Sync + 'static> Handler<Command<J>> for RabbitMqActor<J> {
    type Result = Later<QueueReply<J>>;

    fn handle(&mut self, message: Command<J>, _: &mut Context<Self>) -> Self::Result {
        match message.command {
            QueueCommand::Close => Later::now(self.core.lock().shell.close()),
            QueueCommand::Goodbye { epoch, .. } => self.goodbye(epoch),
            QueueCommand::TakeUnfinished => Later::now(QueueReply::Unsupported(
                "the jobs stay at the server for the next group over this queue",
            )),
            command => {
                let (answer, answered) = oneshot::channel();
                self.core.lock().ask(Errand { command, answer });
                self.core.bell.notify_one();
                Later::new(async move { answered.await.ok() })
            }
        }
    }
}

impl<J: Send + Sync + 'static> RabbitMqActor<J> {
    fn goodbye(&self, epoch: Epoch) -> Later<QueueReply<J>> {
        let (done, told) = oneshot::channel();
        {
            let mut state = self.core.lock();
            match state.shell.goodbye(epoch) {
                true => state.say_goodbye(done),
                false => return Later::now(QueueReply::Done),
            }
        }
        self.core.bell.notify_one();
        Later::new(async move {
            // An error means that the channel has ended by itself.
            let _ = told.await;
            Some(QueueReply::Done)
        })
    }
}

/// Jobs on their way to the server. They stay in the handover until it has confirmed them.
struct Pushing<J: Send + Sync + 'static> {
    runs: Handover<Vec<Run<J>>>,
    /// Those that were refused, by their place in the push.
    refused: Vec<(usize, Refusal)>,
    /// How many are not decided about.
    open: usize,
    answer: Option<oneshot::Sender<Pushed<J>>>,
}

impl<J: Send + Sync + 'static> Pushing<J> {
    fn decided(&mut self, place: usize, refusal: Option<Refusal>) {
        self.refused.extend(refusal.map(|refusal| (place, refusal)));
        self.open -= 1;
        self.answer_if_done();
    }

    fn answer_if_done(&mut self) {
        if self.open > 0 {
            return;
        }
        let runs = self.runs.take().unwrap_or_default();
        let jobs = runs.into_iter().flat_map(Run::into_jobs).enumerate();
        let refused = jobs.filter_map(|(place, job)| {
            let (_, refusal) = self.refused.iter().find(|(refused, _)| *refused == place)?;
            Some(Refused {
                job,
                refusal: *refusal,
            })
        });
        let refused = refused.collect();
        if let Some(answer) = self.answer.take() {
            // An error means that nobody waits any more.
            let _ = answer.send(Pushed { refused });
        }
    }
}

impl<J: Send + Sync + 'static> Handler<Push<J>> for RabbitMqActor<J> {
    type Result = Later<Pushed<J>>;

    fn handle(&mut self, mut push: Push<J>, _: &mut Context<Self>) -> Self::Result {
        let is_closed = self.core.lock().shell.is_closed();
        if is_closed {
            let jobs = push.take_jobs().into_iter();
            let refused = jobs
                .map(|job| Refused {
                    job,
                    refusal: Refusal::Closed,
                })
                .collect();
            return Later::now(Pushed { refused });
        }
        let runs = push.runs.peek().into_iter().flatten();
        let messages: Vec<_> = runs
            .flat_map(|run| run.handles().collect::<Vec<_>>())
            .map(|job| self.core.encode(&job))
            .collect();
        if messages.is_empty() {
            return Later::now(Pushed { refused: Vec::new() });
        }
        let (answer, told) = oneshot::channel();
        let pushing = Arc::new(Mutex::new(Pushing {
            runs: push.runs,
            refused: Vec::new(),
            open: messages.len(),
            answer: Some(answer),
        }));
        for (place, message) in messages.into_iter().enumerate() {
            let decided = {
                let pushing = Arc::clone(&pushing);
                move |refusal| {
                    let mut pushing = pushing.lock().unwrap_or_else(PoisonError::into_inner);
                    pushing.decided(place, refusal);
                }
            };
            match message {
                Ok(message) => self.core.publish(Publication {
                    message,
                    until: Until::InTime,
                    done: Box::new(move |end| decided(end.err().map(|error| refusal(&error)))),
                }),
                Err(refusal) => decided(Some(refusal)),
            }
        }
        Later::new(async move { told.await.ok() })
    }
}

fn refusal(error: &PublishError) -> Refusal {
    match error {
        PublishError::Refused => Refusal::Full,
        PublishError::Unroutable => Refusal::Unroutable,
        PublishError::Unconfirmed => Refusal::Unconfirmed,
        PublishError::Unavailable => Refusal::Unavailable {
            why: "there is no connection to the server, or it takes nothing",
        },
    }
}
