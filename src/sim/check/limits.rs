//! Budgets and bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Facts, Judged};
use crate::sim::history::Happening;
use crate::words::{DeliveryNumber, EventKind, Moment, Role, SlotId};

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
        period: Duration::from_millis(config.period_ms),
    };
    let mut slots: BTreeMap<SlotId, Vec<Moment>> = BTreeMap::new();
    let mut roles: BTreeMap<Role, Vec<Moment>> = BTreeMap::new();
    for (at, kind) in history.events() {
        let (name, is_kept) = match kind {
            EventKind::ConsumerUp { slot, incarnation } if incarnation.0 > 1 => (
                slot.to_string(),
                budget.restarted(at, slots.entry(*slot).or_default()),
            ),
            EventKind::Quarantined { slot, .. } => {
                slots.remove(slot);
                continue;
            }
            EventKind::RoleUp { role, life } if *life > 1 => {
                if *role == Role::Supervisor {
                    slots.clear();
                }
                (
                    format!("the {role}"),
                    budget.restarted(at, roles.entry(*role).or_default()),
                )
            }
            _ => continue,
        };
        if !is_kept {
            return Err(format!(
                "{name} was restarted more than {} times in {} ms, at {at}",
                config.intensity, config.period_ms
            ));
        }
    }
    Ok(())
}

/// No consumer holds more deliveries than its window can be.
pub(super) fn memory_bounds(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    let most = history.config.window.max as usize;
    let mut held: BTreeMap<SlotId, Vec<DeliveryNumber>> = BTreeMap::new();
    for entry in &history.entries {
        match &entry.what {
            Happening::Group(EventKind::Delivered { slot, number, .. }) => {
                let held = held.entry(*slot).or_default();
                held.push(*number);
                if held.len() > most {
                    return Err(format!(
                        "{slot} held {} deliveries at {}; its window is {most} at most",
                        held.len(),
                        entry.at
                    ));
                }
            }
            Happening::Group(EventKind::Acked { number, slot, .. }) => {
                held.entry(*slot).or_default().retain(|other| other != number);
            }
            Happening::Failed(attempt) => {
                held.entry(attempt.slot)
                    .or_default()
                    .retain(|other| *other != attempt.number);
            }
            Happening::Group(EventKind::ConsumerDown { slot, .. }) => {
                held.remove(slot);
            }
            Happening::Group(EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            }) => held.clear(),
            _ => {}
        }
    }
    Ok(())
}
