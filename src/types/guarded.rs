//! Values of the user that the group holds: a panic in their `Drop` ends where they are dropped.
//!
//! Jobs, outputs, consumers and closures are dropped wherever their last holder is: in the queue, the supervisor, while
//! another panic unwinds. A panic that left such a `Drop` would end an actor that has done nothing wrong, and while another
//! panic unwinds it would end the process. So whatever holds a value of the user holds it in a [`Guarded`], or drops it by
//! [`drop_guarded`]; for types without a destructor both are nothing at all.

use std::any::{Any, type_name};
use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::invariant::invariant;
use super::text::bounded;

/// Panics in the `Drop` of a user's value so far, in this process.
static PANICKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread drops a guarded value while another panic unwinds.
    static NESTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic that is reported now is that of a guarded value, dropped while another panic unwinds: the place of the
/// other one is not to be overwritten.
pub(crate) fn is_nested_panic() -> bool {
    NESTED.try_with(Cell::get).unwrap_or(false)
}

/// A value of the user, held by the group. A panic in its `Drop` is caught, counted and told in the log; it goes no further.
///
/// It takes the room of an `Option` of the value: none more for everything that has a pointer inside.
pub struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    /// Holds `value`.
    #[inline]
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value; from here on its `Drop` is the caller's matter.
    #[inline]
    pub fn into_inner(mut self) -> T {
        invariant!(self.0.take(), "it is empty only inside of its own `Drop`")
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        invariant!(&self.0, "it is empty only inside of its own `Drop`")
    }
}

impl<T> DerefMut for Guarded<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        invariant!(&mut self.0, "it is empty only inside of its own `Drop`")
    }
}

impl<T> Drop for Guarded<T> {
    #[inline]
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>()
            && let Some(value) = self.0.take()
        {
            drop_guarded(value);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> From<T> for Guarded<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Drops a value of the user; a panic in its `Drop` ends here.
#[inline]
pub(crate) fn drop_guarded<T>(value: T) {
    if !std::mem::needs_drop::<T>() {
        return;
    }
    let nests = std::thread::panicking();
    // Unwind safety: the value is gone afterwards, whole or half.
    let dropped = if nests {
        let before = NESTED.replace(true);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(value)));
        NESTED.set(before);
        dropped
    } else {
        catch_unwind(AssertUnwindSafe(|| drop(value)))
    };
    if let Err(payload) = dropped {
        tell(type_name::<T>(), &panic_message(payload));
    }
}

/// Calls a waker, which may be one of the user's own.
pub(crate) fn wake_guarded(waker: std::task::Waker) {
    call_guarded("a waker", || waker.wake());
}

/// Calls code of the user from which no answer is needed; a panic in it ends here.
pub(crate) fn call_guarded(what: &str, work: impl FnOnce()) {
    if let Err(message) = caught(work) {
        tell(what, &message);
    }
}

/// Calls code of the user; a panic comes back as its message.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    // Unwind safety: the callers drop, or never look at, what a panic may have left half done.
    catch_unwind(AssertUnwindSafe(work)).map_err(panic_message)
}

/// Logs the first, second, fourth, eighth … of these panics: a million jobs with such a `Drop` are a million panics.
#[cold]
fn tell(what: &str, message: &str) {
    let count = PANICKED.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        tracing::warn!(
            what,
            message,
            count,
            "code of the user panicked apart from its work"
        );
    }
}

/// What a panic said. The payload is a value of the user, and its own `Drop` can panic as well.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> Arc<str> {
    let message = match (
        payload.downcast_ref::<String>(),
        payload.downcast_ref::<&'static str>(),
    ) {
        (Some(text), _) => bounded(text),
        (None, Some(text)) => bounded(text),
        (None, None) => "a panic whose payload is no text".into(),
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Whoever panics in the drop of a panic gets no third chance: the second payload is leaked on purpose.
        std::mem::forget(second);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }

    #[test]
    fn a_drop_that_panics_ends_where_it_is_also_while_another_panic_unwinds() {
        drop(Guarded::new(Bomb));
        drop_guarded([Guarded::new(Bomb), Guarded::new(Bomb)]);
        let outer = catch_unwind(|| {
            let _held = (Guarded::new(Bomb), Guarded::new(Bomb));
            panic!("the first");
        });
        assert_eq!(&*panic_message(outer.unwrap_err()), "the first");
        assert!(!is_nested_panic());
    }

    #[test]
    fn a_payload_that_panics_in_its_drop_is_a_message_like_any_other() {
        let caught = catch_unwind(|| std::panic::panic_any(Bomb));
        assert!(panic_message(caught.unwrap_err()).contains("no text"));
    }

    #[test]
    fn a_guard_takes_no_room_around_what_owns_memory() {
        assert_eq!(size_of::<Guarded<String>>(), size_of::<String>());
        assert_eq!(size_of::<Guarded<Box<u8>>>(), size_of::<Box<u8>>());
    }
}
