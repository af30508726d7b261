//! What a queue is told: where the server is, what the queue is called, and what may be declared.

use std::fmt;
use std::time::Duration;

/// How to reach a queue, and what may be done there.
///
/// Nothing is declared unless it is asked for by [`declare`](Self::declare): a queue that exists is used as it is.
///
/// ```
/// use std::time::Duration;
/// use consumer_group_rabbitmq::{Declare, RabbitMqConfig};
///
/// let config = RabbitMqConfig::new("amqp://guest:guest@localhost/%2f", "hello")
///     .declare(Declare::Quorum)
///     .dead_letters("hello.dead")
///     .retry_steps([Duration::from_secs(1), Duration::from_secs(60)]);
/// assert!(!format!("{config:?}").contains("guest"));
/// ```
#[derive(Clone)]
pub struct RabbitMqConfig {
    pub(crate) url: String,
    pub(crate) queue: String,
    pub(crate) declare: Declare,
    pub(crate) dead_letters: Option<String>,
    pub(crate) retry_steps: Vec<Duration>,
    pub(crate) stream_from: Option<StreamFrom>,
    pub(crate) most_prefetched: u16,
    pub(crate) longest_pause: Duration,
    pub(crate) patience: Duration,
    pub(crate) publish_within: Duration,
    pub(crate) most_bytes: usize,
    pub(crate) authority: Option<String>,
}

/// Whether a queue is declared, and as what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Declare {
    /// Nothing is declared: the queue must be there, of whatever kind it is.
    #[default]
    Nothing,
    /// A durable quorum queue: kept by a majority of the nodes, counts deliveries.
    Quorum,
    /// A durable classic queue.
    Classic,
    /// A durable classic queue with priorities from 0 to this one.
    Priorities(u8),
    /// A stream: messages stay when they are done, and every group reads all of them.
    Stream,
}

/// Where reading of a stream begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamFrom {
    /// At the oldest message that is there.
    First,
    /// At messages that come from now on.
    #[default]
    Next,
    /// At this offset.
    Offset(u64),
}

impl RabbitMqConfig {
    /// A queue of this name at the server of this address: `amqp://user:password@host:port/virtual-host`, or `amqps://` for an
    /// encrypted connection (feature `tls`). The virtual host `/` is written `%2f`.
    pub fn new(url: impl Into<String>, queue: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            queue: queue.into(),
            declare: Declare::Nothing,
            dead_letters: None,
            retry_steps: Vec::new(),
            stream_from: None,
            most_prefetched: 2_000,
            longest_pause: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            publish_within: Duration::from_secs(30),
            most_bytes: 16 * 1024 * 1024,
            authority: None,
        }
    }

    /// Declares the queue, the queue of dead letters and those of the retries where they are not there. A queue that is there
    /// with other arguments is an error that is told; it is not changed.
    #[must_use]
    pub fn declare(mut self, declare: Declare) -> Self {
        self.declare = declare;
        self
    }

    /// Jobs that are given up go to this queue, with what is known of them in their headers. Without it the group keeps its dead
    /// letters in its memory, and they end with the process.
    #[must_use]
    pub fn dead_letters(mut self, queue: impl Into<String>) -> Self {
        self.dead_letters = Some(queue.into());
        self
    }

    /// Retries wait in queues of the server, one for each of these times, called `<queue>.retry.<milliseconds>`; a delay is rounded
    /// up to the next of them, and one that is longer than all waits for the longest. They take no room in the group. Needs
    /// [`dead_letters`](Self::dead_letters).
    ///
    /// Without it the group keeps a job until its retry is due, and the job counts as prefetched.
    #[must_use]
    pub fn retry_steps(mut self, steps: impl IntoIterator<Item = Duration>) -> Self {
        self.retry_steps = steps.into_iter().filter(|step| !step.is_zero()).collect();
        self.retry_steps.sort_unstable();
        self.retry_steps.dedup();
        self
    }

    /// The queue is a stream, and reading begins here. After a lost connection it goes on behind what was done without a gap.
    #[must_use]
    pub fn stream_from(mut self, from: StreamFrom) -> Self {
        self.stream_from = Some(from);
        self
    }

    /// How many messages are prefetched at most, from 1. Below that the prefetch follows what the group takes. Default: 2,000.
    #[must_use]
    pub fn most_prefetched(mut self, messages: u16) -> Self {
        self.most_prefetched = messages.max(1);
        self
    }

    /// The longest pause between two tries to reach the server; the first ones follow each other faster. Default: 1 s.
    #[must_use]
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause.max(FIRST_PAUSE);
        self
    }

    /// How long one step of a connection may take (the connection itself, a declaration) before it counts as failed. Default: 10 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a job that is sent waits for the server and for its word, before it is handed back. Default: 30 s.
    #[must_use]
    pub fn publish_within(mut self, limit: Duration) -> Self {
        self.publish_within = limit;
        self
    }

    /// How large the bytes of one job may be. A larger one is handed back to its sender. Default: 16 MiB.
    #[must_use]
    pub fn most_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// The certificate of the authority that signed the server's, as PEM. Trusted beside those of the system.
    #[must_use]
    pub fn authority(mut self, certificate: impl Into<String>) -> Self {
        self.authority = Some(certificate.into());
        self
    }

    /// The queue.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Whether retries and dead letters are kept by the server.
    pub(crate) fn keeps_retries(&self) -> bool {
        self.dead_letters.is_some() && !self.retry_steps.is_empty() && !self.is_stream()
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.stream_from.is_some() || self.declare == Declare::Stream
    }

    /// The step to which this delay is rounded.
    pub(crate) fn step_of(&self, delay: Duration) -> Option<Duration> {
        let next = self.retry_steps.iter().find(|step| **step >= delay);
        next.or(self.retry_steps.last()).copied()
    }

    /// The queue in which retries of this step wait.
    pub(crate) fn retry_queue(&self, step: Duration) -> String {
        format!("{}.retry.{}", self.queue, step.as_millis())
    }
}

/// The pause before the second try to reach the server.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Without user and password.
impl fmt::Debug for RabbitMqConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqConfig")
            .field("url", &without_credentials(&self.url))
            .field("queue", &self.queue)
            .field("declare", &self.declare)
            .field("dead_letters", &self.dead_letters)
            .field("retry_steps", &self.retry_steps)
            .field("stream_from", &self.stream_from)
            .field("most_prefetched", &self.most_prefetched)
            .field("longest_pause", &self.longest_pause)
            .field("patience", &self.patience)
            .field("publish_within", &self.publish_within)
            .field("most_bytes", &self.most_bytes)
            .field("has_authority", &self.authority.is_some())
            .finish()
    }
}

/// The address as it may be told: without what stands before the last `@`, and without what follows a `?`, which may hold secrets.
pub(crate) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("amqp", url));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    format!("{scheme}://{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_without_user_and_password() {
        for (url, told) in [
            ("amqp://user:p%40ss@host:5672/%2f", "amqp://host:5672/%2f"),
            ("amqps://user:p@ss@host/v?auth_mechanism=plain", "amqps://host/v"),
            ("amqp://host", "amqp://host"),
            ("user:pass@host", "amqp://host"),
        ] {
            assert_eq!(without_credentials(url), told);
        }
    }

    #[test]
    fn a_delay_is_rounded_up_to_the_next_step_and_to_the_longest_beyond() {
        let seconds = Duration::from_secs;
        let config =
            RabbitMqConfig::new("amqp://host", "q").retry_steps([seconds(10), seconds(1), seconds(10)]);
        assert_eq!(config.step_of(Duration::from_millis(3)), Some(seconds(1)));
        assert_eq!(config.step_of(seconds(1)), Some(seconds(1)));
        assert_eq!(config.step_of(seconds(2)), Some(seconds(10)));
        assert_eq!(config.step_of(seconds(99)), Some(seconds(10)));
        assert_eq!(config.retry_queue(seconds(10)), "q.retry.10000");
    }
}
