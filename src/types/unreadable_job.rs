//! Jobs that cannot be read: dead letters without a payload.

use std::sync::Arc;

use super::{JobId, Origin};

/// A job whose bytes are no payload for this program. It is a dead letter for
/// [`DeadReason::Unreadable`](crate::DeadReason::Unreadable): nobody is given it, and a program that can read it finds the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableJob {
    /// Its name, or one that its queue made.
    pub id: JobId,
    /// What the codec said, or what else was found.
    pub reason: Arc<str>,
    /// The bytes, as they came; none if even those are lost.
    pub bytes: Arc<[u8]>,
    /// Where it comes from, with its headers, if it came from outside of the process.
    pub origin: Option<Origin>,
}

impl UnreadableJob {
    /// A job whose bytes cannot be read, for this reason, of which at most 4 KiB are kept.
    pub fn new(id: JobId, reason: impl std::fmt::Display, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            id,
            reason: super::text_of(reason),
            bytes: bytes.into(),
            origin: None,
        }
    }

    /// The bytes that it takes in memory.
    pub(crate) fn size(&self) -> usize {
        let origin = self.origin.as_ref().map_or(0, Origin::bytes);
        size_of::<Self>() + self.reason.len() + self.bytes.len() + origin
    }
}
