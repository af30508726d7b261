//! Pieces: the jobs of one block that one slot holds.

use crate::types::{DeliveryNumber, Places, Ticket};

/// Jobs of a block that a slot's consumer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Piece {
    pub(super) ticket: Ticket,
    pub(super) places: Places,
    /// The number of the delivery at place 0.
    pub(super) first: DeliveryNumber,
}

impl Piece {
    /// The place of a delivery, if it is one of this piece.
    pub(super) fn place_of(&self, number: DeliveryNumber) -> Option<u8> {
        let place = number.0.checked_sub(self.first.0)?;
        let place = u8::try_from(place).ok().filter(|place| *place < 64)?;
        self.places.contains(place).then_some(place)
    }
}
