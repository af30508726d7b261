//! Jobs that expire while the group holds their leases.
//!
//! The queue keeps their time until it leases them. From then on it is kept here, to the moment; only what waits with a consumer
//! is looked at there, when its turn comes.

use std::collections::BTreeSet;

use actix::{AsyncContext, Context};

use super::Supervisor;
use crate::words::{Moment, Sealed, Ticket};

/// The leased jobs that can expire, by the moment at which they do. Bounded by the leases: who leaves is struck.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    list: BTreeSet<(Moment, Ticket)>,
}

impl Expiring {
    /// Notes a job that can expire.
    #[inline]
    pub(super) fn note<J>(&mut self, ticket: Ticket, job: &Sealed<J>) {
        if let Some(at) = job.expires_at() {
            self.list.insert((at, ticket));
        }
    }

    /// The lease of the job has ended.
    #[inline]
    pub(super) fn strike<J>(&mut self, ticket: Ticket, job: &Sealed<J>) {
        if let Some(at) = job.expiry() {
            self.list.remove(&(at, ticket));
        }
    }

    /// When the next one expires.
    pub(super) fn next(&self) -> Option<Moment> {
        self.list.first().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Moment) -> Vec<Ticket> {
        let mut due = Vec::new();
        while let Some((at, ticket)) = self.list.first().copied()
            && at <= now
        {
            self.list.pop_first();
            due.push(ticket);
        }
        due
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Sets the timer for whatever the ledger has to do by itself next: a kept retry, or a job that expires.
    pub(super) fn wake_when_due(&mut self, context: &mut Context<Self>) {
        let next = [self.ledger.next_due(), self.expiring.next()];
        let Some(due) = next.into_iter().flatten().min() else {
            return;
        };
        if let Some((set, timer)) = self.due_timer {
            if set <= due {
                return;
            }
            context.cancel_future(timer);
        }
        let wait = due.since(self.now());
        let timer = context.run_later(wait, |this, context| {
            this.due_timer = None;
            let now = this.now();
            this.ledger.due(now);
            this.expire(now);
            this.turn(context);
        });
        self.due_timer = Some((due, timer));
    }

    /// Jobs whose time has run out, and that nobody has begun, become dead letters.
    fn expire(&mut self, now: Moment) {
        let mut due = self.expiring.take_due(now);
        // One that began meanwhile does not expire any more.
        due.retain(|ticket| {
            let job = self.jobs.get(ticket.0 as usize).and_then(Option::as_ref);
            job.is_some_and(|job| job.expires_at().is_some())
        });
        if !due.is_empty() {
            self.ledger.expired(&due, &mut self.effects);
        }
    }
}
