//! Which jobs of a block something is about: one bit for each place.

/// Some of the jobs of a block: one bit for each place, the first place is the lowest bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Places(u64);

impl Places {
    /// Places in a block.
    pub const MOST: usize = 64;

    /// No place.
    pub const NONE: Self = Self(0);

    /// The first `count` places, at most all of them.
    pub fn first(count: usize) -> Self {
        match count {
            0 => Self::NONE,
            1..Self::MOST => Self(u64::MAX >> (Self::MOST - count)),
            _ => Self(u64::MAX),
        }
    }

    /// This place alone. Of a place past the last one the lowest six bits count.
    #[inline]
    pub fn only(place: u8) -> Self {
        Self(1_u64.wrapping_shl(u32::from(place)))
    }

    /// How many places these are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether these are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest of these places.
    pub fn lowest(self) -> Option<u8> {
        // Below 64, so it fits.
        (self.0 != 0).then(|| self.0.trailing_zeros() as u8)
    }

    /// Whether this place is one of them.
    pub fn contains(self, place: u8) -> bool {
        !self.both(Self::only(place)).is_empty()
    }

    /// The places that are in both.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds places.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes places out; those that are not in do not matter.
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Takes out the lowest `count` places, or all if there are not more, and returns them.
    pub fn take_first(&mut self, count: usize) -> Self {
        if count >= self.len() {
            return std::mem::take(self);
        }
        let mut rest = self.0;
        for _ in 0..count {
            rest &= rest - 1;
        }
        let taken = Self(self.0 & !rest);
        self.0 = rest;
        taken
    }

    /// Takes out the lowest places up to the first that is missing, and returns them.
    pub(crate) fn take_neighbours(&mut self) -> Self {
        let Some(lowest) = self.lowest() else {
            return Self::NONE;
        };
        let count = (self.0 >> lowest).trailing_ones();
        self.take_first(count as usize)
    }

    /// Takes out the lowest place.
    #[inline]
    pub(crate) fn take_lowest(&mut self) -> Option<u8> {
        let lowest = self.lowest()?;
        self.0 &= self.0 - 1;
        Some(lowest)
    }

    /// The places, from the lowest one up.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self;
        std::iter::from_fn(move || rest.take_lowest())
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::cases;

    use super::*;

    #[test]
    fn places_are_a_set_of_numbers_below_64() {
        cases(256, |random| {
            let (places, other, count) = (Places(random.u64(..)), random.u64(..), random.usize(0..70));
            let set: Vec<u8> = places.iter().collect();
            assert_eq!(set.len(), places.len());
            assert!(set.iter().all(|place| places.contains(*place)));
            assert!(set.windows(2).all(|pair| pair[0] < pair[1]));
            let mut rest = places;
            let taken: Vec<u8> = rest.take_first(count).iter().collect();
            let left: Vec<u8> = rest.iter().collect();
            assert_eq!(&set[..count.min(set.len())], &taken[..]);
            assert_eq!(&set[count.min(set.len())..], &left[..]);
            let mut both = places;
            both.remove(Places(other));
            both.add(places.both(Places(other)));
            assert_eq!(both, places);
            assert_eq!(Places::first(count).len(), count.min(64));
            let neighbours = Places(other).take_neighbours();
            assert_eq!(
                neighbours,
                Places(other & !(other.wrapping_add(other & other.wrapping_neg())))
            );
        });
    }
}
