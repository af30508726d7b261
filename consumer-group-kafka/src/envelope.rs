//! The envelope of a dead letter: the record as it came, and headers that say where from, why and how often it was tried.

use std::fmt::Display;

use consumer_group::queue::{Lane, Origin};
use consumer_group::{AttemptRecord, DeadReason};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};

/// What a dead letter is made of.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) topic: std::sync::Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) time: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Option<OwnedHeaders>,
    /// Why the record is no job.
    pub(crate) unreadable: Option<String>,
}

/// Headers of a dead letter begin with this.
pub(crate) const PREFIX: &str = "consumer-group-dead-";

impl Envelope {
    /// Where the record stands.
    pub(crate) fn origin(&self) -> Origin {
        // Neither number is below 0.
        let lane = Lane::new(std::sync::Arc::clone(&self.topic), self.partition.unsigned_abs());
        Origin::new(lane, self.offset.unsigned_abs())
    }

    /// The headers of the dead letter: those of the record, without those of an earlier death, and what is said here.
    ///
    /// | header | what it says |
    /// |---|---|
    /// | `consumer-group-dead-topic`, `-partition`, `-offset` | where the record stands |
    /// | `consumer-group-dead-time` | its time, in milliseconds since 1970 |
    /// | `consumer-group-dead-reason` | why it was given up |
    /// | `consumer-group-dead-attempts` | how often it was tried |
    /// | `consumer-group-dead-history` | how each attempt ended, a line each |
    pub(crate) fn headers(&self, reason: &DeadReason, history: &[AttemptRecord]) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new();
        for header in self.headers.iter().flat_map(|headers| headers.iter()) {
            if !header.key.starts_with(PREFIX) {
                headers = headers.insert(header);
            }
        }
        let attempts = match reason {
            DeadReason::AttemptsUsedUp { attempts } | DeadReason::Poison { attempts } => *attempts,
            _ => history.last().map_or(0, |record| record.attempt),
        };
        let lines: Vec<String> = history.iter().map(ToString::to_string).collect();
        headers = said(headers, "topic", &self.topic);
        headers = said(headers, "partition", self.partition);
        headers = said(headers, "offset", self.offset);
        if let Some(time) = self.time {
            headers = said(headers, "time", time);
        }
        headers = said(headers, "reason", reason);
        headers = said(headers, "attempts", attempts);
        said(headers, "history", lines.join("\n"))
    }
}

fn said(headers: OwnedHeaders, name: &str, value: impl Display) -> OwnedHeaders {
    headers.insert(Header {
        key: &format!("{PREFIX}{name}"),
        value: Some(&value.to_string()),
    })
}
