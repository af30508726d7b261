//! Producer groups and the stream of their results.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::Semaphore;

use super::errors::{BatchSendError, SendError, SendErrorKind};
use super::producer::Producer;
use crate::actors::results::Mailboxes;
use crate::types::{Job, JobId, Outcome, ReplyTo};

/// Producers that share one result queue. Clones belong to the same group.
///
/// The outcomes of all jobs that any of its members sends, done or given up, come to the one [`Results`]. A group that does
/// not read holds itself up: after `results` outcomes (see the configuration) that are outstanding or unread, sends wait.
pub struct ProducerGroup<J: Send + Sync + 'static, O: Send + 'static> {
    producer: Producer<J, O>,
    mailbox: Arc<Open<J, O>>,
    room: Arc<Semaphore>,
    /// How many outcomes may be outstanding or unread.
    capacity: usize,
}

/// An open mailbox; it closes when its reader has gone.
struct Open<J, O> {
    mailboxes: Arc<Mailboxes<J, O>>,
    reply_to: ReplyTo,
}

/// The outcomes of a producer group's jobs, in the order in which the jobs ended.
///
/// Each accepted job has exactly one outcome, correlated by its [`JobId`], unless the group ends first: then the stream ends
/// after what has arrived, and the jobs without an outcome are among the unfinished ones of the group. A dead letter that is
/// sent back to the queue has had its outcome and brings no second one.
///
/// Dropping it ends the producer group: its sends fail as closed, its jobs are done all the same.
#[must_use = "a producer group ends when its results are dropped"]
pub struct Results<J: Send + Sync + 'static, O: Send + 'static> {
    mailbox: Arc<Open<J, O>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> ProducerGroup<J, O> {
    pub(super) fn open(
        producer: Producer<J, O>,
        mailboxes: &Arc<Mailboxes<J, O>>,
        capacity: usize,
    ) -> (Self, Results<J, O>) {
        let (reply_to, room) = mailboxes.open(capacity);
        let mailbox = Arc::new(Open {
            mailboxes: Arc::clone(mailboxes),
            reply_to,
        });
        let results = Results {
            mailbox: Arc::clone(&mailbox),
        };
        (
            Self {
                producer,
                mailbox,
                room,
                capacity,
            },
            results,
        )
    }

    /// Sends one job whose outcome comes to the group's [`Results`]. Waits while too many outcomes are unread, then as
    /// [`Producer::send`] does.
    ///
    /// # Errors
    /// [`SendError`] hands the job back: as [`Producer::send`], or closed because the [`Results`] were dropped.
    pub async fn send(&self, job: impl Into<Job<J>>) -> Result<JobId, SendError<J>> {
        let job = job.into();
        let permit = match self.room.acquire().await {
            Ok(permit) => permit,
            Err(_) => {
                return Err(SendError {
                    job: Some(job),
                    kind: SendErrorKind::Closed,
                });
            }
        };
        // From the note on the outcome is expected, also if this send is dropped; the intake takes that back for a job that
        // the queue refuses.
        let mailbox = &self.mailbox;
        self.producer
            .send_one(job, Some(mailbox.reply_to), |id| {
                permit.forget();
                mailbox.mailboxes.expect(mailbox.reply_to, [id]);
            })
            .await
    }

    /// Sends many jobs whose outcomes come to the group's [`Results`], in their order, in lots for which there is room.
    ///
    /// **Cancellation**: a send that is dropped half way has sent the first jobs and not the others.
    ///
    /// # Errors
    /// [`BatchSendError`] names the jobs that were accepted and hands back those that were not.
    pub async fn send_batch<I>(&self, jobs: I) -> Result<Vec<JobId>, BatchSendError<J>>
    where
        I: IntoIterator,
        I::Item: Into<Job<J>>,
    {
        let mut rest: Vec<Job<J>> = jobs.into_iter().map(Into::into).collect();
        let (mut accepted, mut refused) = (Vec::with_capacity(rest.len()), Vec::new());
        while !rest.is_empty() {
            let count = rest.len().min(self.capacity).min(LOT);
            let later = rest.split_off(count);
            let lot = std::mem::replace(&mut rest, later);
            match self.send_lot(lot).await {
                Ok(mut ids) => accepted.append(&mut ids),
                Err(mut error) => {
                    accepted.append(&mut error.accepted);
                    refused.append(&mut error.refused);
                }
            }
        }
        if refused.is_empty() {
            Ok(accepted)
        } else {
            Err(BatchSendError { accepted, refused })
        }
    }

    async fn send_lot(&self, lot: Vec<Job<J>>) -> Result<Vec<JobId>, BatchSendError<J>> {
        let count = u32::try_from(lot.len()).unwrap_or(u32::MAX);
        let Ok(mut permits) = self.room.acquire_many(count).await else {
            let closed = |job: Job<J>| SendError {
                job: Some(job),
                kind: SendErrorKind::Closed,
            };
            return Err(BatchSendError {
                accepted: Vec::new(),
                refused: lot.into_iter().map(closed).collect(),
            });
        };
        let mailbox = &self.mailbox;
        self.producer
            .send_expecting(lot, Some(mailbox.reply_to), |ids| {
                if let Some(used) = permits.split(ids.len()) {
                    used.forget();
                }
                mailbox.mailboxes.expect(mailbox.reply_to, ids.iter().copied());
            })
            .await
    }
}

/// How many jobs a producer group sends at once.
const LOT: usize = 1_024;

impl<J: Send + Sync + 'static, O: Send + 'static> Results<J, O> {
    /// The next outcome; `None` when the group has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Outcome<J, O>> {
        poll_fn(|context| self.poll(context)).await
    }

    /// How many accepted jobs have no outcome yet. Outcomes that wait unread have come.
    pub fn outstanding(&self) -> usize {
        self.mailbox.mailboxes.pending(self.mailbox.reply_to)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Outcome<J, O>>> {
        self.mailbox.mailboxes.poll_read(self.mailbox.reply_to, context)
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Stream for Results<J, O> {
    type Item = Outcome<J, O>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

/// Nobody reads any more: outcomes are dropped from here on, and sends of the group fail as closed.
impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Results<J, O> {
    fn drop(&mut self) {
        self.mailbox.mailboxes.close(self.mailbox.reply_to);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Clone for ProducerGroup<J, O> {
    fn clone(&self) -> Self {
        Self {
            producer: self.producer.clone(),
            mailbox: Arc::clone(&self.mailbox),
            room: Arc::clone(&self.room),
            capacity: self.capacity,
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for ProducerGroup<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerGroup")
            .field("reply_to", &self.mailbox.reply_to)
            .finish_non_exhaustive()
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for Results<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}
