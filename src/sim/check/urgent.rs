//! What is urgent goes first, where it can be seen: at the consumer.

use std::time::Duration;

use super::{Facts, Judged};
use crate::sim::history::{Attempt, Occurrence};
use crate::types::{DeliveryNumber, EventKind, Moment, SlotId};

/// How long a delivery may lie with a consumer before the consumer has to know of it: it looks after each job that took longer.
const LOOK: Duration = Duration::from_millis(2);

/// A delivery that has not begun.
struct Lies {
    number: DeliveryNumber,
    job: usize,
    slot: SlotId,
    since: Moment,
}

/// No job begins at a consumer while a more urgent one lies there.
pub(super) fn is_not_overtaken(facts: &Facts<'_>) -> Judged {
    let mut lies: Vec<Lies> = Vec::new();
    // A job that came twice from its source may have begun elsewhere, and then it lies here for nothing.
    let mut came_twice = facts.for_each_job(false);
    for entry in &facts.history.entries {
        match &entry.what {
            Occurrence::SourceRepeated { job } => {
                if let Some(came_twice) = came_twice.get_mut(*job) {
                    *came_twice = true;
                }
            }
            Occurrence::Begun(attempt) => {
                lies.retain(|lies| lies.number != attempt.number);
                let overtaken = lies.iter().find(|lies| {
                    lies.slot == attempt.slot
                        && entry.at.since(lies.since) > LOOK
                        && facts.priority(lies.job) > facts.priority(attempt.job)
                        && came_twice.get(lies.job) == Some(&false)
                });
                if let Some(overtaken) = overtaken {
                    return Err(told(attempt, overtaken, entry.at));
                }
            }
            Occurrence::Group(EventKind::Delivered {
                job, slot, number, ..
            }) => lies.extend(facts.place(*job).map(|job| Lies {
                number: *number,
                job,
                slot: *slot,
                since: entry.at,
            })),
            Occurrence::Group(EventKind::Recalled { number, .. } | EventKind::Acked { number, .. }) => {
                lies.retain(|lies| lies.number != *number);
            }
            Occurrence::Group(EventKind::ConsumerDown { slot, .. }) => lies.retain(|lies| lies.slot != *slot),
            Occurrence::Group(EventKind::Retried { job, .. } | EventKind::DeadLettered { job, .. }) => {
                lies.retain(|lies| facts.place(*job) != Some(lies.job));
            }
            Occurrence::Group(EventKind::RoleDown { .. } | EventKind::Attached { .. })
            | Occurrence::HostEnded
            | Occurrence::ProcessEnded => lies.clear(),
            _ => {}
        }
    }
    Ok(())
}

fn told(attempt: &Attempt, overtaken: &Lies, at: Moment) -> String {
    format!(
        "{} began job {} at {at}, while job {}, which is more urgent, lay there since {}",
        attempt.slot, attempt.job, overtaken.job, overtaken.since
    )
}
