//! What can go wrong before a queue is there.

use rdkafka::error::KafkaError;

/// Why a queue cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no topic to read from.
    #[error("no topic is named")]
    NoTopic,
    /// The settings for reading are refused.
    #[error("librdkafka does not take the settings for reading: {0}")]
    Reading(#[source] KafkaError),
    /// The settings for sending are refused.
    #[error("librdkafka does not take the settings for sending: {0}")]
    Sending(#[source] KafkaError),
    /// A thread cannot be had.
    #[error("a thread cannot be had: {0}")]
    Thread(#[source] std::io::Error),
}
