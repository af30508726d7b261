//! A disk that failed is left alone for a while.

use std::time::Duration;

use tokio::time::Instant;

/// How long a disk that failed is left alone at first. Twice as long after each further failure: an attempt opens the file
/// again, which reads all of it.
const FIRST_REST: Duration = Duration::from_millis(100);

/// And at most. A disk that has room again is found out that late.
const LONGEST_REST: Duration = Duration::from_secs(3);

/// So long, and until then.
#[derive(Debug, Clone, Copy)]
pub(in crate::durable) struct Rest {
    length: Duration,
    pub(super) until: Instant,
}

impl Rest {
    pub(super) fn after(before: Option<Self>) -> Self {
        let length = before.map_or(FIRST_REST, |before| (before.length * 2).min(LONGEST_REST));
        Self {
            length,
            until: Instant::now() + length,
        }
    }
}
