//! How a run must end.

use super::{Facts, Judged};

/// Every accepted job was acked or dead-lettered. A group that gave up hands its jobs back, which is no loss; that it gave
/// up is told by [`converges`].
pub(super) fn nothing_is_lost(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    if history.end.unfinished.is_empty() || history.end.failed.is_some() {
        return Ok(());
    }
    Err(format!(
        "jobs {:?} were accepted and never came to an end",
        history.end.unfinished
    ))
}

/// After the last fault the group is whole again, and idle.
pub(super) fn converges(facts: &Facts<'_>) -> Judged {
    let end = &facts.history.end;
    if let Some(reason) = &end.failed {
        return Err(format!("the group gave up: {reason}"));
    }
    if end.live != end.wanted {
        return Err(format!(
            "{} of {} consumers were live at the end",
            end.live, end.wanted
        ));
    }
    if end.unfinished.is_empty() && end.in_queue + end.in_flight > 0 {
        return Err(format!(
            "every job was finished, and the queue still held {} and the supervisor {}",
            end.in_queue, end.in_flight
        ));
    }
    Ok(())
}
