//! Jobs that expire while the group holds their leases.
//!
//! The queue keeps their time until it leases them. From then on it is kept here, to the moment; only what waits with a consumer
//! is looked at there, when its turn comes.

use std::collections::BTreeMap;

use actix::{AsyncContext, Context, SpawnHandle};

use super::Supervisor;
use crate::types::{JobRef, LeaseId, Moment, Ticket};

/// The leased jobs that can expire, by the moment at which they do. Bounded by the leases: who leaves is struck.
#[derive(Debug, Default)]
pub(super) struct Expiring {
    list: BTreeMap<(Moment, LeaseId), Ticket>,
    /// When the next kept retry, or the next expiry, wakes the supervisor, and the timer for it.
    timer: Option<(Moment, SpawnHandle)>,
}

impl Expiring {
    /// Notes a job, which expires at this moment if at all.
    #[inline]
    pub(super) fn note(&mut self, lease: LeaseId, ticket: Ticket, expires_at: Option<Moment>) {
        if let Some(at) = expires_at {
            self.list.insert((at, lease), ticket);
        }
    }

    /// The lease of the job has ended.
    #[inline]
    pub(super) fn strike<J>(&mut self, lease: LeaseId, job: &JobRef<J>) {
        if let Some(at) = job.expiry() {
            self.list.remove(&(at, lease));
        }
    }

    /// When the next one expires.
    pub(super) fn next(&self) -> Option<Moment> {
        self.list.first_key_value().map(|((at, _), _)| *at)
    }

    fn take_due(&mut self, now: Moment) -> Vec<Ticket> {
        let mut due = Vec::new();
        while let Some(first) = self.list.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Notes a leased job that may expire before it begins.
    pub(super) fn note_expiry(&mut self, ticket: Ticket) {
        let job = self.ledger.job(ticket).zip(self.ledger.lease(ticket));
        if let Some((job, lease)) = job {
            self.expiring.note(lease, ticket, job.expires_at());
        }
    }

    /// Sets the timer for whatever the ledger has to do by itself next: a kept retry, a limit that lets more go, a job that
    /// expires, or the end of a pause.
    pub(super) fn wake_when_due(&mut self, context: &mut Context<Self>) {
        let next = [
            self.ledger.next_due(),
            self.expiring.next(),
            self.circuit.next_due(),
        ];
        let Some(due) = next.into_iter().flatten().min() else {
            return;
        };
        if let Some((set, timer)) = self.expiring.timer {
            if set <= due {
                return;
            }
            context.cancel_future(timer);
        }
        let wait = due.since(self.now());
        let timer = context.run_later(wait, |this, context| {
            this.expiring.timer = None;
            let now = this.now();
            this.circuit.due(now);
            this.ledger.due(now);
            this.expire(now);
            this.turn(context);
        });
        self.expiring.timer = Some((due, timer));
    }

    /// Jobs whose time has run out, and that nobody has begun, become dead letters.
    fn expire(&mut self, now: Moment) {
        let mut due = self.expiring.take_due(now);
        // One that began meanwhile does not expire any more.
        due.retain(|ticket| {
            let job = self.ledger.job(*ticket);
            job.is_some_and(|job| job.expires_at().is_some())
        });
        if !due.is_empty() {
            self.ledger.expired(&due, &mut self.effects);
        }
    }
}
