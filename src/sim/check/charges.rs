//! What the end of a process may cost: an attempt of the one job that was at work, and nothing else.

use std::time::Duration;

use super::{Facts, Judged};
use crate::sim::fault::FaultKind;
use crate::sim::history::{Attempt, Occurrence};
use crate::types::{DeadReason, DeliveryNumber, EventKind, Moment, Role, SlotId};

/// How long the word on a delivery takes to the disk at most, if nothing holds the queue up: a few commits.
const TO_DISK: Duration = Duration::from_millis(10);

/// A process that ended.
struct Ended {
    /// The jobs that had begun in it.
    begun: Vec<usize>,
    /// Those of them that were at work in the end.
    at_work: Vec<usize>,
    /// Those that had been at work alone, and of whose end the disk may not have known.
    unsaved: Vec<usize>,
}

impl Ended {
    /// Whether this job alone may have ended it.
    fn may_be_by(&self, job: usize) -> bool {
        let was_alone = self.begun.contains(&job) && self.at_work.iter().all(|other| *other == job);
        // The disk knows of a begin before the consumer does.
        was_alone || self.at_work.is_empty() || self.unsaved.contains(&job)
    }
}

/// What is known of a job.
#[derive(Clone, Default)]
struct Known {
    /// The highest attempt at which it was delivered.
    attempt: u32,
    /// Whether that one was told to have failed.
    has_failed: bool,
    /// How many processes had ended when it was delivered last.
    ends: usize,
}

/// A durable queue may charge a job for the end of a process only if that job was at work and no other one was. What was
/// leased beside it, or was at work beside others, keeps its attempts. A job that had been at work alone counts as at work until
/// its end is on the disk, and the next one from when the disk knows that it begins.
pub(super) fn end_of_a_process_is_charged_to_one_alone(facts: &Facts<'_>) -> Judged {
    let entries = &facts.history.entries;
    if !entries.iter().any(|entry| entry.what == Occurrence::ProcessEnded) {
        return Ok(());
    }
    let mut look = Look {
        ends: Vec::new(),
        begun: Vec::new(),
        at_work: Vec::new(),
        words: Vec::new(),
        is_held_up: false,
        known: facts.for_each_job(Known::default()),
        // Of a job that the source delivered twice the attempts of both are counted.
        is_repeated: facts.for_each_job(false),
    };
    for entry in entries {
        match &entry.what {
            Occurrence::SourceRepeated { job } => {
                if let Some(is_repeated) = look.is_repeated.get_mut(*job) {
                    *is_repeated = true;
                }
            }
            Occurrence::Begun(attempt) => look.begins(attempt),
            Occurrence::Worked(attempt) => look.is_over(entry.at, |at_work| at_work.number == attempt.number),
            Occurrence::Failed(attempt) => {
                look.is_over(entry.at, |at_work| at_work.number == attempt.number);
                look.fails(attempt.job, attempt.attempt);
            }
            Occurrence::ProcessEnded => look.process_ends(entry.at),
            // Its consumers go with it.
            Occurrence::Group(EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            })
            | Occurrence::HostEnded => look.is_over(entry.at, |_| true),
            Occurrence::Fired { fault } => {
                let planned = facts.history.faults.get(*fault);
                look.is_held_up |= planned.is_some_and(|planned| holds_the_queue_up(&planned.fault.kind));
            }
            Occurrence::Group(EventKind::ConsumerDown { slot, .. }) => {
                look.is_over(entry.at, |at_work| at_work.slot == *slot);
            }
            Occurrence::Group(EventKind::Retried { job, record, .. }) => {
                if let Some(place) = facts.place(*job) {
                    look.fails(place, record.attempt);
                }
            }
            Occurrence::Group(EventKind::Delivered { job, attempt, .. }) => {
                look.judge(facts.place(*job), *attempt, entry.at)?;
            }
            Occurrence::Group(EventKind::DeadLettered {
                job,
                reason: DeadReason::Poison { attempts },
            }) => look.judge(facts.place(*job), attempts.saturating_add(1), entry.at)?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether words on deliveries may take longer to the disk from here on.
fn holds_the_queue_up(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Disconnect { .. }
            | FaultKind::FailedCommit { .. }
            | FaultKind::LoseSettle
            | FaultKind::DelaySettle { .. }
            | FaultKind::Crash {
                role: Role::Queue | Role::Supervisor
            }
    )
}

/// A job at work.
struct AtWork {
    job: usize,
    slot: SlotId,
    number: DeliveryNumber,
    /// Whether no other one was at work at any time since it began.
    is_alone: bool,
}

struct Look {
    ends: Vec<Ended>,
    /// The jobs that have begun in the present process.
    begun: Vec<usize>,
    at_work: Vec<AtWork>,
    /// The jobs that were at work alone in the present process, and when that ended.
    words: Vec<(usize, Moment)>,
    /// Whether something held the queue up in the present process.
    is_held_up: bool,
    known: Vec<Known>,
    is_repeated: Vec<bool>,
}

impl Look {
    fn begins(&mut self, attempt: &Attempt) {
        let is_alone = self.at_work.is_empty();
        for other in &mut self.at_work {
            other.is_alone = false;
        }
        self.begun.push(attempt.job);
        self.at_work.push(AtWork {
            job: attempt.job,
            slot: attempt.slot,
            number: attempt.number,
            is_alone,
        });
    }

    fn is_over(&mut self, at: Moment, is_meant: impl Fn(&AtWork) -> bool) {
        let words = &mut self.words;
        self.at_work.retain(|at_work| {
            let is_over = is_meant(at_work);
            if is_over && at_work.is_alone {
                words.push((at_work.job, at));
            }
            !is_over
        });
    }

    fn fails(&mut self, job: usize, attempt: u32) {
        if let Some(known) = self.known.get_mut(job) {
            known.has_failed |= attempt >= known.attempt;
        }
    }

    fn process_ends(&mut self, at: Moment) {
        let is_held_up = std::mem::take(&mut self.is_held_up);
        let words = self.words.drain(..);
        let unsaved = words.filter(|(_, word)| is_held_up || at.since(*word) <= TO_DISK);
        self.ends.push(Ended {
            unsaved: unsaved.map(|(job, _)| job).collect(),
            begun: std::mem::take(&mut self.begun),
            at_work: self.at_work.drain(..).map(|at_work| at_work.job).collect(),
        });
    }

    /// A job goes on with this attempt.
    fn judge(&mut self, job: Option<usize>, attempt: u32, at: Moment) -> Judged {
        let Some(job) = job.filter(|job| self.is_repeated.get(*job) == Some(&false)) else {
            return Ok(());
        };
        let Some(known) = self.known.get_mut(job) else {
            return Ok(());
        };
        let since = self.ends.get(known.ends..).unwrap_or_default();
        let allowed = known.attempt.max(1) + u32::from(known.has_failed);
        let charged = attempt.saturating_sub(allowed) as usize;
        let its_own = since.iter().filter(|ended| ended.may_be_by(job)).count();
        if !since.is_empty() && charged > its_own {
            return Err(format!(
                "job {job} went on with attempt {attempt} at {at}: {charged} attempts were charged for ends of the process, of which it may have caused {its_own}"
            ));
        }
        known.ends = self.ends.len();
        if attempt > known.attempt {
            (known.attempt, known.has_failed) = (attempt, false);
        }
        Ok(())
    }
}
