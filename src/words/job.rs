//! Jobs: what a producer sends, and the envelope in which it travels.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::begun::BegunMark;
use super::{JobId, Key, Moment, ReplyTo};

/// How urgent a job is: a higher number is leased first; jobs of one priority are first in, first out. The default is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u8);

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

    /// Sets the priority; a higher number is leased first.
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

    /// Whether nothing but a key is wished for this job.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.priority == Priority(0) && self.rest.is_none()
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

/// The seldom used wishes of a job, kept behind a pointer so that a plain job stays small.
#[derive(Debug)]
struct Wishes {
    /// When delay and expiry began to count.
    since: Moment,
    not_before: Option<Moment>,
    expires_at: Option<Moment>,
    /// Set when the job begins for the first time, or comes back after it had. Never cleared.
    no_longer_expires: AtomicBool,
    dedup: Option<Key>,
    /// A mailbox whose number is too large for the place that it has in the envelope.
    reply_to: Option<ReplyTo>,
}

/// Numbers of mailboxes up to here share eight bytes with the priority, so that a waiting job takes 16 bytes less.
const PACKED_REPLIES: u64 = 1 << 56;

/// A job that travels alone: the payload with its name and all that is wished for it.
pub(crate) struct Envelope<J> {
    id: JobId,
    key: Option<Key>,
    wishes: Option<Box<Wishes>>,
    /// The number of the mailbox that waits for the outcome, 0 if none does or if it is among the wishes; then the priority
    /// in the lowest byte.
    reply_and_priority: u64,
    begun: BegunMark,
    payload: J,
}

impl<J> Envelope<J> {
    /// Puts a job into its envelope. `now` is the moment from which delay and expiry count.
    pub(crate) fn seal(id: JobId, job: Job<J>, reply_to: Option<ReplyTo>, now: Moment) -> Self {
        let packed = reply_to.map_or(0, |reply_to| reply_to.0);
        let is_large = reply_to.is_some() && !(1..PACKED_REPLIES).contains(&packed);
        let has_wishes = job.rest.is_some() || is_large;
        let wishes = has_wishes.then(|| {
            let rest = job.rest.map(|rest| *rest).unwrap_or_default();
            Box::new(Wishes {
                since: now,
                not_before: rest.delay.map(|delay| now.after(delay)),
                expires_at: rest.expires_after.map(|age| now.after(age)),
                no_longer_expires: AtomicBool::new(false),
                dedup: rest.dedup,
                reply_to: reply_to.filter(|_| is_large),
            })
        });
        let packed = if is_large { 0 } else { packed };
        Self {
            id,
            key: job.key,
            wishes,
            reply_and_priority: (packed << 8) | u64::from(job.priority.0),
            begun: BegunMark::default(),
            payload: job.payload,
        }
    }

    /// Whether it says nothing that only its own group understands: a moment, or who waits for the outcome.
    pub(crate) fn is_bound_to_no_group(&self) -> bool {
        self.reply_to().is_none() && self.not_before().is_none() && self.expires_at().is_none()
    }

    /// The same job for another group: what was to come `then`, by the clock of its own, is as far away `now`, by that of the
    /// other. Nobody waits for its outcome, and no delivery of it has begun.
    pub(crate) fn for_another_group(mut self, then: Moment, now: Moment) -> Self {
        self.reply_and_priority = u64::from(self.priority().0);
        if let Some(wishes) = &mut self.wishes {
            let moved = |moment: Moment| now.after(moment.since(then));
            wishes.not_before = wishes.not_before.map(moved);
            wishes.expires_at = wishes.expires_at.map(moved);
            wishes.since = now;
            wishes.reply_to = None;
        }
        self.begun.forget();
        self
    }

    /// The name of the job.
    #[inline]
    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    /// The key, if the producer gave one.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// How urgent the job is.
    pub(crate) fn priority(&self) -> Priority {
        let [priority, ..] = self.reply_and_priority.to_le_bytes();
        Priority(priority)
    }

    /// Not to be leased before this moment.
    pub(crate) fn not_before(&self) -> Option<Moment> {
        self.wishes.as_ref().and_then(|wishes| wishes.not_before)
    }

    /// Not to begin after this moment. `None` also for a job that has begun before, or was sent back from the dead letters.
    #[inline]
    pub(crate) fn expires_at(&self) -> Option<Moment> {
        let wishes = self.wishes.as_ref()?;
        wishes
            .expires_at
            .filter(|_| !wishes.no_longer_expires.load(Ordering::Relaxed))
    }

    /// When delay and expiry began to count.
    pub(crate) fn since(&self) -> Option<Moment> {
        self.wishes.as_ref().map(|wishes| wishes.since)
    }

    /// The moment with which it was sent, whether or not it still expires.
    pub(crate) fn expiry(&self) -> Option<Moment> {
        self.wishes.as_ref().and_then(|wishes| wishes.expires_at)
    }

    /// From now on it does not expire any more: it has begun, or a queue sends it back from its dead letters.
    #[inline]
    pub(crate) fn forget_expiry(&self) {
        // Relaxed is enough: who puts the job on its next way, by a message or under a lock, has seen it.
        if let Some(wishes) = &self.wishes {
            wishes.no_longer_expires.store(true, Ordering::Relaxed);
        }
    }

    /// The deduplication key, if the producer gave one.
    pub(crate) fn dedup(&self) -> Option<&Key> {
        self.wishes.as_ref().and_then(|wishes| wishes.dedup.as_ref())
    }

    /// Who waits for the outcome, if anyone does.
    pub(crate) fn reply_to(&self) -> Option<ReplyTo> {
        match self.reply_and_priority >> 8 {
            0 => self.wishes.as_ref().and_then(|wishes| wishes.reply_to),
            packed => Some(ReplyTo(packed)),
        }
    }

    /// What the producer sent.
    pub(crate) fn payload(&self) -> &J {
        &self.payload
    }

    /// Takes the payload out, when the caller holds the only envelope.
    pub(crate) fn into_payload(self) -> J {
        self.payload
    }

    /// Whether a delivery of it has begun.
    #[inline]
    pub(crate) fn begun(&self) -> &BegunMark {
        &self.begun
    }
}

/// Payloads never appear in logs, so `Debug` names the job and leaves the payload out.
impl<J> fmt::Debug for Envelope<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("priority", &self.priority())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_envelope_tells_every_mailbox_and_every_priority_that_it_was_sealed_with() {
        let id = JobId::from_uuid(Uuid::nil());
        for reply_to in [
            None,
            Some(0),
            Some(1),
            Some(PACKED_REPLIES - 1),
            Some(PACKED_REPLIES),
            Some(u64::MAX),
        ] {
            let reply_to = reply_to.map(ReplyTo);
            for priority in [0, 1, u8::MAX] {
                let job = Job::new(()).priority(priority);
                let envelope = Envelope::seal(id, job, reply_to, Moment::START);
                assert_eq!(envelope.reply_to(), reply_to);
                assert_eq!(envelope.priority(), Priority(priority));
                assert_eq!(envelope.dedup(), None);
            }
        }
    }

    #[test]
    fn a_plain_envelope_takes_64_bytes_and_its_payload() {
        assert_eq!(size_of::<Envelope<u64>>(), 64 + size_of::<u64>());
    }
}
