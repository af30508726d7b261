//! What a dead consumer held goes first.

use super::{Facts, Judged};
use crate::sim::fault::FaultKind;
use crate::sim::history::{Entry, Occurrence};
use crate::types::{DeliveryNumber, EventKind, Moment, Role, SlotId};

/// What a consumer held when it died is delivered again before jobs that were waiting behind it for the same consumer.
///
/// This can be seen where nothing else can have come in between: the supervisor had nothing else to do in the moment of the
/// death, and the other consumers held nothing, so whatever was waiting was waiting for the one that died. A job of a key may
/// wait for its key instead, so of those that waited only jobs without a key count. And only the order at one slot counts,
/// since another one may have been full.
pub(super) fn what_was_held_goes_first(facts: &Facts<'_>) -> Judged {
    let mut look = Look {
        facts,
        out: Vec::new(),
        accepted: facts.for_each_job(None),
        is_fresh: facts.for_each_job(true),
        is_clear: facts.for_each_job(true),
        told: None,
        jumped: None,
        death: None,
    };
    for entry in &facts.history.entries {
        look.at(entry)?;
    }
    Ok(())
}

struct Look<'f> {
    facts: &'f Facts<'f>,
    /// Deliveries that are out: number, job and slot.
    out: Vec<(DeliveryNumber, usize, SlotId)>,
    /// When each job was accepted.
    accepted: Vec<Option<Moment>>,
    /// Whether each job was never delivered.
    is_fresh: Vec<bool>,
    /// Whether the source delivered each job only once.
    is_clear: Vec<bool>,
    /// When the group last told something, or something that a fault held up went on.
    told: Option<Moment>,
    /// When the clock last jumped: then time went by without anything being done in it.
    jumped: Option<Moment>,
    /// The last death of a consumer, while nothing else disturbs.
    death: Option<Death>,
}

struct Death {
    at: Moment,
    /// The jobs that the consumer held and that were not delivered again.
    held: Vec<usize>,
    /// The jobs that had waited and were delivered since, with their slots.
    overtook: Vec<(usize, SlotId)>,
}

impl Look<'_> {
    fn at(&mut self, entry: &Entry) -> Judged {
        match &entry.what {
            Occurrence::SourceRepeated { job } => {
                if let Some(is_clear) = self.is_clear.get_mut(*job) {
                    *is_clear = false;
                }
            }
            Occurrence::Fired { fault } if self.is_jump(*fault) => self.jumped = Some(entry.at),
            // A queue that answers again brings jobs.
            Occurrence::Over { .. } => self.told = Some(entry.at),
            Occurrence::HostEnded | Occurrence::ProcessEnded => {
                self.death = None;
                self.out.clear();
            }
            Occurrence::Failed(attempt) => self.out.retain(|(number, ..)| *number != attempt.number),
            Occurrence::Group(kind) => {
                self.told(entry.at, kind)?;
                self.told = Some(entry.at);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_jump(&self, fault: usize) -> bool {
        let planned = self.facts.history.faults.get(fault);
        planned.is_some_and(|planned| {
            matches!(
                planned.fault.kind,
                FaultKind::ClockJump { .. } | FaultKind::Freeze { .. }
            )
        })
    }

    fn told(&mut self, at: Moment, kind: &EventKind) -> Judged {
        match kind {
            EventKind::Accepted { job } => {
                let place = self.facts.place(*job);
                if let Some(accepted) = place.and_then(|place| self.accepted.get_mut(place)) {
                    *accepted = Some(at);
                }
            }
            EventKind::Delivered {
                job, slot, number, ..
            } => {
                if let Some(place) = self.facts.place(*job) {
                    self.out.push((*number, place, *slot));
                    return self.delivered(place, *slot, at);
                }
            }
            EventKind::Acked { number, .. } | EventKind::Recalled { number, .. } => {
                self.out.retain(|(other, ..)| other != number)
            }
            // Also after work that was done, where the repeated word comes first and says that it failed.
            EventKind::Retried { job, .. } | EventKind::DeadLettered { job, .. } => {
                if let Some(place) = self.facts.place(*job) {
                    self.out.retain(|(_, other, _)| *other != place);
                }
            }
            EventKind::ConsumerDown { slot, .. } => self.died(*slot, at),
            EventKind::RoleDown { role, .. } => {
                self.death = None;
                if *role == Role::Supervisor {
                    self.out.clear();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn died(&mut self, slot: SlotId, at: Moment) {
        let others_are_idle = self.out.iter().all(|(.., of)| *of == slot);
        let is_quiet = self.told != Some(at) && self.jumped < self.told;
        let held = std::mem::take(&mut self.out);
        self.death = (others_are_idle && is_quiet).then(|| Death {
            at,
            held: held.iter().map(|(_, job, _)| *job).collect(),
            overtook: Vec::new(),
        });
        if !others_are_idle {
            self.out = held;
            self.out.retain(|(.., of)| *of != slot);
        }
    }

    fn delivered(&mut self, job: usize, slot: SlotId, at: Moment) -> Judged {
        let was_fresh = self.is_fresh.get_mut(job).is_some_and(std::mem::take);
        let is_clear = self.is_clear.get(job) == Some(&true);
        let (Some(death), true) = (&mut self.death, is_clear) else {
            return Ok(());
        };
        let accepted = self.accepted.get(job).copied().flatten();
        let waited = accepted.is_some_and(|accepted| accepted < death.at);
        if was_fresh && waited && self.facts.key(job).is_none() {
            death.overtook.push((job, slot));
        } else if let Some(index) = death.held.iter().position(|held| *held == job) {
            death.held.swap_remove(index);
            let priority = self.facts.priority(job);
            let went_first =
                |(other, to): &&(usize, SlotId)| *to == slot && self.facts.priority(*other) <= priority;
            if let Some((first, _)) = death.overtook.iter().find(went_first) {
                return Err(format!(
                    "{slot} got job {first}, which had waited, before job {job} at {at}, which a consumer held that died at {}",
                    death.at
                ));
            }
        }
        Ok(())
    }
}
