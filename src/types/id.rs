//! The names of things: jobs, slots, incarnations, leases and the tokens that fence them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Lane;

/// The name of a job. A group makes a UUID of version 7, so the names that it gives sort by the time at which the producer made
/// them. A job that comes from elsewhere has a name that its queue gives it, the same whenever it comes again.
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

    /// The name of the job at this place of a lane: a UUID of version 5, the same in every process.
    pub fn of_place(lane: &Lane, position: u64) -> Self {
        // A source may have any name; the two numbers end it, and have one length.
        let mut place = lane.source.as_bytes().to_vec();
        place.extend_from_slice(&lane.number.to_be_bytes());
        place.extend_from_slice(&position.to_be_bytes());
        Self(Uuid::new_v5(&PLACES, &place))
    }

    /// The name of the job of this message id: itself, if it is a UUID, else a UUID of version 5 of the text. Messages of one
    /// id are one job, wherever they lie; so it is for producers that give no id twice.
    pub fn of_message_id(text: &str) -> Self {
        Self(Uuid::try_parse(text).unwrap_or_else(|_| Uuid::new_v5(&MESSAGE_IDS, text.as_bytes())))
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

/// What names of places are made in; drawn once.
const PLACES: Uuid = Uuid::from_u128(0x3c8e_51d6_0b7f_4f0e_9a35_d1f2_76c4_08b9);

/// What names of message ids are made in; drawn once.
const MESSAGE_IDS: Uuid = Uuid::from_u128(0xb1d2_9e7a_64c3_4d58_8f1e_2a90_c7e6_5d34);

/// The bits of the counter in the lower half of a name.
const COUNTER_OF_LOW: u64 = 0x3f << 56;

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no name of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no name of a job, which is a UUID: {cause}")]
pub struct ParseJobIdError {
    #[source]
    cause: uuid::Error,
}

/// Reads what [`Display`](fmt::Display) writes, and every other way to write a UUID.
impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, ParseJobIdError> {
        let uuid = text.parse().map_err(|cause| ParseJobIdError { cause })?;
        Ok(Self(uuid))
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
/// hung, was replaced and then came back cannot overwrite what its replacement did. Tokens order first by what the broker counts,
/// if it counts who reads, so over processes; then by epoch (the life of the supervisor), then by delivery number.
///
/// Reference: Kleppmann, "How to do distributed locking", 2016, "fencing tokens".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FencingToken {
    /// The [fence of the broker](crate::queue::Origin::fence) under which the job came; 0 without one.
    pub fence: u64,
    /// The life of the supervisor that made the delivery.
    pub epoch: Epoch,
    /// The running number of the delivery in that life.
    pub number: DeliveryNumber,
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.fence, self.epoch.0, self.number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_place_is_the_same_in_every_process_and_of_no_other_place() {
        let name = |source: &str, number, position| JobId::of_place(&Lane::new(source, number), position);
        let known = "9e81ea0a-8f2d-5fbf-a36f-5fd13c496e78";
        assert_eq!(name("hello", 0, 7).to_string(), known);
        let others = [name("hello", 7, 0), name("hello", 0, 8), name("hell", 0, 7)];
        assert!(!others.contains(&name("hello", 0, 7)));
    }

    #[test]
    fn a_message_id_that_is_a_uuid_is_the_name_itself() {
        let text = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(JobId::of_message_id(text).to_string(), text);
        let name = JobId::of_message_id("order 7");
        assert_eq!(name, JobId::of_message_id("order 7"));
        assert_eq!(name.as_uuid().get_version_num(), 5);
        assert_ne!(name, JobId::of_message_id("order 8"));
    }

    #[test]
    fn a_token_orders_by_the_fence_of_the_broker_then_by_epoch_then_by_number() {
        let token = |fence, epoch, number| FencingToken {
            fence,
            epoch: Epoch(epoch),
            number: DeliveryNumber(number),
        };
        let sorted = [token(0, 9, 9), token(1, 1, 2), token(1, 2, 1), token(2, 1, 1)];
        assert!(sorted.is_sorted());
        assert_eq!(token(1, 2, 3).to_string(), "1.2.3");
    }
}
