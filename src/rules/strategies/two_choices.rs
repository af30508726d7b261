//! The less loaded of two drawn at random.

use fastrand::Rng;

use super::least_loaded::is_less_loaded;
use super::{AssignJob, Choice, Strategy, choice};
use crate::types::Roster;

/// Draws two different consumers at random and gives the job to the less loaded one.
///
/// Where n jobs fall on n consumers, one random draw leaves the fullest with about `ln n / ln ln n` jobs, the better of
/// two with about `ln ln n / ln 2`: for 100,000 consumers 4.7 against 3.5, and the gap stays that small however many jobs
/// follow. That is nearly as even as [`LeastLoaded`](super::LeastLoaded) at a constant cost.
///
/// Loads are compared by weight. If one of the two is full, the other gets the job; if both are, the next one with room
/// does.
///
/// Reference: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001.
#[derive(Debug, Clone)]
pub struct TwoChoices {
    random: Rng,
}

impl TwoChoices {
    /// Draws by this seed: the same seed and the same questions give the same answers.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
        }
    }

    /// Two different indexes below `seats`, which is at least two.
    fn draw(&mut self, seats: usize) -> (usize, usize) {
        let one = self.random.usize(..seats);
        let other = self.random.usize(..seats - 1);
        (one, if other < one { other } else { other + 1 })
    }
}

impl Strategy for TwoChoices {
    fn choose(&mut self, _job: &AssignJob, roster: &Roster) -> Choice {
        if roster.len() < 2 {
            return choice(roster, roster.next_open(0));
        }
        let (one, other) = self.draw(roster.len());
        choice(roster, better(roster, one, other))
    }

    fn looks_at_jobs(&self) -> bool {
        false
    }
}

/// The less loaded of the two that have room; the first of equals.
fn better(roster: &Roster, one: usize, other: usize) -> Option<usize> {
    let with_room = |index| roster.seat(index).filter(|seat| seat.room > 0);
    match (with_room(one), with_room(other)) {
        (Some(seat), Some(rival)) if is_less_loaded(rival, seat) => Some(other),
        (Some(_), _) => Some(one),
        (None, Some(_)) => Some(other),
        (None, None) => roster.next_open(one),
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::cases;

    use super::super::testing::{equals, roster_of, seat, slots};
    use super::*;

    #[test]
    fn of_two_consumers_the_less_loaded_always_gets_the_job() {
        let roster = roster_of(vec![seat(0, 1, 5, 9), seat(1, 1, 4, 9)], 1);
        assert_eq!(slots(&mut TwoChoices::new(1), &roster, 50), vec![Some(1); 50]);
    }

    #[test]
    fn the_most_loaded_consumer_never_gets_a_job_since_it_is_never_drawn_alone() {
        let roster = roster_of((0..5).map(|slot| seat(slot, 1, slot, 9)).collect(), 1);
        let got = slots(&mut TwoChoices::new(3), &roster, 1_000);
        assert!(!got.contains(&Some(4)));
        for slot in 0..4 {
            assert!(got.contains(&Some(slot)), "slot {slot} was never drawn");
        }
    }

    #[test]
    fn the_only_consumer_with_room_gets_the_job_wherever_the_draw_falls() {
        let seats = (0..200).map(|slot| seat(slot, 1, 0, u32::from(slot == 117)));
        let roster = roster_of(seats.collect(), 1);
        assert_eq!(slots(&mut TwoChoices::new(2), &roster, 100), vec![Some(117); 100]);
    }

    #[test]
    fn the_same_seed_gives_the_same_choices_and_another_seed_others() {
        let roster = equals(0..50, 1);
        let one = slots(&mut TwoChoices::new(1), &roster, 100);
        assert_eq!(one, slots(&mut TwoChoices::new(1), &roster, 100));
        assert_ne!(one, slots(&mut TwoChoices::new(2), &roster, 100));
    }

    #[test]
    fn jobs_fall_far_more_evenly_than_with_one_draw() {
        let mut roster = equals(0..1_000, 1);
        let mut chooser = TwoChoices::new(4);
        for _ in 0..10_000 {
            let [Some(slot)] = slots(&mut chooser, &roster, 1)[..] else {
                panic!("held with room left");
            };
            roster.place(slot as usize);
        }
        let most = roster.seats().iter().map(|seat| seat.load).max();
        // One draw leaves the fullest of 1,000 with about 20 of 10,000 jobs.
        assert!(most <= Some(14), "{most:?}");
    }

    #[test]
    fn the_two_that_are_drawn_differ_and_are_in_range() {
        cases(1_000, |random| {
            let seats = random.usize(2..200);
            let (one, other) = TwoChoices::new(random.u64(..)).draw(seats);
            assert!(one != other && one < seats && other < seats);
        });
    }
}
