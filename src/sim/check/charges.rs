//! What the end of a process may cost: an attempt of the one job that was at work, and nothing else.

use super::{Facts, Judged};
use crate::sim::history::Happening;
use crate::words::{DeadReason, DeliveryNumber, EventKind, SlotId};

/// A process that ended.
struct Ended {
    /// The jobs that had begun in it.
    begun: Vec<usize>,
    /// Those of them that were at work in the end.
    at_work: Vec<usize>,
}

impl Ended {
    /// Whether this job alone may have ended it.
    fn may_be_by(&self, job: usize) -> bool {
        self.begun.contains(&job) && self.at_work.iter().all(|other| *other == job)
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
/// leased beside it, or was at work beside others, keeps its attempts.
pub(super) fn end_of_a_process_is_charged_to_one_alone(facts: &Facts<'_>) -> Judged {
    let entries = &facts.history.entries;
    if !entries.iter().any(|entry| entry.what == Happening::ProcessEnded) {
        return Ok(());
    }
    let mut look = Look {
        ends: Vec::new(),
        begun: Vec::new(),
        at_work: Vec::new(),
        known: facts.for_each_job(Known::default()),
        // Of a job that the source delivered twice the attempts of both are counted.
        is_repeated: facts.for_each_job(false),
    };
    for entry in entries {
        match &entry.what {
            Happening::SourceRepeated { job } => {
                if let Some(is_repeated) = look.is_repeated.get_mut(*job) {
                    *is_repeated = true;
                }
            }
            Happening::Begun(attempt) => {
                look.begun.push(attempt.job);
                look.at_work.push((attempt.job, attempt.slot, attempt.number));
            }
            Happening::Worked(attempt) => look.is_over(attempt.number),
            Happening::Failed(attempt) => {
                look.is_over(attempt.number);
                look.fails(attempt.job, attempt.attempt);
            }
            Happening::ProcessEnded => look.process_ends(),
            Happening::HostEnded => look.at_work.clear(),
            Happening::Group(EventKind::ConsumerDown { slot, .. }) => {
                look.at_work.retain(|(_, of, _)| of != slot);
            }
            Happening::Group(EventKind::Retried { job, record, .. }) => {
                if let Some(place) = facts.place(*job) {
                    look.fails(place, record.attempt);
                }
            }
            Happening::Group(EventKind::Delivered { job, attempt, .. }) => {
                look.judge(facts.place(*job), *attempt, entry.at)?;
            }
            Happening::Group(EventKind::DeadLettered {
                job,
                reason: DeadReason::Poison { attempts },
            }) => look.judge(facts.place(*job), attempts.saturating_add(1), entry.at)?,
            _ => {}
        }
    }
    Ok(())
}

struct Look {
    ends: Vec<Ended>,
    /// The jobs that have begun in the present process.
    begun: Vec<usize>,
    at_work: Vec<(usize, SlotId, DeliveryNumber)>,
    known: Vec<Known>,
    is_repeated: Vec<bool>,
}

impl Look {
    fn is_over(&mut self, number: DeliveryNumber) {
        self.at_work.retain(|(.., of)| *of != number);
    }

    fn fails(&mut self, job: usize, attempt: u32) {
        if let Some(known) = self.known.get_mut(job) {
            known.has_failed |= attempt >= known.attempt;
        }
    }

    fn process_ends(&mut self) {
        let at_work = self.at_work.drain(..).map(|(job, ..)| job).collect();
        let begun = std::mem::take(&mut self.begun);
        self.ends.push(Ended { begun, at_work });
    }

    /// A job goes on with this attempt.
    fn judge(&mut self, job: Option<usize>, attempt: u32, at: crate::words::Moment) -> Judged {
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
