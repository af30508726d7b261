//! Limits of how often jobs are handed out: for the group, and for each key.
//!
//! A token bucket, told by the moment at which it is full again (the generic cell rate algorithm of ATM): one number for each
//! bucket, nothing that has to be filled by a timer, and a bucket that is full needs no memory at all.
//!
//! | 10 jobs in a second, burst 3 | full again at | may go |
//! |---|---|---|
//! | at the start | – | 3 |
//! | three have gone | 300 ms | 0 |
//! | at 99 ms | 300 ms | 0 |
//! | at 100 ms | 300 ms | 1 |
//! | one goes at 100 ms | 400 ms | 0 |
//! | at 400 ms | – | 3 |

use std::collections::BTreeMap;

use crate::types::{KeyHash, Moment, RateConfig};

/// Keys that are remembered at most. Past it the one that may go first is forgotten, and has its burst again too early.
const MOST_KEYS: usize = 1 << 20;

/// The fewest keys at which those that need no memory are looked for.
const FEW_KEYS: usize = 1_024;

/// How often, in numbers that are quick to reckon with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pace {
    /// Nanoseconds from one job to the next; at least 1.
    interval: u64,
    /// Jobs that may go at once; at least 1.
    burst: u64,
}

impl Pace {
    /// None if there is no limit. What does not come out even is rounded so that no more go than were allowed.
    fn new(config: &RateConfig) -> Option<Self> {
        let jobs = u128::from(config.jobs?.max(1));
        let interval = config.period.as_nanos().div_ceil(jobs);
        Some(Self {
            interval: u64::try_from(interval).unwrap_or(u64::MAX).max(1),
            burst: u64::from(config.burst.max(1)),
        })
    }

    /// How many may go from a bucket that is full at that moment.
    fn available(self, full_at: Moment, now: Moment) -> u64 {
        let missing = full_at.as_nanos().saturating_sub(now.as_nanos());
        self.burst.saturating_sub(missing.div_ceil(self.interval))
    }

    /// When a bucket is full from which so many more go now.
    fn after(self, full_at: Moment, now: Moment, jobs: u64) -> Moment {
        let since = full_at.max(now).as_nanos();
        Moment::from_nanos(since.saturating_add(self.interval.saturating_mul(jobs)))
    }

    /// When so many may go from a bucket that is full at that moment.
    fn when(self, full_at: Moment, jobs: u64) -> Moment {
        let later = self.interval.saturating_mul(self.burst.saturating_sub(jobs));
        Moment::from_nanos(full_at.as_nanos().saturating_sub(later))
    }
}

/// The limit of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateLimit {
    pace: Pace,
    full_at: Moment,
}

impl RateLimit {
    /// A limit by this configuration, if there is one. The first burst may go at once.
    pub fn new(config: &RateConfig) -> Option<Self> {
        let pace = Pace::new(config)?;
        let full_at = Moment::START;
        Some(Self { pace, full_at })
    }

    /// The burst has gone: for a successor that does not know what its predecessor handed out.
    pub fn exhaust(&mut self, now: Moment) {
        self.full_at = self.pace.after(Moment::START, now, self.pace.burst);
    }

    /// How many jobs may go.
    pub fn available(&self, now: Moment) -> usize {
        usize::try_from(self.pace.available(self.full_at, now)).unwrap_or(usize::MAX)
    }

    /// So many go. More than may go are owed: none may go until that is made up for.
    pub fn take(&mut self, now: Moment, jobs: usize) {
        self.full_at = self.pace.after(self.full_at, now, jobs as u64);
    }

    /// When one more may go than now, if not all of the burst may.
    pub fn next(&self, now: Moment) -> Option<Moment> {
        let available = self.pace.available(self.full_at, now);
        (available < self.pace.burst).then(|| self.pace.when(self.full_at, available + 1))
    }
}

/// The limit of each key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRateLimit {
    pace: Pace,
    /// When the bucket of a key is full again. A key that is not here has a full one.
    full_at: BTreeMap<KeyHash, Moment>,
    /// With so many keys those with a full bucket are struck out.
    struck_at: usize,
}

impl KeyRateLimit {
    /// A limit by this configuration, if there is one.
    pub fn new(config: &RateConfig) -> Option<Self> {
        Some(Self {
            pace: Pace::new(config)?,
            full_at: BTreeMap::new(),
            struck_at: FEW_KEYS,
        })
    }

    /// A job of this key wants to go. Returns when it may; that moment is its own from now on.
    pub fn reserve(&mut self, key: KeyHash, now: Moment) -> Moment {
        if self.full_at.len() >= self.struck_at {
            self.strike(now);
        }
        let full_at = self.full_at.entry(key).or_default();
        *full_at = self.pace.after(*full_at, now, 1);
        self.pace.when(*full_at, 0).max(now)
    }

    /// Forgets keys of which nothing has to be known.
    fn strike(&mut self, now: Moment) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= MOST_KEYS {
            let first = self.full_at.iter().min_by_key(|(_, full_at)| **full_at);
            let first = first.map(|(key, _)| *key);
            first.and_then(|key| self.full_at.remove(&key));
        }
        self.struck_at = (self.full_at.len() * 2).clamp(FEW_KEYS, MOST_KEYS);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::cases::{cases, some};

    fn config(jobs: u32, period_ms: u64, burst: u32) -> RateConfig {
        RateConfig {
            jobs: Some(jobs),
            period: Duration::from_millis(period_ms),
            burst,
        }
    }

    fn at(milliseconds: u64) -> Moment {
        Moment::from_millis(1_000_000 + milliseconds)
    }

    #[test]
    fn the_table_above_is_true() {
        let mut limit = RateLimit::new(&config(10, 1_000, 3)).unwrap();
        assert_eq!((limit.available(at(0)), limit.next(at(0))), (3, None));
        limit.take(at(0), 3);
        assert_eq!((limit.available(at(0)), limit.next(at(0))), (0, Some(at(100))));
        assert_eq!(limit.available(at(99)), 0);
        assert_eq!(
            (limit.available(at(100)), limit.next(at(100))),
            (1, Some(at(200)))
        );
        limit.take(at(100), 1);
        assert_eq!(
            (limit.available(at(100)), limit.next(at(100))),
            (0, Some(at(200)))
        );
        assert_eq!((limit.available(at(400)), limit.next(at(400))), (3, None));
    }

    #[test]
    fn what_is_owed_is_made_up_for() {
        let mut limit = RateLimit::new(&config(1, 1_000, 1)).unwrap();
        limit.take(at(0), 3);
        assert_eq!(limit.next(at(0)), Some(at(3_000)));
        assert_eq!((limit.available(at(2_999)), limit.available(at(3_000))), (0, 1));
        limit.exhaust(at(9_000));
        assert_eq!((limit.available(at(9_999)), limit.available(at(10_000))), (0, 1));
    }

    #[test]
    fn without_a_number_there_is_no_limit() {
        assert_eq!(RateLimit::new(&RateConfig::default()), None);
        assert_eq!(KeyRateLimit::new(&RateConfig::default()), None);
    }

    #[test]
    fn in_no_stretch_of_time_do_more_go_than_the_burst_and_the_rate() {
        cases(256, |random| {
            let (jobs, period, burst) = (random.u32(1..50), random.u64(1..5_000), random.u32(1..20));
            let mut limit = RateLimit::new(&config(jobs, period, burst)).unwrap();
            let waits = some(random, 1..100, |random| {
                (random.u64(0..period), random.usize(0..10))
            });
            let (mut now, mut gone) = (at(0), Vec::new());
            for (wait, wanted) in waits {
                now = now.after(Duration::from_millis(wait));
                let may = limit.available(now).min(wanted);
                limit.take(now, may);
                gone.push((now, may));
            }
            for (index, (since, _)) in gone.iter().enumerate() {
                let mut sum = 0;
                for (until, may) in gone.iter().skip(index) {
                    sum += may;
                    let stretch = until.since(*since).as_millis() as u64;
                    let most = u64::from(burst) + stretch * u64::from(jobs) / period;
                    assert!(sum as u64 <= most, "{sum} in {stretch} ms");
                }
            }
        });
    }

    #[test]
    fn each_key_has_a_bucket_of_its_own_and_full_ones_take_no_memory() {
        let mut limit = KeyRateLimit::new(&config(1, 1_000, 2)).unwrap();
        let times = [0, 0, 1_000, 2_000].map(at);
        for time in times {
            assert_eq!(limit.reserve(KeyHash(1), at(0)), time);
        }
        assert_eq!(limit.reserve(KeyHash(2), at(0)), at(0));
        for key in 0..1_000_000 {
            limit.reserve(KeyHash(key), at(key * 10));
        }
        assert!(limit.full_at.len() <= 2 * FEW_KEYS, "{}", limit.full_at.len());
    }

    #[test]
    fn extremes_overflow_nowhere() {
        let most = RateConfig {
            jobs: Some(1),
            period: Duration::MAX,
            burst: u32::MAX,
        };
        let mut limit = RateLimit::new(&most).unwrap();
        limit.take(at(0), usize::MAX);
        assert!(limit.available(at(0)) < u32::MAX as usize);
        let _ = limit.next(at(0));
        let mut keys = KeyRateLimit::new(&most).unwrap();
        keys.reserve(KeyHash(1), at(0));
        keys.reserve(KeyHash(1), at(0));
    }
}
