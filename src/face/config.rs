//! The parts of a [`GroupConfig`](crate::GroupConfig), and what is said of a wrong one.
//!
//! Every key with its default and its bounds stands in `docs/configuration.md`.

#[cfg(feature = "config-file")]
pub use crate::config_file::ConfigFileError;
pub use crate::types::{
    Affinity, BackoffConfig, CircuitConfig, ConfigError, Overflow, PastBudget, QueueConfig, RateConfig,
    RestartConfig, RetryConfig, WindowConfig,
};
