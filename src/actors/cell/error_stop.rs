//! An error that an actor stops with: actix knows only stops without a reason.

use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    /// The error of the actor that is polled now.
    static ERROR: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// Notes why the actor that runs now is about to stop. The first error counts.
pub(crate) fn note_error(error: Arc<str>) {
    ERROR.with(|noted| {
        noted.borrow_mut().get_or_insert(error);
    });
}

/// Puts one actor's error in place of another's, when the thread turns from one actor to another.
pub(super) fn swap(error: Option<Arc<str>>) -> Option<Arc<str>> {
    ERROR.with(|noted| noted.replace(error))
}
