//! A handle without the type of its actor.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix::Message;

use super::errors::SendError;

/// A handle for one type of message, whatever the actor behind it.
pub struct Recipient<M: Message> {
    pub(super) to: Arc<dyn Takes<M>>,
}

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self {
            to: Arc::clone(&self.to),
        }
    }
}

impl<M: Message> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

pub(super) type Answer<M> =
    Pin<Box<dyn Future<Output = Result<<M as Message>::Result, SendError<M>>> + Send>>;

pub(super) trait Takes<M: Message>: Send + Sync {
    fn send(&self, message: M) -> Answer<M>;
    fn put(&self, message: M, only_below_capacity: bool) -> Result<(), SendError<M>>;
}

impl<M: Message + Send + 'static> Recipient<M> {
    /// As [`Handle::send`](super::Handle::send).
    ///
    /// # Errors
    /// As [`Handle::send`](super::Handle::send).
    pub async fn send(&self, message: M) -> Result<M::Result, SendError<M>> {
        self.to.send(message).await
    }

    /// As [`Handle::do_send`](super::Handle::do_send).
    ///
    /// # Errors
    /// As [`Handle::do_send`](super::Handle::do_send).
    pub fn do_send(&self, message: M) -> Result<(), SendError<M>> {
        self.to.put(message, false)
    }

    /// As [`Handle::try_send`](super::Handle::try_send).
    ///
    /// # Errors
    /// As [`Handle::try_send`](super::Handle::try_send).
    pub fn try_send(&self, message: M) -> Result<(), SendError<M>> {
        self.to.put(message, true)
    }
}
