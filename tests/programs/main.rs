//! The examples as the programs that they are.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "a test may fail, and a file of tests is no library"
)]

#[path = "../../examples/supervision_tree/client.rs"]
mod client;
#[path = "../../examples/supervision_tree/connection.rs"]
mod connection;
#[path = "../../examples/supervision_tree/listener.rs"]
mod listener;
#[path = "../../examples/supervision_tree/server.rs"]
mod server;

mod log_collection;
#[cfg(feature = "config-file")]
mod quickstart;
mod running;
mod supervision_tree;
