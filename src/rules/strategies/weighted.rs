//! Each consumer in turn, by weight.

use super::{AssignJob, Choice, Strategy, choice, takes_turns};
use crate::types::{Roster, Seat, SlotId};

/// Gives the jobs to the consumers in turn, the heavier ones oftener and evenly mixed: smooth weighted round robin.
///
/// The rule is that of nginx (`ngx_http_upstream_get_peer`, commit 52327e0627f4, 2012): with each job every consumer's
/// counter grows by its weight, the consumer with the greatest counter (the first of equals) gets the job, and its counter
/// falls by the sum of the weights. With weights a = 5, b = 1, c = 1:
///
/// | job | counters before the choice | chosen | counters after |
/// |---|---|---|---|
/// | 1 | 5 1 1 | a | -2 1 1 |
/// | 2 | 3 2 2 | a | -4 2 2 |
/// | 3 | 1 3 3 | b | 1 -4 3 |
/// | 4 | 6 -3 4 | a | -1 -3 4 |
/// | 5 | 4 -2 5 | c | 4 -2 -2 |
/// | 6 | 9 -1 -1 | a | 2 -1 -1 |
/// | 7 | 7 0 0 | a | 0 0 0 |
///
/// Over the sum of the weights each gets exactly its weight as long as it keeps up with it, and the row starts again. A consumer that
/// is full does not lose its turn, the job waits for it. Only one that is more than 4,096 jobs behind is passed over, as nginx
/// passes over a server that is down; and one that does not move, while another one has room, loses its turns and what waits for
/// it. So a consumer that is slower than its weight gets less, and one that hangs does not stop the group. A consumer that died is left out until its successor is there. A change of weight counts from the next job on. When
/// consumers come or go, the others keep their place in the row: their counters are scaled to the new sum of the weights (a
/// step that nginx has no need of, since it starts anew). A new one starts at zero.
///
/// A choice looks at every consumer; for thousands of equal weight use [`RoundRobin`](super::RoundRobin).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Weighted {
    /// One for each seat of the roster of this version, in the same order.
    counters: Vec<Counter>,
    version: Option<u64>,
    /// The sum of all weights in that roster.
    total: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Counter {
    slot: SlotId,
    /// At most the sum of all weights away from zero: a million weights of 32 bits fit by far.
    current: i64,
}

impl Weighted {
    /// Makes one counter for each seat, keeping those of slots that were there before, scaled to the new sum of weights.
    /// Both lists are ordered by slot.
    fn align(&mut self, roster: &Roster) {
        let mut before = std::mem::take(&mut self.counters).into_iter().peekable();
        let total = roster.seats().iter().map(weight).sum();
        let counter = |seat: &Seat| {
            while before.next_if(|counter| counter.slot < seat.slot).is_some() {}
            let known = before.next_if(|counter| counter.slot == seat.slot);
            Counter {
                slot: seat.slot,
                current: known.map_or(0, |counter| scaled(counter.current, self.total, total)),
            }
        };
        self.counters = roster.seats().iter().map(counter).collect();
        self.total = total;
        self.version = Some(roster.version());
    }

    fn is_aligned(&self, roster: &Roster) -> bool {
        self.version == Some(roster.version()) && self.counters.len() == roster.len()
    }
}

fn weight(seat: &Seat) -> i64 {
    i64::from(seat.weight.0.max(1))
}

/// What `current` is worth when the sum of the weights goes from `before` to `after`.
fn scaled(current: i64, before: i64, after: i64) -> i64 {
    let scaled = i128::from(current) * i128::from(after) / i128::from(before.max(1));
    i64::try_from(scaled).unwrap_or(0)
}

impl Strategy for Weighted {
    fn roster_changed(&mut self, roster: &Roster) {
        self.align(roster);
    }

    fn choose(&mut self, _job: &AssignJob, roster: &Roster) -> Choice {
        if !self.is_aligned(roster) {
            self.align(roster);
        }
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, (seat, counter)) in roster.seats().iter().zip(&mut self.counters).enumerate() {
            if !takes_turns(seat) {
                continue;
            }
            total += weight(seat);
            counter.current += weight(seat);
            if best.is_none_or(|(_, greatest)| counter.current > greatest) {
                best = Some((index, counter.current));
            }
        }
        let best = best.map(|(index, _)| index);
        if let Some(counter) = best.and_then(|index| self.counters.get_mut(index)) {
            counter.current -= total;
        }
        choice(roster, best)
    }

    fn looks_at_jobs(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::{cases, some};

    use super::super::testing::{equals, roster_of, seat, slots};
    use super::*;

    fn roster(weights: &[u32], version: u64) -> Roster {
        let seats = (0..).zip(weights).map(|(slot, weight)| seat(slot, *weight, 0, 9));
        roster_of(seats.collect(), version)
    }

    fn letters(chooser: &mut Weighted, roster: &Roster, jobs: u64) -> String {
        slots(chooser, roster, jobs)
            .into_iter()
            .map(|slot| slot.map_or('-', |slot| char::from(b'a' + slot as u8)))
            .collect()
    }

    fn counts(got: &[Option<u32>], slots: usize) -> Vec<u32> {
        let mut counts = vec![0; slots];
        for slot in got.iter().flatten() {
            counts[*slot as usize] += 1;
        }
        counts
    }

    #[test]
    fn weights_of_5_1_1_are_mixed_in_the_order_of_nginx() {
        let got = letters(&mut Weighted::default(), &roster(&[5, 1, 1], 1), 14);
        assert_eq!(got, "aabacaaaabacaa");
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(
            letters(&mut Weighted::default(), &roster(&[3, 3, 3], 1), 7),
            "abcabca"
        );
    }

    #[test]
    fn a_weight_of_zero_counts_as_one() {
        assert_eq!(letters(&mut Weighted::default(), &roster(&[0, 1], 1), 4), "abab");
    }

    #[test]
    fn a_full_consumer_keeps_its_turn() {
        let a_is_full = roster_of(vec![seat(0, 2, 9, 0), seat(1, 1, 0, 9), seat(2, 1, 0, 9)], 1);
        assert_eq!(letters(&mut Weighted::default(), &a_is_full, 8), "abcaabca");
    }

    #[test]
    fn a_change_of_weight_counts_from_the_next_round_on() {
        let mut turn = Weighted::default();
        let before = roster(&[1, 1], 1);
        assert_eq!(counts(&slots(&mut turn, &before, 100), 2), [50, 50]);
        let after = roster(&[1, 3], 2);
        turn.roster_changed(&after);
        assert_eq!(counts(&slots(&mut turn, &after, 100), 2), [25, 75]);
    }

    #[test]
    fn the_others_keep_their_place_in_the_row_when_one_leaves() {
        for (gone, then) in [(0, "cdb"), (1, "cda"), (2, "dab"), (3, "cab")] {
            let mut turn = Weighted::default();
            assert_eq!(letters(&mut turn, &roster(&[1, 1, 1, 1], 1), 2), "ab");
            let without = equals((0..4).filter(|slot| *slot != gone), 2);
            turn.roster_changed(&without);
            assert_eq!(letters(&mut turn, &without, 6), then.repeat(2), "without {gone}");
        }
    }

    #[test]
    fn a_change_that_nobody_told_is_seen_by_the_version() {
        let mut turn = Weighted::default();
        assert_eq!(letters(&mut turn, &equals(0..2, 1), 1), "a");
        assert_eq!(letters(&mut turn, &equals(1..3, 2), 2), "bc");
    }

    #[test]
    fn over_the_sum_of_the_weights_each_gets_exactly_its_weight_and_never_far_from_it_on_the_way() {
        cases(256, |random| {
            let weights = some(random, 1..9, |random| random.u32(1..12));
            let mut turn = Weighted::default();
            let roster = roster(&weights, 1);
            let sum = u64::from(weights.iter().sum::<u32>());
            for _round in 0..random.u64(1..4) {
                let got = slots(&mut turn, &roster, sum);
                assert_eq!(&counts(&got, weights.len()), &weights);
                for jobs in 1..got.len() {
                    for (count, weight) in counts(&got[..jobs], weights.len()).iter().zip(&weights) {
                        let due = jobs as f64 * f64::from(*weight) / sum as f64;
                        let many = weights.len() as f64;
                        assert!((f64::from(*count) - due).abs() < many, "{count} instead of {due}");
                    }
                }
            }
        });
    }
}
