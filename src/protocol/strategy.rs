//! What is said to a strategy, and what a strategy says.
//!
//! ```text
//! supervisor ──Assign──▶ STRATEGY    answered by Assigned: one round trip for a whole batch
//! ```
//! A change of membership or weight shows in the roster's version, which travels with every batch.

use actix::{Actor, Handler, Message};

use crate::rules::strategies::{AssignJob, Choice, Share};
use crate::types::{Places, Roster};

/// Jobs that need a consumer, and the consumers there are.
///
/// Both are moved, not copied, and come back with the answer; a strategy that loses the roster does no harm, the
/// supervisor makes a new one.
#[derive(Debug)]
pub struct Assign {
    /// The jobs, in the order in which they were leased.
    pub jobs: Vec<AssignJob>,
    /// Plain jobs behind them, by block: which of its jobs. Only for a strategy that said in its last answer that it does
    /// not look at jobs; for all others every job is in `jobs`.
    pub parts: Vec<Places>,
    /// The live consumers with their weights, loads and rooms.
    pub roster: Roster,
}

impl Assign {
    /// Answers by asking `choose` for each job in turn; each placement is noted in the roster before the next question.
    pub fn answer(mut self, mut choose: impl FnMut(&AssignJob, &Roster) -> Choice) -> Assigned {
        let mut choices = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            let choice = choose(job, &self.roster);
            if let Choice::Slot(slot) = choice
                && let Some(index) = self.roster.position(slot)
            {
                self.roster.place(index);
            }
            choices.push(choice);
        }
        self.jobs.clear();
        Assigned {
            jobs: self.jobs,
            ..Assigned::new(choices, self.roster)
        }
    }
}

/// The answer to [`Assign`].
#[derive(Debug)]
pub struct Assigned {
    /// A choice for each job, in the order of the question. A missing choice is a `Hold`, a surplus one is ignored.
    pub choices: Vec<Choice>,
    /// Who gets which jobs of the parts that it was asked about, ordered by part. A job that nobody gets is held.
    pub shares: Vec<Share>,
    /// Whether the answer depends on the jobs. If not, plain jobs are only counted in the next question.
    pub looks_at_jobs: bool,
    /// The emptied list of jobs, so that its memory can be used again.
    pub jobs: Vec<AssignJob>,
    /// The roster, as it is after the placements.
    pub roster: Roster,
}

impl Assigned {
    /// An answer with a choice for each job, and the roster as it is after the placements.
    pub fn new(choices: Vec<Choice>, roster: Roster) -> Self {
        Self {
            choices,
            shares: Vec::new(),
            looks_at_jobs: true,
            jobs: Vec::new(),
            roster,
        }
    }
}

impl Message for Assign {
    type Result = Assigned;
}

/// The role of a strategy. Every actor that handles [`Assign`] fills it; there is nothing else to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a strategy actor",
    note = "a strategy actor has `type Context = actix::Context<Self>` and handles `consumer_group::strategy::Assign`",
    note = "for a pure decision implement `Strategy` instead, or use `strategy_fn` with a closure"
)]
pub trait StrategyActor: Actor<Context = actix::Context<Self>> + Handler<Assign> {}

impl<A> StrategyActor for A where A: Actor<Context = actix::Context<Self>> + Handler<Assign> {}
