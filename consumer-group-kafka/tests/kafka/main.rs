//! The queue on Kafka, on a server: a real one where `scripts/services up kafka` was called before, otherwise skipped by name;
//! with `CI=true` that is a failure. What needs no real server runs on librdkafka's mock cluster everywhere.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests"
)]

mod common;

mod dead_letters;
mod faults;
mod mock;
mod progress;
mod rebalance;
mod settings;
