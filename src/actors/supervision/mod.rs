//! Supervision of any actix actor, as OTP does it for its processes.
//!
//! ```text
//! root supervisor (in a cell)
//!   ├─ child "till"   handle ──▶ mailbox ──▶ mail pump ──▶ actor, life 3 (in a cell)
//!   └─ supervisor "shelves"
//!        └─ …
//! ```
//!
//! An actor lives in a cell, which sees its end. Its messages wait in its mailbox, which outlives it. Its supervisor hears of
//! the end, asks the rules (`rules::supervision`) and makes the next life from the factory. The guide stands in
//! `docs/supervision.md`.

mod bus;
mod child;
mod errors;
mod handle;
mod mail_pump;
mod mailbox;
mod messages;
mod nested;
mod parcel;
mod ready_child;
mod recipient;
mod registry;
mod reply;
mod root;
mod shared;
mod spec;
mod tree;

pub use bus::TreeEvents;
pub use child::Child;
pub use errors::{ChildError, NotDelivered, SendError, SupervisorStartError};
pub use handle::{Handle, Monitor, WeakHandle, link};
pub use mailbox::UndeliveredMessage;
pub use recipient::Recipient;
pub use registry::{Registry, RegistryError};
pub use reply::Reply;
pub use spec::SupervisorSpec;
pub use tree::SupervisorHandle;

use std::fmt::Display;

use actix::{Actor, ActorContext, Context};

use crate::actors::cell::note_cause;
use crate::types::{Cause, text_of};

/// Stops an actor with an error: a fault, after which a transient child is started again as well. Plain `ctx.stop()` is an
/// end of the actor's own will. The text is cut after 4 KiB. To be called from within the actor.
pub fn stop_with_error<A: Actor<Context = Context<A>>>(context: &mut Context<A>, error: impl Display) {
    note_cause(Cause::Failed(text_of(error)));
    context.stop();
}
