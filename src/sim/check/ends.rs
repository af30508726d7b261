//! How a run must end.

use super::{Facts, Judged};
use crate::sim::history::{Answer, Occurrence};
use crate::types::EventKind;

/// Every accepted job was acked or dead-lettered, or handed out by a group that had ended: by its `stop`, or to the caller
/// who had sent it. That a group gave up is told by [`converges`].
pub(super) fn nothing_is_lost(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    let mut has_ended = facts.for_each_job(false);
    for entry in &history.entries {
        let place = match &entry.what {
            Occurrence::Group(EventKind::Acked { job, .. } | EventKind::DeadLettered { job, .. }) => {
                facts.place(*job)
            }
            Occurrence::HandedOut { job }
            | Occurrence::Answered {
                job,
                answer: Answer::GivenBack,
            } => Some(*job),
            _ => None,
        };
        if let Some(has_ended) = place.and_then(|place| has_ended.get_mut(place)) {
            *has_ended = true;
        }
    }
    let of = history.jobs.iter().zip(has_ended).enumerate();
    let lost: Vec<usize> = of
        .filter(|(_, (job, has_ended))| job.id.is_some() && !has_ended)
        .map(|(place, _)| place)
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(format!("jobs {lost:?} were accepted and never came to an end"))
}

/// Whoever waited for the outcome of his job was told.
pub(super) fn nobody_is_left_waiting(facts: &Facts<'_>) -> Judged {
    let mut waiting: Vec<usize> = Vec::new();
    for entry in &facts.history.entries {
        match entry.what {
            Occurrence::Waits { job } => waiting.push(job),
            Occurrence::Answered { job, .. } => waiting.retain(|of| *of != job),
            // They lived there too.
            Occurrence::ProcessEnded => waiting.clear(),
            _ => {}
        }
    }
    if waiting.is_empty() {
        return Ok(());
    }
    Err(format!(
        "whoever waited for the outcome of jobs {waiting:?} was never told"
    ))
}

/// As long as a group over a durable queue lives, nobody else gets its file, whatever fails.
pub(super) fn one_owner(facts: &Facts<'_>) -> Judged {
    let mut lives = true;
    for entry in &facts.history.entries {
        match &entry.what {
            Occurrence::HostEnded | Occurrence::ProcessEnded => lives = false,
            Occurrence::StartedAgain => lives = true,
            Occurrence::TakenByAnother if lives => {
                return Err(format!(
                    "at {} another process got the file of the queue while its owner lived",
                    entry.at
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whoever looks into a file finds a whole one, with what every other process has left there.
pub(super) fn nothing_is_written_over(facts: &Facts<'_>) -> Judged {
    let mut left = 0;
    for entry in &facts.history.entries {
        match &entry.what {
            Occurrence::Unreadable { why } => {
                return Err(format!(
                    "at {} the file of the queue could not be read: {why}",
                    entry.at
                ));
            }
            Occurrence::LookedInto { visits } | Occurrence::Visited { before: visits } if *visits != left => {
                return Err(format!(
                    "at {} the file of the queue held the marks of {visits} other processes, and {left} had left one",
                    entry.at
                ));
            }
            Occurrence::Visited { .. } => left += 1,
            _ => {}
        }
    }
    Ok(())
}

/// After the last fault the group is whole again, and idle. If its host has ended, it says that it has failed.
pub(super) fn converges(facts: &Facts<'_>) -> Judged {
    let end = &facts.history.end;
    let mut lives = facts.history.entries.iter().rev().map(|entry| &entry.what);
    let last = lives.find(|what| matches!(what, Occurrence::HostEnded | Occurrence::StartedAgain));
    if last == Some(&Occurrence::HostEnded) {
        return match &end.failed {
            Some(_) => Ok(()),
            None => Err("its host had ended, and the group did not say that it had failed".to_owned()),
        };
    }
    if let Some(reason) = &end.failed {
        return Err(format!("the group gave up: {reason}"));
    }
    if end.live != end.wanted {
        return Err(format!(
            "{} of {} consumers were live at the end",
            end.live, end.wanted
        ));
    }
    if end.unfinished.is_empty() && end.in_queue + end.leased > 0 {
        return Err(format!(
            "every job was finished, and the queue still held {} and the supervisor {}",
            end.in_queue, end.leased
        ));
    }
    Ok(())
}
