//! A look at the jobs of a queue, page by page.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AttemptRecord, DeadReason, JobId, Key, Moment, Priority};

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobState {
    /// It can be leased.
    Waiting,
    /// It waits for its time: its delay, or its retry.
    Delayed,
    /// It is promised to the group: it waits there, or a consumer has it.
    Leased,
    /// It is a dead letter.
    Dead,
}

/// Which jobs are looked at. Empty lists and absent values let all pass.
///
/// ```
/// use consumer_group::queue::{JobQuery, JobState};
///
/// let query = JobQuery {
///     states: vec![JobState::Waiting, JobState::Delayed],
///     most: 20,
///     ..JobQuery::default()
/// };
/// assert!(query.after.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those that are here.
    pub states: Vec<JobState>,
    /// Only these.
    pub jobs: Vec<JobId>,
    /// Only those with this key.
    pub key: Option<Key>,
    /// Only those behind this place: [`JobPage::next`] of the page before.
    pub after: Option<JobCursor>,
    /// How many at most; at least 1.
    pub most: usize,
}

impl Default for JobQuery {
    /// The first hundred.
    fn default() -> Self {
        Self {
            states: Vec::new(),
            jobs: Vec::new(),
            key: None,
            after: None,
            most: 100,
        }
    }
}

impl JobQuery {
    /// Whether jobs in this state are looked at.
    pub fn wants(&self, state: JobState) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    /// Whether this job is one of those that are looked at.
    pub fn means(&self, job: &JobRecord) -> bool {
        self.wants(job.state)
            && (self.jobs.is_empty() || job.id.is_some_and(|id| self.jobs.contains(&id)))
            && self.key.as_ref().is_none_or(|key| job.key.as_ref() == Some(key))
    }
}

/// A place between two jobs of a listing. It stays right while jobs come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobCursor {
    /// Which list of the queue.
    pub(crate) list: u8,
    /// Which record of it.
    pub(crate) number: u64,
    /// Which job of that.
    pub(crate) place: u32,
}

/// A page of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobPage {
    /// The jobs. Their order is the same for each page; it is not that in which they will be done.
    pub jobs: Vec<JobRecord>,
    /// Where the next page begins. None: this was the last one.
    pub next: Option<JobCursor>,
}

impl JobPage {
    /// A page of a queue of your own.
    pub fn new(jobs: Vec<JobRecord>, next: Option<JobCursor>) -> Self {
        Self { jobs, next }
    }
}

/// A job as its queue has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobRecord {
    /// Its name; none if not even that can be read.
    pub id: Option<JobId>,
    /// Where it is.
    pub state: JobState,
    /// Its key.
    pub key: Option<Key>,
    /// How urgent it is.
    pub priority: Priority,
    /// Attempts that ended and count.
    pub attempts: u32,
    /// Of a delayed job: until when it waits.
    pub due: Option<Moment>,
    /// Of a dead letter: since when it is one.
    pub died: Option<Moment>,
    /// Of a dead letter: why; of a record that cannot be read: that.
    pub reason: Option<DeadReason>,
    /// What went wrong so far, oldest first.
    pub history: Vec<AttemptRecord>,
    /// The payload, in the bytes of the codec.
    pub payload: Vec<u8>,
}

impl JobRecord {
    /// The payload as text, if it is one, else in hexadecimal digits.
    pub fn shown_payload(&self) -> String {
        match std::str::from_utf8(&self.payload) {
            Ok(text) if !text.contains(|sign: char| sign.is_control() && !sign.is_whitespace()) => {
                text.to_owned()
            }
            _ => self.payload.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Leased => "leased",
            Self::Dead => "dead",
        })
    }
}
