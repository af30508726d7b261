//! Consumer groups as actors on actix: producers put typed jobs on a queue, a supervisor hands them to equal consumers
//! by a strategy, and a consumer that dies is replaced while its jobs go to others.
//!
//! ```
//! use consumer_group::{Delivery, Group};
//!
//! # actix::System::new().block_on(async {
//! let group = Group::builder()
//!     .consume_with(4, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
//!     .start()?;
//! assert_eq!(group.producer().call(21).await?, 42);
//! group.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Where is what
//!
//! What most programs need stands here, at the top. The rest has a module for those who look for it:
//!
//! | module | what you find there |
//! |---|---|
//! | [`config`] | the parts of a [`GroupConfig`] |
//! | [`strategy`] | which consumer gets a job: those that are there, and what you need for one of your own |
//! | [`queue`] | the queue in memory, and what you need for one of your own |
//! | [`supervision`] | supervision of any actix actor, and of groups |
//! | [`events`] | what stands inside of events and of the health view |
//! | [`host`] | how a [`Host`] is made, and what is said of its end |
//! | `codec`, `durable`, `testing`, `sim` | a cargo feature each: see below |
//!
//! | you want to | begin at |
//! |---|---|
//! | run jobs | [`Group::builder`] |
//! | start from tokio, axum or a plain `main` | [`Host`] |
//! | send jobs and get results | [`Producer`], [`Group::producer_group`] |
//! | write a consumer | [`Consumer`], [`ConsumerActor`], [`BatchConsumer`] |
//! | choose or write a strategy | [`StrategyKind`], [`strategy`] |
//! | bring a queue of your own | [`queue`] |
//! | see what happens | [`Group::events`], [`EventKind`], [`Group::health`] |
//! | set numbers and names | [`GroupConfig`] |
//! | have a group made again when it fails | [`supervision::GroupChild`] |
//! | supervise an actor of your own | [`supervision::Child`], [`supervision::SupervisorSpec`], `docs/supervision.md` |
//!
//! # Words
//!
//! | word | what it means here |
//! |---|---|
//! | job | what a producer sends: a payload, and wishes such as a key or a delay ([`Job`]) |
//! | delivery | one attempt to have a job done ([`Delivery`]) |
//! | consumer | your code that does jobs; equal to the other consumers of its group |
//! | slot | a consumer's place in the group; it outlives the consumer ([`SlotId`]) |
//! | incarnation | one life of the consumer in a slot ([`Incarnation`]); nothing that an earlier one says counts |
//! | epoch | one life of the supervisor ([`Epoch`](queue::Epoch)) |
//! | lease | the queue's promise to the supervisor to keep a job until it is settled ([`LeaseId`](queue::LeaseId)) |
//! | leased | of a job: under a lease, so it waits in the group for its consumer, its key or its retry, or it is in flight ([`Health::leased`]) |
//! | in flight | of a delivery and its job: with a consumer, which may not have begun it, and not settled ([`Health::in_flight`]); of a key: a job of it is |
//! | begun | of a delivery: its consumer has looked at the job ([`Delivery::job`]) |
//! | settle | to say what became of a delivery or a lease: done, again, rejected, still at work ([`Verdict`](queue::Verdict)) |
//! | prefetch window | how many deliveries one consumer may hold ([`WindowConfig`](config::WindowConfig)) |
//! | dead letter | a job that will not be tried again, with its reason and history ([`DeadLetter`]) |
//! | drain | to take no more jobs, finish what is there, and end ([`Group::drain`]) |
//! | outcome | how a job ended, as its producer learns it ([`Outcome`]) |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `config-file` | on | [`GroupConfig`] from a TOML file and from environment variables |
//! | `codec` | off | `codec`: payloads as bytes, for queues whose jobs leave the process; `durable` has it on |
//! | `signals` | off | [`Signals`]: SIGINT and SIGTERM, for [`Group::drain_on`] |
//! | `durable` | off | `durable`: a queue in a file, for jobs that must outlive the process |
//! | `command-line` | off | the command `consumer-group`, which looks into the file of such a queue |
//! | `tower` | off | `tower`: a `tower::Service`, with its layers, is a consumer |
//! | `testing` | off | probes, gates, a queue worked by hand, conformance suites for parts of your own; for `[dev-dependencies]` |
//! | `sim` | off | faults on purpose, on a virtual clock; a checker, a sweep, a shrinker; for `[dev-dependencies]` |
//!
//! # Panics
//!
//! A group catches the panics of consumers, strategies and queues. That needs unwinding: in a program that is built with
//! `panic = "abort"` the first panic ends the process. [`GroupBuilder::start`] warns of it in the log.
//!
//! The reasons for all this stand in `docs/architecture.md`, the promises and their limits in `docs/guarantees.md`.

#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules stand on floors, from the ground up in the order of these lines, and a file imports only from floors below its
// own; `docs/architecture.md` walks through them. The first four, the engine, are open for benches and for the model checker
// only: nothing in them is promised.

#[doc(hidden)]
pub mod types;

#[cfg(feature = "codec")]
pub mod codec;

#[doc(hidden)]
pub mod rules;

#[doc(hidden)]
pub mod protocol;

#[doc(hidden)]
pub mod actors;

mod group;

mod face;

#[cfg(feature = "config-file")]
mod config_file;

#[cfg(feature = "durable")]
pub mod durable;

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "tower")]
pub mod tower;

#[cfg(feature = "sim")]
pub mod sim;

#[cfg(feature = "signals")]
pub use actors::Signals;
pub use actors::{BatchSize, Events, Host};
pub use face::{config, events, host, queue, strategy, supervision};
pub use group::{
    AS_CONFIGURED, BatchSendError, CallError, DeadLetters, Drained, Group, GroupBuilder, LookError, Producer,
    ProducerGroup, Results, SendError, SendErrorKind, StartError, StoppedError, Undelivered,
};
pub use protocol::{BatchConsumer, Consumer, ConsumerActor, ConsumerInfo, Deliver, Delivery};
pub use types::{
    Advice, AttemptRecord, Cause, DeadLetter, DeadReason, Event, EventKind, Failure, FencingToken,
    GroupConfig, GroupState, Health, Incarnation, Job, JobId, Key, Outcome, ParseJobIdError, PayloadRef,
    Placement, Priority, Role, SlotId, StrategyKind,
};

/// A place in the code of a consumer at which a simulated fault can end it, half way through its effects.
///
/// Name the place; [`FaultKind::Failpoint`](sim::FaultKind::Failpoint) of a plan names it too. Without the feature `sim` of
/// this crate it is nothing at all.
///
/// ```
/// # async fn consume(delivery: &consumer_group::Delivery<'_, u64>) -> Result<(), consumer_group::Failure> {
/// // ... the account is charged
/// consumer_group::failpoint!("charged");
/// // ... the receipt is written
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "sim")]
#[macro_export]
macro_rules! failpoint {
    ($place:expr) => {
        $crate::protocol::faults::failpoint($place)
    };
}

/// A place in the code of a consumer at which a simulated fault can end it; nothing at all without the feature `sim`.
#[cfg(not(feature = "sim"))]
#[macro_export]
macro_rules! failpoint {
    ($place:expr) => {};
}

/// The code of the README is compiled and run with the other examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;

/// So is that of the README in Chinese.
#[cfg(doctest)]
#[doc = include_str!("../README.zh-CN.md")]
pub struct ReadmeInChineseDoctests;

/// So is the code of the page on parts of your own.
#[cfg(doctest)]
#[doc = include_str!("../docs/extending.md")]
pub struct ExtendingDoctests;

/// And that of the page on layers.
#[cfg(all(doctest, feature = "tower"))]
#[doc = include_str!("../docs/layers.md")]
pub struct LayersDoctests;

/// And that of the page on limits.
#[cfg(doctest)]
#[doc = include_str!("../docs/limits.md")]
pub struct LimitsDoctests;

/// And that of the page on supervision.
#[cfg(doctest)]
#[doc = include_str!("../docs/supervision.md")]
pub struct SupervisionDoctests;
