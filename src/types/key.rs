//! Keys: what jobs of one entity have in common, for order and for affinity.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use uuid::Uuid;

/// What jobs of one entity (a host, an account) have in common.
///
/// With a group that keeps order, jobs of one key are handled in the order in which they were accepted and never by two
/// consumers at once.
///
/// Every integer is a key, the same one whatever its type; so are texts and UUIDs. A number is another key than the text that
/// is written like it, unless it is negative or above `u64::MAX`: those are kept as their text.
///
/// ```
/// use consumer_group::Key;
///
/// assert_eq!(Key::from(7_u8), Key::from(7_i64));
/// assert_ne!(Key::from(7), Key::from("7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// A number; costs no allocation.
    Number(u64),
    /// A text; clones share it.
    Text(Arc<str>),
}

/// The 64-bit hash of a [`Key`]; the same in every process and on every machine (SipHash-1-3 with a zero key).
///
/// The rules work with the hash alone. Two keys that share a hash are treated as one key: they wait for each other, which
/// costs a little time and breaks no promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(pub u64);

impl Key {
    /// The hash by which the rules know this key.
    pub fn hashed(&self) -> KeyHash {
        let mut hasher = SipHasher13::new();
        match self {
            Self::Number(number) => hasher.write_u64(*number),
            Self::Text(text) => {
                hasher.write(text.as_bytes());
                // A text never has the hash of a number: the end mark makes the lengths differ.
                hasher.write_u8(0xff);
            }
        }
        KeyHash(hasher.finish())
    }
}

macro_rules! from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Key {
            fn from(number: $integer) -> Self {
                // Keys of one number are equal, so what no `u64` can tell is told in digits.
                u64::try_from(number).map_or_else(|_| Self::Text(number.to_string().into()), Self::Number)
            }
        }
    )*};
}

from_integers!(u8 u16 u32 usize i8 i16 i32 i64 isize u128 i128);

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Arc<str>> for Key {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text)
    }
}

/// The text of the UUID, in lower case with hyphens.
impl From<Uuid> for Key {
    fn from(uuid: Uuid) -> Self {
        Self::from(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) as &str)
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}
