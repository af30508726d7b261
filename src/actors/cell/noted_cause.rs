//! A cause that an actor stops with: actix knows only stops without a reason.

use std::cell::RefCell;

use crate::types::Cause;

thread_local! {
    /// Why the actor that is polled now is about to stop.
    static CAUSE: RefCell<Option<Cause>> = const { RefCell::new(None) };
}

/// Notes why the actor that runs now is about to stop. The first cause counts.
pub(crate) fn note_cause(cause: Cause) {
    CAUSE.with(|noted| {
        noted.borrow_mut().get_or_insert(cause);
    });
}

/// Puts one actor's cause in place of another's, when the thread turns from one actor to another.
pub(super) fn swap(cause: Option<Cause>) -> Option<Cause> {
    CAUSE.with(|noted| noted.replace(cause))
}
