//! Whether a delivery has begun: the mark by which blame is told, and by which a delivery is taken back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::DeliveryNumber;

/// A mark is the number of a delivery, with four bits below it that say more. So of two marks the one of the later delivery is
/// the greater. Numbers stay far below 2^60.
const BITS: u32 = 4;

/// The bit of a mark that says "was in the hands of code that panicked".
const CULPRIT: u64 = 1;

/// The bit of a mark that says "its consumer is done with it".
const FINISHED: u64 = 2;

/// The bit of a mark that says "was taken back before it began".
const RECALLED: u64 = 4;

/// The bit of a mark that says "its lease is lost".
const REVOKED: u64 = 8;

/// The mark of a delivery that has begun.
#[inline]
fn mark(number: DeliveryNumber) -> u64 {
    number.0 << BITS
}

/// Whether a delivery may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It begins now.
    Now,
    /// It has begun before, and begins again as often as it likes.
    Again,
    /// It must not begin: it was taken back, or a later delivery of the job has begun.
    Never,
}

/// The last delivery that began (its consumer looked at the payload) or was taken back before it did; 0 before any. Written by
/// the consumer's side when one begins, by the supervisor when it takes one back; read by the supervisor when a consumer died:
/// only deliveries that had begun cost an attempt.
#[derive(Debug, Default)]
pub(crate) struct BegunMark(AtomicU64);

impl BegunMark {
    /// Notes that the delivery `number` begins: its consumer looks at the payload.
    #[inline]
    pub(crate) fn begin(&self, number: DeliveryNumber) -> Begin {
        // One word decides between the consumer that begins and the supervisor that takes back: both change it by an exchange
        // of what they saw, and of two exchanges of one value only one succeeds. First the consumer's: then `recall` sees its
        // number and takes nothing. First the supervisor's: then this sees the mark and does not begin. Numbers only grow, so
        // a consumer that comes late finds its delivery taken back also when the job has begun elsewhere since, or ended.
        // Relaxed is enough: nothing else hangs on the order. For the blame the death notice orders the mark.
        let own = mark(number);
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen < own {
            match self
                .0
                .compare_exchange_weak(seen, own, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Begin::Now,
                Err(now) => seen = now,
            }
        }
        if seen & !(CULPRIT | FINISHED | REVOKED) == own {
            Begin::Again
        } else {
            Begin::Never
        }
    }

    /// Takes the delivery `number` back if it has not begun: from here on it never begins. False if it has.
    pub(crate) fn recall(&self, number: DeliveryNumber) -> bool {
        // See `begin` for the race.
        let own = mark(number);
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen < own {
            match self
                .0
                .compare_exchange_weak(seen, own | RECALLED, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Notes that the lease of the delivery `number` is lost. True if it had not begun: then it never does.
    pub(crate) fn revoke(&self, number: DeliveryNumber) -> bool {
        // See `begin` for the race. If its consumer finishes in this very moment the note may be lost, and nobody asks for it.
        let own = mark(number);
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (noted, is_unbegun) = match seen {
                seen if seen < own => (own | RECALLED | REVOKED, true),
                seen if seen >> BITS == number.0 => (seen | REVOKED, false),
                _ => return false,
            };
            match self
                .0
                .compare_exchange_weak(seen, noted, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return is_unbegun,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether the lease of the delivery `number` is lost, or its job was delivered again since.
    pub(crate) fn is_revoked(&self, number: DeliveryNumber) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        seen >> BITS > number.0 || (seen >> BITS == number.0 && seen & REVOKED != 0)
    }

    /// All deliveries of the job before `next` are over: none of them counts as begun. What one of them noted stays, so that
    /// it does not begin late; but the numbers of another group may be smaller, so what is not before `next` is forgotten.
    #[inline]
    pub(crate) fn close(&self, next: DeliveryNumber) {
        let seen = self.0.load(Ordering::Relaxed);
        if seen == 0 {
            return;
        }
        if seen >= mark(next) {
            self.forget();
        } else {
            self.0.store(seen | FINISHED, Ordering::Relaxed);
        }
    }

    /// Forgets what another group noted: its deliveries are over, and its consumers as well.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Takes the mark of the delivery `number` back: its consumer is done with it and has only not told yet. If the consumer
    /// dies before it tells, the job is done again but not blamed.
    #[inline]
    pub(crate) fn finish(&self, number: DeliveryNumber) {
        let seen = self.0.load(Ordering::Relaxed);
        if seen & !REVOKED == mark(number) {
            self.0.store(seen | FINISHED, Ordering::Relaxed);
        }
    }

    /// Notes that the delivery `number` was in the hands of code that panicked: of all deliveries that had begun, this is the
    /// one that ended the consumer.
    pub(crate) fn blame(&self, number: DeliveryNumber) {
        // Only over its own mark: a consumer that was given up on and panics later says nothing of its successor.
        let seen = self.0.load(Ordering::Relaxed);
        if seen & !REVOKED == mark(number) {
            self.0.store(seen | CULPRIT, Ordering::Relaxed);
        }
    }

    /// Whether the delivery `number` was in the hands of code that panicked.
    pub(crate) fn is_culprit(&self, number: DeliveryNumber) -> bool {
        self.0.load(Ordering::Relaxed) & !REVOKED == mark(number) | CULPRIT
    }

    /// Whether the delivery `number` can still begin.
    pub(crate) fn may_begin(&self, number: DeliveryNumber) -> bool {
        self.0.load(Ordering::Relaxed) < mark(number)
    }

    /// Whether the delivery `number` has begun.
    pub(crate) fn has_begun(&self, number: DeliveryNumber) -> bool {
        self.0.load(Ordering::Relaxed) & !(CULPRIT | REVOKED) == mark(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_begins_or_is_taken_back_and_never_both() {
        let job = BegunMark::default();
        for number in (1..4_000).map(DeliveryNumber) {
            let meet = std::sync::Barrier::new(2);
            let (begins, is_recalled) = std::thread::scope(|threads| {
                let consumer = threads.spawn(|| {
                    meet.wait();
                    job.begin(number) == Begin::Now
                });
                meet.wait();
                let is_recalled = job.recall(number);
                (consumer.join().unwrap(), is_recalled)
            });
            assert_ne!(begins, is_recalled);
            assert_eq!(job.has_begun(number), begins);
        }
    }

    #[test]
    fn what_is_revoked_never_begins_or_is_known_to_be_void() {
        let job = BegunMark::default();
        let (first, second, third) = (DeliveryNumber(5), DeliveryNumber(6), DeliveryNumber(7));
        assert!(job.revoke(first) && job.is_revoked(first));
        assert_eq!(job.begin(first), Begin::Never);
        assert_eq!((job.begin(second), job.is_revoked(second)), (Begin::Now, false));
        assert!(!job.revoke(second) && job.is_revoked(second) && job.has_begun(second));
        assert_eq!(job.begin(second), Begin::Again);
        job.finish(second);
        assert!(job.is_revoked(second) && !job.has_begun(second));
        assert_eq!(job.begin(third), Begin::Now);
        assert!(job.is_revoked(second) && !job.is_revoked(third));
        job.revoke(third);
        job.blame(third);
        assert!(job.is_culprit(third));
    }

    #[test]
    fn what_was_taken_back_does_not_begin_however_the_job_went_on() {
        let job = BegunMark::default();
        let (late, next) = (DeliveryNumber(5), DeliveryNumber(6));
        assert!(job.recall(late) && !job.recall(late));
        assert_eq!(job.begin(late), Begin::Never);
        assert_eq!((job.begin(next), job.begin(next)), (Begin::Now, Begin::Again));
        assert!(job.begin(late) == Begin::Never && !job.recall(next));
        job.finish(next);
        assert!(job.begin(late) == Begin::Never && !job.has_begun(next) && !job.recall(next));
        job.close(DeliveryNumber(7));
        assert_eq!(job.begin(late), Begin::Never);
        job.close(DeliveryNumber(2));
        assert_eq!(
            job.begin(DeliveryNumber(3)),
            Begin::Now,
            "the numbers of another group are smaller"
        );
    }
}
