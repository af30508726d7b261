//! The stock strategy actor: a pure chooser behind the strategy protocol.

use actix::{Actor, Context, Handler};

use crate::protocol::{Assign, Assigned};
use crate::rules::strategies::{AssignJob, Choice, Share, Strategy, Turns};
use crate::types::{Places, Roster, SlotId};

/// Runs a [`Strategy`] as an actor.
#[derive(Debug)]
pub struct StrategyShell<C> {
    chooser: C,
    /// The version of the last roster that the chooser saw.
    seen: Option<u64>,
    /// Memory that is used again for each block.
    turns: Vec<Turns>,
}

impl<C: Strategy> StrategyShell<C> {
    /// An actor around `chooser`.
    pub fn new(chooser: C) -> Self {
        Self {
            chooser,
            seen: None,
            turns: Vec::new(),
        }
    }

    /// Gives away the jobs of one part.
    fn deal(&mut self, part: u32, mut places: Places, roster: &mut Roster, shares: &mut Vec<Share>) {
        self.turns.clear();
        // At most 64.
        let count = places.len() as u32;
        if self.chooser.take_turns(count, roster, &mut self.turns) {
            for Turns { index, jobs } in self.turns.drain(..) {
                if let Some(slot) = roster.seat(index).map(|seat| seat.slot) {
                    roster.place_many(index, jobs);
                    let places = places.take_first(jobs as usize);
                    shares.push(Share { part, slot, places });
                }
            }
            return;
        }
        let from = shares.len();
        for place in places.iter() {
            let Choice::Slot(slot) = self.chooser.choose(&AssignJob::UNSEEN, roster) else {
                continue;
            };
            if let Some(index) = roster.position(slot) {
                roster.place(index);
            }
            add(shares, from, part, slot, Places::only(place));
        }
    }
}

/// Adds a job to the share of a slot, if it has one among those from `from` on.
fn add(shares: &mut Vec<Share>, from: usize, part: u32, slot: SlotId, only: Places) {
    let mut own = shares.iter_mut().skip(from).rev();
    match own.find(|share| share.slot == slot) {
        Some(share) => share.places.add(only),
        None => shares.push(Share {
            part,
            slot,
            places: only,
        }),
    }
}

impl<C: Strategy + Unpin> Actor for StrategyShell<C> {
    type Context = Context<Self>;
}

impl<C: Strategy + Unpin> Handler<Assign> for StrategyShell<C> {
    type Result = Assigned;

    fn handle(&mut self, mut assign: Assign, _: &mut Context<Self>) -> Assigned {
        let version = assign.roster.version();
        if self.seen != Some(version) {
            self.chooser.roster_changed(&assign.roster);
            self.seen = Some(version);
        }
        let parts = std::mem::take(&mut assign.parts);
        let mut answer = assign.answer(|job, roster| self.chooser.choose(job, roster));
        answer.looks_at_jobs = self.chooser.looks_at_jobs();
        for (part, places) in (0..).zip(parts) {
            self.deal(part, places, &mut answer.roster, &mut answer.shares);
        }
        answer
    }
}
