//! What a service around a group needs: signals that drain, consumers that stop in order, conversions, sends that do not wait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[allow(dead_code, reason = "no test program uses every helper")]
#[path = "../borders/child.rs"]
mod child;
#[path = "../common/mod.rs"]
mod common;

mod consumers;
mod conversions;
#[cfg(feature = "testing")]
mod made;
mod own_group;
mod signals;
