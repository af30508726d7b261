//! Codecs: how a payload becomes bytes on disk and comes back.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::{Guarded, drop_guarded};

/// Turns payloads into bytes and back. A queue keeps one codec for all its life: its name is written into the file.
///
/// | codec | for payloads that | bytes |
/// |---|---|---|
/// | [`Json`] | implement serde's traits; the default | readable, also in the `consumer-group` command |
/// | [`Compact`] | implement serde's traits | postcard: small and fast; fields are known by their order alone |
/// | [`Bytes`] | are bytes already | as they are |
pub trait Codec<J>: Send + Sync + 'static {
    /// The name that is written into the file. A file is opened with the codec of this name and with no other.
    fn name(&self) -> &'static str;

    /// Appends the bytes of a payload to `into`.
    ///
    /// # Errors
    /// The payload has no form in these bytes; the job is handed back to its sender.
    fn encode(&self, payload: &J, into: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads a payload. The bytes may be those of an older program, or damaged.
    ///
    /// # Errors
    /// The bytes are no such payload; the job becomes a dead letter with this reason, and its bytes are kept.
    fn decode(&self, bytes: &[u8]) -> Result<J, CodecError>;

    /// Whether a later process will read the payload as it was. Asked once for each job that is sent, with what
    /// [`encode`](Self::encode) has just made of it; the job is refused if not. By default the bytes are decoded, and what
    /// comes out is dropped. The codecs here also encode that once more: the bytes must be the same, in whatever order, since
    /// a hash map changes its order.
    ///
    /// # Errors
    /// The bytes cannot be read, or say something else.
    fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        self.decode(bytes).map(drop_guarded)
    }
}

/// Reads bytes, writes what comes out once more, and compares.
fn check_twice<J>(codec: &impl Codec<J>, bytes: &[u8]) -> Result<(), CodecError> {
    // Its `Drop` may panic, which says nothing of its bytes.
    let payload = Guarded::new(codec.decode(bytes)?);
    let mut again = Vec::with_capacity(bytes.len());
    codec.encode(&payload, &mut again)?;
    if again == bytes || (again.len() == bytes.len() && sum(&again) == sum(bytes)) {
        return Ok(());
    }
    Err(CodecError::new(format!(
        "it comes back as another payload: {} bytes became {}",
        bytes.len(),
        again.len()
    )))
}

/// The same for the same bytes in another order.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// Why a payload could not be written or read.
#[derive(Debug)]
pub struct CodecError(Box<dyn Error + Send + Sync>);

impl CodecError {
    /// Wraps the error of a codec, or a text.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// JSON. A payload may gain optional fields later and old jobs are still read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl<J: Serialize + DeserializeOwned> Codec<J> for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn encode(&self, payload: &J, into: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(into, payload).map_err(CodecError::new)
    }

    fn decode(&self, bytes: &[u8]) -> Result<J, CodecError> {
        serde_json::from_slice(bytes).map_err(CodecError::new)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        check_twice::<J>(self, bytes)
    }
}

/// Postcard, a compact binary form. A payload whose fields change needs a new type or a version of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compact;

impl<J: Serialize + DeserializeOwned> Codec<J> for Compact {
    fn name(&self) -> &'static str {
        "postcard"
    }

    fn encode(&self, payload: &J, into: &mut Vec<u8>) -> Result<(), CodecError> {
        let bytes = postcard::to_extend(payload, std::mem::take(into)).map_err(CodecError::new)?;
        *into = bytes;
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<J, CodecError> {
        let (payload, rest) = postcard::take_from_bytes(bytes).map_err(CodecError::new)?;
        match rest.len() {
            0 => Ok(payload),
            left => Err(CodecError::new(format!("{left} bytes are left over"))),
        }
    }

    fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        check_twice::<J>(self, bytes)
    }
}

/// Raw bytes, for payloads that are bytes already (`Vec<u8>`, `String`, a type of yours).
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes;

impl<J> Codec<J> for Bytes
where
    J: AsRef<[u8]> + TryFrom<Vec<u8>>,
    J::Error: fmt::Display,
{
    fn name(&self) -> &'static str {
        "bytes"
    }

    fn encode(&self, payload: &J, into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(payload.as_ref());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<J, CodecError> {
        J::try_from(bytes.to_vec()).map_err(|error| CodecError::new(error.to_string()))
    }

    fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        check_twice::<J>(self, bytes)
    }
}
