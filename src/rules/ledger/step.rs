//! One door to the whole ledger, for property tests and model checkers: an input in, effects out.

use std::time::Duration;

use super::{Effects, Ledger, Recalled, Report};
use crate::rules::strategies::{Choice, Share};
use crate::types::{
    Cause, DeliveryNumber, Incarnation, KeyHash, LeaseId, Moment, Places, Revoked, SlotId, Ticket, Weight,
};

/// Everything that can happen to a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// The queue leased a job.
    Leased {
        /// The lease.
        lease: LeaseId,
        /// The attempt that starts with it.
        attempt: u32,
        /// The key of the job.
        key: Option<KeyHash>,
        /// Whether it may be the one that ended a process.
        suspect: bool,
    },
    /// The queue leased jobs of a block.
    LeasedBlock {
        /// The lease.
        lease: LeaseId,
        /// Which of its jobs.
        places: Places,
        /// The keys of the jobs, by place; empty if they have none.
        keys: Vec<KeyHash>,
    },
    /// Waiting jobs are put on offer.
    Offer,
    /// The strategy answered.
    Assigned(Vec<Choice>),
    /// The strategy answered with choices for entries and shares for jobs in blocks.
    AssignedShares(Vec<Choice>, Vec<Share>),
    /// The strategy died.
    OfferLost,
    /// A consumer settled a delivery.
    Settled {
        /// The entry.
        ticket: Ticket,
        /// The running number of the delivery.
        number: DeliveryNumber,
        /// What became of it.
        report: Report,
    },
    /// Jobs of a block were done.
    DoneInBlock {
        /// At which slot.
        slot: SlotId,
        /// The block.
        ticket: Ticket,
        /// The number of the piece.
        first: DeliveryNumber,
        /// Which of its jobs.
        places: Places,
    },
    /// A job of a block failed, or its consumer ended: it leaves the block.
    SingleOut {
        /// At which slot.
        slot: SlotId,
        /// The block.
        ticket: Ticket,
        /// The running number of the delivery.
        number: DeliveryNumber,
    },
    /// The consumer of a slot is about to be told as ended: what it holds of blocks leaves them.
    SingleOutAll(SlotId),
    /// A consumer told how long it worked.
    Served {
        /// Which.
        slot: SlotId,
        /// On how many deliveries.
        deliveries: u32,
        /// For how long.
        busy: Duration,
    },
    /// A slot was added.
    AddSlot(Weight),
    /// The next consumer of a slot is being made.
    NextIncarnation(SlotId),
    /// A consumer takes deliveries.
    Up(SlotId, Incarnation),
    /// A consumer ended; these of its deliveries had begun.
    Down(SlotId, Incarnation, Cause, Vec<Ticket>),
    /// A slot takes nothing more.
    Retire(SlotId),
    /// Time went on.
    Due,
    /// A batch of so many jobs arrived; so many of them are beyond the credit for all.
    Arrived(usize, usize),
    /// The queue was attached anew.
    CreditLost,
    /// The group is paused or resumed.
    Pause(bool),
    /// The queue knows that this suspect begins.
    Begun(Ticket),
    /// The consumer of a slot has not moved, and these deliveries of it cannot begin any more.
    Recalled(SlotId, Recalled),
    /// A consumer looked at a delivery that it must not begin.
    NotBegunThere(Ticket, DeliveryNumber),
    /// The time of these jobs has run out.
    Expired(Vec<Ticket>),
    /// The queue takes leases back. Whether they are lost, and which of the deliveries that are out cannot begin any more.
    Revoked(Revoked, bool, Vec<DeliveryNumber>),
}

impl Ledger {
    /// Applies one input. The supervisor calls the methods behind it one by one; this is the very same code.
    pub fn step(&mut self, now: Moment, input: Input, effects: &mut Effects) {
        match input {
            Input::Leased {
                lease,
                attempt,
                key,
                suspect,
            } => {
                self.leased((), lease, attempt, key, suspect, effects);
            }
            Input::Offer => self.offer(&mut Vec::new()),
            Input::LeasedBlock { lease, places, keys } => {
                self.leased_block((), lease, places, keys.into_iter());
            }
            Input::DoneInBlock {
                slot,
                ticket,
                first,
                places,
            } => {
                self.done_in_block(slot, ticket, first, places, effects);
            }
            Input::SingleOut { slot, ticket, number } => {
                // A stale word changes nothing, as with `Settled`.
                let _ = self.single_out(slot, ticket, number, effects);
            }
            Input::SingleOutAll(slot) => self.single_out_all(slot, effects),
            Input::Assigned(choices) => {
                self.assigned(&choices, effects);
            }
            Input::AssignedShares(choices, shares) => {
                self.assigned_shares(&choices, &shares, effects);
            }
            Input::OfferLost => self.offer_lost(),
            Input::Settled {
                ticket,
                number,
                report,
            } => {
                // A stale settle changes nothing; that is what a property test looks for.
                let _ = self.settled(now, ticket, number, report, effects);
            }
            Input::Due => self.due(now),
            Input::Arrived(jobs, beyond) => self.arrived(jobs, beyond),
            Input::CreditLost => self.credit_lost(),
            Input::Pause(paused) => self.set_paused(paused, effects),
            Input::Begun(ticket) => self.begun(ticket, effects),
            Input::Recalled(slot, recalled) => self.recalled(slot, &recalled, effects),
            Input::NotBegunThere(ticket, number) => {
                // A stale word changes nothing, as with `Settled`.
                let _ = self.not_begun_there(ticket, number, effects);
            }
            Input::Expired(tickets) => self.expired(&tickets, effects),
            Input::Revoked(what, is_lost, taken) => {
                self.revoke(&what, is_lost, |_, (), number| taken.contains(&number), effects);
            }
            of_slots => self.step_of_slots(now, of_slots, effects),
        }
    }

    /// What happens to a slot and its consumer.
    fn step_of_slots(&mut self, now: Moment, input: Input, effects: &mut Effects) {
        match input {
            Input::Served {
                slot,
                deliveries,
                busy,
            } => self.served(slot, deliveries, busy, effects),
            Input::AddSlot(weight) => {
                self.add_slot(weight);
            }
            Input::NextIncarnation(slot) => {
                self.next_incarnation(slot);
            }
            Input::Up(slot, incarnation) => {
                self.up(slot, incarnation, effects);
            }
            Input::Down(slot, incarnation, cause, guilty) => {
                self.down(
                    now,
                    slot,
                    incarnation,
                    &cause,
                    |ticket, (), _| guilty.contains(&ticket),
                    effects,
                );
            }
            Input::Retire(slot) => self.retire(slot, effects),
            _ => {}
        }
    }
}
