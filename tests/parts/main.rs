//! The kit for parts of your own, and that our own parts pass its suites.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

mod conformance;
mod testing_kit;
