//! Lanes: what a queue outside of the process hands out in order.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A lane of a queue outside of the process: what it hands out in order, and can take away as one. A queue of a broker, or a
/// partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The queue, or the topic.
    pub source: Arc<str>,
    /// The partition; 0 where there is one only.
    pub number: u32,
}

impl Lane {
    /// A lane by the name of its source and its number there.
    pub fn new(source: impl Into<Arc<str>>, number: u32) -> Self {
        Self {
            source: source.into(),
            number,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.source, self.number)
    }
}
