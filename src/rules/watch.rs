//! The hang rule: for how long a slot has held deliveries without any progress.

use std::time::Duration;

use crate::words::Moment;

/// Watches one slot. It is looked at from time to time and told how far the slot has come.
///
/// | since the look before | the slot holds deliveries | answer |
/// |---|---|---|
/// | anything | no | zero |
/// | it progressed, or held none then | yes | zero; the time counts from this look |
/// | it did not progress | yes | the time since the look that saw the last progress |
///
/// So an answer never exceeds the true time without progress and falls short of it by at most the time between two looks:
/// nothing is taken for hung too early.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Watch {
    progress: u64,
    /// The look from which the time counts; `None` while the slot holds nothing.
    since: Option<Moment>,
}

impl Watch {
    /// Looks at the slot. `progress` is any number that changes with each step of progress (begun and settled deliveries,
    /// for example); `holds` is whether the slot holds deliveries now. A new consumer's numbers need no new watch, unless
    /// they happen to begin where those of the old one ended.
    pub fn look(&mut self, now: Moment, progress: u64, holds: bool) -> Duration {
        let progressed = progress != self.progress;
        self.progress = progress;
        match self.since {
            Some(since) if holds && !progressed => now.since(since),
            _ => {
                self.since = holds.then_some(now);
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(looks: &[(u64, u64, bool)]) -> Vec<u64> {
        let mut watch = Watch::default();
        looks
            .iter()
            .map(|(now, progress, holds)| {
                let idle = watch.look(Moment::from_millis(*now), *progress, *holds);
                u64::try_from(idle.as_millis()).unwrap()
            })
            .collect()
    }

    #[test]
    fn time_without_progress_adds_up_while_deliveries_are_held() {
        assert_eq!(looks(&[(5, 0, true), (15, 0, true), (40, 0, true)]), [0, 10, 35]);
    }

    #[test]
    fn progress_starts_the_time_again() {
        assert_eq!(
            looks(&[(0, 7, true), (10, 7, true), (20, 8, true), (25, 8, true)]),
            [0, 10, 0, 5]
        );
    }

    #[test]
    fn a_slot_that_holds_nothing_is_not_hung_however_long_it_rests() {
        assert_eq!(looks(&[(0, 1, false), (900, 1, false)]), [0, 0]);
    }

    #[test]
    fn a_rest_does_not_count_for_the_delivery_that_comes_after_it() {
        assert_eq!(
            looks(&[(0, 1, true), (10, 1, false), (900, 1, true), (905, 1, true)]),
            [0, 0, 0, 5]
        );
    }

    #[test]
    fn a_progress_that_goes_back_is_progress_as_well_since_a_new_consumer_counts_from_zero() {
        assert_eq!(looks(&[(0, 9, true), (10, 0, true), (12, 0, true)]), [0, 0, 2]);
    }
}
