//! Which consumer holds a delivery, and its signs of life.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::OwnGroup;
use crate::types::{Epoch, Incarnation, Moment, SlotId};

/// Who a consumer is, shared by its deliveries. Given to `started` and to the factory of consumer actors.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its place in the group.
    pub slot: SlotId,
    /// Its life in that place, counted from one.
    pub incarnation: Incarnation,
    /// The life of the supervisor that made it.
    pub epoch: Epoch,
    /// Where consumer and supervisor see each other without a message.
    pub(crate) heartbeat: Heartbeat,
    /// The clock of the group, for jobs that expire.
    pub(crate) now: Now,
    /// The group itself.
    pub(crate) own: OwnGroup,
}

impl ConsumerInfo {
    pub(crate) fn new(
        (slot, incarnation, epoch): (SlotId, Incarnation, Epoch),
        now: Now,
        own: OwnGroup,
    ) -> Arc<Self> {
        Arc::new(Self {
            slot,
            incarnation,
            epoch,
            heartbeat: Heartbeat::default(),
            now,
            own,
        })
    }
}

/// Tells the present moment by the clock of a group.
pub(crate) struct Now(pub(crate) Box<dyn Fn() -> Moment + Send + Sync>);

impl Now {
    pub(crate) fn new(read: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

/// By how much a sign of life lets the progress grow that is no end of a delivery.
const SIGN_OF_LIFE: u64 = 1 << 32;

/// What the consumer's side and the supervisor can see of each other even while the consumer's thread is blocked.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// Grows with each delivery that ends and each sign of life. Written by the consumer's side, read by the supervisor:
    /// no growth for a deadline, while deliveries are held, is a hang. The lower half counts the deliveries alone: one that
    /// works on and gives signs of life holds up what waits behind it all the same.
    progress: AtomicU64,
    /// Set once this life is over. Written by the cell (it died) or by the supervisor (it was given up on); read by the
    /// shell before each delivery, so that a thread that comes back after a long block does not go on with its window.
    ended: AtomicBool,
    /// Until when the shell holds deliveries back to make a larger batch of them; 0 if it does not. Written by the shell, read
    /// by the supervisor: a rest is no hang, however long it may be; one that does not end in time may be.
    rests_until: AtomicU64,
    /// Set while no more deliveries come: the group drains or is paused, the slot is taken away, or its consumer holds a
    /// suspect that must be alone. Written by the supervisor, read by the shell, which then holds nothing back.
    complete: AtomicBool,
    /// Set when nothing more will ever come, and the consumer may stop in its own way. Written by the supervisor, read by the
    /// shell.
    shall_stop: AtomicBool,
}

impl Heartbeat {
    /// Notes that a delivery has ended.
    #[inline]
    pub fn note_progress(&self) {
        self.grow(1);
    }

    /// Notes a sign of life.
    pub(crate) fn note_life(&self) {
        self.grow(SIGN_OF_LIFE);
    }

    #[inline]
    fn grow(&self, by: u64) {
        // Only this consumer writes; a load and a store are cheaper than a read-modify-write. A lost sign of life, if a
        // user's threads share a delivery, only delays the next one.
        self.progress.store(
            self.progress.load(Ordering::Relaxed).wrapping_add(by),
            Ordering::Relaxed,
        );
    }

    /// How many signs of life there were.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// How many deliveries have ended, but for the greatest part: a number that changes with each of them.
    pub(crate) fn moved(&self) -> u64 {
        self.progress() % SIGN_OF_LIFE
    }

    /// Notes that deliveries are held back on purpose, until this moment at the latest.
    pub(crate) fn rest(&self, until: Moment) {
        self.rests_until.store(until.as_nanos(), Ordering::Relaxed);
    }

    /// Notes that they are not held back any more. It is a sign of life: also of a rest so short that no look saw it, the time
    /// does not count.
    pub(crate) fn end_rest(&self) {
        self.note_life();
        self.rests_until.store(0, Ordering::Relaxed);
    }

    /// Whether deliveries are held back on purpose.
    pub(crate) fn is_resting(&self, now: Moment) -> bool {
        self.rests_until.load(Ordering::Relaxed) > now.as_nanos()
    }

    /// Notes whether the consumer has everything that it will get for now.
    pub(crate) fn set_complete(&self, complete: bool) {
        self.complete.store(complete, Ordering::Release);
    }

    /// Whether the consumer has everything that it will get for now, so that nothing is to be waited for. What was sent before
    /// this was noted may still be in the mailbox of the shell.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Asks the consumer to stop in its own way. Who sleeps has to be woken.
    pub(crate) fn ask_to_stop(&self) {
        self.shall_stop.store(true, Ordering::Release);
    }

    /// Whether it was asked to stop.
    pub(crate) fn shall_stop(&self) -> bool {
        self.shall_stop.load(Ordering::Acquire)
    }

    /// Notes that this life is over: nothing that it says from now on counts.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether this life is over.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
