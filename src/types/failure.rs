//! Failures: what a consumer says when it could not do a job, and why an attempt ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drop_guarded;
use super::text_of::{text_of, text_of_error};

/// Why a queue could not write a job down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteFailure {
    /// The disk did not take it. The queue tries again by itself.
    Disk(std::io::ErrorKind),
    /// The file of the queue was moved away, deleted or replaced. The queue goes on when it is back.
    Moved,
    /// Another program has written to the file of the queue. This queue writes no more.
    TakenOver,
    /// The file of the queue is damaged.
    Damaged,
}

impl fmt::Display for WriteFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(kind) => write!(f, "{kind}"),
            Self::Moved => f.write_str("its file was moved away, deleted or replaced, and has to come back"),
            Self::TakenOver => {
                f.write_str("another program has written to its file, which has to be opened again")
            }
            Self::Damaged => f.write_str("its file is damaged"),
        }
    }
}

/// What shall happen to a job that a consumer could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Advice {
    /// Try again after the group's backoff, or after the delay given here.
    Retry(Option<Duration>),
    /// Do not try again: the job itself is wrong.
    Reject,
    /// Not now: try again after this delay, as if this attempt had not been.
    Snooze(Duration),
}

/// What a consumer returns for a job that it could not do.
///
/// Every `std::error::Error` turns into a failure with `?`, and so do a `Box<dyn Error>`, an `anyhow::Error` and a text; the
/// causes are kept in the text, sixteen of them at most, and the job is tried again after the group's backoff. Use
/// [`Failure::reject`] for a job that can never succeed. A `Box<dyn Error + Send + Sync>` becomes one with
/// `.map_err(Failure::boxed)?`: the standard library does not turn it into a `Box<dyn Error>` by itself.
///
/// A text has at most 4 KiB; what is longer is cut, and the text says how much. A reason whose `Display` panics is a text
/// that says so.
///
/// Like other catch-all error types, `Failure` does not implement `std::error::Error` itself; that is what makes `?` work.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    text: Arc<str>,
    advice: Advice,
}

impl Failure {
    /// The job shall be tried again after the group's backoff.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self {
            text: text_of(reason),
            advice: Advice::Retry(None),
        }
    }

    /// The job shall be tried again after this delay.
    pub fn retry_after(delay: Duration, reason: impl fmt::Display) -> Self {
        Self {
            text: text_of(reason),
            advice: Advice::Retry(Some(delay)),
        }
    }

    /// It cannot be done now, and it is nobody's fault: a remote said when to come again. The job comes again after this delay,
    /// and the attempt does not count; so a job can be snoozed for ever. It has a line in the events
    /// ([`EventKind::Snoozed`](crate::EventKind::Snoozed)) and none in the history of the job.
    pub fn snooze(delay: Duration, reason: impl fmt::Display) -> Self {
        Self {
            text: text_of(reason),
            advice: Advice::Snooze(delay),
        }
    }

    /// The job shall not be tried again: it becomes a dead letter with this reason.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self {
            text: text_of(reason),
            advice: Advice::Reject,
        }
    }

    /// The failure that a boxed error is, whose job shall be tried again after the group's backoff. For errors that `?` cannot
    /// take: `.map_err(Failure::boxed)?`.
    pub fn boxed(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::from(error as Box<dyn std::error::Error>)
    }

    /// What shall happen to the job.
    pub fn advice(&self) -> Advice {
        self.advice
    }

    /// What went wrong, in words.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Whatever can be a boxed error: errors, boxed ones, those of `anyhow` and its like, texts.
impl<'e, E: Into<Box<dyn std::error::Error + 'e>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let text = text_of_error(&*error);
        // The error is a value of the user.
        drop_guarded(error);
        Self {
            text,
            advice: Advice::Retry(None),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.advice, self.text)
    }
}

/// What is known about a panic: the message, and where it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PanicReport {
    /// The panic's message; a payload that is no text is told as such.
    pub message: Arc<str>,
    /// `file:line:column`, if the panic hook saw it.
    pub place: Option<Arc<str>>,
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} at {place}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Why an attempt, or the life of an actor, ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// The consumer said that it could not do the job.
    Failed(Arc<str>),
    /// A panic.
    Panicked(PanicReport),
    /// The actor stopped by itself.
    Stopped,
    /// Its group or its supervisor ended it: scale down, drain, stop, shutdown.
    Killed,
    /// Work went on past this deadline.
    DeadlinePassed(#[serde(with = "super::time::millis")] Duration),
    /// The thread of the actor did not come back, so the whole arbiter was given up.
    ThreadBlocked,
    /// A neighbour blocked the thread; the actor was moved away.
    NeighbourBlockedThread,
    /// The arbiter ended.
    ArbiterEnded,
    /// The factory or the start of the actor failed.
    StartFailed(Arc<str>),
    /// The delivery was dropped without a verdict.
    Abandoned,
    /// An actor that this one is linked to ended by a fault; this is its path.
    Linked(Arc<str>),
    /// A supervisor gave up, for this reason.
    Escalated(Arc<str>),
    /// The whole process ended while this job, and no other suspect, had begun. Processes are counted by the openings of the
    /// queue's file, from one. Nobody saw the end: the moment of the record is that of
    /// the begin, or the first one of the process that tells of it.
    ProcessEnded {
        /// Which process.
        life: u64,
        /// When the job had begun.
        #[serde(rename = "begun_unix_ms", with = "super::time::as_millis")]
        begun: super::Moment,
    },
}

impl Cause {
    /// Whether the group or the supervisor itself ended that life: news, and nothing to be warned of.
    pub(crate) fn was_ordered(&self) -> bool {
        matches!(self, Self::Killed)
    }

    /// The bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Failed(text) | Self::StartFailed(text) | Self::Linked(text) | Self::Escalated(text) => {
                text.len()
            }
            Self::Panicked(report) => report.message.len() + report.place.as_deref().map_or(0, str::len),
            Self::Stopped
            | Self::Killed
            | Self::DeadlinePassed(_)
            | Self::ThreadBlocked
            | Self::NeighbourBlockedThread
            | Self::ArbiterEnded
            | Self::Abandoned
            | Self::ProcessEnded { .. } => 0,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) => write!(f, "failed: {text}"),
            Self::Panicked(report) => write!(f, "panicked: {report}"),
            Self::Stopped => f.write_str("stopped by itself"),
            Self::Killed => f.write_str("ended by its supervisor"),
            Self::DeadlinePassed(deadline) => write!(
                f,
                "still at work after its deadline of {} ms: raise `deadline_ms`, or call `Delivery::extend` in work that is well",
                deadline.as_millis()
            ),
            Self::ThreadBlocked => f.write_str(
                "blocked its thread past the deadline: work that blocks belongs on the placement `dedicated`",
            ),
            Self::NeighbourBlockedThread => f.write_str("moved away from a blocked thread"),
            Self::ArbiterEnded => f.write_str("its arbiter ended"),
            Self::StartFailed(text) => write!(f, "did not start: {text}"),
            Self::Abandoned => f.write_str("dropped the delivery without a verdict"),
            Self::Linked(other) => write!(f, "ended with {other}, to which it is linked"),
            Self::Escalated(reason) => write!(f, "gave up: {reason}"),
            Self::ProcessEnded { life, .. } => write!(f, "the process ended, number {life} over this queue"),
        }
    }
}
