//! Consumer groups as actors on actix.

pub mod actors;
pub mod protocol;
pub mod rules;
pub mod words;

#[cfg(feature = "config-file")]
mod config_file;

#[cfg(feature = "config-file")]
pub use config_file::ConfigFileError;
pub use protocol::{BatchConsumer, Consumer, ConsumerActor, ConsumerInfo, Deliver, Delivery};
pub use words::*;

/// The code of the README is compiled and run with the other examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadmeDoctests;
