//! What is said to the result queue.
//!
//! ```text
//! supervisor ──Outcomes──▶ RESULT QUEUE                    jobs that were done
//! queue ──DeadLetteredJobs──▶ guardian ──DeadLetteredRefs──▶ RESULT QUEUE  jobs that became dead letters
//! ```

use actix::Message;

use super::Handover;
use crate::types::{DeadLetter, Guarded, Outcome, ReplyTo};

/// The dead-lettered jobs that a queue sent, on from the guardian, which cannot die, to the result queue, which can: in a handover, so
/// that they reach the mailboxes of the producers all the same.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct DeadLetteredRefs<J: Send + Sync + 'static> {
    pub(crate) dead: Handover<Vec<DeadLetter<J>>>,
}

/// An outcome with the mailbox of whoever waits for it.
pub type AddressedOutcome<J, O> = (ReplyTo, Guarded<Outcome<J, O>>);

/// Outcomes for the producers that wait for them.
///
/// They travel in a handover: if the result queue dies with them in its mailbox, they are put into the mailboxes of the
/// producers all the same.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Outcomes<J: Send + Sync + 'static, O: Send + 'static> {
    /// Each outcome with the producer group that waits for it.
    pub outcomes: Handover<Vec<AddressedOutcome<J, O>>>,
}
