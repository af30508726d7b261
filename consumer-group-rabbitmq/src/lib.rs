//! Consumer groups of [`consumer_group`] over queues of a RabbitMQ server.
//!
//! ```no_run
//! use consumer_group::{Delivery, Group};
//! use consumer_group_rabbitmq::{RabbitMqConfig, RabbitMqQueue};
//!
//! # actix::System::new().block_on(async {
//! let config = RabbitMqConfig::new("amqp://guest:guest@localhost/%2f", "hello");
//! let queue: RabbitMqQueue<String> = RabbitMqQueue::open(config)?;
//! let group = Group::builder()
//!     .queue(queue)
//!     .consume_with(5, async |delivery: &Delivery<String>| {
//!         println!("Received {}", delivery.job());
//!         Ok(())
//!     })
//!     .start()?;
//! # group.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! ```text
//! server ──messages──▶ consumer ─▶ state ─▶ (leases) supervisor ─▶ consumers
//!        ◀──acks────── consumer ◀─ tags  ◀─ (verdicts)
//!        ◀──jobs, retries, dead letters── publisher          (a connection of its own, with confirms)
//! ```
//!
//! What each part does when the server fails stands in `docs/brokers.md` of the repository.

// From the ground up; a file imports only from those above it in this list.
mod config;

mod error;

mod link;

pub mod headers;

mod tags;

mod message;

mod connector;

mod declare;

mod publisher;

mod state;

mod core;

mod replies;

mod errands;

mod consumer;

mod actor;

mod queue;

pub use actor::RabbitMqActor;
pub use config::{Declare, RabbitMqConfig, StreamFrom};
pub use error::{LinkError, OpenError};
pub use link::Link;
pub use queue::RabbitMqQueue;
pub use replies::RabbitMqReplies;
