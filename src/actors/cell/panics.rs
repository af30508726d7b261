//! What a panic inside a cell was: message and place.
//!
//! The place of a panic is known only to the panic hook, so a hook is put in front of the one that is there, once for the
//! process. For panics outside of cells it changes nothing.

use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, Once};

use crate::protocol::inside_cell;
use crate::types::{PanicReport, is_nested_panic, panic_message};

thread_local! {
    /// Whether panics of the present cell are kept off the standard error stream, and where the last one was.
    static LAST: RefCell<(bool, Option<Arc<str>>)> = const { RefCell::new((false, None)) };
}

/// Puts the hook in place; only the first call does anything.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let quiet = inside_cell() && note_place(info.location().map(ToString::to_string));
            if !quiet {
                before(info);
            }
        }));
    });
}

/// Notes where the panic is; says whether the present cell is quiet.
fn note_place(place: Option<String>) -> bool {
    LAST.try_with(|last| match last.try_borrow_mut() {
        Ok(mut last) => {
            if !is_nested_panic() {
                last.1 = place.map(Into::into);
            }
            last.0
        }
        Err(_) => false,
    })
    .unwrap_or(false)
}

/// Runs `work`, during which panics are quiet or not.
pub(super) fn watching<T>(quiet: bool, work: impl FnOnce() -> T) -> T {
    let set = |quiet| {
        LAST.with(|last| {
            last.try_borrow_mut()
                .map(|mut last| std::mem::replace(&mut last.0, quiet))
                .unwrap_or(quiet)
        })
    };
    let before = set(quiet);
    // `work` catches its own panics, so this line is always reached.
    let result = work();
    set(before);
    result
}

/// The report of a panic that was just caught on this thread.
pub(super) fn report(payload: Box<dyn Any + Send>) -> PanicReport {
    let message = panic_message(payload);
    let place = LAST.with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.1.take()));
    PanicReport { message, place }
}
