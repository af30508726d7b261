//! One job as bytes: its name, its wishes, and the payload as the codec made it.

use super::bytes::{Damage, Reader, put_bytes};
use crate::types::{JobId, Key, ReplyTo};

const TEXT_KEY: u8 = 1;
const NUMBER_KEY: u8 = 2;
const REPLY_TO: u8 = 4;
const NOT_BEFORE: u8 = 8;
const EXPIRES_AT: u8 = 16;
const TEXT_DEDUP: u8 = 32;
const NUMBER_DEDUP: u8 = 64;

/// Everything that is written of a job. Times are milliseconds since the Unix epoch: the moments of a group's clock end
/// with its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobParts<'a> {
    /// The name.
    pub id: JobId,
    /// How urgent.
    pub priority: u8,
    /// The key.
    pub key: Option<Key>,
    /// Who waits for the outcome. Means something only in the process that wrote it.
    pub reply_to: Option<ReplyTo>,
    /// Not to be leased before.
    pub not_before: Option<u64>,
    /// Not to be leased after.
    pub expires_at: Option<u64>,
    /// The deduplication key.
    pub dedup: Option<Key>,
    /// The payload, in the bytes of the codec.
    pub payload: &'a [u8],
}

impl<'a> JobParts<'a> {
    /// Appends everything but the payload, which is put behind it.
    pub(in crate::durable) fn write_head(&self, into: &mut Vec<u8>) {
        let flag = |there: bool, flag: u8| if there { flag } else { 0 };
        into.push(
            key_flag(self.key.as_ref(), TEXT_KEY, NUMBER_KEY)
                | flag(self.reply_to.is_some(), REPLY_TO)
                | flag(self.not_before.is_some(), NOT_BEFORE)
                | flag(self.expires_at.is_some(), EXPIRES_AT)
                | key_flag(self.dedup.as_ref(), TEXT_DEDUP, NUMBER_DEDUP),
        );
        into.push(self.priority);
        into.extend_from_slice(self.id.as_uuid().as_bytes());
        put_key(into, self.key.as_ref());
        let numbers = [self.reply_to.map(|to| to.0), self.not_before, self.expires_at];
        for number in numbers.into_iter().flatten() {
            into.extend_from_slice(&number.to_le_bytes());
        }
        put_key(into, self.dedup.as_ref());
    }

    /// Reads a job.
    ///
    /// # Errors
    /// The bytes are no job.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Damage> {
        let mut reader = Reader(bytes);
        let flags = reader.u8()?;
        let has = |flag: u8| flags & flag != 0;
        let priority = reader.u8()?;
        let id = JobId::from_uuid(uuid::Uuid::from_u128(reader.u128()?));
        let key = read_key(&mut reader, has(TEXT_KEY), has(NUMBER_KEY))?;
        let mut number = |there: bool| there.then(|| reader.u64()).transpose();
        let reply_to = number(has(REPLY_TO))?.map(ReplyTo);
        let not_before = number(has(NOT_BEFORE))?;
        let expires_at = number(has(EXPIRES_AT))?;
        let dedup = read_key(&mut reader, has(TEXT_DEDUP), has(NUMBER_DEDUP))?;
        Ok(Self {
            id,
            priority,
            key,
            reply_to,
            not_before,
            expires_at,
            dedup,
            payload: reader.0,
        })
    }
}

fn key_flag(key: Option<&Key>, text: u8, number: u8) -> u8 {
    match key {
        None => 0,
        Some(Key::Text(_)) => text,
        Some(Key::Number(_)) => number,
    }
}

fn put_key(into: &mut Vec<u8>, key: Option<&Key>) {
    match key {
        None => {}
        Some(Key::Text(text)) => put_bytes(into, text.as_bytes()),
        Some(Key::Number(number)) => into.extend_from_slice(&number.to_le_bytes()),
    }
}

fn read_key(reader: &mut Reader<'_>, is_text: bool, is_number: bool) -> Result<Option<Key>, Damage> {
    match (is_text, is_number) {
        (false, false) => Ok(None),
        (true, false) => Ok(Some(Key::Text(reader.text()?.into()))),
        (false, true) => Ok(Some(Key::Number(reader.u64()?))),
        (true, true) => Err(Damage::Value),
    }
}
