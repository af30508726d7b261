//! The consumer that holds the least.

use super::{AssignJob, Choice, Strategy, choice};
use crate::types::{Roster, Seat};

/// Gives each job to the consumer with room that holds the fewest deliveries for its weight.
///
/// A consumer of weight 2 with 6 deliveries is as loaded as one of weight 1 with 3 (weighted least connections, as nginx
/// and LVS have it). Among equals the turn goes round, so that idle consumers share the work and the first slot does not
/// get all of it.
///
/// A choice looks at every consumer until it finds an idle one; for large groups [`TwoChoices`](super::TwoChoices) is
/// nearly as even at a constant cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LeastLoaded {
    /// The index from which consumers are compared: the one after the last choice.
    next: usize,
}

impl Strategy for LeastLoaded {
    fn choose(&mut self, _job: &AssignJob, roster: &Roster) -> Choice {
        let least = least_loaded(roster, self.next);
        if let Some(index) = least {
            self.next = index + 1;
        }
        choice(roster, least)
    }

    fn looks_at_jobs(&self) -> bool {
        false
    }
}

/// The least loaded seat with room; of equals the first one at or after `from`, going round once.
fn least_loaded(roster: &Roster, from: usize) -> Option<usize> {
    let from = from.min(roster.len());
    let (before, after) = roster.seats().split_at(from);
    // Two plain walks rather than one chained: they take half the time, and large groups feel it.
    let least = lesser(after, from, None);
    let least = match least {
        Some((_, seat)) if seat.load == 0 => least,
        _ => lesser(before, 0, least),
    };
    least.map(|(index, _)| index)
}

/// The least loaded of `seats`, the first of which has the index `first`, and of the seat found so far.
fn lesser<'a>(
    seats: &'a [Seat],
    first: usize,
    mut least: Option<(usize, &'a Seat)>,
) -> Option<(usize, &'a Seat)> {
    for (index, seat) in (first..).zip(seats) {
        if seat.room > 0 && least.is_none_or(|(_, other)| is_less_loaded(seat, other)) {
            least = Some((index, seat));
            if seat.load == 0 {
                break;
            }
        }
    }
    least
}

/// Whether `one` holds less for its weight than `other`.
pub(super) fn is_less_loaded(one: &Seat, other: &Seat) -> bool {
    // one.load / one.weight < other.load / other.weight, without the division.
    u64::from(one.load) * u64::from(other.weight.0.max(1))
        < u64::from(other.load) * u64::from(one.weight.0.max(1))
}

#[cfg(test)]
mod tests {
    use crate::types::cases::{cases, some};

    use super::super::testing::{equals, roster_of, seat, slots};
    use super::*;

    #[test]
    fn the_consumer_with_the_fewest_deliveries_gets_the_job() {
        let roster = roster_of(vec![seat(0, 1, 5, 9), seat(1, 1, 3, 9), seat(2, 1, 4, 9)], 1);
        assert_eq!(slots(&mut LeastLoaded::default(), &roster, 2), [Some(1), Some(1)]);
    }

    #[test]
    fn a_heavier_consumer_holds_more_before_it_counts_as_loaded() {
        let roster = roster_of(vec![seat(0, 1, 3, 9), seat(1, 4, 8, 9), seat(2, 1, 4, 9)], 1);
        assert_eq!(slots(&mut LeastLoaded::default(), &roster, 1), [Some(1)]);
    }

    #[test]
    fn a_consumer_without_room_is_not_chosen_however_little_it_holds() {
        let roster = roster_of(vec![seat(0, 1, 0, 0), seat(1, 1, 7, 1)], 1);
        assert_eq!(slots(&mut LeastLoaded::default(), &roster, 1), [Some(1)]);
    }

    #[test]
    fn equal_loads_take_turns_whether_idle_or_busy() {
        let turns = [Some(0), Some(1), Some(2), Some(0)];
        assert_eq!(slots(&mut LeastLoaded::default(), &equals(0..3, 1), 4), turns);
        let busy = roster_of((0..3).map(|slot| seat(slot, 1, 5, 9)).collect(), 1);
        assert_eq!(slots(&mut LeastLoaded::default(), &busy, 4), turns);
    }

    #[test]
    fn nobody_with_room_is_less_loaded_than_the_chosen_one() {
        cases(256, |random| {
            let seats = some(random, 1..30, |random| {
                (random.u32(1..5), random.u32(0..20), random.u32(0..2))
            });
            let seats = (0..)
                .zip(seats)
                .map(|(slot, (weight, load, room))| seat(slot, weight, load, room));
            let roster = roster_of(seats.collect(), 1);
            let open: Vec<_> = roster.seats().iter().filter(|seat| seat.room > 0).collect();
            match least_loaded(&roster, random.usize(0..40)) {
                None => assert!(open.is_empty()),
                Some(index) => {
                    let chosen = roster.seat(index).unwrap();
                    assert!(chosen.room > 0);
                    let share = |seat: &Seat| f64::from(seat.load) / f64::from(seat.weight.0);
                    assert!(open.iter().all(|other| share(chosen) <= share(other) + 1e-9));
                }
            }
        });
    }
}
