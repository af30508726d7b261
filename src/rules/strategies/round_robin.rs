//! Each consumer in turn.

use super::{AssignJob, Choice, Strategy, Turns, choice, takes_turns};
use crate::types::{Roster, SlotId};

/// A run is this part of a window.
const RUNS: u32 = 16;

/// Up to so many consumers a block is dealt out evenly: each gets eight jobs of it or more.
const EVEN: usize = 8;

/// Gives the jobs to the consumers strictly in turn, ordered by slot.
///
/// Each of n consumers gets exactly one of n jobs in a row as long as it keeps up with it (plain jobs come many at a time and are dealt
/// out in runs, so there each has its turns side by side; see [`take_turns`](Strategy::take_turns)): a consumer that is full does not lose its
/// turn, the job waits for it. Only one that is more than 4,096 jobs behind is passed over, so a consumer that hangs does not
/// stop the others; and one that does not move loses its turns, and what waits for it, to those with room. Where jobs differ in cost, use
/// [`LeastLoaded`](super::LeastLoaded) or [`TwoChoices`](super::TwoChoices). A consumer that died is left out until its
/// successor is there. When consumers come or go, the turn goes on after the slot that had it last. A choice costs a few
/// nanoseconds and no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RoundRobin {
    /// The index from which the next consumer is sought. Written by each choice, moved when the roster changes.
    next: usize,
    /// The slot that got the last job, to find the place again when indexes have changed.
    last: Option<SlotId>,
}

impl RoundRobin {
    /// The seat at this index had the last turn.
    fn took(&mut self, index: usize, roster: &Roster) {
        self.next = index + 1;
        self.last = roster.seat(index).map(|seat| seat.slot);
    }

    /// Gives each consumer a run of its turns, until `count` jobs are given away.
    fn take_runs(
        &mut self,
        count: u32,
        in_turn: impl Iterator<Item = usize>,
        roster: &Roster,
        turns: &mut Vec<Turns>,
    ) -> bool {
        let (before, mut left) = (turns.len(), count);
        for index in in_turn {
            let Some(seat) = roster.seat(index).filter(|seat| seat.room > 0) else {
                break;
            };
            let run = (seat.load.saturating_add(seat.room) / RUNS).clamp(1, seat.room);
            let jobs = run.min(left);
            turns.push(Turns { index, jobs });
            left -= jobs;
            if left == 0 {
                self.took(index, roster);
                return true;
            }
        }
        turns.truncate(before);
        false
    }
}

impl Strategy for RoundRobin {
    fn roster_changed(&mut self, roster: &Roster) {
        self.next = self
            .last
            .map_or(0, |last| roster.seats().partition_point(|seat| seat.slot <= last));
    }

    fn choose(&mut self, _job: &AssignJob, roster: &Roster) -> Choice {
        let from = if self.next < roster.len() { self.next } else { 0 };
        let takes = |index: &usize| roster.seat(*index).is_some_and(takes_turns);
        let index = (from..roster.len()).chain(0..from).find(takes);
        let chosen = choice(roster, index);
        if let (Some(index), Choice::Slot(slot)) = (index, chosen) {
            self.next = index + 1;
            self.last = Some(slot);
        }
        chosen
    }

    fn looks_at_jobs(&self) -> bool {
        false
    }

    /// As many turns in a row: each consumer gets its jobs side by side instead of every n-th one, and the same number. In a
    /// group of more than eight each gets a run of its turns at once, a sixteenth of its window: about 60 us of work. So a
    /// message carries more than one job to a fast consumer; a slow one, whose window is small, gets one job in its turn.
    fn take_turns(&mut self, count: u32, roster: &Roster, turns: &mut Vec<Turns>) -> bool {
        let seats = u32::try_from(roster.len()).unwrap_or(u32::MAX);
        if seats == 0 || count == 0 {
            return false;
        }
        let from = if self.next < roster.len() { self.next } else { 0 };
        let in_turn = (from..roster.len()).chain(0..from);
        if roster.len() > EVEN {
            return self.take_runs(count, in_turn, roster, turns);
        }
        let (each, more) = (count / seats, count % seats);
        let before = turns.len();
        for (nth, index) in (0..seats.min(count)).zip(in_turn) {
            let jobs = each + u32::from(nth < more);
            if roster.seat(index).is_none_or(|seat| seat.room < jobs) {
                turns.truncate(before);
                return false;
            }
            turns.push(Turns { index, jobs });
        }
        let last = (from + count as usize - 1) % roster.len();
        self.took(last, roster);
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::{cases, some};

    use super::super::testing::{equals, roster_of, seat, slots};
    use super::*;

    #[test]
    fn consumers_take_turns() {
        let got = slots(&mut RoundRobin::default(), &equals(0..3, 1), 5);
        assert_eq!(got, [Some(0), Some(1), Some(2), Some(0), Some(1)]);
    }

    #[test]
    fn a_full_consumer_keeps_its_turn() {
        let roster = roster_of(vec![seat(0, 1, 0, 9), seat(1, 1, 9, 0), seat(2, 1, 0, 9)], 1);
        let got = slots(&mut RoundRobin::default(), &roster, 4);
        assert_eq!(got, [Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn a_consumer_that_is_too_far_behind_loses_its_turn() {
        let mut behind = seat(1, 1, 9, 0);
        behind.waiting = super::super::PATIENCE;
        let roster = roster_of(vec![seat(0, 1, 0, 9), behind, seat(2, 1, 0, 9)], 1);
        let got = slots(&mut RoundRobin::default(), &roster, 4);
        assert_eq!(got, [Some(0), Some(2), Some(0), Some(2)]);
        let nobody = roster_of(vec![behind], 2);
        assert_eq!(slots(&mut RoundRobin::default(), &nobody, 2), [None, None]);
    }

    #[test]
    fn the_turn_goes_on_where_it_was_when_a_consumer_leaves_or_joins() {
        let mut turn = RoundRobin::default();
        assert_eq!(slots(&mut turn, &equals(0..4, 1), 2), [Some(0), Some(1)]);
        let without_the_first = equals(1..4, 2);
        turn.roster_changed(&without_the_first);
        assert_eq!(slots(&mut turn, &without_the_first, 1), [Some(2)]);
        let with_it_again = equals(0..4, 3);
        turn.roster_changed(&with_it_again);
        assert_eq!(slots(&mut turn, &with_it_again, 2), [Some(3), Some(0)]);
    }

    #[test]
    fn in_a_large_group_each_consumer_gets_a_sixteenth_of_its_window_in_its_turn() {
        let slow = seat(1, 1, 0, 1);
        let seats = (0..100).map(|slot| if slot == 1 { slow } else { seat(slot, 1, 0, 160) });
        let mut roster = roster_of(seats.collect(), 1);
        let (mut turn, mut turns) = (RoundRobin::default(), Vec::new());
        assert!(turn.take_turns(25, &roster, &mut turns));
        assert!(turn.take_turns(3, &roster, &mut turns));
        let got: Vec<_> = turns.iter().map(|turns| (turns.index, turns.jobs)).collect();
        assert_eq!(got, [(0, 10), (1, 1), (2, 10), (3, 4), (4, 3)]);
        // Whoever is full keeps its turn, so the jobs are given away one by one.
        roster.place_many(5, 160);
        let before = turn.clone();
        assert!(!turn.take_turns(3, &roster, &mut turns));
        assert_eq!((turn, turns.len()), (before, 5));
    }

    #[test]
    fn turns_at_once_are_as_many_for_each_as_turns_one_by_one() {
        cases(256, |random| {
            let seats = random.u32(1..=8);
            let (mut at_once, mut single) = (RoundRobin::default(), RoundRobin::default());
            let roster = equals(0..seats, 1);
            for count in some(random, 1..8, |random| random.u32(1..200)) {
                let mut turns = Vec::new();
                // The seats of the testing kit have room for a few jobs only.
                if !at_once.take_turns(count, &roster, &mut turns) {
                    assert!(turns.is_empty());
                    slots(&mut at_once, &roster, u64::from(count));
                }
                let got = slots(&mut single, &roster, u64::from(count));
                for turns in turns {
                    let slot = roster.seat(turns.index).unwrap().slot.0;
                    let jobs = got.iter().filter(|got| **got == Some(slot)).count();
                    assert_eq!(jobs, turns.jobs as usize);
                }
                let next = |turn: &RoundRobin| (turn.next % seats as usize, turn.last);
                assert_eq!(next(&at_once), next(&single));
            }
        });
    }

    #[test]
    fn equal_consumers_get_exactly_one_job_each_in_every_round() {
        cases(64, |random| {
            let missing = some(random, 0..149, |random| random.u32(0..150));
            let roster = equals((0..150).filter(|slot| !missing.contains(slot)), 1);
            let mut turn = RoundRobin::default();
            slots(&mut turn, &roster, random.u64(0..300));
            let rounds = random.u64(1..4);
            let mut got = slots(&mut turn, &roster, roster.len() as u64 * rounds);
            got.sort_unstable();
            let each: Vec<_> = roster
                .seats()
                .iter()
                .flat_map(|seat| (0..rounds).map(|_| Some(seat.slot.0)))
                .collect();
            assert_eq!(got, each);
        });
    }
}
