//! Memory that is used again.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Things that are kept at most. For blocks: as many jobs as a full consumer holds.
const MOST: usize = 128;

/// Things of which nobody needs the content any more.
pub(crate) struct Spares<T>(Mutex<Vec<T>>);

impl<T> Spares<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Keeps an empty thing, if there are not enough.
    pub(super) fn put(&self, thing: T) {
        let mut things = self.lock();
        if things.len() < MOST {
            things.push(thing);
        }
    }

    pub(super) fn take(&self) -> Option<T> {
        self.lock().pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // Nothing under this lock can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
