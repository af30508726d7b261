//! How safe an accepted job is.

use std::time::Duration;

/// When an accepted job is safe.
///
/// | | a send returns | what the death of the process can take | what a loss of power can take |
/// |---|---|---|---|
/// | [`EveryJob`](Self::EveryJob), the default | after the fsync | nothing | nothing |
/// | [`LoseUpTo`](Self::LoseUpTo) | once the job is in memory | what was accepted in the last so many ms | the same |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Accepted means on disk. Jobs that come together share one fsync.
    #[default]
    EveryJob,
    /// The disk is flushed every so often: what was accepted since then is lost if the process dies. Acks of that time
    /// are lost too, so their jobs are done again.
    LoseUpTo(Duration),
}
