//! Records: what stands in a topic, and how a job is made of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consumer_group::codec::{CodecError, GuardedCodec};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers as _, OwnedHeaders};

/// A record as it stands in its topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Where it stands. Empty for one that is to be sent.
    pub topic: String,
    /// In which partition of the topic.
    pub partition: i32,
    /// At which offset of the partition.
    pub offset: i64,
    /// When it was made, or was written, as the topic is set up.
    pub time: Option<SystemTime>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// What it carries. None is a tombstone: a compacted topic forgets the key.
    pub payload: Option<Vec<u8>>,
    /// Its headers, in order. One name may come more than once, and a value may be absent.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record to be sent.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            payload: Some(payload.into()),
            ..Self::default()
        }
    }

    /// The value of the last header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().rev().find(|(own, _)| own == name);
        found.and_then(|(_, value)| value.as_deref())
    }

    fn of(message: &BorrowedMessage<'_>) -> Self {
        let since = message
            .timestamp()
            .to_millis()
            .and_then(|millis| u64::try_from(millis).ok());
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            time: since.map(|millis| UNIX_EPOCH + Duration::from_millis(millis)),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers_of(message),
        }
    }
}

fn headers_of(message: &BorrowedMessage<'_>) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect()
}

/// The headers of a message, for another one.
pub(crate) fn copied(message: &BorrowedMessage<'_>) -> Option<OwnedHeaders> {
    message.headers().map(|headers| headers.detach())
}

/// The payload and the headers of a record that is to be sent.
pub(crate) struct Outgoing {
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// How jobs are made of records, and records of jobs.
pub(crate) trait Form<J>: Send + Sync {
    /// Reads a job. `None` if the record counts as done.
    fn read(&self, message: &BorrowedMessage<'_>) -> Result<Option<J>, CodecError>;

    /// Writes a job.
    fn write(&self, job: &J) -> Result<Outgoing, CodecError>;
}

/// The payload alone is the job.
pub(crate) struct Payloads<J> {
    pub(crate) codec: GuardedCodec<J>,
    pub(crate) skips_tombstones: bool,
}

impl<J: Send + Sync + 'static> Form<J> for Payloads<J> {
    fn read(&self, message: &BorrowedMessage<'_>) -> Result<Option<J>, CodecError> {
        match message.payload() {
            None if self.skips_tombstones => Ok(None),
            payload => self.codec.decode(payload.unwrap_or_default()).map(Some),
        }
    }

    fn write(&self, job: &J) -> Result<Outgoing, CodecError> {
        let mut payload = Vec::new();
        self.codec.encode(job, &mut payload)?;
        let media_type = self.codec.media_type().as_bytes().to_vec();
        Ok(Outgoing {
            payload: Some(payload),
            headers: vec![("content-type".to_owned(), Some(media_type))],
        })
    }
}

/// The whole record is the job.
pub(crate) struct Records;

impl Form<Record> for Records {
    fn read(&self, message: &BorrowedMessage<'_>) -> Result<Option<Record>, CodecError> {
        Ok(Some(Record::of(message)))
    }

    fn write(&self, job: &Record) -> Result<Outgoing, CodecError> {
        Ok(Outgoing {
            payload: job.payload.clone(),
            headers: job.headers.clone(),
        })
    }
}
