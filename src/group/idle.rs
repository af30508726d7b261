//! Waits until a group has nothing left to do.

use std::time::Duration;

use super::errors::StoppedError;
use super::handle::Group;

/// The first and the longest wait between two looks at a group that is at work.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

impl<J: Send + Sync + 'static, O: Send + 'static> Group<J, O> {
    /// Waits for a moment at which nothing is left to do: no job is on its way to the queue, waits there, is delayed or leased.
    /// Dead letters do not count. The group goes on, and whoever sends meanwhile is waited for as well: for an end there is
    /// [`drain`](Self::drain).
    ///
    /// It looks now and then, every 50 ms at least, so it costs nothing in between and may pass over a moment that was short. A
    /// queue that cannot count is taken for empty when the group holds nothing of it.
    ///
    /// **Cancellation**: nothing changes.
    ///
    /// # Errors
    /// [`StoppedError`] if the group has ended.
    pub async fn idle(&self) -> Result<(), StoppedError> {
        let mut wait = FIRST_LOOK;
        loop {
            // First what is on its way, then the queue: a job goes from the one to the other, so none is overlooked.
            let arrives = self.has_jobs_on_their_way();
            let health = self.health().await?;
            let holds = health.leased > 0 || health.queue.is_none_or(|queue| queue.unfinished() > 0);
            if !arrives && !holds {
                return Ok(());
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
