//! A look at the jobs of a queue while the group runs.

use std::sync::Arc;

use super::dead_letters::ask_queue;
use super::handle::Group;
use crate::protocol::{QueueCommand, QueueReply};
use crate::types::{JobPage, JobQuery};

/// The jobs of a queue cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// The group has ended.
    #[error("the group has ended")]
    Stopped,
    /// Its queue cannot show its jobs, for this reason.
    #[error("this queue cannot show its jobs: {0}")]
    Unsupported(&'static str),
    /// The queue could not read its jobs, for this reason.
    #[error("the jobs could not be read: {0}")]
    Unreadable(Arc<str>),
}

impl<J: Send + Sync + 'static, O: Send + 'static> Group<J, O> {
    /// A page of the jobs that its queue keeps: waiting, delayed, leased and dead ones, by state, name and key. The durable queue
    /// can show its jobs, also while they are done; what is shown is what its last commit left. The next page begins at
    /// [`JobPage::next`]. A job that moves on while one turns the pages may come twice, or not at all.
    ///
    /// A query that passes over many jobs takes longer; the queue goes on meanwhile.
    ///
    /// ```
    /// use consumer_group::queue::{JobQuery, JobState};
    /// # #[cfg(feature = "durable")]
    /// # use consumer_group::durable::DurableQueue;
    /// # use consumer_group::{Delivery, Group};
    /// # #[cfg(feature = "durable")]
    /// # actix::System::new().block_on(async {
    /// # let folder = tempfile::tempdir()?;
    /// # let queue = DurableQueue::open(folder.path().join("jobs.queue"))?;
    /// # let group: Group<u64, ()> = Group::builder()
    /// #     .queue(queue)
    /// #     .consume_with(1, async |_: &Delivery<u64>| Ok(()))
    /// #     .start()?;
    /// let mut query = JobQuery { states: vec![JobState::Waiting], ..JobQuery::default() };
    /// loop {
    ///     let page = group.jobs(&query).await?;
    ///     for job in &page.jobs {
    ///         println!("{:?} {}", job.id, job.shown_payload());
    ///     }
    ///     query.after = page.next;
    ///     if page.next.is_none() {
    ///         break;
    ///     }
    /// }
    /// # group.stop().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// **Cancellation**: nothing changes.
    ///
    /// # Errors
    /// [`LookError`].
    pub async fn jobs(&self, query: &JobQuery) -> Result<JobPage, LookError> {
        let mut query = query.clone();
        let wanted = query.most.max(1);
        let mut jobs = Vec::new();
        loop {
            query.most = wanted - jobs.len();
            let command = QueueCommand::Jobs(query.clone());
            let reply = ask_queue(self.queue_addresses(), command).await;
            let mut page = match reply.map_err(|_| LookError::Stopped)? {
                QueueReply::Jobs(Ok(page)) => page,
                QueueReply::Jobs(Err(why)) => return Err(LookError::Unreadable(why)),
                QueueReply::Unsupported(why) => return Err(LookError::Unsupported(why)),
                _ => return Err(LookError::Unsupported("it gave another answer")),
            };
            jobs.append(&mut page.jobs);
            // A queue looks at some jobs at a time, whether it finds any or not.
            if jobs.len() >= wanted || page.next.is_none() || page.next <= query.after {
                return Ok(JobPage::new(jobs, page.next));
            }
            query.after = page.next;
        }
    }
}
