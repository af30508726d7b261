//! What an ack means.

use super::{Facts, Judged};
use crate::sim::history::Occurrence;
use crate::types::{DeliveryNumber, EventKind, Incarnation, JobId, Role, SlotId};

/// A job is acked once. It may be acked again if the source delivered it again, if its lease ended before the ack came, or if the queue died with the first ack
/// and the supervisor that could have repeated it died too.
pub(super) fn nothing_is_acked_twice(facts: &Facts<'_>) -> Judged {
    let mut allowed: Vec<usize> = facts.for_each_job(0);
    let mut acked: Vec<Option<(usize, usize)>> = facts.for_each_job(None);
    let (mut supervisors, mut queues) = (0, 0);
    for entry in &facts.history.entries {
        match &entry.what {
            Occurrence::SourceRepeated { job } => {
                if let Some(allowed) = allowed.get_mut(*job) {
                    *allowed += 1;
                }
            }
            Occurrence::LeasesLost { jobs } => {
                for job in jobs {
                    if let Some(allowed) = allowed.get_mut(*job) {
                        *allowed += 1;
                    }
                }
            }
            Occurrence::HostEnded | Occurrence::ProcessEnded => {
                supervisors += 1;
                queues += 1;
            }
            Occurrence::Group(EventKind::RoleDown { role, .. }) => match role {
                Role::Supervisor => supervisors += 1,
                Role::Queue => queues += 1,
                Role::Strategy | Role::Results => {}
            },
            Occurrence::Group(EventKind::Acked { job, .. }) => {
                let Some(place) = facts.place(*job) else {
                    return Err(format!("an ack of {job}, which nobody sent"));
                };
                let (Some(acked), Some(more)) = (acked.get_mut(place), allowed.get_mut(place)) else {
                    continue;
                };
                let now = (supervisors, queues);
                let Some(before) = acked.replace(now) else {
                    continue;
                };
                let may_be_lost = before.0 < now.0 && before.1 < now.1;
                if may_be_lost {
                    continue;
                } else if *more > 0 {
                    *more -= 1;
                } else {
                    return Err(format!(
                        "job {place} was acked twice, the second time at {}",
                        entry.at
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The work of the very delivery that is acked was done before.
pub(super) fn acks_are_of_work_done(facts: &Facts<'_>) -> Judged {
    let mut done: Vec<(DeliveryNumber, usize)> = Vec::with_capacity(facts.history.jobs.len());
    for entry in &facts.history.entries {
        match &entry.what {
            Occurrence::Worked(attempt) => {
                done.push((attempt.number, attempt.job));
            }
            Occurrence::Group(EventKind::Acked { job, number, .. }) => {
                let place = facts.place(*job).unwrap_or(usize::MAX);
                // An ack mostly follows its work at once, so the search begins there.
                if !done.iter().rev().any(|of| *of == (*number, place)) {
                    return Err(format!(
                        "job {place} was acked at {} by {number}, whose work on it was not done",
                        entry.at
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// An ack is of a delivery that is out: its consumer lives, and it was not settled or given back before.
pub(super) fn fenced(facts: &Facts<'_>) -> Judged {
    let mut out: Vec<(DeliveryNumber, JobId, SlotId, Incarnation)> = Vec::new();
    // Deliveries whose leases ended at the broker; the supervisor hears of it next.
    let mut lost: Vec<DeliveryNumber> = Vec::new();
    for entry in &facts.history.entries {
        let at = entry.at;
        let kind = match &entry.what {
            Occurrence::Group(kind) => kind,
            Occurrence::Failed(attempt) => {
                out.retain(|(number, ..)| *number != attempt.number);
                continue;
            }
            // The numbers of another process begin anew.
            Occurrence::HostEnded | Occurrence::ProcessEnded => {
                out.clear();
                lost.clear();
                continue;
            }
            Occurrence::LeasesLost { jobs } => {
                let is_lost = |job: &JobId| facts.place(*job).is_some_and(|place| jobs.contains(&place));
                let with_them = out.iter().filter(|(_, job, ..)| is_lost(job));
                lost.extend(with_them.map(|(number, ..)| *number));
                continue;
            }
            _ => continue,
        };
        match kind {
            EventKind::Delivered {
                job,
                slot,
                incarnation,
                number,
                ..
            } => {
                out.push((*number, *job, *slot, *incarnation));
            }
            EventKind::Acked { job, number, .. } => {
                let found = out.iter().position(|of| (of.0, of.1) == (*number, *job));
                let Some(found) = found else {
                    let place = facts.place(*job).unwrap_or(usize::MAX);
                    return Err(format!(
                        "job {place} was acked at {at} by {number}, which was over"
                    ));
                };
                out.swap_remove(found);
            }
            // The event names no delivery. The word on all that was lost is the one that speaks of as many; one on fewer comes from
            // a settle whose answer said that the link is down.
            EventKind::Revoked {
                lost: true, at_work, ..
            } => {
                lost.retain(|number| out.iter().any(|(other, ..)| other == number));
                if *at_work == lost.len() {
                    out.retain(|(number, ..)| !lost.contains(number));
                    lost.clear();
                }
            }
            EventKind::Recalled { number, job, .. } => out.retain(|of| (of.0, of.1) != (*number, *job)),
            EventKind::ConsumerDown {
                slot, incarnation, ..
            } => {
                out.retain(|(.., of, life)| (*of, *life) != (*slot, *incarnation));
            }
            EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            } => out.clear(),
            _ => {}
        }
    }
    Ok(())
}
