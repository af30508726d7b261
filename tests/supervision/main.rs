//! Supervision of any actix actor, through the public interface: what OTP promises of its supervisors, for actors written
//! for plain actix.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod handles;
mod hangs;
mod patient;
mod policies;
mod restarts;
mod runtime_children;
mod scale;
mod trees;
