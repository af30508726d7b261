//! A key stays where it first went.

use super::least_loaded::LeastLoaded;
use super::recent::RecentKeys;
use super::{AssignJob, Choice, Strategy};
use crate::types::Roster;

/// Gives all jobs of a key to the consumer that got the first one.
///
/// | the key | its consumer | the job |
/// |---|---|---|
/// | known | lives | goes there, and waits there if it is full |
/// | known | is stuck (only with the affinity `prefer`) | goes to the least loaded with room, this time |
/// | known | is gone | goes to the least loaded with room, and so do the key's later jobs |
/// | new | – | goes to the least loaded with room, and so do the key's later jobs |
/// | none | – | goes to the least loaded with room |
///
/// Where nobody has room, a job that is not bound to a consumer is held. Unlike on a
/// [`ConsistentHash`](super::ConsistentHash) ring, no key of a living consumer moves when others come or go, and loads even
/// out as new keys appear; the price is a table, which is bounded: past its bound the key that was used the longest time
/// ago is forgotten, and counts as new if it comes again. That breaks no order: a key in flight stays where it is by the
/// ledger's own rule.
#[derive(Debug, Clone)]
pub struct Sticky {
    keys: RecentKeys,
    newcomers: LeastLoaded,
}

impl Sticky {
    /// How many keys are remembered unless told otherwise; about 8 MB when all are in use.
    pub const KEYS: usize = 100_000;

    /// Remembers at most `keys` keys, at least one.
    pub fn new(keys: usize) -> Self {
        Self {
            keys: RecentKeys::new(keys),
            newcomers: LeastLoaded::default(),
        }
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self::new(Self::KEYS)
    }
}

impl Strategy for Sticky {
    fn choose(&mut self, job: &AssignJob, roster: &Roster) -> Choice {
        let known = job.key.and_then(|key| self.keys.slot(key));
        let seat = known.and_then(|slot| roster.seat(roster.position(slot)?));
        if let Some(seat) = seat.filter(|seat| !seat.is_stuck) {
            return Choice::Slot(seat.slot);
        }
        let choice = self.newcomers.choose(job, roster);
        if seat.is_none()
            && let (Some(key), Choice::Slot(slot)) = (job.key, choice)
        {
            self.keys.remember(key, slot);
        }
        choice
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::cases;

    use super::super::testing::{equals, roster_of, seat, slot_of_key, slots};
    use super::*;

    #[test]
    fn new_keys_go_to_the_least_loaded_and_stay_there() {
        let mut sticky = Sticky::default();
        let first = roster_of(vec![seat(0, 1, 5, 9), seat(1, 1, 2, 9)], 1);
        assert_eq!(slot_of_key(&mut sticky, &first, 7), Some(1));
        let later = roster_of(vec![seat(0, 1, 0, 9), seat(1, 1, 8, 9)], 1);
        assert_eq!(slot_of_key(&mut sticky, &later, 7), Some(1));
        assert_eq!(slot_of_key(&mut sticky, &later, 8), Some(0));
    }

    #[test]
    fn a_known_key_waits_for_its_consumer_and_a_new_one_is_held_while_all_are_full() {
        let mut sticky = Sticky::default();
        assert_eq!(slot_of_key(&mut sticky, &equals(0..2, 1), 7), Some(0));
        let full = roster_of(vec![seat(0, 1, 9, 0), seat(1, 1, 9, 0)], 1);
        assert_eq!(slot_of_key(&mut sticky, &full, 7), Some(0));
        assert_eq!(slot_of_key(&mut sticky, &full, 8), None);
        // The key that was held is not bound to anybody yet.
        let open = roster_of(vec![seat(0, 1, 9, 0), seat(1, 1, 8, 1)], 1);
        assert_eq!(slot_of_key(&mut sticky, &open, 8), Some(1));
    }

    #[test]
    fn a_key_of_a_consumer_that_is_gone_finds_a_new_one_for_good() {
        let mut sticky = Sticky::default();
        assert_eq!(slot_of_key(&mut sticky, &equals(0..2, 1), 7), Some(0));
        assert_eq!(slot_of_key(&mut sticky, &equals(1..3, 2), 7), Some(2));
        assert_eq!(slot_of_key(&mut sticky, &equals(0..3, 3), 7), Some(2));
    }

    #[test]
    fn past_the_bound_the_key_that_was_used_the_longest_time_ago_counts_as_new() {
        let mut sticky = Sticky::new(2);
        let roster = equals(0..4, 1);
        let got: Vec<_> = [1, 2, 1, 3, 1, 2]
            .map(|key| slot_of_key(&mut sticky, &roster, key))
            .into();
        assert_eq!(got, [0, 1, 0, 2, 0, 3].map(Some));
    }

    #[test]
    fn jobs_without_a_key_are_spread_and_take_no_room_in_the_table() {
        let mut sticky = Sticky::new(1);
        let roster = equals(0..3, 1);
        assert_eq!(slot_of_key(&mut sticky, &roster, 7), Some(0));
        assert_eq!(slots(&mut sticky, &roster, 4), [1, 2, 0, 1].map(Some));
        assert_eq!(slot_of_key(&mut sticky, &roster, 7), Some(0));
    }

    #[test]
    fn a_key_never_leaves_a_consumer_that_lives() {
        cases(256, |random| {
            let mut sticky = Sticky::default();
            let mut last = [None; 10];
            for version in 1..random.u64(2..80) {
                let living: Vec<u32> = (0..6).filter(|_| random.bool()).collect();
                let key = random.u64(0..10);
                let roster = equals(living.iter().copied(), version);
                sticky.roster_changed(&roster);
                let got = slot_of_key(&mut sticky, &roster, key);
                if let Some(before) = last[key as usize].filter(|slot| living.contains(slot)) {
                    assert_eq!(got, Some(before));
                }
                last[key as usize] = got;
            }
        });
    }
}
