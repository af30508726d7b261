//! The roster: who can take jobs right now, as a strategy sees it.

use serde::{Deserialize, Serialize};

use super::SlotId;

/// A consumer's share of the work relative to the others; at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(pub u32);

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

/// One live consumer, as a strategy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Seat {
    /// Its slot.
    pub slot: SlotId,
    /// Its share of the work.
    pub weight: Weight,
    /// Deliveries that it holds.
    pub load: u32,
    /// Deliveries that it could still take into its prefetch window.
    pub room: u32,
    /// Jobs that wait for this very consumer, because a strategy chose it while it was full.
    pub waiting: u32,
    /// Whether it has not moved for so long that jobs were taken back from it. It has no room meanwhile; a job that is sent
    /// there all the same waits for it.
    pub is_stuck: bool,
}

impl Seat {
    /// A consumer that holds nothing, with the weight 1 and room for so many deliveries.
    pub const fn new(slot: SlotId, room: u32) -> Self {
        Self {
            slot,
            weight: Weight(1),
            load: 0,
            room,
            waiting: 0,
            is_stuck: false,
        }
    }
}

/// All live consumers, ordered by slot.
///
/// The roster travels with each batch of jobs to the strategy and back, so nothing is copied; a strategy calls
/// [`place`](Self::place) for each job that it gives away, so that its next choice sees the load of the ones before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Roster {
    seats: Vec<Seat>,
    /// One bit for each seat that has room, so that a full group of thousands is passed over 64 seats at a time.
    open: Vec<u64>,
    version: u64,
}

impl Roster {
    /// A roster of these seats. `version` must grow with every change of membership or weight.
    pub fn new(mut seats: Vec<Seat>, version: u64) -> Self {
        seats.sort_by_key(|seat| seat.slot);
        let mut roster = Self {
            open: vec![0; seats.len().div_ceil(64)],
            seats,
            version,
        };
        for index in 0..roster.seats.len() {
            roster.mark(index);
        }
        roster
    }

    /// Grows with every change of membership or weight, and with nothing else: rebuild a ring only when it changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All seats, ordered by slot.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// How many live consumers there are.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether no consumer is alive.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The seat at this index.
    pub fn seat(&self, index: usize) -> Option<&Seat> {
        self.seats.get(index)
    }

    /// The index of this slot's seat, if it is alive. Constant time while no slot is missing, logarithmic otherwise.
    pub fn position(&self, slot: SlotId) -> Option<usize> {
        let guess = slot.0 as usize;
        if self.seats.get(guess).is_some_and(|seat| seat.slot == slot) {
            return Some(guess);
        }
        self.seats.binary_search_by_key(&slot, |seat| seat.slot).ok()
    }

    /// The first seat with room at or after `from`, going round once.
    pub fn next_open(&self, from: usize) -> Option<usize> {
        if self.seats.is_empty() {
            return None;
        }
        let from = if from < self.seats.len() {
            from
        } else {
            from % self.seats.len()
        };
        self.first_open(from, self.seats.len())
            .or_else(|| self.first_open(0, from))
    }

    /// Notes that the seat at `index` got a job: one more held and one less room, or one more that waits if it is full.
    pub fn place(&mut self, index: usize) {
        if let Some(seat) = self.seats.get_mut(index) {
            if seat.room == 0 {
                seat.waiting = seat.waiting.saturating_add(1);
                return;
            }
            seat.load = seat.load.saturating_add(1);
            seat.room -= 1;
            if seat.room == 0 {
                self.mark(index);
            }
        }
    }

    /// As [`place`](Self::place), for jobs for which the seat has room.
    pub fn place_many(&mut self, index: usize, jobs: u32) {
        if let Some(seat) = self.seats.get_mut(index) {
            seat.load = seat.load.saturating_add(jobs);
            seat.room = seat.room.saturating_sub(jobs);
            if seat.room == 0 {
                self.mark(index);
            }
        }
    }

    /// Sets what changes from job to job in the seat at `index`: load, room and what waits, as in `now`.
    pub fn update(&mut self, index: usize, now: &Seat) {
        if let Some(seat) = self.seats.get_mut(index) {
            seat.load = now.load;
            seat.room = now.room;
            seat.waiting = now.waiting;
            seat.is_stuck = now.is_stuck;
            self.mark(index);
        }
    }

    fn mark(&mut self, index: usize) {
        let has_room = self.seats.get(index).is_some_and(|seat| seat.room > 0);
        if let Some(word) = self.open.get_mut(index / 64) {
            let bit = 1_u64 << (index % 64);
            if has_room {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }

    /// The first seat with room in `from..until`.
    fn first_open(&self, from: usize, until: usize) -> Option<usize> {
        let mut index = from;
        while index < until {
            let word = self.open.get(index / 64).copied().unwrap_or(0) >> (index % 64);
            if word != 0 {
                let found = index + word.trailing_zeros() as usize;
                return (found < until).then_some(found);
            }
            index = (index / 64 + 1) * 64;
        }
        None
    }
}
