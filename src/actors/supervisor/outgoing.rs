//! Outcomes on their way to those who wait for them.

use std::sync::Arc;

use crate::actors::results::Mailboxes;
use crate::protocol::{AddressedOutcome, Handover, Outcomes, ResultsUp};

pub(super) struct Outgoing<J: Send + Sync + 'static, O: Send + 'static> {
    results: ResultsUp<J, O>,
    /// Outcomes that nobody has been told yet; empty between two messages.
    outcomes: Vec<AddressedOutcome<J, O>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Outgoing<J, O> {
    pub(super) fn new(results: ResultsUp<J, O>) -> Self {
        Self {
            results,
            outcomes: Vec::new(),
        }
    }

    /// The result queue was restarted.
    pub(super) fn replaced(&mut self, results: ResultsUp<J, O>) {
        self.results = results;
    }

    pub(super) fn push(&mut self, outcome: AddressedOutcome<J, O>) {
        self.outcomes.push(outcome);
    }

    /// Sends them. If the result queue has died, they go to their mailboxes without it.
    pub(super) fn send(&mut self, mailboxes: &Arc<Mailboxes<J, O>>) {
        if self.outcomes.is_empty() {
            return;
        }
        let outcomes = std::mem::take(&mut self.outcomes);
        let mailboxes = Arc::clone(mailboxes);
        let outcomes = Handover::or_else(outcomes, move |outcomes| mailboxes.deposit(outcomes));
        self.results.outcomes.do_send(Outcomes { outcomes });
    }
}
