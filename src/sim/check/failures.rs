//! What a failure means.

use super::{Facts, Judged};
use crate::sim::history::Occurrence;
use crate::types::{Cause, EventKind};

/// A failure counts once, and against the attempt that it speaks of: a word on an earlier attempt that comes twice must not
/// cost the job the attempt that is running. (A planned error comes after the work of a user's own actor, so an attempt may
/// have done its work and be told as failed.)
pub(super) fn are_of_attempts_that_ended(facts: &Facts<'_>) -> Judged {
    let mut ended: Vec<(usize, u32)> = Vec::with_capacity(facts.history.jobs.len());
    for entry in &facts.history.entries {
        let (job, attempt) = match &entry.what {
            Occurrence::Worked(attempt) | Occurrence::Failed(attempt) => {
                ended.push((attempt.job, attempt.attempt));
                continue;
            }
            Occurrence::Group(EventKind::Retried { job, record, .. })
                if matches!(record.cause, Cause::Failed(_)) =>
            {
                (*job, record.attempt)
            }
            _ => continue,
        };
        let Some(place) = facts.place(job) else { continue };
        // A failure mostly follows its attempt at once, so the search begins there.
        if !ended.iter().rev().any(|of| *of == (place, attempt)) {
            return Err(format!(
                "attempt {attempt} on job {place} was counted as failed at {} while its consumer was at work on it",
                entry.at
            ));
        }
    }
    Ok(())
}
