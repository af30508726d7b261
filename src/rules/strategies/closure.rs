//! A strategy made of a closure.

use std::fmt;

use super::{AssignJob, Choice, Strategy};
use crate::types::Roster;

/// A closure as a strategy; made by [`strategy_fn`].
#[derive(Clone)]
pub struct StrategyFn<F> {
    choose: F,
}

/// Makes a strategy of a closure. What the closure names is checked by whoever asked: a slot that is not live counts as
/// [`Choice::Hold`].
///
/// ```
/// use consumer_group::strategy::{Choice, strategy_fn};
///
/// // Everything to the first consumer with room.
/// let first_come = strategy_fn(|_job, roster| {
///     let first = roster.next_open(0).and_then(|index| roster.seat(index));
///     first.map_or(Choice::Hold, |seat| Choice::Slot(seat.slot))
/// });
/// # let _ = first_come;
/// ```
pub fn strategy_fn<F>(choose: F) -> StrategyFn<F>
where
    F: FnMut(&AssignJob, &Roster) -> Choice + Send + 'static,
{
    StrategyFn { choose }
}

impl<F> Strategy for StrategyFn<F>
where
    F: FnMut(&AssignJob, &Roster) -> Choice + Send + 'static,
{
    fn choose(&mut self, job: &AssignJob, roster: &Roster) -> Choice {
        (self.choose)(job, roster)
    }
}

impl<F> fmt::Debug for StrategyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrategyFn").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{equals, slots};
    use super::*;
    use crate::types::SlotId;

    #[test]
    fn a_closure_is_asked_for_every_job_and_may_keep_state() {
        let mut asked = 0;
        let mut every_other = strategy_fn(move |_, roster| {
            asked += 1;
            assert_eq!(roster.len(), 2);
            if asked % 2 == 0 {
                Choice::Hold
            } else {
                Choice::Slot(SlotId(1))
            }
        });
        assert_eq!(
            slots(&mut every_other, &equals(0..2, 1), 3),
            [Some(1), None, Some(1)]
        );
    }
}
