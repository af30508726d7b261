//! Backoff: how long to wait before the next try.

use std::time::Duration;

use crate::types::BackoffConfig;

/// A wait that grows with every failure: the nth wait is `min · factor^n`, spread at random, never below `min` and never
/// above `max`.
///
/// The spread keeps many that failed together from coming back together. It is drawn from the part of
/// `wait ± jitter · wait` that lies between `min` and `max`; so even waits that have reached the maximum stay spread, where
/// cutting each draw at the maximum would let half of them end at the same instant.
///
/// With `min_ms = 100, max_ms = 1_000, factor = 2, jitter = 0.2`:
///
/// | nth | `min · factor^n` | drawn from |
/// |---|---|---|
/// | 0 | 100 ms | 100 to 120 ms |
/// | 1 | 200 ms | 160 to 240 ms |
/// | 3 | 800 ms | 640 to 960 ms |
/// | 4 and later | 1,000 ms (1,600 and more, cut) | 800 to 1,000 ms |
///
/// Reference: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
}

impl Backoff {
    /// Makes a backoff from its configuration.
    ///
    /// A configuration that was not checked does no harm: a `min_ms` above `max_ms` counts as `max_ms`, a factor below 1 or
    /// not finite as 1, a jitter outside 0 to 1 as the nearer end, and one that is no number as 0.
    pub fn new(config: &BackoffConfig) -> Self {
        let max = config.max;
        let factor_grows = config.factor.is_finite() && config.factor >= 1.0;
        Self {
            min: config.min.min(max),
            max,
            factor: if factor_grows { config.factor } else { 1.0 },
            jitter: zero_to_one(config.jitter),
        }
    }

    /// The wait before try number `nth`, counted from zero. `unit` is a random number from 0 to 1 that the caller draws; a
    /// value outside counts as the nearer end, one that is no number as 0.
    ///
    /// With `min_ms = 0` the wait of number 0 is none at all and the growth begins with one millisecond at number 1.
    pub fn wait(&self, nth: u32, unit: f64) -> Duration {
        let Some(wait) = self.unspread_ms(nth) else {
            return Duration::ZERO;
        };
        let low = self.bounded_ms(wait * (1.0 - self.jitter));
        let high = self.bounded_ms(wait * (1.0 + self.jitter));
        // The last cut is for the rounding of the numbers alone.
        from_ms(low + (high - low) * zero_to_one(unit)).clamp(self.min, self.max)
    }

    /// The nth wait in ms before it is spread, at most the maximum; `None` for no wait.
    fn unspread_ms(&self, nth: u32) -> Option<f64> {
        let (first_ms, growths) = if self.min.is_zero() {
            (1.0, nth.checked_sub(1)?)
        } else {
            (ms(self.min), nth)
        };
        // The power may be infinite; the maximum is not, and `min` takes the number of the two.
        Some((first_ms * self.factor.powf(f64::from(growths))).min(ms(self.max)))
    }

    fn bounded_ms(&self, wait_ms: f64) -> f64 {
        wait_ms.max(ms(self.min)).min(ms(self.max))
    }
}

fn ms(wait: Duration) -> f64 {
    wait.as_secs_f64() * 1_000.0
}

/// Saturates at 584 years.
fn from_ms(wait_ms: f64) -> Duration {
    Duration::from_nanos((wait_ms * 1_000_000.0) as u64)
}

fn zero_to_one(value: f64) -> f64 {
    if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::cases;

    use super::*;

    fn backoff(min: u64, max: u64, factor: f64, jitter: f64) -> Backoff {
        Backoff::new(&BackoffConfig {
            min: Duration::from_millis(min),
            max: Duration::from_millis(max),
            factor,
            jitter,
        })
    }

    fn millis(backoff: &Backoff, unit: f64, until: u32) -> Vec<u128> {
        (0..until)
            .map(|nth| backoff.wait(nth, unit).as_millis())
            .collect()
    }

    #[test]
    fn without_jitter_each_wait_is_the_one_before_times_the_factor() {
        let plain = backoff(100, 30_000, 2.0, 0.0);
        assert_eq!(millis(&plain, 0.7, 4), [100, 200, 400, 800]);
        assert_eq!(millis(&backoff(10, 30_000, 3.0, 0.0), 0.0, 4), [10, 30, 90, 270]);
        assert_eq!(millis(&backoff(7, 30_000, 1.0, 0.0), 0.0, 3), [7, 7, 7]);
    }

    #[test]
    fn a_minimum_of_zero_waits_for_nothing_first_and_then_grows_from_one_millisecond() {
        let eager = backoff(0, 1_000, 2.0, 0.0);
        assert_eq!(millis(&eager, 0.5, 5), [0, 1, 2, 4, 8]);
        assert_eq!(backoff(0, 1_000, 2.0, 1.0).wait(0, 0.99), Duration::ZERO);
    }

    #[test]
    fn the_jitter_spreads_a_wait_to_both_sides() {
        let spread = backoff(100, 30_000, 2.0, 0.2);
        assert_eq!(spread.wait(1, 0.0), Duration::from_millis(160));
        assert_eq!(spread.wait(1, 0.5), Duration::from_millis(200));
        assert_eq!(spread.wait(1, 1.0), Duration::from_millis(240));
    }

    #[test]
    fn waits_that_have_reached_the_maximum_are_still_spread() {
        let capped = backoff(100, 1_000, 2.0, 0.2);
        assert_eq!(capped.wait(9, 0.0), Duration::from_millis(800));
        assert_eq!(capped.wait(9, 0.75), Duration::from_millis(950));
        assert_eq!(capped.wait(9, 1.0), Duration::from_millis(1_000));
    }

    #[test]
    fn the_greatest_numbers_overflow_nothing() {
        let long = backoff(u64::MAX, u64::MAX, f64::MAX, 1.0);
        assert_eq!(long.wait(u32::MAX, 1.0), Duration::from_millis(u64::MAX));
        let short = backoff(1, 5, 2.0, 0.0);
        assert_eq!(short.wait(u32::MAX, 0.3), Duration::from_millis(5));
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_bent_until_it_does() {
        assert_eq!(backoff(9, 5, 2.0, 0.0).wait(0, 0.0), Duration::from_millis(5));
        assert_eq!(backoff(5, 9, f64::NAN, f64::NAN), backoff(5, 9, 1.0, 0.0));
        assert_eq!(backoff(5, 9, 0.1, 7.0), backoff(5, 9, 1.0, 1.0));
        let spread = backoff(100, 30_000, 2.0, 0.2);
        assert_eq!(spread.wait(1, f64::NAN), spread.wait(1, 0.0));
        assert_eq!(spread.wait(1, 9.0), spread.wait(1, 1.0));
    }

    #[test]
    fn no_wait_is_ever_outside_the_bounds() {
        cases(1_000, |random| {
            let (one, other, shift) = (random.u64(..), random.u64(..), random.u32(0..64));
            let (min_ms, max_ms) = (one.min(other) >> shift, one.max(other) >> shift);
            let nth = if random.bool() {
                random.u32(0..64)
            } else {
                random.u32(..)
            };
            let backoff = backoff(min_ms, max_ms, 1.0 + 9.0 * random.f64(), random.f64());
            let wait = backoff.wait(nth, random.f64());
            assert!(wait >= Duration::from_millis(min_ms));
            assert!(wait <= Duration::from_millis(max_ms));
        });
    }

    #[test]
    fn the_middle_of_the_spread_never_shrinks_from_one_wait_to_the_next() {
        cases(1_000, |random| {
            let (min_ms, more_ms) = (random.u64(0..1_000), random.u64(0..100_000));
            let growing = backoff(min_ms, min_ms + more_ms, 1.0 + 3.0 * random.f64(), random.f64());
            let nth = random.u32(0..100);
            let (one, next) = (growing.wait(nth, 1.0), growing.wait(nth + 1, 1.0));
            assert!(one <= next, "{one:?} then {next:?}");
        });
    }
}
