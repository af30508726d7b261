//! How a drain or a stop ended.

use std::fmt;

use super::errors::Undelivered;
use crate::types::{DeadLetter, write_unfinished};

/// How a drain or a stop ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Drained<J> {
    /// Jobs that were neither done nor given up, oldest first. Empty when everything was finished in time, and for every
    /// [`stop`](crate::Group::stop) or [`drain`](crate::Group::drain) but the first that returns. Jobs in a queue that is not `volatile`
    /// are not in here: they stay in their queue.
    pub unfinished: Vec<Undelivered<J>>,
    /// Jobs that became dead letters after the drain began, oldest first: the latest ones, at most `queue.dead_letters` and
    /// `queue.dead_letter_bytes`. With a queue in memory this is the last chance to see them. Empty for a stop without a drain, which gives no job up.
    pub dead_letters: Vec<DeadLetter<J>>,
}

impl<J> Drained<J> {
    /// Whether every job was done or given up.
    pub fn is_clean(&self) -> bool {
        self.unfinished.is_empty()
    }
}

/// For a log: how many jobs were not finished, the first of them by name, and how many were given up.
impl<J> fmt::Display for Drained<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            f.write_str("everything was finished")?;
        } else {
            write_unfinished(f, self.unfinished.iter().map(Undelivered::id))?;
        }
        match self.dead_letters.len() {
            0 => Ok(()),
            dead => write!(f, "; {dead} became dead letters"),
        }
    }
}
