//! How a job that leaves its block is held.

use std::sync::Arc;

use crate::types::{Block, JobRef, KeyHash, Lane, Priority};

/// A handle of a job, which can be made of one of the block that the job stands in. `()` for those who only look at the rules.
pub trait OutOfBlock<B>: Clone {
    /// The handle of the job at this place.
    fn out_of(block: &B, place: u8) -> Self;

    /// How urgent the job is.
    fn priority(&self) -> Priority {
        Priority(0)
    }

    /// By which lane of a queue outside of the process it came, if it did.
    fn lane(&self) -> Option<&Lane> {
        None
    }

    /// The key of the job, for the limit of each key.
    fn key(&self) -> Option<KeyHash> {
        None
    }
}

impl OutOfBlock<()> for () {
    fn out_of(_: &(), _: u8) {}
}

impl<J> OutOfBlock<Arc<Block<J>>> for JobRef<J> {
    fn out_of(block: &Arc<Block<J>>, place: u8) -> Self {
        Self::in_block(Arc::clone(block), place)
    }

    fn priority(&self) -> Priority {
        JobRef::priority(self)
    }

    fn lane(&self) -> Option<&Lane> {
        self.origin().map(|origin| &origin.lane)
    }

    fn key(&self) -> Option<KeyHash> {
        self.key_hash()
    }
}
