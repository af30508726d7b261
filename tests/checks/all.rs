//! The checks that need tools of their own: a model checker, generated inputs, the engine of the durable queue beside it.
//! In a member of its own, so that whoever tries an example or runs the other tests does not build those tools.
//!
//! ```text
//! cargo test -p checks
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

mod configuration;
mod durable_faults;
mod foreign_files;
mod ledger;
mod model;
