//! The guards: the floors of the modules, the shapes, the pages, and the configuration with its page.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[cfg(feature = "config-file")]
mod config;
mod documents;
mod face;
mod floors;
mod floors_seen;
mod imports;
mod shapes;
