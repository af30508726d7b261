//! Errors: why a queue cannot be reached, and why something was not published.

use std::time::Duration;

/// Why a queue cannot be used at present. It goes on trying by itself.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The client says so: the server cannot be reached, refuses the user, or has closed the connection.
    #[error("{doing}: {}", told(.cause))]
    Client {
        /// What was done.
        doing: &'static str,
        /// What the client says.
        #[source]
        cause: lapin::Error,
    },
    /// There was no answer in time.
    #[error("{doing}: no answer within {} ms", .within.as_millis())]
    NoAnswer {
        /// What was done.
        doing: &'static str,
        /// How long was waited.
        within: Duration,
    },
    /// The connection, or a channel of it, has ended.
    #[error("the connection has ended")]
    Ended,
    /// The server has ended the consumption: the queue was deleted, or its node left.
    #[error("the server has cancelled the consumer: the queue was deleted, or its node is down")]
    Cancelled,
}

impl LinkError {
    pub(crate) fn client(doing: &'static str) -> impl FnOnce(lapin::Error) -> Self {
        move |cause| Self::Client { doing, cause }
    }
}

/// The words of the client. They name no credentials: it knows the address in parts and tells none of them.
fn told(error: &lapin::Error) -> String {
    error.to_string()
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// No queue takes it.
    #[error("no queue takes the message")]
    Unroutable,
    /// The server refused it: the queue is full.
    #[error("the server refused the message")]
    Refused,
    /// It was sent, and the word of the server did not come. It may be there or not.
    #[error("the server has not confirmed the message")]
    Unconfirmed,
    /// It was not sent, since the server could not be reached in time.
    #[error("the server cannot be reached")]
    Unavailable,
}

/// Why a queue could not be opened at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address cannot be read. It is not told, as it may hold a password.
    #[error("the address of the server cannot be read: {0}")]
    Address(String),
    /// The address asks for an encrypted connection, and the feature `tls` is off.
    #[error("an encrypted connection needs the feature `tls`")]
    NoTls,
    /// The thread of the connections could not be started.
    #[error("the thread of the connections could not be started")]
    Thread(#[source] std::io::Error),
    /// The name of a queue is longer than the 255 bytes that the protocol allows.
    #[error("the name of the queue is too long: {0}")]
    Name(String),
    /// Retries need a place for dead letters.
    #[error("retries are kept by the server only together with dead letters: name a queue for them")]
    RetriesWithoutDeadLetters,
}
