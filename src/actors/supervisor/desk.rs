//! What consumers settled: from the desk into the ledger.

use std::time::Duration;

use actix::{Context, Handler};

use super::Supervisor;
use crate::protocol::{ConsumerInfo, DonePlaces, SettledDelivery, Settlement, SettlesWaiting, Work};
use crate::rules::ledger::{Report, Stale};
use crate::words::{
    Advice, Cause, DeliveryNumber, EventKind, Failure, Guarded, Moment, Outcome, Places, Ticket,
};

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<SettlesWaiting> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, _: SettlesWaiting, context: &mut Context<Self>) {
        self.clear_desk();
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Takes in everything that lies on the desk.
    pub(super) fn clear_desk(&mut self) {
        let Some(desk) = &self.desk else { return };
        let settlements = desk.take();
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
            deliveries,
            done,
            busy,
        } = settlement;
        let in_blocks: usize = done.iter().map(|done| done.places.len()).sum();
        let count = u32::try_from(deliveries.len() + in_blocks).unwrap_or(u32::MAX);
        let wants_jobs = self.wiring.bus.wants_jobs();
        let mut any_done = false;
        for done in done {
            any_done |= self.done_in_block(&consumer, done);
        }
        for SettledDelivery { ticket, number, work } in deliveries {
            let ticket = match self.ticket_of(&consumer, ticket, number, &work) {
                Ok(Some(ticket)) => ticket,
                Ok(None) => {
                    any_done = true;
                    continue;
                }
                Err(Stale) => {
                    self.stale_settle(&consumer, number);
                    continue;
                }
            };
            let settled = match work {
                Work::Done(output) => {
                    let attempt = if wants_jobs {
                        self.ledger.attempt(ticket, number).unwrap_or(0)
                    } else {
                        0
                    };
                    let done = self
                        .ledger
                        .settled(now, ticket, number, Report::Done, &mut self.effects);
                    if done.is_ok() {
                        any_done = true;
                        let job = self.jobs.get_mut(ticket.0 as usize).and_then(Option::take);
                        if let Some(job) = job {
                            self.expiring.strike(ticket, &job);
                            if wants_jobs {
                                let ConsumerInfo {
                                    slot, incarnation, ..
                                } = *consumer;
                                let job = job.id();
                                self.wiring.bus.tell(EventKind::Acked {
                                    job,
                                    attempt,
                                    slot,
                                    incarnation,
                                    number,
                                });
                            }
                            if let Some(reply_to) = job.reply_to() {
                                let outcome = Outcome {
                                    id: job.id(),
                                    result: Ok(output.into_inner()),
                                };
                                self.outcomes.push((reply_to, Guarded::new(outcome)));
                            }
                        }
                    }
                    done
                }
                Work::Failed(failure) => self.ledger.attempt(ticket, number).and_then(|attempt| {
                    let report = self.failed(failure, attempt);
                    self.ledger
                        .settled(now, ticket, number, report, &mut self.effects)
                }),
                Work::Expired => {
                    let effects = &mut self.effects;
                    self.ledger.settled(now, ticket, number, Report::Expired, effects)
                }
                Work::Abandoned => self.ledger.attempt(ticket, number).and_then(|attempt| {
                    let report = Report::Failed {
                        cause: Cause::Abandoned,
                        after: self.backoff(attempt),
                    };
                    self.ledger
                        .settled(now, ticket, number, report, &mut self.effects)
                }),
            };
            if settled == Err(Stale) {
                self.stale_settle(&consumer, number);
            }
        }
        if consumer.incarnation == self.ledger.incarnation(consumer.slot)
            && consumer.epoch == self.epoch
            && let Some(found) = self.slots.get_mut(consumer.slot.0 as usize)
        {
            found.worked |= any_done;
            let since = std::mem::replace(&mut found.busy_since, now);
            let holds = self.ledger.seat(consumer.slot).is_some_and(|seat| seat.load > 0);
            found.watch.heard(now, consumer.board.progress(), holds);
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

    /// Jobs of a block were done. Whether any of them counts.
    fn done_in_block(&mut self, consumer: &ConsumerInfo, done: DonePlaces) -> bool {
        let DonePlaces {
            ticket,
            first,
            mut places,
        } = done;
        let acked = self
            .ledger
            .done_in_block(consumer.slot, ticket, first, places, &mut self.effects);
        let number = |place: u8| DeliveryNumber(first.0 + u64::from(place));
        if self.wiring.bus.wants_jobs()
            && let Some(Some(block)) = self.blocks.get(ticket.number() as usize)
        {
            for place in acked.iter() {
                self.wiring.bus.tell(EventKind::Acked {
                    job: block.id(place),
                    attempt: 1,
                    slot: consumer.slot,
                    incarnation: consumer.incarnation,
                    number: number(place),
                });
            }
        }
        places.remove(acked);
        for place in places.iter() {
            self.stale_settle(consumer, number(place));
        }
        !acked.is_empty()
    }

    /// The ticket under which a delivery is settled. A job in a block that was done is settled here (`None`); one that was
    /// not leaves its block first.
    fn ticket_of(
        &mut self,
        consumer: &ConsumerInfo,
        ticket: Ticket,
        number: DeliveryNumber,
        work: &Work<O>,
    ) -> Result<Option<Ticket>, Stale> {
        if !ticket.is_of_block() {
            return Ok(Some(ticket));
        }
        let slot = consumer.slot;
        if matches!(work, Work::Done(_)) {
            let (first, place) = self.ledger.piece_of(slot, ticket, number)?;
            let places = Places::only(place);
            self.done_in_block(
                consumer,
                DonePlaces {
                    ticket,
                    first,
                    places,
                },
            );
            return Ok(None);
        }
        self.tell_effects();
        let own = self.ledger.single_out(slot, ticket, number, &mut self.effects)?;
        self.tell_effects();
        Ok(Some(own))
    }

    /// A word that counts for nothing.
    fn stale_settle(&mut self, consumer: &ConsumerInfo, number: DeliveryNumber) {
        self.stale_settles += 1;
        self.wiring.bus.tell(EventKind::StaleSettle {
            slot: consumer.slot,
            incarnation: consumer.incarnation,
            number,
        });
    }

    fn failed(&mut self, failure: Failure, attempt: u32) -> Report {
        let cause = || Cause::Failed(failure.text().into());
        match failure.advice() {
            Advice::Reject => Report::Rejected(failure.text().into()),
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
        self.wiring
            .retry_backoff
            .wait(attempt.saturating_sub(1), self.random.f64())
    }
}
