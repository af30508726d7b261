//! Records of single jobs: those that were tried, those that wait for their time, and the dead.

use super::bytes::{Damage, Reader, put_bytes, seal, unseal};
use crate::types::{AttemptRecord, DeadReason, JobId, Key};

const SINGLE: u8 = 1;
const DEAD: u8 = 1;
const DEDUP: u8 = 1;

/// A job in a record of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Single<'a> {
    /// Attempts that count.
    pub attempts: u32,
    /// Whether a lease or a requeue has ended its expiry.
    pub tried: bool,
    /// When a retry is due, in milliseconds since the Unix epoch; 0 if at once.
    pub due: u64,
    /// What went wrong so far. The moments are milliseconds since the Unix epoch.
    pub history: Vec<AttemptRecord>,
    /// The job; see [`JobParts`](super::JobParts).
    pub job: &'a [u8],
}

impl<'a> Single<'a> {
    pub(in crate::durable) fn write(&self) -> Vec<u8> {
        let mut record = vec![SINGLE, u8::from(self.tried)];
        record.extend_from_slice(&self.attempts.to_le_bytes());
        record.extend_from_slice(&self.due.to_le_bytes());
        put_bytes(&mut record, &json(&self.history));
        record.extend_from_slice(self.job);
        seal(&mut record);
        record
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are no such record.
    pub fn read(record: &'a [u8]) -> Result<Self, Damage> {
        let mut reader = Reader(unseal(record)?);
        reader.version(SINGLE)?;
        let tried = reader.u8()? != 0;
        let (attempts, due) = (reader.u32()?, reader.u64()?);
        let history = of_json(reader.bytes()?)?;
        Ok(Self {
            attempts,
            tried,
            due,
            history,
            job: reader.0,
        })
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Dead<'a> {
    /// When it died, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Why.
    pub reason: DeadReason,
    /// Its attempts.
    pub history: Vec<AttemptRecord>,
    /// The job; of a damaged one whatever was there.
    pub job: &'a [u8],
}

impl<'a> Dead<'a> {
    pub(in crate::durable) fn write(&self) -> Vec<u8> {
        let mut record = vec![DEAD];
        record.extend_from_slice(&self.at.to_le_bytes());
        put_bytes(&mut record, &json(&self.reason));
        put_bytes(&mut record, &json(&self.history));
        record.extend_from_slice(self.job);
        seal(&mut record);
        record
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are no such record.
    pub fn read(record: &'a [u8]) -> Result<Self, Damage> {
        let mut reader = Reader(unseal(record)?);
        reader.version(DEAD)?;
        Ok(Self {
            at: reader.u64()?,
            reason: of_json(reader.bytes()?)?,
            history: of_json(reader.bytes()?)?,
            job: reader.0,
        })
    }
}

/// A deduplication key that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The job.
    pub job: JobId,
    /// The key.
    pub key: Key,
}

impl Accepted {
    pub(in crate::durable) fn write(&self) -> Vec<u8> {
        let mut record = vec![DEDUP];
        record.extend_from_slice(&self.at.to_le_bytes());
        record.extend_from_slice(self.job.as_uuid().as_bytes());
        put_bytes(&mut record, &json(&self.key));
        seal(&mut record);
        record
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The bytes are no such record.
    pub fn read(record: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader(unseal(record)?);
        reader.version(DEDUP)?;
        Ok(Self {
            at: reader.u64()?,
            job: JobId::from_uuid(uuid::Uuid::from_u128(reader.u128()?)),
            key: of_json(reader.bytes()?)?,
        })
    }
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Plain data of our own: it always has a form in JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

fn of_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Damage> {
    serde_json::from_slice(bytes).map_err(|_| Damage::Value)
}
