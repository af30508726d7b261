//! States that a sweep must reach: a sweep that never saw a zombie has not tested the fence.

use std::time::Duration;

use super::fault::FaultKind;
use super::history::{Answer, History, Occurrence, PlannedFault};
use crate::types::{EventKind, Incarnation, Moment, Role, SlotId};

/// The states, by name.
pub const STATES: [&str; 26] = [
    "a job was redelivered",
    "a consumer died and held two or more",
    "the supervisor died with deliveries out",
    "the queue died with jobs leased",
    "the strategy died with jobs open",
    "a zombie wrote",
    "a stale settle was refused",
    "an arbiter was abandoned",
    "a job was given up as poison",
    "a retry waited",
    "the source delivered twice",
    "effects were repeated",
    "the process stood still with deliveries out",
    "a arbiter could not be made",
    "the host ended with jobs open",
    "a caller was answered by the end of its group",
    "a job was handed out",
    "a delivery was taken back",
    "a plan had faults of a file",
    "a commit failed",
    "a commit failed while another process wanted the file",
    "the process ended with jobs open",
    "a job was done in the second life of its group",
    "a plan had faults of a link",
    "leases were lost while consumers were at work on them",
    "a lane had to be given back while consumers were at work on it",
];

/// The first of the states that only a group over a durable queue can reach, and only under faults of its file.
const OF_FILES: usize = 18;

/// The first of those that only a group over a remote queue can reach, and only under faults of its link.
const OF_LINKS: usize = 23;

/// How often each state was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached(pub [u64; STATES.len()]);

impl Reached {
    /// Counts what one run reached.
    pub fn note(&mut self, history: &History) {
        let mut seen = [false; STATES.len()];
        Look::default().look(history, |state| {
            if let Some(seen) = seen.get_mut(state) {
                *seen = true;
            }
        });
        for (count, seen) in self.0.iter_mut().zip(seen) {
            *count += u64::from(seen);
        }
    }

    /// Adds the counts of another part of the sweep.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The states that no run reached. Those of a durable queue's file are asked for only where plans have faults of it.
    pub fn missing(&self) -> Vec<&'static str> {
        let has = |first: usize| self.0.get(first).is_some_and(|plans| *plans > 0);
        let (has_files, has_links) = (has(OF_FILES), has(OF_LINKS));
        let is_asked = |state: usize| match state {
            ..OF_FILES => true,
            OF_FILES..OF_LINKS => has_files,
            _ => has_links,
        };
        let zero = |(name, count): (&'static str, &u64)| (*count == 0).then_some(name);
        STATES
            .into_iter()
            .zip(&self.0)
            .enumerate()
            .filter(|(state, _)| is_asked(*state))
            .filter_map(|(_, reached)| zero(reached))
            .collect()
    }

    /// Every state with the number of runs that reached it.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        STATES.into_iter().zip(self.0)
    }
}

/// What has to be known on the way through a history.
#[derive(Default)]
struct Look {
    /// Deliveries that are out.
    out: i64,
    open: i64,
    ended: Vec<(SlotId, Incarnation)>,
    /// Whether the work of each job was done.
    worked: Vec<bool>,
    /// Until when another process wants the file.
    wanted_until: Moment,
    has_started_again: bool,
}

impl Look {
    fn look(mut self, history: &History, mut reached: impl FnMut(usize)) {
        self.worked.resize(history.jobs.len(), false);
        if history
            .faults
            .iter()
            .any(|planned| planned.fault.kind.is_of_a_file())
        {
            reached(OF_FILES);
        }
        let is_of_a_link = |planned: &PlannedFault| planned.fault.kind.is_of_a_link();
        if history.faults.iter().any(is_of_a_link) {
            reached(OF_LINKS);
        }
        for entry in &history.entries {
            match &entry.what {
                Occurrence::Sent { .. } => self.open += 1,
                Occurrence::SourceRepeated { .. } => reached(10),
                Occurrence::Begun(attempt) if attempt.attempt > 1 => reached(0),
                Occurrence::Worked(attempt) => {
                    if self.ended.contains(&(attempt.slot, attempt.incarnation)) {
                        reached(5);
                    }
                    if let Some(worked) = self.worked.get_mut(attempt.job)
                        && std::mem::replace(worked, true)
                    {
                        reached(11);
                    }
                }
                Occurrence::Fired { fault } => {
                    let planned = history.faults.get(*fault);
                    match planned.map(|planned| &planned.fault.kind) {
                        Some(FaultKind::Freeze { .. }) if self.out > 0 => reached(12),
                        Some(FaultKind::HostEnd) if self.open > 0 => reached(14),
                        Some(FaultKind::ProcessEnd) if self.open > 0 => reached(21),
                        Some(FaultKind::SecondOpener { ms }) => {
                            self.wanted_until = entry.at.after(Duration::from_millis(*ms));
                        }
                        _ => {}
                    }
                }
                Occurrence::HostEnded | Occurrence::ProcessEnded => self.out = 0,
                Occurrence::StartedAgain => self.has_started_again = true,
                Occurrence::CommitFailed => {
                    reached(19);
                    if entry.at < self.wanted_until {
                        reached(20);
                    }
                }
                Occurrence::NoThread => reached(13),
                Occurrence::Answered {
                    answer: Answer::GivenBack,
                    ..
                } => reached(15),
                Occurrence::HandedOut { .. } => reached(16),
                Occurrence::Group(kind) => {
                    if self.has_started_again && matches!(kind, EventKind::Acked { .. }) {
                        reached(22);
                    }
                    self.event(kind, &mut reached);
                }
                _ => {}
            }
        }
    }

    fn event(&mut self, kind: &EventKind, reached: &mut impl FnMut(usize)) {
        match kind {
            EventKind::Delivered { .. } => self.out += 1,
            EventKind::Acked { .. } => {
                self.out -= 1;
                self.open -= 1;
            }
            EventKind::Retried { after, .. } => {
                self.out -= 1;
                if !after.is_zero() {
                    reached(9);
                }
            }
            EventKind::Returned { .. } => {
                self.out -= 1;
                reached(0);
            }
            EventKind::Recalled { .. } => {
                self.out -= 1;
                reached(17);
            }
            EventKind::DeadLettered { reason, .. } => {
                self.out -= 1;
                self.open -= 1;
                if matches!(reason, crate::types::DeadReason::Poison { .. }) {
                    reached(8);
                }
            }
            EventKind::Revoked { at_work, lost, .. } if *at_work > 0 => reached(if *lost { 24 } else { 25 }),
            EventKind::StaleSettle { .. } => reached(6),
            EventKind::ArbiterAbandoned { .. } => reached(7),
            EventKind::ConsumerDown {
                slot,
                incarnation,
                held,
                ..
            } => {
                self.ended.push((*slot, *incarnation));
                if *held > 1 {
                    reached(1);
                }
            }
            EventKind::RoleDown { role, .. } => match role {
                Role::Supervisor => {
                    if self.out > 0 {
                        reached(2);
                    }
                    self.out = 0;
                    self.ended.clear();
                }
                Role::Queue if self.out > 0 => reached(3),
                Role::Strategy if self.open > 0 => reached(4),
                Role::Queue | Role::Strategy | Role::Results => {}
            },
            _ => {}
        }
    }
}
