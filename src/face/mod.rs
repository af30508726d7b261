//! The public face: what users find under a name of its own beside the names at the root. Nothing is made here.

pub mod config;
pub mod events;
pub mod host;
pub mod queue;
pub mod strategy;
pub mod supervision;
