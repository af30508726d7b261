//! What a host says of its end.

use std::fmt;
use std::sync::Arc;

use super::JobId;

/// What was left when a host ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostReport {
    /// What was not finished, the last started first. Empty after a clean end.
    pub left: Vec<LeftOnHost>,
    /// The host's thread did not come back within the limit. It is left to itself, and with it everything that lives there.
    pub is_thread_blocked: bool,
}

/// A group or a tree that was not finished when its host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOnHost {
    /// What it is: `group 1`, counted as they were started on the host, or `tree` with its name.
    pub what: Arc<str>,
    /// The jobs that were neither done nor given up, oldest first. Those of a queue that is not `volatile` are not in here:
    /// they stay in their queue.
    pub unfinished: Vec<JobId>,
    /// Whether it ended in time. If not, it ended with the system, and its unfinished jobs are not known.
    pub has_ended: bool,
}

impl HostReport {
    /// Whether everything was finished and the thread has ended.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && !self.is_thread_blocked
    }

    /// Into the log, for an end for which nobody waits.
    pub(crate) fn log(&self) {
        if !self.is_clean() {
            tracing::warn!(report = %self, "a host was dropped and could not finish everything");
        }
    }
}

impl fmt::Display for HostReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("everything was finished");
        }
        let mut parts = self.left.iter();
        if let Some(first) = parts.next() {
            write!(f, "{first}")?;
        }
        parts.try_for_each(|part| write!(f, "; {part}"))?;
        if self.is_thread_blocked {
            let lead = if self.left.is_empty() { "" } else { "; " };
            write!(f, "{lead}the thread of the host did not come back")?;
        }
        Ok(())
    }
}

/// So many names stand in a line of text; the rest is counted.
const NAMED: usize = 10;

/// How many jobs were not finished, and the names of the first of them.
pub(crate) fn write_unfinished(
    f: &mut fmt::Formatter<'_>,
    mut unfinished: impl ExactSizeIterator<Item = JobId>,
) -> fmt::Result {
    let count = unfinished.len();
    write!(f, "{count} jobs were not finished:")?;
    unfinished
        .by_ref()
        .take(NAMED)
        .try_for_each(|id| write!(f, " {id}"))?;
    match unfinished.len() {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

impl fmt::Display for LeftOnHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            unfinished,
            has_ended,
        } = self;
        if !has_ended {
            write!(f, "{what} did not end in time")?;
        } else {
            write!(f, "{what}:")?;
        }
        if unfinished.is_empty() {
            return Ok(());
        }
        f.write_str(" ")?;
        write_unfinished(f, unfinished.iter().copied())
    }
}
