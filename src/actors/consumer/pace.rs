//! When a consumer looks at the clock.

use std::time::Duration;

use tokio::time::Instant;

/// After this much work the settled deliveries go to the settle queue, even if more work waits.
const FLUSH_AFTER: Duration = Duration::from_micros(100);

/// After this much work the arbiter gets its turn, for timers and neighbours.
const YIELD_AFTER: Duration = Duration::from_millis(1);

/// The most deliveries between two looks at the clock.
const MOST_BLIND: u32 = 1_024;

/// When to look at the clock: seldom for handlers of nanoseconds, after every delivery for handlers that take long.
pub(super) struct Pace {
    blind: u32,
    left: u32,
    looked: Instant,
    flushed: Instant,
    yielded: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            blind: 1,
            left: 1,
            looked: now,
            flushed: now,
            yielded: now,
        }
    }

    /// The loop waited for deliveries, so the arbiter had its turn.
    pub(super) fn resume(&mut self) {
        let now = Instant::now();
        self.looked = now;
        self.flushed = now;
        self.yielded = now;
        self.left = self.blind;
    }

    /// A delivery has waited, and something urgent may have come meanwhile.
    pub(super) fn look_next(&mut self) {
        (self.blind, self.left) = (1, 1);
    }

    pub(super) fn is_time_to_look(&mut self) -> bool {
        self.left -= 1;
        self.left == 0
    }

    /// Sets the distance to the next look so that it comes about when the next flush is due.
    pub(super) fn should_flush(&mut self, now: Instant) -> bool {
        let each = now.saturating_duration_since(self.looked).as_nanos() / u128::from(self.blind);
        let next = FLUSH_AFTER.as_nanos() / each.max(1);
        self.blind = u32::try_from(next).unwrap_or(MOST_BLIND).clamp(1, MOST_BLIND);
        self.left = self.blind;
        self.looked = now;
        let due = now.saturating_duration_since(self.flushed) >= FLUSH_AFTER;
        if due {
            self.flushed = now;
        }
        due
    }

    pub(super) fn should_yield(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.yielded) >= YIELD_AFTER;
        if due {
            self.yielded = now;
        }
        due
    }
}
