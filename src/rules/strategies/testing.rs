//! What the tests of the strategies share.

use uuid::Uuid;

use super::{AssignJob, Choice, Strategy};
use crate::types::{JobId, KeyHash, Priority, Roster, Seat, SlotId, Weight};

pub(super) fn job(id: u64, key: Option<u64>) -> AssignJob {
    AssignJob {
        id: JobId::from_uuid(Uuid::from_u128(u128::from(id))),
        key: key.map(KeyHash),
        priority: Priority(0),
        attempt: 1,
    }
}

pub(super) fn seat(slot: u32, weight: u32, load: u32, room: u32) -> Seat {
    Seat {
        slot: SlotId(slot),
        weight: Weight(weight),
        load,
        room,
        waiting: 0,
        is_stuck: false,
    }
}

pub(super) fn roster_of(seats: Vec<Seat>, version: u64) -> Roster {
    Roster::new(seats, version)
}

/// A roster of equal and roomy consumers in these slots.
pub(super) fn equals(slots: impl IntoIterator<Item = u32>, version: u64) -> Roster {
    let seats = slots.into_iter().map(|slot| seat(slot, 1, 0, u32::MAX));
    roster_of(seats.collect(), version)
}

/// The slots that the next jobs, which have no key, go to; `None` for a job that is held. The roster stays as it is.
pub(super) fn slots(chooser: &mut impl Strategy, roster: &Roster, jobs: u64) -> Vec<Option<u32>> {
    (0..jobs)
        .map(|id| slot_of(chooser.choose(&job(id, None), roster)))
        .collect()
}

/// The slot of a job with this key.
pub(super) fn slot_of_key(chooser: &mut impl Strategy, roster: &Roster, key: u64) -> Option<u32> {
    slot_of(chooser.choose(&job(key, Some(key)), roster))
}

fn slot_of(choice: Choice) -> Option<u32> {
    match choice {
        Choice::Slot(slot) => Some(slot.0),
        Choice::Hold => None,
    }
}
