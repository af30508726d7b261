//! Names for jobs.

use uuid::Uuid;

use crate::types::JobId;

/// Bits of the counter; the RFC asks for 12 to 42. 262,144 names in one millisecond; past that the timestamp runs ahead.
const COUNTER_BITS: u32 = 18;

/// The latest time that is taken at its word, in ms: in the year 3084. It leaves the timestamp room to run ahead.
const LATEST_MS: u64 = (1 << 45) - 1;

/// Makes job ids: UUIDs of version 7, strictly increasing, at the cost of a few instructions each.
///
/// Made by RFC 9562, section 6.2, method 1, "fixed bit-length dedicated counter":
///
/// ```text
/// 48 bits  milliseconds since the Unix epoch
///  4 bits  version 7
/// 12 bits  counter, upper part
///  2 bits  variant
///  6 bits  counter, lower part
/// 56 bits  of this generator alone, made from the seed
/// ```
///
/// While the time stands still or goes back the counter goes on; when it is full the timestamp moves one millisecond
/// ahead, as the RFC allows.
///
/// Two generators with different seeds never make the same id unless their 56 bits agree: for 1,000 generators of random
/// seeds the chance is below one in 10^11. Two generators with the **same** seed make the same ids; so the seed must be
/// drawn anew for each producer outside of a simulation, also where the configuration fixes the seed of everything else.
#[derive(Debug)]
pub struct JobIds {
    /// Milliseconds and counter as one number, `ms << 18 | counter`, as of the latest id.
    tick: u64,
    /// The last 56 bits of every id.
    own: u64,
}

impl JobIds {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            tick: 0,
            own: mix(seed) >> 8,
        }
    }

    /// The next id. `unix_ms` is the present time in milliseconds since the Unix epoch; it may stand still or go back.
    pub fn next(&mut self, unix_ms: u64) -> JobId {
        let earliest = unix_ms.min(LATEST_MS) << COUNTER_BITS;
        self.tick = self.tick.saturating_add(1).max(earliest);
        self.name(self.tick)
    }

    /// The next `count` ids, as [`next`](Self::next) would give them one after the other.
    pub fn many(&mut self, unix_ms: u64, count: usize) -> Vec<JobId> {
        let earliest = unix_ms.min(LATEST_MS) << COUNTER_BITS;
        let first = self.tick.saturating_add(1).max(earliest);
        let end = first.saturating_add(count as u64);
        self.tick = end.saturating_sub(1).max(self.tick);
        let mut names = Vec::with_capacity(count);
        let mut tick = first;
        while tick < end {
            // The lowest six bits of the counter have a byte of their own, so names that differ in them alone need no more.
            let until = (tick | 0x3f).saturating_add(1).min(end);
            let mut name = self.name(tick).as_uuid().into_bytes();
            names.extend((tick..until).map(|_| {
                let id = JobId::from_uuid(Uuid::from_bytes(name));
                name[8] += 1;
                id
            }));
            tick = until;
        }
        names
    }

    /// The id of a tick.
    #[inline]
    fn name(&self, tick: u64) -> JobId {
        // Milliseconds and the upper part of the counter stand next to each other but for the version between them.
        let (upper, version) = (tick >> 6, 0x7 << 12);
        let high = ((upper >> 12) << 16) | version | (upper & 0xfff);
        let low = (0b10 << 62) | ((tick & 0x3f) << 56) | self.own;
        JobId::from_uuid(Uuid::from_u64_pair(high, low))
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014): neighbouring seeds give unrelated numbers, and no two
/// seeds the same one.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::{Variant, Version};

    use super::*;

    const NOW: u64 = 1_760_000_000_000;

    fn unix_ms(id: JobId) -> u64 {
        let (secs, nanos) = id.as_uuid().get_timestamp().unwrap().to_unix();
        secs * 1_000 + u64::from(nanos) / 1_000_000
    }

    #[test]
    fn a_million_ids_are_strictly_increasing_while_the_clock_stands_jumps_and_goes_back() {
        let mut ids = JobIds::new(1);
        let mut random = fastrand::Rng::with_seed(2);
        let mut last = ids.next(NOW);
        for nth in 0..1_000_000_u64 {
            // The first half stands still, which fills the counter.
            let wobble = if nth < 500_000 { 0 } else { random.u64(0..50) };
            let id = ids.next(NOW + wobble);
            assert!(id > last, "{id} after {last}");
            last = id;
        }
    }

    #[test]
    fn many_ids_at_once_are_those_that_would_come_one_by_one() {
        let (mut many, mut single) = (JobIds::new(3), JobIds::new(3));
        for (nth, count) in [1_usize, 0, 300, 64, 262_144, 5].into_iter().enumerate() {
            let now = NOW + nth as u64 / 2;
            let one_by_one: Vec<_> = (0..count).map(|_| single.next(now)).collect();
            assert_eq!(many.many(now, count), one_by_one);
        }
    }

    #[test]
    fn the_name_that_follows_another_is_the_next_one_of_its_generator() {
        let mut ids = JobIds::new(5);
        for step in 0..400_u64 {
            let first = ids.next(NOW + step / 100);
            let others = ids.many(NOW, 255);
            for (count, id) in (1..=255).zip(others) {
                assert_eq!(first.following(count), id);
            }
        }
    }

    #[test]
    fn ids_are_of_version_7_and_carry_the_time() {
        let mut ids = JobIds::new(7);
        for nth in 0..1_000 {
            let id = ids.next(NOW + nth);
            assert_eq!(id.as_uuid().get_version(), Some(Version::SortRand));
            assert_eq!(id.as_uuid().get_variant(), Variant::RFC4122);
            assert_eq!(unix_ms(id), NOW + nth);
        }
    }

    #[test]
    fn a_full_counter_moves_the_timestamp_one_millisecond_ahead_and_no_further() {
        let mut ids = JobIds::new(3);
        let in_one_ms = 1 << COUNTER_BITS;
        let stamps: Vec<_> = (0..=in_one_ms).map(|_| unix_ms(ids.next(NOW))).collect();
        assert_eq!(stamps[in_one_ms - 1], NOW);
        assert_eq!(stamps[in_one_ms], NOW + 1);
        assert_eq!(unix_ms(ids.next(NOW + 1)), NOW + 1);
        assert_eq!(unix_ms(ids.next(NOW + 2)), NOW + 2);
    }

    #[test]
    fn two_generators_never_make_the_same_id() {
        let (mut one, mut other) = (JobIds::new(0), JobIds::new(1));
        let ids: BTreeSet<_> = (0..50_000)
            .flat_map(|_| [one.next(NOW), other.next(NOW)])
            .collect();
        assert_eq!(ids.len(), 100_000);
    }

    #[test]
    fn a_hundred_thousand_neighbouring_seeds_have_as_many_different_parts_of_their_own() {
        let parts: BTreeSet<_> = (0..100_000).map(|seed| JobIds::new(seed).own).collect();
        assert_eq!(parts.len(), 100_000);
    }

    #[test]
    fn a_time_beyond_all_reason_still_gives_increasing_ids() {
        let mut ids = JobIds::new(9);
        let made: Vec<_> = (0..600_000).map(|_| ids.next(u64::MAX)).collect();
        assert!(made.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn the_same_seed_and_times_give_the_same_ids() {
        let (mut one, mut same) = (JobIds::new(5), JobIds::new(5));
        for nth in 0..100 {
            assert_eq!(one.next(NOW + nth / 3), same.next(NOW + nth / 3));
        }
    }
}
