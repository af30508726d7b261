//! The border of a group and of a tree: where their promises meet the host, the clock, the machine and the file.
//!
//! One module for each border. `cargo test --test borders`; with `--features durable` for the file.

#[path = "../common/mod.rs"]
mod common;

mod arrivals;
#[cfg(feature = "testing")]
mod broker;
mod child;
mod clock;
mod drain;
mod group_children;
mod host;
mod panics;
mod payload_ends;
mod replies;
mod resources;
mod start;
mod texts;
mod trees;

#[cfg(feature = "durable")]
mod file;
#[cfg(feature = "durable")]
mod payloads;
#[cfg(feature = "durable")]
mod suspects;
