//! What is to be drawn, read out of the history.

use super::*;
use crate::sim::history::{Attempt, Occurrence, PlannedFault};
use crate::types::{EventKind, Role, SlotId};

impl<'h> Drawing<'h> {
    pub(super) fn lane_of(&self, role: Role) -> usize {
        self.slots
            + match role {
                Role::Queue => 0,
                Role::Strategy => 1,
                Role::Supervisor => 2,
                Role::Results => 3,
            }
    }

    /// Collects lives, bars and the backlog.
    pub(super) fn read(&mut self) {
        let places = self.history.places();
        let mut open = 0_i64;
        let mut finished = std::collections::BTreeSet::new();
        for entry in &self.history.entries {
            let now = at(entry.at);
            match &entry.what {
                Occurrence::Sent { .. } => {
                    open += 1;
                    self.note_backlog(now, open);
                }
                Occurrence::Begun(attempt) => self.bars.push(Bar {
                    attempt: *attempt,
                    from: now,
                    to: None,
                    colour: CUT,
                }),
                Occurrence::Worked(attempt) => self.end_bar(attempt, now, DONE),
                Occurrence::Failed(attempt) => self.end_bar(attempt, now, FAILED),
                Occurrence::HostEnded | Occurrence::ProcessEnded => {
                    self.give_up(|_| true, now);
                    for lane in 0..self.slots + 4 {
                        self.end_life(lane, now);
                    }
                    self.cut_bars(None, now);
                }
                Occurrence::Group(kind) => {
                    if let EventKind::Acked { job, .. } | EventKind::DeadLettered { job, .. } = kind
                        && let Some(place) = places.get(job)
                        && finished.insert(*place)
                    {
                        open -= 1;
                        self.note_backlog(now, open);
                    }
                    self.read_event(kind, now);
                }
                _ => {}
            }
        }
    }

    /// Of several changes at one moment the last one counts.
    pub(super) fn note_backlog(&mut self, now: f64, open: i64) {
        match self.backlog.last_mut() {
            Some(last) if last.0 >= now => last.1 = open,
            _ => self.backlog.push((now, open)),
        }
    }

    pub(super) fn read_event(&mut self, kind: &EventKind, now: f64) {
        match kind {
            EventKind::ConsumerUp { slot, incarnation } => {
                self.begin_life(slot.0 as usize, incarnation.0.into(), now);
            }
            EventKind::ConsumerDown {
                slot, incarnation, ..
            } => {
                let life = (Some(*slot), Some(*incarnation));
                self.give_up(|planned| (planned.slot, planned.incarnation) == life, now);
                self.end_life(slot.0 as usize, now);
                self.cut_bars(Some(*slot), now);
            }
            EventKind::RoleUp { role, life } => self.begin_life(self.lane_of(*role), *life, now),
            EventKind::RoleDown { role, .. } => {
                self.end_life(self.lane_of(*role), now);
                if *role == Role::Supervisor {
                    self.give_up(|planned| planned.slot.is_some(), now);
                    for slot in 0..self.slots {
                        self.end_life(slot, now);
                    }
                    self.cut_bars(None, now);
                }
            }
            _ => {}
        }
    }

    /// What these faults held up, if they have happened, is given up now.
    pub(super) fn give_up(&mut self, met: impl Fn(&PlannedFault) -> bool, now: f64) {
        for (fault, planned) in self.history.faults.iter().enumerate() {
            if met(planned) && planned.fired.is_some_and(|fired| at(fired) <= now) {
                self.given_up.entry(fault).or_insert(now);
            }
        }
    }

    pub(super) fn begin_life(&mut self, lane: usize, number: u64, from: f64) {
        self.end_life(lane, from);
        self.lives.push(Life {
            lane,
            number,
            from,
            to: None,
        });
    }

    pub(super) fn end_life(&mut self, lane: usize, to: f64) {
        for life in self.lives.iter_mut().filter(|life| life.lane == lane) {
            life.to.get_or_insert(to);
        }
    }

    /// Work that came to its end; after its consumer was given up, it is the work of a zombie.
    pub(super) fn end_bar(&mut self, attempt: &Attempt, now: f64, colour: &'static str) {
        let same = |bar: &&mut Bar| bar.attempt == *attempt;
        if let Some(bar) = self.bars.iter_mut().find(same) {
            bar.colour = if bar.to.is_some() { LATE } else { colour };
            bar.to = Some(now);
        }
    }

    pub(super) fn cut_bars(&mut self, slot: Option<SlotId>, now: f64) {
        let is_there = |bar: &&mut Bar| slot.is_none_or(|slot| bar.attempt.slot == slot);
        for bar in self.bars.iter_mut().filter(is_there) {
            bar.to.get_or_insert(now);
        }
    }
}
