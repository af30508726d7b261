//! Numbers and texts as bytes. Reading never trusts a length.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Why bytes from the disk could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// They end too early, or a length in them points beyond their end.
    #[error("the record is cut short")]
    Short,
    /// The checksum is another one.
    #[error("the checksum does not fit")]
    Checksum,
    /// They were written by a later version of this crate.
    #[error("the record has version {0}, which this program does not know")]
    Version(u8),
    /// A value in them cannot be.
    #[error("the record holds a value that cannot be")]
    Value,
}

/// Bytes that are read from the front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damage::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.take(N)?.try_into().map_err(|_| Damage::Short)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Damage> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, Damage> {
        self.array().map(u128::from_be_bytes)
    }

    /// Bytes with their length in front.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damage::Value)
    }

    /// The version that stands in front of every record.
    pub(super) fn version(&mut self, known: u8) -> Result<(), Damage> {
        match self.u8()? {
            version if version == known => Ok(()),
            version => Err(Damage::Version(version)),
        }
    }
}

pub(super) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    into.extend_from_slice(bytes);
}

/// The checksum of a record: 32 bits of SipHash-1-3 with a zero key.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish() as u32
}

/// Appends the checksum of everything that is there.
pub(super) fn seal(record: &mut Vec<u8>) {
    let sum = checksum(record);
    record.extend_from_slice(&sum.to_le_bytes());
}

/// Takes the checksum off and compares it.
pub(super) fn unseal(record: &[u8]) -> Result<&[u8], Damage> {
    let (body, sum) = record.split_last_chunk::<4>().ok_or(Damage::Short)?;
    if checksum(body) == u32::from_le_bytes(*sum) {
        Ok(body)
    } else {
        Err(Damage::Checksum)
    }
}
