//! The hang rule: for how long a slot has held deliveries without any progress, while the one who watches it ran itself.

use std::time::Duration;

use crate::types::Moment;

/// How often a deadline is looked at while it runs. A last look is taken at the very moment at which the first deadline
/// passes, so this decides only how exactly a standstill of the watcher is seen, and how late a hang is found whose last
/// progress nobody told.
pub const LOOKS: u32 = 16;

/// What timers can tell apart.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest pause between two looks: a standstill that is much longer is always seen.
const LONGEST: Duration = Duration::from_millis(500);

/// How long to wait before the next look, for a limit that is looked at so many times.
pub fn pause(limit: Duration, looks: u32) -> Duration {
    (limit / looks.max(1)).clamp(SHORTEST, LONGEST)
}

/// Watches one slot. It is looked at from time to time and told how far the slot has come.
///
/// | since the look before | the slot holds deliveries | answer |
/// |---|---|---|
/// | anything | no | zero |
/// | it progressed, or held none then | yes | zero; the time counts from this look |
/// | it did not progress | yes | the time since the last progress was seen or [heard of](Self::heard) |
///
/// So an answer never exceeds the true time without progress, and it is exact for a slot that told of its last progress. For
/// one that did not (a sign of life, work that is not yet told) it falls short by at most the time between two looks:
/// nothing is taken for hung too early.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HangDetector {
    progress: u64,
    /// The moment from which the time counts; `None` while the slot holds nothing.
    since: Option<Moment>,
}

impl HangDetector {
    /// Looks at the slot. `progress` is any number that changes with each step of progress (begun and settled deliveries,
    /// for example); `holds` is whether the slot holds deliveries now. A new consumer's numbers need no new watch, unless
    /// they happen to begin where those of the old one ended.
    pub fn look(&mut self, now: Moment, progress: u64, holds: bool) -> Duration {
        let progressed = progress != self.progress;
        match self.since {
            Some(since) if holds && !progressed => now.since(since),
            _ => {
                self.heard(now, progress, holds);
                Duration::ZERO
            }
        }
    }

    /// The slot was handed its first deliveries, or told of its progress: the time counts from now.
    pub fn heard(&mut self, now: Moment, progress: u64, holds: bool) {
        self.progress = progress;
        self.since = holds.then_some(now);
    }

    /// When a deadline passes, if nothing happens until then; `None` while the slot holds nothing.
    pub fn due(&self, deadline: Duration) -> Option<Moment> {
        self.since.map(|since| since.after(deadline))
    }

    /// The watcher stood still for so long: that time does not count.
    pub fn forgive(&mut self, now: Moment, stood: Duration) {
        if let Some(since) = &mut self.since {
            *since = forgiven(*since, now, stood);
        }
    }
}

/// The moment from which a time counts of which `stood` is to be forgiven. What began within the standstill begins now.
pub fn forgiven(since: Moment, now: Moment, stood: Duration) -> Moment {
    since.after(stood).min(now)
}

/// Finds out from its own looks whether the watcher ran all the time. While it did not (the process was stopped, the machine
/// suspended, the thread blocked by a neighbour), those whom it watches may not have run either.
///
/// | the look is late by | of the time since the look before counts |
/// |---|---|
/// | what timers and a busy machine make of it: 2 ms | all |
/// | less than the pause that was planned | the pause that was planned |
/// | more | nothing: nobody knows when in that time the standstill began |
/// | more, and the look before was as well | the pause that was planned |
///
/// The last row is for a watcher that is always late: it still finds hangs, only later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Standstill {
    was_late: bool,
}

impl Standstill {
    /// A look that was planned to come `pause` after the one before came after `passed`. Returns how much of that time is to
    /// be forgiven.
    pub fn look(&mut self, pause: Duration, passed: Duration) -> Duration {
        /// What a timer may be late without a reason.
        const GRAIN: Duration = Duration::from_millis(2);

        let late = passed.saturating_sub(pause);
        let stood_still = late > pause.max(GRAIN);
        let was_late = std::mem::replace(&mut self.was_late, stood_still);
        if late <= GRAIN {
            Duration::ZERO
        } else if stood_still && !was_late {
            passed
        } else {
            late
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(looks: &[(u64, u64, bool)]) -> Vec<u64> {
        let mut watch = HangDetector::default();
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

    #[test]
    fn what_was_told_counts_from_the_moment_at_which_it_was_told() {
        let mut watch = HangDetector::default();
        watch.heard(Moment::from_millis(3), 1, true);
        assert_eq!(
            watch.look(Moment::from_millis(10), 1, true),
            Duration::from_millis(7)
        );
        assert_eq!(
            watch.due(Duration::from_millis(20)),
            Some(Moment::from_millis(23))
        );
        watch.heard(Moment::from_millis(12), 2, false);
        assert_eq!(watch.due(Duration::from_millis(20)), None);
    }

    #[test]
    fn time_that_is_forgiven_does_not_count_and_nothing_begins_in_the_future() {
        let mut watch = HangDetector::default();
        watch.heard(Moment::from_millis(0), 1, true);
        watch.forgive(Moment::from_millis(2_100), Duration::from_millis(2_000));
        assert_eq!(
            watch.look(Moment::from_millis(2_200), 1, true),
            Duration::from_millis(200)
        );
        watch.heard(Moment::from_millis(2_300), 2, true);
        watch.forgive(Moment::from_millis(2_301), Duration::from_millis(2_000));
        assert_eq!(
            watch.look(Moment::from_millis(2_302), 2, true),
            Duration::from_millis(1)
        );
    }

    #[test]
    fn a_standstill_is_forgiven_as_its_table_says() {
        let ms = Duration::from_millis;
        let mut standstill = Standstill::default();
        let mut look = |pause, passed| standstill.look(ms(pause), ms(passed)).as_millis();
        assert_eq!(look(40, 40), 0);
        assert_eq!(look(40, 42), 0, "what a timer may be late");
        assert_eq!(look(40, 60), 20, "the machine is busy");
        assert_eq!(look(40, 2_000), 2_000, "nobody knows when it began");
        assert_eq!(look(40, 2_000), 1_960, "it always is as late");
        assert_eq!(look(40, 2_000), 1_960);
        assert_eq!(look(40, 41), 0);
        assert_eq!(look(40, 2_000), 2_000);
    }

    #[test]
    fn a_pause_is_never_too_short_for_a_timer_nor_too_long_to_see_a_standstill() {
        assert_eq!(pause(Duration::ZERO, LOOKS), SHORTEST);
        assert_eq!(
            pause(Duration::from_millis(160), LOOKS),
            Duration::from_millis(10)
        );
        assert_eq!(pause(Duration::MAX, 0), LONGEST);
    }
}
