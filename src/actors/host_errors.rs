//! Why a host did not start, and why something did not run on it.

use crate::types::PanicReport;

/// Why no host could be started: the operating system has no thread, or nothing that a runtime needs, to give.
#[derive(Debug, thiserror::Error)]
#[error("no thread could be had for the host: {cause}")]
pub struct HostStartError {
    #[source]
    pub(super) cause: std::io::Error,
}

/// Why a host did not do what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostRunError {
    /// The host has ended, or is about to.
    #[error("the host has ended; start a new one")]
    Ended,
    /// The work panicked. The host goes on.
    #[error("the work given to the host panicked: {0}")]
    Panicked(PanicReport),
}
