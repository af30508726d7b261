//! A mark on the thread: whether the code that runs now runs inside an actor's cell.

use std::cell::Cell;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the code that runs now is polled by the cell of an actor.
pub(crate) fn inside_cell() -> bool {
    INSIDE.try_with(Cell::get).unwrap_or(false)
}

/// Runs `work` with the mark set. The mark is taken back even if `work` panics.
pub(crate) fn mark_inside_cell<T>(work: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            let _ = INSIDE.try_with(|inside| inside.set(self.0));
        }
    }
    let _back = Back(INSIDE.with(|inside| inside.replace(true)));
    work()
}
