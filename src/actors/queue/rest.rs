//! What a queue hands out without its actor, at the end of its group.

use std::fmt;

use crate::words::{DeadLetter, Sealed};

/// What a queue holds at the end of its group.
#[derive(Debug)]
pub struct QueueRest<J> {
    /// Every job that is neither done nor dead, leased ones too, oldest first. They are no longer in the queue.
    pub unfinished: Vec<Sealed<J>>,
    /// Its dead letters, oldest first, for those who wait for the outcome of such a job and were not told yet.
    pub dead: Vec<DeadLetter<J>>,
}

/// The jobs of an [`ActorQueue`](super::ActorQueue) can be handed out by its actor alone.
#[derive(Debug, Clone, Copy)]
pub struct ActorKeepsRest;

/// The jobs of an [`ActorQueue`](super::ActorQueue) can be handed out by this closure, without its actor.
#[derive(Clone)]
pub struct RestBy<R>(R);

impl<R> RestBy<R> {
    pub(super) fn new(rest: R) -> Self {
        Self(rest)
    }
}

impl<R> fmt::Debug for RestBy<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestBy").finish_non_exhaustive()
    }
}

/// Whether and how the jobs of an [`ActorQueue`](super::ActorQueue) are handed out without its actor.
pub trait ActorQueueRest<J>: Send + 'static {
    /// As [`QueueSource::take_rest`](super::QueueSource::take_rest).
    fn take(&self) -> Option<QueueRest<J>>;
}

impl<J> ActorQueueRest<J> for ActorKeepsRest {
    fn take(&self) -> Option<QueueRest<J>> {
        None
    }
}

impl<J, R: Fn() -> QueueRest<J> + Send + 'static> ActorQueueRest<J> for RestBy<R> {
    fn take(&self) -> Option<QueueRest<J>> {
        Some((self.0)())
    }
}
