//! Budgets and bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Facts, Judged};
use crate::sim::history::Occurrence;
use crate::types::{DeliveryNumber, EventKind, Moment, Role, SlotId};

/// Restarts within one period, of one slot or one role.
struct Budget {
    most: usize,
    period: Duration,
}

impl Budget {
    /// Notes a restart; false if it is one too many.
    fn restarted(&self, at: Moment, restarts: &mut Vec<Moment>) -> bool {
        restarts.retain(|before| at.since(*before) < self.period);
        restarts.push(at);
        restarts.len() <= self.most
    }
}

/// No slot and no role is restarted more often within the period than the budget allows. After a rest in quarantine, and in
/// the next life of the supervisor, a slot begins with a new budget.
pub(super) fn restart_budget(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    let config = &history.config.restart;
    let budget = Budget {
        most: config.intensity as usize,
        period: config.period,
    };
    let mut slots: BTreeMap<SlotId, Vec<Moment>> = BTreeMap::new();
    let mut roles: BTreeMap<Role, Vec<Moment>> = BTreeMap::new();
    for entry in &history.entries {
        let at = entry.at;
        let kind = match &entry.what {
            Occurrence::Group(kind) => kind,
            Occurrence::StartedAgain => {
                slots.clear();
                roles.clear();
                continue;
            }
            _ => continue,
        };
        let (name, is_kept): (&dyn fmt::Display, bool) = match kind {
            EventKind::ConsumerUp { slot, incarnation } if incarnation.0 > 1 => {
                (slot, budget.restarted(at, slots.entry(*slot).or_default()))
            }
            EventKind::Quarantined { slot, .. } => {
                slots.remove(slot);
                continue;
            }
            EventKind::RoleUp { role, life } if *life > 1 => {
                if *role == Role::Supervisor {
                    slots.clear();
                }
                (role, budget.restarted(at, roles.entry(*role).or_default()))
            }
            _ => continue,
        };
        if !is_kept {
            return Err(format!(
                "the restarts of {name} were more than {} in {} ms, at {at}",
                config.intensity,
                config.period.as_millis()
            ));
        }
    }
    Ok(())
}

/// No consumer holds more deliveries than its window can be.
pub(super) fn memory_bounds(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    let most = history.config.window.max as usize;
    // What all consumers hold is little, so one list does.
    let mut held: Vec<(SlotId, DeliveryNumber)> = Vec::new();
    for entry in &history.entries {
        match &entry.what {
            Occurrence::Group(EventKind::Delivered { slot, number, .. }) => {
                held.push((*slot, *number));
                let by_slot = held.iter().filter(|(of, _)| of == slot).count();
                if by_slot > most {
                    return Err(format!(
                        "{slot} held {by_slot} deliveries at {}; its window is {most} at most",
                        entry.at
                    ));
                }
            }
            Occurrence::Group(
                EventKind::Acked { number, slot, .. }
                | EventKind::Recalled { number, slot, .. }
                | EventKind::StaleSettle { number, slot, .. },
            ) => {
                held.retain(|of| *of != (*slot, *number));
            }
            Occurrence::Failed(attempt) => {
                held.retain(|of| *of != (attempt.slot, attempt.number));
            }
            Occurrence::Group(EventKind::ConsumerDown { slot, .. }) => {
                held.retain(|(of, _)| of != slot);
            }
            Occurrence::HostEnded
            | Occurrence::ProcessEnded
            | Occurrence::Group(EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            }) => held.clear(),
            _ => {}
        }
    }
    Ok(())
}
