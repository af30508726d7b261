//! Planted bugs: mistakes that a ledger could make, and a few of those who live around it, to see that the model and the
//! sweep find them. Never at work unless somebody plants one, and without the feature `sim` nobody can: the compiler takes
//! every question away.

use std::collections::BTreeMap;

use super::entries::State;
use super::{Ledger, OutOfBlock};
use crate::types::{Cause, DeliveryNumber, LeaseId, SlotId, Ticket};

/// Whether a bug can be planted at all.
const CAN_BE_PLANTED: bool = cfg!(feature = "sim");

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Plant {
    /// A settle counts for whatever delivery is out under its ticket.
    NoFence,
    /// A settle of an earlier life of a consumer counts, if the attempt is the same.
    FenceIgnoresIncarnation,
    /// A settle of an earlier attempt counts, if the life of the consumer is the same.
    FenceIgnoresAttempt,
    /// When a consumer dies, the second delivery that it held is forgotten.
    LosesSecondHeld,
    /// When a consumer dies, what it held goes behind everything else.
    RequeuesAtBack,
    /// Jobs of one key do not wait for each other.
    NoKeyLock,
    /// A consumer that passed its deadline keeps its deliveries.
    DeadlineKeepsInFlight,
    /// A recall takes what its consumer has begun.
    RecallsBegun,
    /// A consumer does an urgent job when it has done what it held before.
    UrgentGoesBehind,
    /// Time in which the process stood still counts against consumers.
    ChargesStandstills,
    /// One of the jobs that were not done is not handed out when the host ends.
    LosesOneAtHostEnd,
    /// After a failed commit a durable queue lets go of its file for a moment, and does not look who was there.
    LetsGoOfTheFile,
    /// A durable queue accepts a job before it is flushed to the disk.
    AcceptsUnflushed,
    /// A durable queue charges an attempt to everything that was leased when its process ended.
    ChargesAllLeased,
}

/// Where a planted bug is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlantedIn {
    /// In the ledger, which the model knows.
    Ledger,
    /// Elsewhere in a group.
    Group,
    /// In a durable queue.
    File,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::NoFence,
        Self::FenceIgnoresIncarnation,
        Self::FenceIgnoresAttempt,
        Self::LosesSecondHeld,
        Self::RequeuesAtBack,
        Self::NoKeyLock,
        Self::DeadlineKeepsInFlight,
        Self::RecallsBegun,
        Self::UrgentGoesBehind,
        Self::ChargesStandstills,
        Self::LosesOneAtHostEnd,
        Self::LetsGoOfTheFile,
        Self::AcceptsUnflushed,
        Self::ChargesAllLeased,
    ];

    /// Where it is.
    pub const fn place(self) -> PlantedIn {
        match self {
            Self::NoFence
            | Self::FenceIgnoresIncarnation
            | Self::FenceIgnoresAttempt
            | Self::LosesSecondHeld
            | Self::RequeuesAtBack
            | Self::NoKeyLock
            | Self::DeadlineKeepsInFlight => PlantedIn::Ledger,
            Self::RecallsBegun
            | Self::UrgentGoesBehind
            | Self::ChargesStandstills
            | Self::LosesOneAtHostEnd => PlantedIn::Group,
            Self::LetsGoOfTheFile | Self::AcceptsUnflushed | Self::ChargesAllLeased => PlantedIn::File,
        }
    }

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoFence => "no-fence",
            Self::FenceIgnoresIncarnation => "fence-ignores-incarnation",
            Self::FenceIgnoresAttempt => "fence-ignores-attempt",
            Self::LosesSecondHeld => "loses-second-held",
            Self::RequeuesAtBack => "requeues-at-back",
            Self::NoKeyLock => "no-key-lock",
            Self::DeadlineKeepsInFlight => "deadline-keeps-in-flight",
            Self::RecallsBegun => "recalls-begun",
            Self::UrgentGoesBehind => "urgent-goes-behind",
            Self::ChargesStandstills => "charges-standstills",
            Self::LosesOneAtHostEnd => "loses-one-at-host-end",
            Self::LetsGoOfTheFile => "lets-go-of-the-file",
            Self::AcceptsUnflushed => "accepts-unflushed",
            Self::ChargesAllLeased => "charges-all-leased",
        }
    }
}

/// A delivery that was handed out once, as the planted fences remember it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Handed {
    lease: LeaseId,
    attempt: u32,
    slot: SlotId,
    incarnation: u32,
}

/// A planted bug and what it needs to remember. Nothing is remembered while nothing is planted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Planted {
    plant: Option<Plant>,
    handed: BTreeMap<DeliveryNumber, Handed>,
}

impl Planted {
    pub(super) fn is(&self, plant: Plant) -> bool {
        CAN_BE_PLANTED && self.plant == Some(plant)
    }
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Plants a bug.
    #[doc(hidden)]
    pub fn plant(&mut self, plant: Plant) {
        self.planted.plant = Some(plant);
    }

    /// Remembers a delivery for the fences that look at less than they should.
    pub(super) fn remember_handed(&mut self, ticket: Ticket, slot: SlotId) {
        let needs =
            self.planted.is(Plant::FenceIgnoresIncarnation) || self.planted.is(Plant::FenceIgnoresAttempt);
        if needs && let Some(entry) = self.entries.get(ticket) {
            let handed = Handed {
                lease: entry.lease,
                attempt: entry.attempt,
                slot,
                incarnation: self.incarnation(slot).0,
            };
            self.planted.handed.insert(entry.number, handed);
        }
    }

    /// Whether a planted fence lets this settle through.
    pub(super) fn lets_through(&self, ticket: Ticket, number: DeliveryNumber) -> bool {
        let Some(entry) = self.entries.get(ticket).filter(|_| CAN_BE_PLANTED) else {
            return false;
        };
        let State::Out(slot) = entry.state else {
            return false;
        };
        if self.planted.is(Plant::NoFence) {
            return true;
        }
        let Some(handed) = self.planted.handed.get(&number) else {
            return false;
        };
        let same_life = handed.slot == slot && handed.incarnation == self.incarnation(slot).0;
        handed.lease == entry.lease
            && match self.planted.plant {
                Some(Plant::FenceIgnoresIncarnation) => handed.attempt == entry.attempt,
                Some(Plant::FenceIgnoresAttempt) => same_life,
                _ => false,
            }
    }

    /// What a planted bug leaves of the deliveries that a dead consumer held.
    pub(super) fn left_of(&self, mut held: Vec<Ticket>, cause: &Cause) -> Vec<Ticket> {
        if self.planted.is(Plant::LosesSecondHeld) && held.len() > 1 {
            held.remove(1);
        }
        if self.planted.is(Plant::DeadlineKeepsInFlight) && matches!(cause, Cause::DeadlinePassed(_)) {
            held.clear();
        }
        held
    }

    /// Puts what a dead consumer held where the planted bug wants it. False if nothing is planted.
    pub(super) fn put_at_back(&mut self, tickets: &[Ticket]) -> bool {
        if !self.planted.is(Plant::RequeuesAtBack) {
            return false;
        }
        self.offering.news |= !tickets.is_empty();
        for ticket in tickets {
            self.entries.wait(*ticket);
            self.offering.waiting.push_back(*ticket);
        }
        true
    }
}
