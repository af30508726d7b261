//! What a recall may take: only what has not begun, and then for good.

use super::{Facts, Judged};
use crate::sim::history::Occurrence;
use crate::types::{DeliveryNumber, EventKind};

/// A delivery that was taken back had not begun, and does not begin after that.
pub(super) fn what_was_taken_back_does_not_begin(facts: &Facts<'_>) -> Judged {
    let mut begun: Vec<DeliveryNumber> = Vec::with_capacity(facts.history.jobs.len());
    let mut recalled: Vec<DeliveryNumber> = Vec::new();
    for entry in &facts.history.entries {
        match &entry.what {
            Occurrence::Begun(attempt) => {
                if recalled.contains(&attempt.number) {
                    return Err(format!(
                        "{} began job {} at {} by {}, which had been taken back",
                        attempt.slot, attempt.job, entry.at, attempt.number
                    ));
                }
                begun.push(attempt.number);
            }
            Occurrence::Group(EventKind::Recalled {
                job, slot, number, ..
            }) => {
                if begun.contains(number) {
                    let place = facts.place(*job).unwrap_or(usize::MAX);
                    return Err(format!(
                        "job {place} was taken back at {} from {slot}, which had begun it by {number}",
                        entry.at
                    ));
                }
                recalled.push(*number);
            }
            // The numbers of another process begin anew.
            Occurrence::HostEnded | Occurrence::ProcessEnded | Occurrence::StartedAgain => {
                begun.clear();
                recalled.clear();
            }
            _ => {}
        }
    }
    Ok(())
}
