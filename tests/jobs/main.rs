//! What is said of jobs beyond sending them: layers, limits, schedules, and a look at those that wait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "tower")]
mod layers;
mod limits;
mod snooze;
