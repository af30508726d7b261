//! Jobs: what a producer sends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Key, Moment};

/// How urgent a job is: one of a higher number goes first, and overtakes what consumers hold and have not begun; jobs of one
/// priority are first in, first out. The default is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u8);

impl Priority {
    /// That of jobs which go before all others.
    pub const MOST_URGENT: Self = Self(u8::MAX);

    /// Whether jobs of it are urgent: they overtake those of the default, which most jobs have.
    #[inline]
    pub fn is_urgent(self) -> bool {
        self.0 > 0
    }
}

/// A job on its way to the queue: the payload and what the producer wishes for it.
///
/// ```
/// use std::time::Duration;
/// use consumer_group::Job;
///
/// let job = Job::new("rotate the log").key("host-7").priority(3).delay(Duration::from_millis(20));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a job does nothing until a producer sends it"]
pub struct Job<J> {
    pub(crate) payload: J,
    pub(crate) key: Option<Key>,
    pub(crate) priority: Priority,
    rest: Option<Box<Rest>>,
}

/// What few producers wish, kept behind a pointer so that a plain job stays small.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rest {
    delay: Option<Duration>,
    expires_after: Option<Duration>,
    dedup: Option<Key>,
}

/// What is wished for a job beside its key, with the moments that follow from when the group took it. The jobs of a block agree
/// in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) priority: Priority,
    pub(super) not_before: Option<Moment>,
    pub(super) expires_at: Option<Moment>,
    /// When delay and expiry began to count; the start of all times without either.
    pub(super) since: Moment,
    pub(super) dedup: Option<Key>,
}

impl<J> Job<J> {
    /// A job with no key, priority 0, to be done as soon as possible.
    pub fn new(payload: J) -> Self {
        Self {
            payload,
            key: None,
            priority: Priority(0),
            rest: None,
        }
    }

    /// Gives the job a key: jobs of one key are handled in order in a group that keeps order. Jobs of one key with different
    /// priorities or delays are ordered by those first.
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the priority; a job of a higher number goes before all of a lower one that have not begun.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Priority(priority);
        self
    }

    /// The job is not leased before this much time has passed since the group took it. Timers tell milliseconds.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.rest.get_or_insert_default().delay = Some(delay);
        self
    }

    /// A job that has not begun this long after the group took it becomes a dead letter
    /// ([`DeadReason::Expired`](super::DeadReason::Expired)), wherever it waits: in the queue, for a consumer, or in the window
    /// of a busy one. There it is told when its turn comes.
    ///
    /// A job that has begun once no longer expires: its retries are those of any job, and for work that takes too long there is
    /// the group's `deadline_ms`. An actor whose mailbox may be long asks before it begins; see
    /// [`Deliver::unless_expired`](crate::Deliver::unless_expired).
    pub fn expires_after(mut self, age: Duration) -> Self {
        self.rest.get_or_insert_default().expires_after = Some(age);
        self
    }

    /// Refuses this job if a job with the same deduplication key was accepted within the queue's window. A send of such a job
    /// waits for the queue's own word, also with a queue in memory.
    pub fn dedup(mut self, key: impl Into<Key>) -> Self {
        self.rest.get_or_insert_default().dedup = Some(key.into());
        self
    }

    /// What it carries.
    pub fn payload(&self) -> &J {
        &self.payload
    }

    /// Takes the payload out again.
    pub fn into_payload(self) -> J {
        self.payload
    }

    /// Whether nothing is wished that depends on the time, or on other jobs: a key and a priority at most.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.rest.is_none()
    }

    /// What is wished for it, beside its key. `now` is the moment from which delay and expiry count.
    pub(super) fn wishes(&self, now: Moment) -> Wishes {
        let rest = self.rest.as_deref();
        let is_timed = rest.is_some_and(|rest| rest.delay.is_some() || rest.expires_after.is_some());
        Wishes {
            since: if is_timed { now } else { Moment::START },
            priority: self.priority,
            not_before: rest.and_then(|rest| rest.delay).map(|delay| now.after(delay)),
            expires_at: rest.and_then(|rest| rest.expires_after).map(|age| now.after(age)),
            dedup: rest.and_then(|rest| rest.dedup.clone()),
        }
    }

    /// The job with all that was wished for it. Delay and expiry count anew from when it is sent.
    pub(super) fn of_wishes(payload: J, key: Option<Key>, wishes: &Wishes) -> Self {
        // A wait beyond all times was cut to the last moment.
        let wait = |until: Moment| match until.as_nanos() {
            u64::MAX => Duration::MAX,
            _ => until.since(wishes.since),
        };
        let rest = Rest {
            delay: wishes.not_before.map(wait),
            expires_after: wishes.expires_at.map(wait),
            dedup: wishes.dedup.clone(),
        };
        Self {
            payload,
            key,
            priority: wishes.priority,
            rest: (rest != Rest::default()).then(|| Box::new(rest)),
        }
    }

    /// Whether a second job like it shall be refused.
    pub(crate) fn has_dedup(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.dedup.is_some())
    }
}

impl<J> From<J> for Job<J> {
    fn from(payload: J) -> Self {
        Self::new(payload)
    }
}
