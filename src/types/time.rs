//! A point in time as plain data, so that rules can be driven by a test, a model checker or a paused clock.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Unix time: nanoseconds since 1970, by the clock of a group. That clock looks at the wall clock once, when it begins, and
/// never goes back; so moments of one group order what happened, and a change of the wall clock does not show in them.
///
/// ```
/// use consumer_group::events::Moment;
///
/// let moment = Moment::from_millis(1_700_000_000_123);
/// assert_eq!(moment.as_millis(), 1_700_000_000_123);
/// assert!(std::time::SystemTime::from(moment) > std::time::UNIX_EPOCH);
/// ```
///
/// Rules take a `Moment` as an argument; only the actors floor reads a clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// The beginning of 1970, which is before every moment of a clock.
    pub const START: Self = Self(0);

    /// The moment so many nanoseconds after the beginning of 1970.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The moment so many milliseconds after the beginning of 1970. Saturates.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the beginning of 1970.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the beginning of 1970.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `by` later. Saturates, so a wait of `Duration::MAX` is a wait for ever.
    pub const fn after(self, by: Duration) -> Self {
        let nanoseconds = by.as_nanos();
        if nanoseconds > u64::MAX as u128 {
            return Self(u64::MAX);
        }
        Self(self.0.saturating_add(nanoseconds as u64))
    }
}

/// How a moment is written where people or other programs read it: in whole milliseconds.
pub(crate) mod as_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Moment;

    pub(crate) fn serialize<S: Serializer>(moment: &Moment, into: S) -> Result<S::Ok, S::Error> {
        moment.as_millis().serialize(into)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Moment, D::Error> {
        u64::deserialize(from).map(Moment::from_millis)
    }
}

/// How a time is written in a configuration: in whole ones of this unit.
macro_rules! whole_units {
    ($($unit:ident: $count:ident, $from:ident;)+) => {$(
        pub(crate) mod $unit {
            use std::time::Duration;

            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(crate) fn whole(time: Duration) -> u64 {
                u64::try_from(time.$count()).unwrap_or(u64::MAX)
            }

            pub(crate) fn serialize<S: Serializer>(time: &Duration, into: S) -> Result<S::Ok, S::Error> {
                whole(*time).serialize(into)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
                u64::deserialize(from).map(Duration::$from)
            }
        }
    )+};
}

whole_units! {
    millis: as_millis, from_millis;
    micros: as_micros, from_micros;
}

impl From<Moment> for SystemTime {
    fn from(moment: Moment) -> Self {
        UNIX_EPOCH + Duration::from_nanos(moment.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
