//! Lets the answers of the protocol be returned from a handler as they are.

use std::future::Future;
use std::pin::Pin;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};

use super::{Assigned, Pushed, QueueReply, SettleReply};

macro_rules! answers {
    ($($answer:ty $(, $job:ident)?;)*) => {$(
        impl<A: Actor, M: Message<Result = Self> $(, $job: Send + 'static)?> MessageResponse<A, M> for $answer {
            fn handle(self, _: &mut A::Context, answer: Option<OneshotSender<Self>>) {
                if let Some(answer) = answer {
                    // An error means that nobody waits for the answer any more.
                    let _ = answer.send(self);
                }
            }
        }
    )*};
}

/// An answer that comes later: when a disk or a broker has what it is about. For the `Result` of a handler.
///
/// It comes also if the actor dies meanwhile. A future that gives `None` tells the sender that the actor has died with the
/// question.
pub struct Later<R>(Pin<Box<dyn Future<Output = Option<R>>>>);

impl<R: 'static> Later<R> {
    /// The answer that this future gives.
    pub fn new(answer: impl Future<Output = Option<R>> + 'static) -> Self {
        Self(Box::pin(answer))
    }

    /// An answer that is there already.
    pub fn now(answer: R) -> Self {
        Self::new(std::future::ready(Some(answer)))
    }
}

impl<R> std::fmt::Debug for Later<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later")
    }
}

impl<A: Actor, M: Message> MessageResponse<A, M> for Later<M::Result>
where
    M::Result: 'static,
{
    fn handle(self, _: &mut A::Context, sender: Option<OneshotSender<M::Result>>) {
        let Some(sender) = sender else { return };
        // Not a future of the actor: it shall answer also if the actor dies meanwhile.
        actix_rt::spawn(async move {
            if let Some(answer) = self.0.await {
                // An error means that nobody waits any more.
                let _ = sender.send(answer);
            }
        });
    }
}

answers! {
    Assigned;
    SettleReply;
    Pushed<J>, J;
    QueueReply<J>, J;
}
