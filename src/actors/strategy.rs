//! The stock strategy actor: a pure chooser behind the strategy protocol.

use actix::{Actor, Context, Handler};

use crate::protocol::{Assign, Assigned};
use crate::rules::strategies::Chooser;

/// Runs a [`Chooser`] as an actor.
#[derive(Debug)]
pub struct ChooserStrategy<C> {
    chooser: C,
    /// The version of the last roster that the chooser saw.
    seen: Option<u64>,
}

impl<C: Chooser> ChooserStrategy<C> {
    /// An actor around `chooser`.
    pub fn new(chooser: C) -> Self {
        Self { chooser, seen: None }
    }
}

impl<C: Chooser + Unpin> Actor for ChooserStrategy<C> {
    type Context = Context<Self>;
}

impl<C: Chooser + Unpin> Handler<Assign> for ChooserStrategy<C> {
    type Result = Assigned;

    fn handle(&mut self, assign: Assign, _: &mut Context<Self>) -> Assigned {
        let version = assign.roster.version();
        if self.seen != Some(version) {
            self.chooser.roster_changed(&assign.roster);
            self.seen = Some(version);
        }
        assign.answer(|job, roster| self.chooser.choose(job, roster))
    }
}
