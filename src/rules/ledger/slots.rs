//! The slots: places of consumers, with their windows and what they hold.

use std::collections::VecDeque;
use std::time::Duration;

use super::chain::Chain;
use super::entries::Entries;
use super::pieces::Piece;
use super::{Effects, Ledger, OutOfBlock};
use crate::rules::window::Window;
use crate::types::invariant::invariant;
use crate::types::{DeliveryNumber, Incarnation, Places, Seat, SlotId, Ticket, Weight};

/// What the ledger knows of a slot's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotPhase {
    /// No consumer is there (starting, backing off, quarantined).
    Empty,
    /// Its consumer takes deliveries.
    Live,
    /// Its consumer finishes what it holds and takes nothing more.
    Retiring,
    /// The slot was taken away.
    Gone,
}

/// What a slot has done since the ledger began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Counters {
    /// Deliveries that were acked.
    pub acked: u64,
    /// Deliveries that ended otherwise.
    pub failed: u64,
}

/// A slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) phase: SlotPhase,
    pub(super) incarnation: Incarnation,
    pub(super) weight: Weight,
    pub(super) window: Window,
    /// What its consumer holds, but for the pieces.
    pub(super) chain: Chain,
    /// What its consumer holds of blocks, in the order of delivery.
    pub(super) pieces: VecDeque<Piece>,
    /// Jobs in `pieces`.
    pub(super) in_pieces: u32,
    /// What it gets of the block that is being dealt out; empty between two blocks.
    pub(super) dealt: Places,
    /// Entries that the strategy sent here while the window was full, the most urgent first.
    pub(super) parked: VecDeque<Ticket>,
    /// The suspect that its consumer holds alone; nothing else is handed out here meanwhile.
    pub(super) alone: Option<Ticket>,
    /// Whether deliveries were taken back from its consumer and it has not said a word since: it gets nothing until it does.
    pub(super) stuck: bool,
    pub(super) counters: Counters,
}

impl Slot {
    /// How many deliveries its consumer holds.
    pub(super) fn load(&self) -> u32 {
        self.chain.len() + self.in_pieces
    }

    /// Takes places out of the piece of this number, and the piece away if nothing is left of it. Returns those that were in it:
    /// none if its consumer holds no such piece any more.
    pub(super) fn take_from_piece(
        &mut self,
        ticket: Ticket,
        first: DeliveryNumber,
        places: Places,
    ) -> Places {
        let is_meant = |piece: &Piece| piece.first == first && piece.ticket == ticket;
        let Some(index) = self.pieces.iter().position(is_meant) else {
            return Places::NONE;
        };
        let piece = invariant!(self.pieces.get_mut(index), "its index was found just now");
        let taken = piece.places.both(places);
        piece.places.remove(taken);
        if piece.places.is_empty() {
            self.pieces.remove(index);
        }
        self.in_pieces -= taken.len() as u32;
        taken
    }

    /// What can be sent to its consumer now. None while something waits for it already: that goes first.
    pub(super) fn room(&self) -> u32 {
        if self.parked.is_empty() { self.free() } else { 0 }
    }

    /// What is free in its window.
    fn free(&self) -> u32 {
        match self.phase {
            SlotPhase::Live if self.alone.is_none() && !self.stuck => {
                self.window.size().saturating_sub(self.load())
            }
            SlotPhase::Live | SlotPhase::Empty | SlotPhase::Retiring | SlotPhase::Gone => 0,
        }
    }

    /// Whether this entry can be sent to its consumer now.
    pub(super) fn takes(&self, is_suspect: bool) -> bool {
        self.free() > 0 && !(is_suspect && self.load() > 0)
    }

    /// Whether its consumer has nothing to do.
    fn is_idle(&self) -> bool {
        self.phase == SlotPhase::Live && self.load() == 0
    }
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Adds a slot without a consumer and returns its number.
    pub fn add_slot(&mut self, weight: Weight) -> SlotId {
        let id = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(Slot {
            phase: SlotPhase::Empty,
            incarnation: Incarnation(0),
            weight,
            window: Window::new(&self.policy.window),
            chain: Chain::default(),
            pieces: VecDeque::new(),
            in_pieces: 0,
            dealt: Places::NONE,
            parked: VecDeque::new(),
            alone: None,
            stuck: false,
            counters: Counters::default(),
        });
        id
    }

    /// The next incarnation of the slot's consumer; it is not live before [`up`](Self::up). From here on nothing of an
    /// earlier incarnation counts.
    pub fn next_incarnation(&mut self, slot: SlotId) -> Incarnation {
        match self.slots.get_mut(slot.0 as usize) {
            Some(slot) => {
                slot.incarnation.0 = slot.incarnation.0.saturating_add(1);
                slot.incarnation
            }
            None => Incarnation(0),
        }
    }

    /// The consumer of this incarnation takes deliveries. False if it is not the current one, or the slot has gone.
    pub fn up(&mut self, slot: SlotId, incarnation: Incarnation, effects: &mut Effects<H, B>) -> bool {
        let Some(found) = self.slots.get(slot.0 as usize) else {
            return false;
        };
        if found.phase != SlotPhase::Empty || found.incarnation != incarnation {
            return false;
        }
        self.change(slot, effects, |found, _| found.phase = SlotPhase::Live);
        self.membership_changed();
        true
    }

    /// Sets a slot's share of the work. False if there is no such slot.
    pub fn set_weight(&mut self, slot: SlotId, weight: Weight) -> bool {
        match self.slots.get_mut(slot.0 as usize) {
            Some(found) if found.phase != SlotPhase::Gone => {
                if found.weight != weight {
                    found.weight = weight;
                    self.membership_changed();
                }
                true
            }
            _ => false,
        }
    }

    /// The slot takes nothing more; what waited for it goes to others. Its consumer finishes what it holds; the slot is
    /// named in `emptied` when that is done (or at once).
    pub fn retire(&mut self, slot: SlotId, effects: &mut Effects<H, B>) {
        let Some(found) = self.slots.get(slot.0 as usize) else {
            return;
        };
        match found.phase {
            SlotPhase::Gone | SlotPhase::Retiring => return,
            SlotPhase::Empty => self.change(slot, effects, |found, _| found.phase = SlotPhase::Gone),
            SlotPhase::Live => self.change(slot, effects, |found, _| found.phase = SlotPhase::Retiring),
        }
        self.credit.may_sink();
        self.membership_changed();
        self.unpark_all(slot, effects);
        self.note_emptied(slot, effects);
    }

    /// The retired slot's consumer has ended.
    pub fn gone(&mut self, slot: SlotId, effects: &mut Effects<H, B>) {
        self.change(slot, effects, |found, _| found.phase = SlotPhase::Gone);
    }

    /// A consumer told how long it worked on how many deliveries: its window follows.
    pub fn served(&mut self, slot: SlotId, deliveries: u32, busy: Duration, effects: &mut Effects<H, B>) {
        self.set_stuck(slot, false, effects);
        self.group_window.served(deliveries, busy);
        let group = self.group_window.clone();
        self.change(slot, effects, |found, _| {
            found.window.served(deliveries, busy);
            found.window.follow_group(&group);
        });
        self.fill(slot, effects);
    }

    /// As [`served`](Self::served), for a consumer that may work on many deliveries at once.
    pub fn served_side_by_side(
        &mut self,
        slot: SlotId,
        deliveries: u32,
        busy: Duration,
        effects: &mut Effects<H, B>,
    ) {
        self.set_stuck(slot, false, effects);
        self.change(slot, effects, |found, _| {
            found.window.served_side_by_side(deliveries, busy)
        });
        self.fill(slot, effects);
    }

    /// Every live slot, for the roster.
    pub fn seats(&self) -> Vec<Seat> {
        (0_u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.phase == SlotPhase::Live)
            .map(|(index, slot)| slot.seat(SlotId(index)))
            .collect()
    }

    /// One slot as the roster shows it.
    pub fn seat(&self, slot: SlotId) -> Option<Seat> {
        self.slots.get(slot.0 as usize).map(|found| found.seat(slot))
    }

    /// What the ledger knows of a slot's life.
    pub fn phase(&self, slot: SlotId) -> SlotPhase {
        self.slots
            .get(slot.0 as usize)
            .map_or(SlotPhase::Gone, |found| found.phase)
    }

    /// The current life of a slot's consumer.
    pub fn incarnation(&self, slot: SlotId) -> Incarnation {
        self.slots
            .get(slot.0 as usize)
            .map_or(Incarnation(0), |found| found.incarnation)
    }

    /// Whether a slot is handed nothing, whatever room its consumer has: it is retiring, or it holds a suspect that must be
    /// alone.
    pub fn gets_nothing_more(&self, slot: SlotId) -> bool {
        self.slots
            .get(slot.0 as usize)
            .is_none_or(|found| found.phase != SlotPhase::Live || found.alone.is_some())
    }

    /// What a slot has done.
    pub fn counters(&self, slot: SlotId) -> Counters {
        self.slots
            .get(slot.0 as usize)
            .map(|found| found.counters)
            .unwrap_or_default()
    }

    /// The prefetch window of a slot, in deliveries.
    pub fn window(&self, slot: SlotId) -> u32 {
        self.slots
            .get(slot.0 as usize)
            .map_or(0, |found| found.window.size())
    }

    pub(super) fn membership_changed(&mut self) {
        self.version += 1;
        self.offering.news = true;
    }

    /// Changes a slot, with what it holds, and keeps the sums over all slots right.
    #[inline]
    pub(super) fn change(
        &mut self,
        slot: SlotId,
        effects: &mut Effects<H, B>,
        change: impl FnOnce(&mut Slot, &mut Entries<H>),
    ) {
        let found = invariant!(
            self.slots.get_mut(slot.0 as usize),
            "slots stay, so a number of one is a slot"
        );
        self.sums.room -= found.room() as usize;
        self.sums.idle -= usize::from(found.is_idle());
        change(found, &mut self.entries);
        self.sums.room += found.room() as usize;
        self.sums.idle += usize::from(found.is_idle());
        effects.touch(slot);
    }
}

impl Slot {
    fn seat(&self, slot: SlotId) -> Seat {
        Seat {
            slot,
            weight: self.weight,
            load: self.load(),
            room: self.room(),
            waiting: u32::try_from(self.parked.len()).unwrap_or(u32::MAX),
            is_stuck: self.stuck,
        }
    }
}
