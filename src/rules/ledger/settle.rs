//! Settling: a consumer told what became of a delivery.

use std::sync::Arc;
use std::time::Duration;

use super::effects::EntryNews;
use super::entries::{Entry, Hold, State, Suspicion};
use super::slots::SlotPhase;
use super::{Effects, Ledger, OutOfBlock};
use crate::types::invariant::invariant;
use crate::types::{
    AttemptRecord, Cause, DeadReason, DeliveryNumber, Incarnation, KeyHash, Moment, Rejection, Renewal,
    Retry, SlotId, Ticket, Verdict,
};

/// What became of a delivery, as the ledger needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// It was done.
    Done,
    /// It failed and is tried again after this wait, if an attempt is left.
    Failed {
        /// Why.
        cause: Cause,
        /// How long it waits.
        after: Duration,
    },
    /// It cannot be done now and comes again after this wait, whatever attempt this was.
    Snoozed {
        /// Why.
        reason: Arc<str>,
        /// How long it waits.
        after: Duration,
    },
    /// It failed and shall not be tried again.
    Rejected(Arc<str>),
    /// It did not begin: its job had expired.
    Expired,
}

/// A settle that counts for nothing: it speaks of a delivery that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stale;

/// An attempt that ended without an ack.
pub(super) struct Ended {
    pub(super) ticket: Ticket,
    pub(super) slot: SlotId,
    pub(super) incarnation: Incarnation,
    pub(super) cause: Cause,
    pub(super) now: Moment,
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// The attempt of a delivery that is out, counted from one.
    ///
    /// # Errors
    /// [`Stale`] if no such delivery is out.
    pub fn attempt(&self, ticket: Ticket, number: DeliveryNumber) -> Result<u32, Stale> {
        self.out(ticket, number).map(|(_, entry)| entry.attempt)
    }

    /// A consumer settled a delivery. Returns the job if it was done, which ends its lease.
    ///
    /// # Errors
    /// [`Stale`] if the delivery is over: its consumer was given up on, or it was settled before. Nothing changes then. Also if
    /// its lease is lost: then it is over from here on.
    pub fn settled(
        &mut self,
        now: Moment,
        ticket: Ticket,
        number: DeliveryNumber,
        report: Report,
        effects: &mut Effects<H, B>,
    ) -> Result<Option<H>, Stale> {
        if report == Report::Done {
            return self.done(ticket, number, effects).map(Some);
        }
        let (slot, entry) = self.out(ticket, number)?;
        if entry.hold == Hold::Lost {
            self.lost_ended(ticket, slot, effects);
            return Err(Stale);
        }
        self.release(ticket, slot, effects);
        let incarnation = self.incarnation(slot);
        let ended = |cause| Ended {
            ticket,
            slot,
            incarnation,
            cause,
            now,
        };
        match report {
            // Handled above.
            Report::Done => {}
            Report::Failed { cause, after } => {
                if let Some(ticket) = self.again(ended(cause), after, effects) {
                    self.come_back(&[ticket], effects);
                }
            }
            Report::Snoozed { reason, after } => {
                if let Some(ticket) = self.snooze(now, ticket, (reason, after), effects) {
                    self.put_in_front(&[ticket]);
                }
            }
            Report::Rejected(text) => {
                let record = self.record(&ended(Cause::Failed(Arc::clone(&text))));
                self.reject(ticket, DeadReason::Rejected(text), record, effects);
            }
            Report::Expired => self.end_expired(ticket, effects),
        }
        self.fill(slot, effects);
        self.note_emptied(slot, effects);
        Ok(None)
    }

    /// The way of almost every delivery, so each thing that it touches is looked up once.
    fn done(
        &mut self,
        ticket: Ticket,
        number: DeliveryNumber,
        effects: &mut Effects<H, B>,
    ) -> Result<H, Stale> {
        let (slot, entry) = self.out(ticket, number)?;
        let (lease, attempt, key) = (entry.lease, entry.attempt, entry.key);
        if entry.hold == Hold::Lost {
            self.lost_ended(ticket, slot, effects);
            return Err(Stale);
        }
        self.note_released(ticket, effects);
        let (mut job, mut waits_here, mut retires, mut was_alone) = (None, false, false, false);
        self.change(slot, effects, |found, entries| {
            found.chain.remove(entries, ticket);
            if found.alone == Some(ticket) {
                found.alone = None;
                was_alone = true;
            }
            found.counters.acked += 1;
            job = entries.remove(ticket);
            waits_here = !found.parked.is_empty();
            retires = found.phase == SlotPhase::Retiring;
        });
        self.offering.news = true;
        effects.settle(lease, attempt, Verdict::Ack);
        if was_alone {
            self.suspects.alone = self.suspects.alone.filter(|alone| *alone != ticket);
        }
        self.leave_line(key, effects);
        if waits_here {
            self.fill(slot, effects);
        }
        if retires {
            self.note_emptied(slot, effects);
        }
        Ok(invariant!(job, "it was out a moment ago"))
    }

    /// The fence: the delivery of this number, if it is out.
    fn out(&self, ticket: Ticket, number: DeliveryNumber) -> Result<(SlotId, &Entry<H>), Stale> {
        match self.entries.get(ticket) {
            Some(entry) if self.lets_through(ticket, number) => match entry.state {
                State::Out(slot) => Ok((slot, entry)),
                _ => Err(Stale),
            },
            Some(entry) if entry.number == number => match entry.state {
                State::Out(slot) => Ok((slot, entry)),
                _ => Err(Stale),
            },
            _ => Err(Stale),
        }
    }

    /// Takes the delivery out of its slot's chain.
    fn release(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        self.change(slot, effects, |found, entries| {
            found.chain.remove(entries, ticket);
            if found.alone == Some(ticket) {
                found.alone = None;
            }
            // Whatever became of it, its consumer lived.
            entries.must(ticket).suspicion = Suspicion::None;
            found.counters.failed += 1;
        });
        self.suspects.alone = self.suspects.alone.filter(|alone| *alone != ticket);
        self.offering.news = true;
    }

    /// An attempt ended and another one follows, if there is one left. Returns the ticket if it follows at once, for the
    /// caller to put in front.
    pub(super) fn again(
        &mut self,
        ended: Ended,
        after: Duration,
        effects: &mut Effects<H, B>,
    ) -> Option<Ticket> {
        let attempts = self.policy.attempts;
        let keeps = after > self.policy.longest_retry;
        let ticket = ended.ticket;
        let record = self.record(&ended);
        let entry = self.entries.must(ticket);
        let attempt = entry.attempt;
        if attempt >= attempts {
            let reason = match record.cause {
                Cause::Failed(_) | Cause::Abandoned => DeadReason::AttemptsUsedUp { attempts: attempt },
                _ => DeadReason::Poison { attempts: attempt },
            };
            self.reject(ticket, reason, record, effects);
            return None;
        }
        let retried = EntryNews::Retried(Box::new(record.clone()), after);
        effects.tell.extend(entry.job.clone().map(|job| (job, retried)));
        if after.is_zero() || keeps || entry.key.is_some() {
            let lease = entry.lease;
            entry.attempt += 1;
            let renewal = Renewal {
                counts: true,
                record: Some(record),
            };
            effects.settle(lease, attempt, Verdict::Renew(Box::new(renewal)));
            if entry.hold != Hold::Kept {
                // The queue has the attempt, and gets the job back.
                self.forget(ticket, effects);
                return None;
            }
            if after.is_zero() {
                return Some(ticket);
            }
            let until = ended.now.after(after);
            entry.state = State::Shelved(until);
            self.shelved.insert((until, ticket));
        } else {
            let retry = Retry {
                after,
                counts: true,
                record: Some(record),
            };
            self.end(ticket, Verdict::Retry(Box::new(retry)), effects);
        }
        None
    }

    /// The attempt counts for nothing, and the job comes again. Returns the ticket if that is at once.
    fn snooze(
        &mut self,
        now: Moment,
        ticket: Ticket,
        (reason, after): (Arc<str>, Duration),
        effects: &mut Effects<H, B>,
    ) -> Option<Ticket> {
        let keeps = after > self.policy.longest_retry;
        let entry = self.entries.must(ticket);
        let snoozed = EntryNews::Snoozed(reason, after);
        effects.tell.extend(entry.job.clone().map(|job| (job, snoozed)));
        if entry.hold == Hold::Kept && (after.is_zero() || keeps || entry.key.is_some()) {
            if after.is_zero() {
                return Some(ticket);
            }
            let until = now.after(after);
            entry.state = State::Shelved(until);
            self.shelved.insert((until, ticket));
            return None;
        }
        let retry = Retry {
            after,
            counts: false,
            record: None,
        };
        self.end(ticket, Verdict::Retry(Box::new(retry)), effects);
        None
    }

    pub(super) fn record(&self, ended: &Ended) -> AttemptRecord {
        AttemptRecord {
            attempt: self.entries.get(ended.ticket).map_or(0, |entry| entry.attempt),
            slot: ended.slot,
            incarnation: ended.incarnation,
            cause: ended.cause.clone(),
            at: ended.now,
        }
    }

    fn reject(
        &mut self,
        ticket: Ticket,
        reason: DeadReason,
        record: AttemptRecord,
        effects: &mut Effects<H, B>,
    ) {
        let rejection = Rejection {
            reason,
            record: Some(record),
        };
        self.end(ticket, Verdict::Reject(Box::new(rejection)), effects);
    }

    /// The lease ends with this verdict.
    pub(super) fn end(&mut self, ticket: Ticket, verdict: Verdict, effects: &mut Effects<H, B>) {
        let entry = self.entries.must(ticket);
        let key: Option<KeyHash> = entry.key;
        let lease = entry.lease;
        effects.settle(lease, entry.attempt, verdict);
        self.note_released(ticket, effects);
        effects
            .ended
            .extend(self.entries.remove(ticket).map(|job| (lease, job)));
        self.leave_line(key, effects);
    }
}
