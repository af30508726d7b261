//! What a consumer can reach of its own group, and the rule that a group does not wait for itself.
//!
//! A consumer that sends a job to its own group and waits for the result is busy meanwhile. If all consumers of a group wait so,
//! nobody is left to do what they wait for: the last one that would begin such a wait is refused instead.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many consumers a group has, and how many of them wait for it.
#[derive(Debug, Default)]
pub(crate) struct OwnWaits {
    /// How many there shall be. Written by the guardian.
    consumers: AtomicUsize,
    waiting: AtomicUsize,
}

impl OwnWaits {
    pub(crate) fn set_consumers(&self, consumers: usize) {
        self.consumers.store(consumers, Ordering::Relaxed);
    }

    /// One more consumer waits, unless it would be the last one that does not.
    fn enter(&self) -> Result<(), WaitsForItself> {
        let consumers = self.consumers.load(Ordering::Relaxed);
        let one_more = |waiting: usize| Some(waiting + 1).filter(|waiting| *waiting < consumers);
        let entered = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        entered.map(|_| ()).map_err(|_| WaitsForItself)
    }
}

/// The group would wait for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitsForItself;

/// The group of a consumer, as the consumer reaches it.
#[derive(Clone)]
pub(crate) struct OwnGroup {
    /// A producer of the group, whose type stands floors above.
    pub(crate) producer: Arc<dyn Any + Send + Sync>,
    pub(crate) waits: Arc<OwnWaits>,
}

impl OwnGroup {
    /// For consumers that no group has made.
    #[cfg(feature = "testing")]
    pub(crate) fn none() -> Self {
        Self {
            producer: Arc::new(()),
            waits: Arc::default(),
        }
    }
}

impl fmt::Debug for OwnGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnGroup").finish_non_exhaustive()
    }
}

/// One consumer, as far as it waits for its own group.
pub(crate) struct ConsumerWaits {
    group: Arc<OwnWaits>,
    /// How many waits it has: it can wait for several jobs at once.
    own: AtomicUsize,
}

thread_local! {
    /// The consumer that is polled now.
    static PRESENT: RefCell<Option<Arc<ConsumerWaits>>> = const { RefCell::new(None) };
}

impl ConsumerWaits {
    pub(crate) fn new(own: &OwnGroup) -> Arc<Self> {
        Arc::new(Self {
            group: Arc::clone(&own.waits),
            own: AtomicUsize::new(0),
        })
    }

    /// Runs `work` as code of this consumer.
    pub(crate) fn inside<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        /// Puts the one before back, also after a panic.
        struct Before(Option<Arc<ConsumerWaits>>);
        impl Drop for Before {
            fn drop(&mut self) {
                let before = self.0.take();
                let _ = PRESENT.try_with(|present| present.replace(before));
            }
        }
        let _before = Before(PRESENT.with(|present| present.replace(Some(Arc::clone(self)))));
        work()
    }
}

/// A wait for this group begins, which ends when the answer is dropped. Nothing is counted for code that runs in no consumer
/// of it: its waits hold nobody up.
pub(crate) fn wait_for_group(group: &Arc<OwnWaits>) -> Result<Option<OwnWait>, WaitsForItself> {
    let present = PRESENT
        .try_with(|present| present.borrow().clone())
        .ok()
        .flatten();
    let Some(consumer) = present.filter(|present| Arc::ptr_eq(&present.group, group)) else {
        return Ok(None);
    };
    // One consumer is polled by one thread at a time, so its first wait and its last are not confused with others.
    if consumer.own.load(Ordering::Relaxed) == 0 {
        group.enter()?;
    }
    consumer.own.fetch_add(1, Ordering::Relaxed);
    Ok(Some(OwnWait(consumer)))
}

/// A consumer waits for its own group.
pub(crate) struct OwnWait(Arc<ConsumerWaits>);

impl Drop for OwnWait {
    fn drop(&mut self) {
        if self.0.own.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.group.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of so many consumers, and so many of them.
    fn group(consumers: usize) -> (Arc<OwnWaits>, Vec<Arc<ConsumerWaits>>) {
        let waits = Arc::new(OwnWaits::default());
        waits.set_consumers(consumers);
        let own = OwnGroup {
            producer: Arc::new(()),
            waits: Arc::clone(&waits),
        };
        (waits, (0..consumers).map(|_| ConsumerWaits::new(&own)).collect())
    }

    #[test]
    fn the_last_consumer_that_would_wait_is_refused_and_only_that_one() {
        let (waits, consumers) = group(3);
        let wait = |number: usize| consumers[number].inside(|| wait_for_group(&waits));
        let (first, again) = (wait(0).unwrap(), wait(0).unwrap());
        let _second = wait(1).unwrap();
        assert!(wait(2).is_err());
        drop(first);
        assert!(wait(2).is_err(), "the first one still waits for something");
        drop(again);
        assert!(wait(2).is_ok());
    }

    #[test]
    fn code_of_no_consumer_and_of_other_groups_waits_for_whatever_it_likes() {
        let (waits, consumers) = group(1);
        let (other, _) = group(0);
        assert!(wait_for_group(&waits).unwrap().is_none());
        consumers[0].inside(|| {
            assert!(wait_for_group(&other).unwrap().is_none());
            assert!(wait_for_group(&waits).is_err());
        });
        assert!(
            wait_for_group(&waits).unwrap().is_none(),
            "the mark is taken back"
        );
    }
}
