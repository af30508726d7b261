//! The prefetch window of a consumer: how many deliveries it may hold.

use std::time::Duration;

use crate::types::WindowConfig;

/// The first window, in deliveries, where the bounds allow it.
const FIRST: u32 = 16;

/// Service times are kept in parts of a nanosecond, so that handlers of less than one are told apart: 1,024 to the ns.
const PARTS: u128 = 1_024;

/// A window that follows the measured service time, so that a consumer holds about `target_us` of work.
///
/// Held deliveries hide the way to the supervisor and back, which matters to a handler of nanoseconds; but those held by a
/// busy consumer wait although others may be idle, which matters to a handler of milliseconds. So the window is
/// `target / service time`, between `min` and `max`:
///
/// | service time | window, with a target of 1 ms, min 1, max 8,192 |
/// |---|---|
/// | 20 ns | 8,192 (50,000, cut) |
/// | 1 us | 1,000 |
/// | 300 us | 3 |
/// | 1 ms and more | 1 |
///
/// The service time is an exponentially weighted mean in which each report counts for a quarter (TCP's round trip time is
/// smoothed likewise, RFC 6298); the first report counts in full.
///
/// The window shrinks at once but grows with care: it starts at 16, at most doubles with a report, and only after at
/// least half a window has been served since it last grew. A slow handler therefore never gets thousands of deliveries
/// before its time is known. In numbers, with the bounds above:
///
/// | report | mean service time | wished | window |
/// |---|---|---|---|
/// | – | unknown | – | 16 |
/// | 16 in 16 us | 1 us | 1,000 | 32 |
/// | 4 in 4 us | 1 us | 1,000 | 32: 4 are less than half of 32 |
/// | 12 in 12 us | 1 us | 1,000 | 64: with the 4 it is half |
/// | 64 in 64 us, five times | 1 us | 1,000 | 128, 256, 256, 512, 512 |
/// | 256 in 103 ms | 101 us | 9 | 9 |
/// | the consumer dies | 101 us | – | 4 |
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    min: u32,
    max: u32,
    target_ns: u64,
    size: u32,
    /// The mean service time in parts of a nanosecond, at least 1; `None` before the first report.
    service: Option<u64>,
    /// Deliveries served since the window last grew or halved.
    evidence: u32,
    /// Set by a death, cleared when the window has grown again: until then it does not follow the group.
    halved: bool,
}

impl Window {
    /// The window of a consumer that has served nothing yet. A configuration that was not checked does no harm: a `min` of
    /// 0 counts as 1, a `max` below `min` as `min`.
    pub fn new(config: &WindowConfig) -> Self {
        let min = config.min.max(1);
        let max = config.max.max(min);
        Self {
            min,
            max,
            target_ns: u64::try_from(config.target.as_nanos()).unwrap_or(u64::MAX),
            size: FIRST.clamp(min, max),
            service: None,
            evidence: 0,
            halved: false,
        }
    }

    /// How many deliveries the consumer may hold.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// A consumer reports that it was `busy` for this long with this many deliveries. A time of zero means that it was not
    /// measured; that changes nothing.
    pub fn served(&mut self, deliveries: u32, busy: Duration) {
        if deliveries == 0 || busy.is_zero() {
            return;
        }
        let service = self.learn(deliveries, busy);
        self.evidence = self.evidence.saturating_add(deliveries);
        self.follow(self.wished(service));
    }

    /// As [`served`](Self::served), for a consumer that may work on many deliveries at once: `busy` is the time from one word
    /// of the consumer to the next, so it says how fast deliveries come back and not how long one takes. The window follows
    /// it upwards and never falls below the first one, since a consumer that waits on many things at once needs them all.
    pub fn served_side_by_side(&mut self, deliveries: u32, busy: Duration) {
        if deliveries == 0 || busy.is_zero() {
            return;
        }
        let service = self.learn(deliveries, busy);
        self.evidence = self.evidence.saturating_add(deliveries);
        self.follow(self.wished(service).max(FIRST.clamp(self.min, self.max)));
    }

    /// The consumer died: the deliveries that it held and had not begun are delivered again, so its window is halved.
    pub fn died(&mut self) {
        self.size = (self.size / 2).max(self.min);
        self.evidence = 0;
        self.halved = true;
    }

    /// Consumers of a group do the same work, so one that was as fast as the others gets a window like theirs without
    /// having to prove it over hundreds of deliveries: up to that of the `group`, which is told of everybody's reports, and
    /// never more than its own service time allows. With ten thousand consumers each of them would prove it for minutes.
    pub fn follow_group(&mut self, group: &Self) {
        if let Some(service) = self.service
            && !self.halved
        {
            self.size = self.size.max(self.wished(service).min(group.size));
        }
    }

    /// Takes a report into the mean service time and returns the mean.
    fn learn(&mut self, deliveries: u32, busy: Duration) -> u64 {
        let parts = busy.as_nanos().saturating_mul(PARTS) / u128::from(deliveries);
        let sample = u64::try_from(parts).unwrap_or(u64::MAX).max(1);
        let mean = match self.service {
            None => sample,
            // A quarter of either is rounded down, so the sum cannot overflow.
            Some(mean) => (mean - mean / 4 + sample / 4).max(1),
        };
        self.service = Some(mean);
        mean
    }

    /// The window that holds the target of work, within the bounds.
    fn wished(&self, service: u64) -> u32 {
        let deliveries = u128::from(self.target_ns) * PARTS / u128::from(service.max(1));
        u32::try_from(deliveries)
            .unwrap_or(u32::MAX)
            .clamp(self.min, self.max)
    }

    fn follow(&mut self, wished: u32) {
        if wished <= self.size {
            self.size = wished;
        } else if self.evidence >= self.size.div_ceil(2) {
            self.size = wished.min(self.size.saturating_mul(2));
            self.evidence = 0;
            self.halved = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::cases;

    #[test]
    fn a_consumer_that_works_side_by_side_keeps_its_first_window_and_gets_it_back_after_deaths() {
        let mut window = Window::new(&WindowConfig::default());
        window.served_side_by_side(16, Duration::from_millis(160));
        assert_eq!(window.size(), 16);
        (0..6).for_each(|_| window.died());
        assert_eq!(window.size(), 1);
        (0..8).for_each(|_| window.served_side_by_side(16, Duration::from_millis(160)));
        assert_eq!(window.size(), 16);
        (0..60).for_each(|_| window.served_side_by_side(64, Duration::from_micros(6)));
        assert!(window.size() > 64, "{}", window.size());
    }

    use super::*;

    fn window(min: u32, max: u32, target_us: u64) -> Window {
        Window::new(&WindowConfig {
            min,
            max,
            target: Duration::from_micros(target_us),
        })
    }

    /// Serves full windows of a handler that takes this long, until the window stands.
    fn settle(window: &mut Window, service: Duration) -> u32 {
        for _ in 0..200 {
            let size = window.size();
            window.served(size, service * size);
        }
        window.size()
    }

    #[test]
    fn the_window_goes_as_the_worked_example_says() {
        let mut window = window(1, 8_192, 1_000);
        let us = Duration::from_micros;
        let mut report = |deliveries, busy| {
            window.served(deliveries, busy);
            window.size()
        };
        let mut sizes = vec![report(16, us(16)), report(4, us(4)), report(12, us(12))];
        sizes.extend((0..5).map(|_| report(64, us(64))));
        sizes.push(report(256, us(103_000)));
        assert_eq!(sizes, [32, 32, 64, 128, 256, 256, 512, 512, 9]);
        window.died();
        assert_eq!(window.size(), 4);
    }

    #[test]
    fn a_window_holds_about_the_target_of_work() {
        assert_eq!(
            settle(&mut window(1, 8_192, 1_000), Duration::from_nanos(20)),
            8_192
        );
        assert_eq!(
            settle(&mut window(1, 8_192, 1_000), Duration::from_micros(1)),
            1_000
        );
        assert_eq!(
            settle(&mut window(1, 8_192, 1_000), Duration::from_micros(300)),
            3
        );
        assert_eq!(settle(&mut window(1, 8_192, 1_000), Duration::from_millis(1)), 1);
        assert_eq!(settle(&mut window(4, 8_192, 1_000), Duration::from_secs(1)), 4);
    }

    #[test]
    fn handlers_of_less_than_a_nanosecond_are_told_apart() {
        let mut fast = window(1, u32::MAX, 1);
        for _ in 0..30 {
            fast.served(u32::MAX, Duration::from_secs(1));
        }
        // 0.233 ns each: a microsecond holds about 4,300 of them.
        assert!((4_200..4_400).contains(&fast.size()), "{}", fast.size());
    }

    #[test]
    fn a_window_starts_small_and_a_slow_handler_gets_the_minimum_with_its_first_report() {
        let mut slow = window(1, 8_192, 1_000);
        assert_eq!(slow.size(), 16);
        slow.served(1, Duration::from_millis(5));
        assert_eq!(slow.size(), 1);
    }

    #[test]
    fn the_bounds_hold_for_the_first_window_as_well() {
        assert_eq!(window(1, 4, 1_000).size(), 4);
        assert_eq!(window(100, 400, 1_000).size(), 100);
        assert_eq!(window(0, 0, 0).size(), 1);
    }

    #[test]
    fn a_report_without_a_measured_time_or_without_deliveries_changes_nothing() {
        let mut same = window(1, 8_192, 1_000);
        same.served(1_000, Duration::ZERO);
        same.served(0, Duration::from_secs(1));
        assert_eq!(same, window(1, 8_192, 1_000));
    }

    #[test]
    fn a_fast_consumer_of_a_fast_group_gets_the_window_of_the_others_and_a_slow_one_does_not() {
        let (mut group, mut fast, mut slow) = (
            window(1, 8_192, 1_000),
            window(1, 8_192, 1_000),
            window(1, 8_192, 1_000),
        );
        settle(&mut group, Duration::from_micros(1));
        fast.follow_group(&group);
        assert_eq!(fast.size(), 16, "nothing is known of it");
        fast.served(1, Duration::from_micros(2));
        fast.follow_group(&group);
        assert_eq!(fast.size(), 500);
        slow.served(1, Duration::from_millis(1));
        slow.follow_group(&group);
        assert_eq!(slow.size(), 1);
        fast.died();
        fast.served(1, Duration::from_micros(2));
        fast.follow_group(&group);
        assert_eq!(fast.size(), 250, "after a death it proves itself");
    }

    #[test]
    fn small_reports_add_up_so_that_a_consumer_that_reports_often_is_not_held_back() {
        let mut often = window(1, 8_192, 1_000);
        for _ in 0..20_000 {
            often.served(1, Duration::from_nanos(10));
        }
        assert_eq!(often.size(), 8_192);
    }

    #[test]
    fn a_handler_that_turns_slow_loses_its_window_at_once_and_wins_it_back_later() {
        let mut window = window(1, 8_192, 1_000);
        settle(&mut window, Duration::from_nanos(20));
        window.served(8_192, Duration::from_millis(1) * 8_192);
        assert!(window.size() <= 4, "{}", window.size());
        assert_eq!(settle(&mut window, Duration::from_nanos(20)), 8_192);
    }

    #[test]
    fn deaths_halve_a_window_down_to_the_minimum() {
        let mut window = window(3, 8_192, 1_000);
        let mut sizes = Vec::new();
        for _ in 0..4 {
            window.died();
            sizes.push(window.size());
        }
        assert_eq!(sizes, [8, 4, 3, 3]);
    }

    #[test]
    fn a_window_with_equal_bounds_does_not_adapt() {
        let mut fixed = window(64, 64, 1_000);
        settle(&mut fixed, Duration::from_nanos(20));
        fixed.died();
        assert_eq!(settle(&mut fixed, Duration::from_secs(2)), 64);
    }

    #[test]
    fn a_window_stays_within_its_bounds_and_at_most_doubles() {
        cases(256, |random| {
            let shift = random.u32(0..64);
            let (min, max) = (random.u32(..) >> (shift / 2), random.u32(..) >> (shift / 2));
            let (low, high) = (min.max(1), max.max(min).max(1));
            let mut window = window(min, max, random.u64(..) >> shift);
            for _ in 0..random.usize(1..60) {
                let before = window.size();
                let (fewer, shorter) = (random.u32(0..32), random.u32(0..64));
                if fewer == 31 {
                    window.died();
                } else {
                    let busy = Duration::from_nanos(random.u64(..) >> shorter);
                    window.served(random.u32(..) >> fewer, busy);
                }
                assert!((low..=high).contains(&window.size()));
                assert!(u64::from(window.size()) <= u64::from(before) * 2);
            }
        });
    }

    #[test]
    fn a_steady_handler_gets_the_target_of_work() {
        cases(256, |random| {
            let (service_ns, target_us) = (random.u64(1..5_000_000), random.u64(1..10_000));
            let wished = (target_us * 1_000 / service_ns).clamp(1, 8_192);
            let size = settle(&mut window(1, 8_192, target_us), Duration::from_nanos(service_ns));
            assert_eq!(u64::from(size), wished);
        });
    }
}
