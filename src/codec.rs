//! Codecs: how a payload becomes bytes and comes back, for every queue whose jobs leave the process: on disk, or at a broker.
//!
//! | codec | for payloads that | bytes | media type |
//! |---|---|---|---|
//! | [`Json`] | implement serde's traits | readable, also by other programs | `application/json` |
//! | [`Compact`] | implement serde's traits | postcard: small and fast; fields are known by their order alone | `application/vnd.postcard` |
//! | [`Text`] | are texts (`String`, `Arc<str>`, a type of yours) | as they are, in UTF-8 | `text/plain; charset=utf-8` |
//! | [`Bytes`] | are bytes (`Vec<u8>`, a type of yours) | as they are | `application/octet-stream` |
//! | your own [`Codec`] | you know | you say | you say |
//!
//! ```
//! use consumer_group::codec::{Codec, Compact, Json, Text};
//!
//! let mut bytes = Vec::new();
//! Json.encode(&(7, "seven".to_owned()), &mut bytes).unwrap();
//! assert_eq!(bytes, br#"[7,"seven"]"#);
//! let mut bytes = Vec::new();
//! Compact.encode(&7_u64, &mut bytes).unwrap();
//! assert_eq!(bytes, [7]);
//! let text: Result<String, _> = Text.decode(&[0xff]);
//! assert!(text.unwrap_err().to_string().contains("utf-8"));
//! ```
//!
//! A queue of your own keeps its codec in a [`GuardedCodec`]: code of the user that panics is an error there.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::{Guarded, caught, drop_guarded};

/// Turns payloads into bytes and back.
pub trait Codec<J>: Send + Sync + 'static {
    /// The name. A durable queue writes it into its file, which is opened with the codec of this name and with no other.
    fn name(&self) -> &'static str;

    /// What the bytes are called where they are sent to others (`content_type`, `content-type`). By default bytes of which
    /// nothing is known.
    fn media_type(&self) -> &'static str {
        "application/octet-stream"
    }

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

    fn media_type(&self) -> &'static str {
        "application/json"
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

    fn media_type(&self) -> &'static str {
        "application/vnd.postcard"
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

/// Text in UTF-8, for payloads that are texts already (`String`, `Arc<str>`, a type of yours). Bytes that are no UTF-8 are no
/// such payload.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl<J> Codec<J> for Text
where
    J: AsRef<str> + TryFrom<String>,
    J::Error: fmt::Display,
{
    fn name(&self) -> &'static str {
        "text"
    }

    fn media_type(&self) -> &'static str {
        "text/plain; charset=utf-8"
    }

    fn encode(&self, payload: &J, into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(payload.as_ref().as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<J, CodecError> {
        let text = std::str::from_utf8(bytes).map_err(CodecError::new)?;
        J::try_from(text.to_owned()).map_err(|error| CodecError::new(error.to_string()))
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

/// The codec of a queue. A codec is code of the user, as is the payload: a panic in it is an error that says so, and goes no
/// further.
pub struct GuardedCodec<J>(Guarded<Box<dyn Codec<J>>>);

impl<J: 'static> GuardedCodec<J> {
    /// Keeps a codec.
    pub fn new(codec: impl Codec<J>) -> Self {
        Self(Guarded::new(Box::new(codec)))
    }

    /// As [`Codec::name`].
    pub fn name(&self) -> &'static str {
        caught(|| self.0.name()).unwrap_or("a codec whose name panics")
    }

    /// As [`Codec::media_type`].
    pub fn media_type(&self) -> &'static str {
        caught(|| self.0.media_type()).unwrap_or("application/octet-stream")
    }

    /// Appends the bytes of a payload to `into`; nothing, if there is an error.
    ///
    /// # Errors
    /// As [`Codec::encode`], and the panics of it.
    pub fn encode(&self, payload: &J, into: &mut Vec<u8>) -> Result<(), CodecError> {
        let begin = into.len();
        let encoded = without_panic(|| self.0.encode(payload, into));
        if encoded.is_err() {
            into.truncate(begin);
        }
        encoded
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// As [`Codec::decode`], and the panics of it.
    pub fn decode(&self, bytes: &[u8]) -> Result<J, CodecError> {
        without_panic(|| self.0.decode(bytes))
    }

    /// Whether the bytes come back as the payload that they were made of.
    ///
    /// # Errors
    /// As [`Codec::check`], and the panics of it.
    pub fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        without_panic(|| self.0.check(bytes))
    }
}

impl<J: 'static> fmt::Debug for GuardedCodec<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuardedCodec").field(&self.name()).finish()
    }
}

fn without_panic<T>(work: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    caught(work).unwrap_or_else(|message| Err(CodecError::new(format!("the codec panicked: {message}"))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn there_and_back<J>(codec: impl Codec<J>, payload: &J) -> J {
        let mut bytes = b"before".to_vec();
        codec.encode(payload, &mut bytes).unwrap();
        let bytes = bytes.strip_prefix(b"before").unwrap();
        codec.check(bytes).unwrap();
        codec.decode(bytes).unwrap()
    }

    #[test]
    fn every_codec_appends_and_reads_what_it_wrote() {
        let payload = (7_u64, "seven".to_owned());
        assert_eq!(there_and_back(Json, &payload), payload);
        assert_eq!(there_and_back(Compact, &payload), payload);
        let text = "grüße".to_owned();
        assert_eq!(there_and_back(Text, &text), text);
        assert_eq!(
            there_and_back::<Arc<str>>(Text, &text.as_str().into()),
            text.as_str().into()
        );
        assert_eq!(there_and_back(Bytes, &vec![0xff_u8]), [0xff]);
    }

    #[test]
    fn bytes_that_are_no_payload_say_why() {
        let no_text: Result<String, _> = Text.decode(b"a\xff");
        assert!(no_text.unwrap_err().to_string().contains("index 1"));
        let no_number: Result<u64, _> = Json.decode(b"{}");
        assert!(no_number.unwrap_err().to_string().contains("expected u64"));
        let too_long: Result<u8, _> = Compact.decode(&[1, 2, 3]);
        assert_eq!(too_long.unwrap_err().to_string(), "2 bytes are left over");
    }

    /// Writes a byte and panics.
    struct Fragile;

    impl Codec<u8> for Fragile {
        fn name(&self) -> &'static str {
            "fragile"
        }

        fn encode(&self, payload: &u8, into: &mut Vec<u8>) -> Result<(), CodecError> {
            into.push(*payload);
            panic!("half way")
        }

        fn decode(&self, _: &[u8]) -> Result<u8, CodecError> {
            panic!("at once")
        }
    }

    #[test]
    fn a_codec_that_panics_has_an_error_and_leaves_no_bytes() {
        let (codec, mut bytes) = (GuardedCodec::new(Fragile), vec![1]);
        let error = codec.encode(&2, &mut bytes).unwrap_err().to_string();
        assert_eq!((bytes, &*error), (vec![1], "the codec panicked: half way"));
        assert!(codec.decode(&[2]).is_err() && codec.check(&[2]).is_err());
    }
}
