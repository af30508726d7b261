//! Histories: what happened in a run, in order. The checker, the report and the picture read nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::types::{DeliveryNumber, Epoch, EventKind, GroupConfig, Incarnation, JobId, Moment, SlotId};

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The configuration of the group.
    pub config: GroupConfig,
    /// The jobs of the plan, in its order.
    pub jobs: Vec<SentJob>,
    /// The faults of the plan, in its order.
    pub faults: Vec<PlannedFault>,
    /// Everything that was seen, in the order in which it happened.
    pub entries: Vec<Entry>,
    /// How the run ended.
    pub end: End,
}

/// A job of the plan and what it was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentJob {
    /// Its key in the plan.
    pub key: Option<u32>,
    /// How urgent it is.
    #[serde(default)]
    pub priority: u8,
    /// Its name in the group, if it was accepted.
    pub id: Option<JobId>,
}

/// A fault of the plan and when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// The fault.
    pub fault: Fault,
    /// When it happened; `None` if it never did.
    pub fired: Option<Moment>,
    /// In which slot, if it was in one.
    pub slot: Option<SlotId>,
    /// The life of the consumer that it met.
    pub incarnation: Option<Incarnation>,
    /// The job that it met, by its place in the plan.
    pub job: Option<usize>,
}

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, since the start of the run.
    pub at: Moment,
    /// What.
    pub what: Occurrence,
}

/// What happened. Jobs and faults are given by their place in the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Occurrence {
    /// A job was sent.
    Sent {
        /// The job.
        job: usize,
    },
    /// A job was not accepted.
    Refused {
        /// The job.
        job: usize,
        /// Why.
        reason: String,
    },
    /// A consumer began a delivery. Seen at the consumer.
    Begun(Attempt),
    /// A consumer did the work of a delivery: its effects are there. Seen at the consumer.
    Worked(Attempt),
    /// A consumer failed to do the work. Seen at the consumer.
    Failed(Attempt),
    /// The source delivered a job once more.
    SourceRepeated {
        /// The job.
        job: usize,
    },
    /// Leases of these jobs ended at the broker before a word on them had come: the jobs come again.
    LeasesLost {
        /// The jobs.
        jobs: Vec<usize>,
    },
    /// A fault happened.
    Fired {
        /// The fault.
        fault: usize,
    },
    /// What a fault held up goes on.
    Over {
        /// The fault.
        fault: usize,
    },
    /// An arbiter was wanted, and no thread was left for it.
    NoThread,
    /// Somebody waits for the outcome of an accepted job.
    Waits {
        /// The job.
        job: usize,
    },
    /// Whoever waited for the outcome was told.
    Answered {
        /// The job.
        job: usize,
        /// What.
        answer: Answer,
    },
    /// The host of the group ended, and with it everyone of the group who lived there.
    HostEnded,
    /// The process ended, and with it everyone.
    ProcessEnded,
    /// The group was started again, over the same queue.
    StartedAgain,
    /// A commit of a durable queue failed.
    CommitFailed,
    /// Another process got the file of a durable queue.
    TakenByAnother,
    /// It read the file and left a mark in it.
    Visited {
        /// How many marks of others it found.
        before: u64,
    },
    /// The file was looked into at the end of the run, as it would be found after a crash.
    LookedInto {
        /// How many marks of other processes are in it.
        visits: u64,
    },
    /// The file could not be read by another process.
    Unreadable {
        /// Why.
        why: String,
    },
    /// The group had ended and handed the job back.
    HandedOut {
        /// The job.
        job: usize,
    },
    /// An event of the group.
    Group(EventKind),
    /// An actor of the run was woken from another thread, so the run may not repeat itself.
    ForeignWake {
        /// Which actor.
        actor: String,
    },
    /// A word of the user's, by [`note`](super::note).
    Note(String),
}

/// What a caller was told of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done.
    Done,
    /// It was given up.
    GivenUp,
    /// The group ended before it was done, and gave it back.
    GivenBack,
    /// The group ended, and the job is elsewhere.
    Nothing,
}

/// One attempt on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The job.
    pub job: usize,
    /// Counted from one.
    pub attempt: u32,
    /// Where.
    pub slot: SlotId,
    /// By which life of the consumer there.
    pub incarnation: Incarnation,
    /// By which life of the supervisor.
    pub epoch: Epoch,
    /// The running number of the delivery.
    pub number: DeliveryNumber,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: Moment,
    /// Accepted jobs that were neither acked nor dead-lettered, by their place in the plan.
    pub unfinished: Vec<usize>,
    /// Jobs that the queue still held, or had leased.
    pub in_queue: usize,
    /// Jobs that were still leased, as the supervisor knew it.
    pub leased: usize,
    /// Consumers that were live.
    pub live: usize,
    /// Consumers that should have been.
    pub wanted: usize,
    /// Why the group gave up, if it did.
    pub failed: Option<String>,
}

impl PlannedFault {
    /// A fault that did not happen yet.
    pub(super) fn new(fault: Fault) -> Self {
        Self {
            fault,
            fired: None,
            slot: None,
            incarnation: None,
            job: None,
        }
    }
}

impl History {
    /// The place in the plan of each accepted job.
    pub fn places(&self) -> BTreeMap<JobId, usize> {
        let named = |(place, job): (usize, &SentJob)| job.id.map(|id| (id, place));
        self.jobs.iter().enumerate().filter_map(named).collect()
    }

    /// The events of the group among the entries.
    pub fn events(&self) -> impl Iterator<Item = (Moment, &EventKind)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            Occurrence::Group(kind) => Some((entry.at, kind)),
            _ => None,
        })
    }

    /// A number for the whole history: equal histories have equal ones, on every machine and in every build.
    pub fn trace(&self) -> u64 {
        use std::hash::Hasher;

        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(0, 0);
        for entry in &self.entries {
            hasher.write(format!("{entry:?}").as_bytes());
        }
        hasher.write(format!("{:?}", self.end).as_bytes());
        hasher.finish()
    }

    /// The first place at which two histories differ, with what each of them has there.
    pub fn first_difference(&self, other: &Self) -> Option<(usize, Option<Entry>, Option<Entry>)> {
        let longest = self.entries.len().max(other.entries.len());
        (0..longest).find_map(|index| {
            let (mine, theirs) = (self.entries.get(index), other.entries.get(index));
            (mine != theirs).then(|| (index, mine.cloned(), theirs.cloned()))
        })
    }
}
