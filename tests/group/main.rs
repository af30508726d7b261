//! A group from outside: its producers, its consumers, what it tells, what it costs, and what it takes for granted of actix.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

mod actix_facts;
mod consumers;
mod done_work_survives_a_panic;
mod events;
mod found_by_examples;
mod jobs_back;
#[cfg(target_os = "linux")]
mod performance;
mod producers;
