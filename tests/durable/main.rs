//! The queue on disk, from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "command-line")]
mod command;
mod listing;
mod queue;
