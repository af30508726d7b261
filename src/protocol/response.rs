//! Lets the answers of the protocol be returned from a handler as they are.

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

answers! {
    Assigned;
    SettleReply;
    Pushed<J>, J;
    QueueReply<J>, J;
}
