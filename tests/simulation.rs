//! Simulated runs: what a plan can be, that runs repeat themselves, that the checker bites, what the sweep found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]
