//! Kafka as the queue of a [`Group`](consumer_group::Group): the jobs are records of topics, and the processes of one group share
//! the partitions.
//!
//! - Jobs of a partition are done by many consumers at once and end out of order. What is committed is the *watermark*: the offset
//!   below which everything is done; what is done above it stands in the metadata of the commit.
//! - A partition that goes to another member is drained first: what is at work may finish, and is committed.
//! - Reading has a thread of its own: a consumer that takes long never costs the membership.
//!
//! Begin at [`KafkaQueue`]. `docs/kafka.md` explains watermark, drain and fencing with pictures.

mod actor;
mod burying;
mod committing;
mod config;
mod core;
mod envelope;
mod error;
mod health;
mod outbox;
mod partitions;
mod reading;
mod record;
mod results;
mod rules;
mod sending;
mod source;

pub use actor::KafkaActor;
pub use config::{KafkaConfig, Protocol, Start, Tombstones};
pub use error::OpenError;
pub use health::{KafkaHealth, PartitionHealth};
pub use outbox::{Outbox, OutboxError, Output};
pub use record::Record;
pub use results::{HEADER_CORRELATION, HEADER_FAILED, KafkaResults};
pub use source::KafkaQueue;
