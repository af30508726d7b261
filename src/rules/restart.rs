//! The restart budget, and the streak of deaths that the backoff grows with. Who is restarted when, with these two, is
//! decided in [`supervision`](super::supervision), once for the whole crate.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Moment;

/// How many restarts are allowed within a sliding window of time.
///
/// The rule is that of OTP's `supervisor` (`add_restart`): all restarts not older than `period` are counted, this one
/// included, and this one is allowed if they are at most `intensity`. With an intensity of 2 and a period of 10 s:
///
/// | a death at | counted | allowed |
/// |---|---|---|
/// | 0 s | 0 | yes |
/// | 6 s | 0, 6 | yes |
/// | 10 s | 0, 6, 10 | no: the one at 0 s is exactly 10 s old and still counts |
/// | 16.1 s | 10, 16.1 | yes |
///
/// A restart that was refused counts as well, as in the table: whoever goes on asking stays past the budget.
///
/// It keeps at most `intensity` moments: older ones can change no answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RestartBudget {
    intensity: u32,
    period: Duration,
    /// The latest moments at which the budget was asked, oldest first; at most `intensity` of them.
    spent: VecDeque<Moment>,
}

impl RestartBudget {
    /// A fresh budget of `intensity` restarts within `period`. With an intensity of 0 no restart is ever allowed.
    pub fn new(intensity: u32, period: Duration) -> Self {
        Self {
            intensity,
            period,
            spent: VecDeque::new(),
        }
    }

    /// Asks for one restart at `now`; `false` if that is past the budget. Moments must not go back.
    pub fn spend(&mut self, now: Moment) -> bool {
        while self.spent.front().is_some_and(|at| now.since(*at) > self.period) {
            self.spent.pop_front();
        }
        let allowed = self.spent.len() < self.intensity as usize;
        if !allowed {
            // Only the latest `intensity` moments can count against a later restart.
            self.spent.pop_front();
        }
        if self.intensity > 0 {
            self.spent.push_back(now);
        }
        allowed
    }

    /// Makes the budget fresh again.
    pub fn reset(&mut self) {
        self.spent.clear();
    }
}

/// How often a child died in a row, which decides how long the next wait is.
///
/// | the death | the wait |
/// |---|---|
/// | the first, or one of a life that was up for more than the period | the first |
/// | one of a life that was up for less, or never came up | the next longer one |
/// | one of a child that had done its work before ([`worked`](Self::worked)) | the first |
///
/// Only time in which the child is up is quiet. If the waits themselves counted, none could grow beyond the period: after a
/// wait that is longer, the next death would always look like the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CrashStreak {
    /// Since when the present life is up; `None` before it is, and between two lives.
    up_since: Option<Moment>,
    /// Deaths since the last quiet period, the present one not counted.
    in_a_row: u32,
}

impl CrashStreak {
    /// The present life is up at `now`.
    pub fn up(&mut self, now: Moment) {
        self.up_since = Some(now);
    }

    /// A death at `now`: the number of the wait that follows, counted from zero. Moments must not go back.
    pub fn died(&mut self, now: Moment, period: Duration) -> u32 {
        let was_quiet = self
            .up_since
            .take()
            .is_some_and(|since| now.since(since) > period);
        let nth = if was_quiet { 0 } else { self.in_a_row };
        self.in_a_row = nth.saturating_add(1);
        nth
    }

    /// The child did its work before it died: the waits start again from the first. So one that dies now and then at full
    /// speed is replaced at once, and only one that dies without ever doing anything waits longer and longer.
    pub fn worked(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use crate::types::cases::{cases, some};

    use super::*;

    #[test]
    fn the_budget_answers_as_its_table_says() {
        let mut budget = RestartBudget::new(2, Duration::from_secs(10));
        assert!(budget.spend(Moment::from_millis(0)));
        assert!(budget.spend(Moment::from_millis(6_000)));
        assert!(!budget.spend(Moment::from_millis(10_000)));
        assert!(budget.spend(Moment::from_millis(16_100)));
    }

    #[test]
    fn a_restart_exactly_one_period_old_still_counts_and_an_older_one_does_not() {
        let mut budget = RestartBudget::new(1, Duration::from_nanos(10));
        assert!(budget.spend(Moment::from_nanos(5)));
        assert!(!budget.clone().spend(Moment::from_nanos(15)));
        assert!(budget.spend(Moment::from_nanos(16)));
    }

    #[test]
    fn an_intensity_of_zero_allows_no_restart_ever() {
        let mut budget = RestartBudget::new(0, Duration::ZERO);
        assert!(!budget.spend(Moment::START));
        assert!(!budget.spend(Moment::from_nanos(u64::MAX)));
        assert_eq!(budget, RestartBudget::new(0, Duration::ZERO));
    }

    #[test]
    fn a_budget_that_was_reset_is_as_good_as_new() {
        let mut budget = RestartBudget::new(1, Duration::from_secs(1));
        assert!(budget.spend(Moment::START));
        assert!(!budget.spend(Moment::START));
        budget.reset();
        assert_eq!(budget, RestartBudget::new(1, Duration::from_secs(1)));
        assert!(budget.spend(Moment::START));
    }

    #[test]
    fn the_memory_of_a_budget_is_bounded_by_its_intensity() {
        let mut budget = RestartBudget::new(3, Duration::from_secs(1));
        for _ in 0..1_000 {
            budget.spend(Moment::START);
        }
        assert_eq!(budget.spent.len(), 3);
    }

    #[test]
    fn the_wait_grows_with_each_death_and_starts_again_after_a_quiet_period_or_work() {
        let period = Duration::from_secs(1);
        let mut streak = CrashStreak::default();
        let life = |streak: &mut CrashStreak, up: u64, died: u64| {
            streak.up(Moment::from_millis(up));
            streak.died(Moment::from_millis(died), period)
        };
        assert_eq!(life(&mut streak, 0, 0), 0);
        assert_eq!(life(&mut streak, 100, 900), 1);
        // Exactly one period is not yet quiet.
        assert_eq!(life(&mut streak, 900, 1_900), 2);
        assert_eq!(life(&mut streak, 1_900, 2_901), 0);
        assert_eq!(life(&mut streak, 2_901, 2_902), 1);
        streak.worked();
        assert_eq!(life(&mut streak, 2_902, 2_903), 0);
    }

    #[test]
    fn a_wait_beyond_the_period_is_not_quiet_and_neither_is_a_start_that_fails() {
        let period = Duration::from_secs(1);
        let mut streak = CrashStreak::default();
        for (nth, at) in [(0, 0), (1, 5_000), (2, 15_000), (3, 60_000)] {
            assert_eq!(streak.died(Moment::from_millis(at), period), nth);
        }
        streak.up(Moment::from_millis(90_000));
        assert_eq!(streak.died(Moment::from_millis(90_500), period), 4);
        // The life that was up for half a second does not count for the next one, which never came up.
        assert_eq!(streak.died(Moment::from_millis(120_000), period), 5);
    }

    #[test]
    fn the_budget_answers_as_a_naive_model_does() {
        cases(256, |random| {
            let (intensity, period) = (random.u32(0..6), random.u64(0..20));
            let mut budget = RestartBudget::new(intensity, Duration::from_nanos(period));
            let mut all = Vec::new();
            let mut now = 0;
            for step in some(random, 1..60, |random| random.u64(0..12)) {
                now += step;
                all.push(now);
                let counted = all.iter().filter(|at| **at + period >= now).count();
                assert_eq!(
                    budget.spend(Moment::from_nanos(now)),
                    counted <= intensity as usize
                );
                assert!(budget.spent.len() <= intensity as usize);
            }
        });
    }
}
