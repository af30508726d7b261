//! Suspects of a process: jobs that were leased when a process ended without a word. One of them may have ended it.
//!
//! They begin one at a time, with nothing else in the hands of any consumer, and the queue writes each begin down first. So
//! if the process ends again, it was the one that had begun; and a suspect whose delivery ends in any other way is cleared.
//! Everything else waits until the last of them is through: a job that was no suspect and ended the process beside one would
//! put the blame on it.
//!
//! ```text
//!   suspects ──offered alone──▶ Offered ──chosen──▶ Beginning ──the queue knows──▶ Out ──▶ done, failed, or the process ends
//!      ▲                          │ held                │ its consumer has gone     │ its consumer died before it began
//!      └──────────────────────────┴─────────────────────┴───────────────────────────┘
//! ```

use super::entries::{State, Suspicion};
use super::slots::SlotPhase;
use super::{Effects, Ledger, Offer, OutOfBlock};
use crate::types::{Begin, Renewal, SlotId, Ticket, Verdict};

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Whether everything but a suspect has to wait.
    pub(super) fn keeps_others_back(&self) -> bool {
        self.suspects.alone.is_some() || !self.suspects.waiting.is_empty()
    }

    /// Whether this entry has to wait for a suspect.
    pub(super) fn is_kept_back(&self, ticket: Ticket) -> bool {
        match self.suspects.alone {
            Some(alone) => alone != ticket,
            None => !self.suspects.waiting.is_empty(),
        }
    }

    pub(super) fn is_suspect_of_process(&self, ticket: Ticket) -> bool {
        let entry = self.entries.get(ticket);
        entry.is_some_and(|entry| entry.suspicion == Suspicion::OfProcess)
    }

    /// Puts an entry behind all others of its kind and priority. With the first suspect, what was chosen for a consumer and waits for its
    /// room goes back: it would keep that consumer's seat without room, and a strategy that looks for room would hold for ever.
    pub(super) fn wait_behind(&mut self, ticket: Ticket, effects: &mut Effects<H, B>) {
        if !self.is_suspect_of_process(ticket) {
            return match self.entries.priority(ticket).is_urgent() {
                true => self.wait_urgently(ticket, false),
                false => self.offering.waiting.push_back(ticket),
            };
        }
        if self.suspects.waiting.is_empty() && self.sums.parked > 0 {
            self.unpark_everywhere(effects);
        }
        self.suspects.waiting.push_back(ticket);
    }

    /// Puts the next suspect on offer, alone, once no consumer holds anything. Looks at the slots up to the first that does:
    /// at all of them once for each suspect, which costs less than its commit.
    pub(super) fn offer_suspect(&mut self, offers: &mut Vec<Offer>) {
        if self.suspects.alone.is_some() || self.slots.iter().any(|slot| slot.load() > 0) {
            return;
        }
        let Some(ticket) = self.suspects.waiting.pop_front() else {
            return;
        };
        self.offering.news = false;
        self.suspects.alone = Some(ticket);
        self.entries.set_state(ticket, State::Offered);
        self.offering.offered.push(ticket);
        offers.extend(self.entries.get(ticket).map(|entry| Offer {
            ticket,
            attempt: entry.attempt,
        }));
        self.offering.version = self.version;
    }

    /// The strategy chose: the queue is asked to write the begin down.
    pub(super) fn begin_alone(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        let incarnation = self.incarnation(slot);
        let entry = self.entries.must(ticket);
        entry.state = State::Beginning(slot, incarnation);
        let begin = Begin { slot, incarnation };
        effects.settle(entry.lease, entry.attempt, Verdict::Begin(begin));
        effects.beginning = Some(ticket);
    }

    /// The queue has written down that this suspect begins: it is handed out now. If its consumer has gone meanwhile, or the
    /// group was paused, that is taken back, and it waits as before.
    pub fn begun(&mut self, ticket: Ticket, effects: &mut Effects<H, B>) {
        let state = self.entries.get(ticket).map(|entry| entry.state);
        let Some(State::Beginning(slot, incarnation)) = state else {
            return;
        };
        let is_there = self.phase(slot) == SlotPhase::Live && self.incarnation(slot) == incarnation;
        if is_there && !self.gate.is_paused {
            self.hand(ticket, slot, effects);
        } else {
            self.not_begun(ticket, effects);
            self.put_in_front(&[ticket]);
        }
    }

    /// What the queue has written down of a begin does not hold.
    pub(super) fn not_begun(&mut self, ticket: Ticket, effects: &mut Effects<H, B>) {
        let entry = self.entries.must(ticket);
        {
            let renewal = Renewal {
                counts: false,
                record: None,
            };
            effects.settle(entry.lease, entry.attempt, Verdict::Renew(Box::new(renewal)));
        }
    }

    /// A consumer died of this entry, or of one that had begun beside it if `is_unclear`. The process did not.
    pub(super) fn survived(&mut self, ticket: Ticket, is_unclear: bool) {
        self.suspects.alone = self.suspects.alone.filter(|alone| *alone != ticket);
        if let Some(entry) = self.entries.get_mut(ticket) {
            match entry.suspicion {
                _ if is_unclear => entry.suspicion = Suspicion::OfConsumer,
                Suspicion::OfProcess => entry.suspicion = Suspicion::None,
                Suspicion::OfConsumer | Suspicion::None => {}
            }
        }
    }
}
