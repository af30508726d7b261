//! The names of things: jobs, slots, incarnations, leases and the tokens that fence them.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name of a job: a UUID of version 7, so names sort by the time at which the producer made them.
///
/// Within one group only the time and a counter differ from name to name; the random part is drawn once for each group. So
/// do not take bits of a name for random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// Wraps a UUID, for jobs that were named elsewhere.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID itself.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// The name that is `count` later: the time and the counter of a name as a group makes them are one number, in three
    /// pieces, and this one is greater by `count`. The other bits are the same.
    #[inline]
    pub(crate) fn following(self, count: u8) -> Self {
        if count == 0 {
            return self;
        }
        let (high, low) = self.0.as_u64_pair();
        let tick = self.tick().wrapping_add(u64::from(count));
        let high = (tick >> 18) << 16 | high & 0xf000 | tick >> 6 & 0xfff;
        let low = low & !COUNTER_OF_LOW | (tick & 0x3f) << 56;
        Self(Uuid::from_u64_pair(high, low))
    }

    /// How much later than `first` this name is, if it is one of the 64 that begin with it.
    #[inline]
    pub(crate) fn place_after(self, first: Self) -> Option<u8> {
        let later = self.tick().wrapping_sub(first.tick());
        let (own, other) = (self.0.as_u64_pair(), first.0.as_u64_pair());
        let is_kin = (own.0 ^ other.0) & 0xf000 == 0 && (own.1 ^ other.1) & !COUNTER_OF_LOW == 0;
        u8::try_from(later).ok().filter(|later| *later < 64 && is_kin)
    }

    /// Time and counter as one number: 48 bits of time, 4 of version, 12 of the counter; 2 of variant, 6 of the counter, 56 of
    /// the generator alone.
    #[inline]
    fn tick(self) -> u64 {
        let (high, low) = self.0.as_u64_pair();
        (high >> 16) << 18 | (high & 0xfff) << 6 | (low & COUNTER_OF_LOW) >> 56
    }
}

/// The bits of the counter in the lower half of a name.
const COUNTER_OF_LOW: u64 = 0x3f << 56;

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// A consumer's place in the group, counted from zero. It outlives the consumer that sits in it.
    SlotId(u32),
    "slot "
);
number!(
    /// One life of the consumer in a slot, counted from one. A later life never accepts what an earlier one says.
    Incarnation(u32),
    "incarnation "
);
number!(
    /// One life of the supervisor, counted from one. The queue takes back all leases of an earlier epoch.
    Epoch(u64),
    "epoch "
);
number!(
    /// The queue's name for its promise to keep a job until it is settled. Never used twice by one queue.
    LeaseId(u64),
    "lease "
);
number!(
    /// The running number of a delivery within an epoch. Two deliveries of one epoch never share it, and later epochs of one
    /// group begin beyond those of the earlier ones.
    DeliveryNumber(u64),
    "delivery "
);
impl DeliveryNumber {
    /// The number of the delivery at this place, if this is that of place 0: those of one run follow each other by place.
    #[inline]
    pub fn at(self, place: u8) -> Self {
        Self(self.0.wrapping_add(u64::from(place)))
    }

    /// The number of the delivery at place 0, if this is that at `place`.
    pub(crate) fn before(self, place: u8) -> Self {
        // A job that is delivered alone has one number and any place, so the first numbers of a group come to lie below zero.
        Self(self.0.wrapping_sub(u64::from(place)))
    }
}

number!(
    /// The place of a delivery in the supervisor's ledger. Places are used again; the delivery number tells uses apart.
    Ticket(u32),
    "ticket "
);
number!(
    /// The mailbox of a producer group at the result queue, counted from one.
    ReplyTo(u64),
    "reply to "
);

/// The bit of a ticket that says: a block, not a single job.
const OF_BLOCK: u32 = 1 << 31;

impl Ticket {
    /// The ticket of the block in this place. There are never 2^31 of them: leases are bounded by windows.
    pub(crate) fn of_block(number: u32) -> Self {
        Self(number | OF_BLOCK)
    }

    /// Whether this is the ticket of a block, in which a job is known by its delivery number.
    pub fn is_of_block(self) -> bool {
        self.0 & OF_BLOCK != 0
    }

    /// The place of the job, or of the block, in its list.
    pub(crate) fn number(self) -> u32 {
        self.0 & !OF_BLOCK
    }
}

/// A number that grows with every delivery of a job, for sinks that must refuse a late writer.
///
/// A sink keeps the greatest token that it has seen for a job or key and refuses anything smaller; so a consumer that
/// hung, was replaced and then came back cannot overwrite what its replacement did. Tokens order first by epoch (the life
/// of the supervisor), then by delivery number.
///
/// Reference: Kleppmann, "How to do distributed locking", 2016, "fencing tokens".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FencingToken {
    /// The life of the supervisor that made the delivery.
    pub epoch: Epoch,
    /// The running number of the delivery in that life.
    pub number: DeliveryNumber,
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.number.0)
    }
}
