//! Whether a delivery has begun: the mark by which blame is told.

use std::sync::atomic::{AtomicU64, Ordering};

use super::DeliveryNumber;

/// The bit that says "was in the hands of code that panicked". Delivery numbers never reach it.
const CULPRIT: u64 = 1 << 63;

/// The number of the last delivery in which a consumer looked at the payload; 0 before any did. Written by the consumer's
/// side, read by the supervisor when a consumer died: only deliveries that had begun cost an attempt.
#[derive(Debug, Default)]
pub(crate) struct BegunMark(AtomicU64);

impl BegunMark {
    /// Notes that the delivery `number` has begun: its consumer has looked at the payload. Whether it was not noted before.
    #[inline]
    pub(crate) fn begin(&self, number: DeliveryNumber) -> bool {
        // Relaxed is enough: the mark is read for a delivery only after its consumer is gone (the death notice orders it)
        // or to tell a hung delivery, where an old value only makes the next look decide. Numbers only grow: a consumer that
        // was given up on and looks once more does not take back what its successor has noted.
        let begins = self.0.load(Ordering::Relaxed) & !CULPRIT < number.0;
        if begins {
            self.0.store(number.0, Ordering::Relaxed);
        }
        begins
    }

    /// Forgets what earlier supervisors noted: their deliveries are over, and the numbers of another group may be smaller.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Takes the mark of the delivery `number` back: its consumer is done with it and has only not told yet. If the consumer
    /// dies before it tells, the job is done again but not blamed.
    #[inline]
    pub(crate) fn finish(&self, number: DeliveryNumber) {
        if self.0.load(Ordering::Relaxed) == number.0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that the delivery `number` was in the hands of code that panicked: of all deliveries that had begun, this is the
    /// one that ended the consumer.
    pub(crate) fn blame(&self, number: DeliveryNumber) {
        // Only over its own mark: a consumer that was given up on and panics later says nothing of its successor.
        if self.0.load(Ordering::Relaxed) == number.0 {
            self.0.store(number.0 | CULPRIT, Ordering::Relaxed);
        }
    }

    /// Whether the delivery `number` was in the hands of code that panicked.
    pub(crate) fn is_culprit(&self, number: DeliveryNumber) -> bool {
        self.0.load(Ordering::Relaxed) == number.0 | CULPRIT
    }

    /// Whether the delivery `number` has begun.
    pub(crate) fn has_begun(&self, number: DeliveryNumber) -> bool {
        self.0.load(Ordering::Relaxed) & !CULPRIT == number.0
    }
}
