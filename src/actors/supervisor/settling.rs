//! What consumers settled: from the settle queue into the ledger.

use std::time::Duration;

use actix::{Context, Handler};

use super::Supervisor;
use crate::protocol::{ConsumerInfo, DonePlaces, SettledDelivery, Settlement, SettlesQueued, Work};
use crate::rules::ledger::{Report, Stale};
use crate::types::invariant::invariant;
use crate::types::{
    Advice, Cause, DeliveryNumber, EventKind, Failure, Guarded, JobId, Moment, Outcome, Ticket,
};

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<SettlesQueued> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, _: SettlesQueued, context: &mut Context<Self>) {
        self.take_settles();
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Takes in everything that lies in the settle queue.
    pub(super) fn take_settles(&mut self) {
        let settles = invariant!(&self.settles, "the settle queue is made at the start");
        let settlements = settles.take();
        if settlements.is_empty() {
            return;
        }
        let now = self.now();
        for settlement in settlements {
            self.settlement(now, settlement);
        }
    }

    fn settlement(&mut self, now: Moment, settlement: Settlement<O>) {
        let Settlement {
            consumer,
            done,
            outputs,
            deliveries,
            busy,
        } = settlement;
        let count: usize = done.iter().map(|done| done.places.len()).sum();
        let count = u32::try_from(count + deliveries.len()).unwrap_or(u32::MAX);
        let mut any_done = false;
        let mut outputs = outputs.into_iter();
        for done in done {
            any_done |= if done.ticket.is_of_block() {
                self.done_in_block(now, &consumer, done, &mut outputs)
            } else {
                let output = if done.has_outputs { outputs.next() } else { None };
                let number = done.first.at(done.places.lowest().unwrap_or(0));
                self.done_alone(now, &consumer, (done.ticket, number), output)
            };
        }
        for SettledDelivery { ticket, number, work } in deliveries {
            let is_recalled = matches!(work, Work::Recalled);
            let settled = if ticket.is_of_block() {
                self.settled_in_block(now, &consumer, (ticket, number), work)
            } else {
                self.settled(now, &consumer, (ticket, number), work)
            };
            match settled {
                Ok(()) => {}
                // It was taken back, and here is the word that its consumer moves again.
                Err(Stale) if is_recalled => {}
                Err(Stale) => self.stale_settle(&consumer, number),
            }
        }
        if consumer.incarnation == self.ledger.incarnation(consumer.slot) && consumer.epoch == self.epoch {
            let found = self.slots.get_mut(consumer.slot);
            found.worked |= any_done;
            if any_done {
                self.circuit.succeeded();
            }
            let since = std::mem::replace(&mut found.busy_since, now);
            let holds = self.ledger.seat(consumer.slot).is_some_and(|seat| seat.load > 0);
            found.watch.heard(now, consumer.heartbeat.progress(), holds);
            found.moves.heard(now, consumer.heartbeat.moved(), holds);
            if busy.is_zero() {
                // Only the shell around a `Consumer` measures the work; at the other doors the time between two words counts.
                let busy = now.since(since);
                self.ledger
                    .served_side_by_side(consumer.slot, count, busy, &mut self.effects);
            } else {
                self.ledger.served(consumer.slot, count, busy, &mut self.effects);
            }
        }
    }

    /// A job that is not in a block was done. Whether that counts.
    fn done_alone(
        &mut self,
        now: Moment,
        consumer: &ConsumerInfo,
        (ticket, number): (Ticket, DeliveryNumber),
        output: Option<Guarded<O>>,
    ) -> bool {
        let (attempt, lease) = (self.ledger.attempt(ticket, number), self.ledger.lease(ticket));
        let settled = self
            .ledger
            .settled(now, ticket, number, Report::Done, &mut self.effects);
        let (Ok(attempt), Some(lease), Ok(Some(job))) = (attempt, lease, settled) else {
            self.stale_settle(consumer, number);
            return false;
        };
        self.expiring.strike(lease, &job);
        self.tell_acked(consumer, job.id(), attempt, number);
        match (job.reply_to(), output) {
            (Some(reply_to), Some(output)) => self.outgoing.push((reply_to, outcome(job.id(), output))),
            (None, Some(output)) => self.keep_reply(lease, job, output),
            (_, None) => {}
        }
        true
    }

    /// A delivery was not done.
    fn settled(
        &mut self,
        now: Moment,
        consumer: &ConsumerInfo,
        (ticket, number): (Ticket, DeliveryNumber),
        work: Work,
    ) -> Result<(), Stale> {
        let attempt = self.ledger.attempt(ticket, number)?;
        let report = match work {
            Work::Failed(failure) => self.failed(failure, attempt),
            Work::Expired => Report::Expired,
            Work::Recalled => {
                self.not_begun_there(consumer.slot, ticket, number);
                return Ok(());
            }
            Work::Abandoned => Report::Failed {
                cause: Cause::Abandoned,
                after: self.backoff(attempt),
            },
        };
        self.circuit.heard(&report, now);
        self.ledger
            .settled(now, ticket, number, report, &mut self.effects)
            .map(drop)
    }

    /// As [`settled`](Self::settled), for a job in a block: it leaves its block first.
    fn settled_in_block(
        &mut self,
        now: Moment,
        consumer: &ConsumerInfo,
        (ticket, number): (Ticket, DeliveryNumber),
        work: Work,
    ) -> Result<(), Stale> {
        let single = self
            .ledger
            .single_out(consumer.slot, ticket, number, &mut self.effects);
        // One that was revoked has left its block already.
        let revoked = || self.ledger.revoked_there(consumer.slot, number).ok_or(Stale);
        let ticket = single.or_else(|Stale| revoked())?;
        self.settled(now, consumer, (ticket, number), work)
    }

    /// Jobs of a block were done. Whether any of them counts.
    fn done_in_block(
        &mut self,
        now: Moment,
        consumer: &ConsumerInfo,
        done: DonePlaces,
        outputs: &mut impl Iterator<Item = Guarded<O>>,
    ) -> bool {
        let DonePlaces {
            ticket,
            first,
            mut places,
            has_outputs,
        } = done;
        let wants_jobs = self.group.bus.wants_jobs();
        let block = self
            .ledger
            .block(ticket)
            .filter(|_| wants_jobs || has_outputs)
            .cloned();
        let acked = self
            .ledger
            .done_in_block(consumer.slot, ticket, first, places, &mut self.effects);
        if let Some(block) = block.as_ref().filter(|_| wants_jobs) {
            for place in acked.iter() {
                self.tell_acked(consumer, block.id(place), 1, first.at(place));
            }
        }
        let mut late = Vec::new();
        if has_outputs {
            let waits = block.as_ref().and_then(|block| Some((block.reply_to()?, block)));
            for (place, output) in places.iter().zip(outputs) {
                match waits {
                    Some((reply_to, block)) if acked.contains(place) => {
                        self.outgoing.push((reply_to, outcome(block.id(place), output)));
                    }
                    _ => late.push((place, output)),
                }
            }
        }
        places.remove(acked);
        let mut any_done = !acked.is_empty();
        for place in places.iter() {
            let number = first.at(place);
            any_done |= match self.ledger.revoked_there(consumer.slot, number) {
                // It has left its block, since it was revoked while it was at work.
                Some(ticket) => {
                    let of_place = late.extract_if(.., |(of, _)| *of == place);
                    let output = of_place.map(|(_, output)| output).next();
                    self.done_alone(now, consumer, (ticket, number), output)
                }
                None => {
                    self.stale_settle(consumer, number);
                    false
                }
            };
        }
        any_done
    }

    fn tell_acked(&self, consumer: &ConsumerInfo, job: JobId, attempt: u32, number: DeliveryNumber) {
        if self.group.bus.wants_jobs() {
            self.group.bus.tell(EventKind::Acked {
                job,
                attempt,
                slot: consumer.slot,
                incarnation: consumer.incarnation,
                number,
            });
        }
    }

    /// A word that counts for nothing.
    fn stale_settle(&mut self, consumer: &ConsumerInfo, number: DeliveryNumber) {
        self.told.stale_settles += 1;
        self.group.bus.tell(EventKind::StaleSettle {
            slot: consumer.slot,
            incarnation: consumer.incarnation,
            number,
        });
    }

    fn failed(&mut self, failure: Failure, attempt: u32) -> Report {
        let cause = || Cause::Failed(failure.text().into());
        match failure.advice() {
            Advice::Reject => Report::Rejected(failure.text().into()),
            Advice::Snooze(after) => Report::Snoozed {
                reason: failure.text().into(),
                after,
            },
            Advice::Retry(Some(after)) => Report::Failed {
                cause: cause(),
                after,
            },
            Advice::Retry(None) => Report::Failed {
                cause: cause(),
                after: self.backoff(attempt),
            },
        }
    }

    /// How long a job waits after its attempt failed.
    fn backoff(&mut self, attempt: u32) -> Duration {
        self.group
            .retry_backoff
            .wait(attempt.saturating_sub(1), self.random.f64())
    }
}

fn outcome<J, O>(id: JobId, output: Guarded<O>) -> Guarded<Outcome<J, O>> {
    let result = Ok(output.into_inner());
    Guarded::new(Outcome { id, result })
}
