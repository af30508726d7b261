//! The guarantees of the project, one module for each, in the order of docs/guarantees.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

mod g01_at_least_once;
mod g02_death_is_seen_at_once;
mod g03_poison;
mod g04_fencing;
mod g05_order;
mod g06_bounds;
mod g07_hangs;
mod g08_restart_budget;
mod g09_drain;
mod g10_scaling;
mod g11_no_waiting;
mod g11_urgent;
