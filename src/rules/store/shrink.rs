//! When memory that is no longer needed goes back.

use std::collections::VecDeque;

/// Up to this many places are kept for the next burst.
pub(super) const KEPT: usize = 65_536;

/// Gives memory back if less than an eighth of it is used.
///
/// At most an eighth of the places is copied, and seven eighths had to be emptied before: the cost for each job that
/// leaves is constant.
pub(super) fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > KEPT && queue.len() < queue.capacity() / 8 {
        queue.shrink_to((queue.len() * 2).max(KEPT));
    }
}
