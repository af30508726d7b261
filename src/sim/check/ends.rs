//! How a run must end.

use super::{Facts, Judged};
use crate::words::EventKind;

/// Every accepted job was acked or dead-lettered. A group that gave up hands its jobs back, which is no loss; that it gave
/// up is told by [`converges`].
pub(super) fn nothing_is_lost(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    if history.end.failed.is_some() {
        return Ok(());
    }
    let mut has_ended = facts.for_each_job(false);
    for (_, kind) in history.events() {
        if let EventKind::Acked { job, .. } | EventKind::DeadLettered { job, .. } = kind
            && let Some(has_ended) = facts.place(*job).and_then(|place| has_ended.get_mut(place))
        {
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

/// After the last fault the group is whole again, and idle.
pub(super) fn converges(facts: &Facts<'_>) -> Judged {
    let end = &facts.history.end;
    if let Some(reason) = &end.failed {
        return Err(format!("the group gave up: {reason}"));
    }
    if end.live != end.wanted {
        return Err(format!(
            "{} of {} consumers were live at the end",
            end.live, end.wanted
        ));
    }
    if end.unfinished.is_empty() && end.in_queue + end.in_flight > 0 {
        return Err(format!(
            "every job was finished, and the queue still held {} and the supervisor {}",
            end.in_queue, end.in_flight
        ));
    }
    Ok(())
}
