//! What is to be thought of a job if the process that has the file open ends without a word.

use super::bytes::{Damage, Reader, seal, unseal};
use crate::types::{Begin, Incarnation, SlotId};

const RELEASED: u8 = 0;
const LEASED: u8 = 1;
const BEGUN: u8 = 2;

/// A line of the table of held jobs. A job of a chunk that was leased and has no line counts as `Leased`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It was leased once and is not any more: it is no suspect.
    Released,
    /// It is leased, or a suspect that waits: a suspect of the next process.
    Leased,
    /// It is a suspect that has begun: it ended the process.
    Begun {
        /// With whom.
        with: Begin,
        /// When, in milliseconds since the Unix epoch.
        at: u64,
    },
}

impl Held {
    pub(in crate::durable) fn write(self) -> Vec<u8> {
        match self {
            Self::Released => vec![RELEASED],
            Self::Leased => vec![LEASED],
            Self::Begun { with, at } => {
                let mut record = vec![BEGUN];
                record.extend_from_slice(&with.slot.0.to_le_bytes());
                record.extend_from_slice(&with.incarnation.0.to_le_bytes());
                record.extend_from_slice(&at.to_le_bytes());
                seal(&mut record);
                record
            }
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// The bytes are no such line.
    pub fn read(record: &[u8]) -> Result<Self, Damage> {
        match record {
            [RELEASED] => return Ok(Self::Released),
            [LEASED] => return Ok(Self::Leased),
            _ => {}
        }
        let mut reader = Reader(unseal(record)?);
        reader.version(BEGUN)?;
        let (slot, incarnation) = (SlotId(reader.u32()?), Incarnation(reader.u32()?));
        Ok(Self::Begun {
            with: Begin { slot, incarnation },
            at: reader.u64()?,
        })
    }
}
