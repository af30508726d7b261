//! A strategy under test, with a roster of its own.

use std::sync::Arc;

use actix::Recipient;

use super::{Claims, Hearing, Make};
use crate::actors::cell::CellHandle;
use crate::protocol::Assign;
use crate::rules::job_ids::JobIds;
use crate::rules::strategies::{AssignJob, Choice};
use crate::testing::conformance::runner::{Held, Pace, Remarks, Stop, ensure};
use crate::types::{Cause, JobId, Priority, Roster, Seat, SlotId, Weight};

/// Stands where the supervisor stands.
pub(super) struct Rig {
    pub(super) make: Make,
    pub(super) claims: Claims,
    pub(super) pace: Pace,
    pub(super) remarks: Remarks,
    pub(super) hearing: Hearing,
    /// Held: the actor ends with it.
    pub(super) _cell: CellHandle,
    pub(super) strategy: Recipient<Assign>,
    pub(super) names: JobIds,
    pub(super) parked: usize,
}

impl Rig {
    pub(super) fn new(make: Make, claims: Claims, pace: Pace, remarks: Remarks) -> Held<Self> {
        let hearing = Hearing::default();
        let Some((cell, strategy)) = make(&hearing) else {
            let cause = hearing.take().unwrap_or(Cause::Stopped);
            return Err(Stop::Broken(format!("the strategy actor {cause}")));
        };
        Ok(Self {
            make,
            claims,
            pace,
            remarks,
            hearing,
            _cell: cell,
            strategy,
            names: JobIds::new(1),
            parked: 0,
        })
    }

    /// Another life of the strategy, which has seen nothing.
    pub(super) fn another(&self) -> Held<Self> {
        Self::new(
            Arc::clone(&self.make),
            self.claims,
            self.pace,
            self.remarks.clone(),
        )
    }

    pub(super) fn name(&mut self) -> JobId {
        self.names.next(0)
    }

    pub(super) fn jobs(&mut self, keys: impl IntoIterator<Item = Option<u64>>) -> Vec<AssignJob> {
        let job = |key: Option<u64>| AssignJob {
            id: self.name(),
            key: key.map(|key| crate::types::Key::Number(key).hashed()),
            priority: Priority(0),
            attempt: 1,
        };
        keys.into_iter().map(job).collect()
    }

    /// Asks for these jobs and checks what every answer must be: as many choices as jobs, live slots only, and a roster
    /// that does no harm.
    pub(super) async fn ask(&mut self, jobs: Vec<AssignJob>, roster: &Roster) -> Held<Vec<Choice>> {
        let asked = jobs.len();
        let assign = Assign {
            parts: Vec::new(),
            jobs,
            roster: roster.clone(),
        };
        let answer = self.pace.wait("the answer to Assign", self.strategy.send(assign));
        let Ok(assigned) = answer.await? else {
            return Err(Stop::Broken(match self.hearing.take() {
                Some(cause) => format!("the strategy actor did not outlive a question: {cause}"),
                None => "the strategy actor dropped a question without an answer".into(),
            }));
        };
        let choices = assigned.choices;
        ensure(choices.len() == asked, || {
            format!("asked for {asked} jobs it gave {} choices", choices.len())
        })?;
        for slot in named(&choices) {
            ensure(roster.position(slot).is_some(), || {
                format!(
                    "it named {slot}, which is not in the roster of {} slots",
                    roster.len()
                )
            })?;
        }
        let back = &assigned.roster;
        let slots = |roster: &Roster| {
            roster
                .seats()
                .iter()
                .map(|seat| (seat.slot, seat.weight))
                .collect::<Vec<_>>()
        };
        ensure(
            back.version() != roster.version() || slots(back) == slots(roster),
            || {
                "the roster came back with its version and other slots or weights; the group would believe it"
                    .into()
            },
        )?;
        self.look_at_rooms(&choices, roster)?;
        Ok(choices)
    }

    pub(super) fn look_at_rooms(&mut self, choices: &[Choice], roster: &Roster) -> Held {
        let mut left = roster.clone();
        let mut parked = 0;
        for slot in named(choices) {
            if let Some(index) = left.position(slot) {
                parked += usize::from(left.seat(index).is_some_and(|seat| seat.room == 0));
                left.place(index);
            }
        }
        self.parked += parked;
        ensure(parked == 0 || !self.claims.never_parks, || {
            format!(
                "{parked} of {} jobs were given to slots without room",
                choices.len()
            )
        })
    }

    pub(super) async fn ask_plain(&mut self, jobs: usize, roster: &Roster) -> Held<Vec<Choice>> {
        let jobs = self.jobs((0..jobs).map(|_| None));
        self.ask(jobs, roster).await
    }

    pub(super) async fn ask_keyed(
        &mut self,
        keys: impl IntoIterator<Item = u64>,
        roster: &Roster,
    ) -> Held<Vec<Choice>> {
        let jobs = self.jobs(keys.into_iter().map(Some));
        self.ask(jobs, roster).await
    }
}

pub(super) fn named(choices: &[Choice]) -> impl Iterator<Item = SlotId> + '_ {
    choices.iter().filter_map(|choice| match choice {
        Choice::Slot(slot) => Some(*slot),
        Choice::Hold => None,
    })
}

pub(super) fn seat(slot: u32, weight: u32, load: u32, room: u32) -> Seat {
    Seat {
        slot: SlotId(slot),
        weight: Weight(weight),
        load,
        room,
        waiting: 0,
        is_stuck: false,
    }
}

/// Equal seats with this much room each.
pub(super) fn equals(slots: impl IntoIterator<Item = u32>, room: u32, version: u64) -> Roster {
    let seats = slots.into_iter().map(|slot| seat(slot, 1, 0, room));
    Roster::new(seats.collect(), version)
}
