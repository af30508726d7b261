//! A value that finds its way back when the message that carries it is dropped.

use std::fmt;

use tokio::sync::oneshot;

/// Something handed to an actor by message that must not be lost with the actor's mailbox.
///
/// Whoever handles the message calls [`take`](Self::take). If the message is dropped before that (the actor died, its
/// mailbox went with it), the value goes where the sender said.
pub struct Handover<T> {
    content: Option<T>,
    otherwise: Option<Box<dyn FnOnce(T) + Send>>,
}

impl<T: Send + 'static> Handover<T> {
    /// Wraps `content`; the receiver gets it back if nobody takes it, and an error if somebody did.
    pub fn new(content: T) -> (Self, oneshot::Receiver<T>) {
        let (way_back, back) = oneshot::channel();
        let handover = Self::or_else(content, move |content| {
            // An error means that the sender has gone as well; then there is nobody left to whom the content matters.
            let _ = way_back.send(content);
        });
        (handover, back)
    }

    /// Wraps `content`; `otherwise` is called with it if nobody takes it. It runs inside `Drop` and must not panic.
    pub fn or_else(content: T, otherwise: impl FnOnce(T) + Send + 'static) -> Self {
        Self {
            content: Some(content),
            otherwise: Some(Box::new(otherwise)),
        }
    }
}

impl<T> Handover<T> {
    /// The content, which stays where it is. `None` if it was taken.
    pub fn peek(&self) -> Option<&T> {
        self.content.as_ref()
    }

    /// Takes the content; from here on it is the caller's to keep. `None` if it was taken before.
    pub fn take(&mut self) -> Option<T> {
        self.otherwise = None;
        self.content.take()
    }
}

impl<T> Drop for Handover<T> {
    fn drop(&mut self) {
        if let (Some(content), Some(otherwise)) = (self.content.take(), self.otherwise.take()) {
            otherwise(content);
        }
    }
}

impl<T> fmt::Debug for Handover<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover")
            .field("taken", &self.content.is_none())
            .finish()
    }
}
