//! Producers: how jobs get into a group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::errors::{BatchSendError, CallError, SendError, SendErrorKind, Undelivered};
use crate::actors::intake::{AdmissionError, Intake, Word};
use crate::actors::results::{Mailboxes, NoOutcome};
use crate::rules::store::{Refusal, Refused};
use crate::types::{Job, JobId, JobRef, ReplyTo};

/// Puts jobs on the group's queue. Clones are cheap, and a producer can be used from any thread.
///
/// | you want | use |
/// |---|---|
/// | fire and forget, at least once | [`send`](Self::send) |
/// | the same, from code that cannot wait | [`try_send`](Self::try_send) |
/// | many at once | [`send_batch`](Self::send_batch) |
/// | the result of one job | [`call`](Self::call) |
/// | the results of many jobs | a [`ProducerGroup`](super::ProducerGroup) |
pub struct Producer<J: Send + Sync + 'static, O: Send + 'static> {
    intake: Arc<Intake<J>>,
    mailboxes: Arc<Mailboxes<J, O>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Producer<J, O> {
    pub(crate) fn new(intake: Arc<Intake<J>>, mailboxes: Arc<Mailboxes<J, O>>) -> Self {
        Self { intake, mailboxes }
    }

    /// Sends one job. Returns when it is accepted; from then on it ends acked or as a dead letter.
    ///
    /// With a queue in memory that is when the queue has room for it, without waiting for an answer; with a durable queue
    /// it is when the queue has said so. While the queue is full, its overflow policy decides: wait here, or fail.
    ///
    /// **Order**: jobs that one task sends one after the other are queued in that order. **Cancel safe**: a send that is
    /// dropped before it returned has sent nothing, or the whole job.
    ///
    /// # Errors
    /// [`SendError`] hands the job back: the queue is full, the job is a duplicate, or the group takes no more jobs.
    pub async fn send(&self, job: impl Into<Job<J>>) -> Result<JobId, SendError<J>> {
        self.send_one(job.into(), None, |_| {}).await
    }

    /// Sends one job without waiting: it is accepted now, or it comes back. For actors, callbacks and other code that is not
    /// async. A queue that is full and would let [`send`](Self::send) wait refuses the job.
    ///
    /// # Errors
    /// [`SendError`] hands the job back: the queue is full, the group takes no more jobs, or the queue has to be asked first
    /// ([`MustWait`](SendErrorKind::MustWait)): a durable one, and every queue about a job with a deduplication key.
    pub fn try_send(&self, job: impl Into<Job<J>>) -> Result<JobId, SendError<J>> {
        let job = job.into();
        let refuse = |job, kind| Err(SendError { job: Some(job), kind });
        if self.intake.asks(&job) {
            return refuse(job, SendErrorKind::MustWait);
        }
        if let Err(reason) = self.intake.try_admit(1) {
            return refuse(job, reason.into());
        }
        match self.intake.put_one(job, None, |_| {}) {
            Ok(put) => Ok(put.names),
            Err(job) => refuse(job, SendErrorKind::Closed),
        }
    }

    /// Sends many jobs; faster than one by one. They are queued in their order, in lots for which there is room; jobs of
    /// others may come between two lots.
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
        self.send_expecting(jobs.into_iter().map(Into::into).collect(), None, |_| {})
            .await
    }

    /// Sends one job and waits for what its consumer returns.
    ///
    /// With every strategy but a strict affinity the job waits for no busy consumer while another one has room: with the default,
    /// round robin, it goes there after 2 to 4 ms; the strategies by load send it there at once. While all are busy it waits
    /// behind what came before it, unless it is urgent ([`Job::priority`]): then it begins next, when one of them ends the job
    /// in its hand.
    ///
    /// A consumer that calls its own group is busy meanwhile. The last consumer that is not waiting so is refused at once
    /// ([`WaitsForItself`](SendErrorKind::WaitsForItself)): with one consumer every such call.
    ///
    /// **Cancel**: a call that is dropped leaves the job in the group; only its result is dropped.
    ///
    /// # Errors
    /// [`CallError`]: the job was not accepted, was given up (with its history), or the group ended. Each hands the job
    /// back.
    pub async fn call(&self, job: impl Into<Job<J>>) -> Result<O, CallError<J>> {
        self.call_noting(job.into(), |_| {}).await
    }

    /// As [`call`](Self::call); `note` sees the name of the job before any outcome can come.
    pub(crate) async fn call_noting(&self, job: Job<J>, note: impl FnOnce(JobId)) -> Result<O, CallError<J>> {
        let _wait = match self.intake.begin_wait() {
            Ok(wait) => wait,
            Err(reason) => {
                return Err(CallError::Send(SendError {
                    job: Some(job),
                    kind: reason.into(),
                }));
            }
        };
        let mut expected = None;
        let reply_to = self.mailboxes.calls();
        let sent = self.send_one(job, Some(reply_to), |id| {
            note(id);
            let answer = self.mailboxes.expect_call(id);
            expected = Some(Expected {
                mailboxes: &self.mailboxes,
                id,
                answer,
            });
        });
        sent.await.map_err(CallError::Send)?;
        let Some(mut expected) = expected else {
            return Err(CallError::Stopped(None));
        };
        match (&mut expected.answer).await {
            Ok(Ok(outcome)) => outcome.into_inner().result.map_err(CallError::Failed),
            Ok(Err(NoOutcome::Returned(job))) => Err(CallError::Stopped(Some(Undelivered::new(job)))),
            Err(_) => Err(CallError::Stopped(None)),
        }
    }

    /// Whether the group still takes jobs: false from the beginning of a drain or a stop.
    pub fn is_open(&self) -> bool {
        self.intake.is_open()
    }

    /// Sends one job; `note` sees its name before any outcome can come.
    pub(crate) async fn send_one(
        &self,
        job: Job<J>,
        reply_to: Option<ReplyTo>,
        note: impl FnOnce(JobId),
    ) -> Result<JobId, SendError<J>> {
        if self.intake.try_admit(1).is_err()
            && let Err(reason) = self.intake.wait_for_room(1).await
        {
            return Err(SendError {
                job: Some(job),
                kind: reason.into(),
            });
        }
        let put = self
            .intake
            .put_one(job, reply_to, note)
            .map_err(|job| SendError {
                job: Some(job),
                kind: SendErrorKind::Closed,
            })?;
        // Most sends wait for neither, and going in and out of a future costs as much as the rest of one.
        if put.word.is_some() {
            let mut refused = Vec::new();
            hear(put.word, &mut refused).await;
            if let Some((_, error)) = refused.pop() {
                return Err(error);
            }
        }
        if put.is_crowded {
            // Many jobs wait to be pushed: lets others run once.
            tokio::task::yield_now().await;
        }
        Ok(put.names)
    }

    /// Sends jobs in lots for which there is room; `note` sees the names of each lot before any outcome can come.
    pub(super) async fn send_expecting(
        &self,
        jobs: Vec<Job<J>>,
        reply_to: Option<ReplyTo>,
        mut note: impl FnMut(&[JobId]),
    ) -> Result<Vec<JobId>, BatchSendError<J>> {
        let mut accepted = Vec::with_capacity(jobs.len());
        let mut refused = Vec::new();
        let mut rest = jobs;
        while !rest.is_empty() {
            let lot = match self.intake.admit(rest.len()).await {
                Ok(room) if room >= rest.len() => std::mem::take(&mut rest),
                Ok(room) => {
                    let later = rest.split_off(room);
                    std::mem::replace(&mut rest, later)
                }
                Err(reason) => {
                    refuse(rest, reason.into(), &mut refused);
                    break;
                }
            };
            match self.intake.put(lot, reply_to, &mut note) {
                Ok(put) => {
                    let (mut ids, mut turned_away) = (put.names, Vec::new());
                    hear(put.word, &mut turned_away).await;
                    for (id, error) in turned_away {
                        ids.retain(|accepted| *accepted != id);
                        refused.push(error);
                    }
                    accepted.append(&mut ids);
                    if put.is_crowded {
                        tokio::task::yield_now().await;
                    }
                }
                Err(jobs) => refuse(jobs, SendErrorKind::Closed, &mut refused),
            }
        }
        if refused.is_empty() {
            Ok(accepted)
        } else {
            Err(BatchSendError { accepted, refused })
        }
    }
}

/// Waits for the queue's own word, where there is one to wait for.
async fn hear<J>(word: Option<Word<J>>, turned_away: &mut Vec<(JobId, SendError<J>)>) {
    let Some(Word { answer, jobs }) = word else { return };
    match answer.await {
        Ok(refused) => {
            // Our own hold on the jobs goes first: a payload is taken out by its last holder.
            drop(jobs);
            for Refused { job, refusal } in refused {
                turned_away.push(unsent(job, refusal.into()).await);
            }
        }
        // The group has ended. Nobody knows whether the queue has the jobs, so nothing is said to be accepted.
        Err(_) => {
            for job in jobs {
                let id = job.id();
                turned_away.push(unsent(job, SendErrorKind::Unanswered { job: id }).await);
            }
        }
    }
}

async fn unsent<J>(job: JobRef<J>, kind: SendErrorKind) -> (JobId, SendError<J>) {
    let id = job.id();
    let job = alone(job).await;
    if job.is_none() {
        tracing::error!(%id, reason = %kind, "a queue keeps a job that it did not accept, so the job cannot be handed back");
    }
    (id, SendError { job, kind })
}

/// How long a queue may hold on to a job that it did not accept.
const LETS_GO_WITHIN: Duration = Duration::from_secs(5);

/// The job, once nobody else holds it. A queue that refuses a job lets it go, but another thread of it may do so a moment
/// after the answer. `None` for a queue that keeps it.
async fn alone<J>(mut job: JobRef<J>) -> Option<Job<J>> {
    let until = Instant::now() + LETS_GO_WITHIN;
    loop {
        job = match job.into_job() {
            Ok(job) => return Some(job),
            Err(job) => job,
        };
        if Instant::now() >= until {
            return None;
        }
        // Nobody tells when a holder lets go; this happens only to refused jobs of such a queue.
        pause(Duration::from_millis(1)).await;
    }
}

/// Waits a little, also where there is no runtime: there a thread keeps the time.
async fn pause(time: Duration) {
    if tokio::runtime::Handle::try_current().is_ok() {
        return tokio::time::sleep(time).await;
    }
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let sleeper = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(time);
        drop(tell);
    });
    // Without a thread the channel ends at once, and the caller tries again.
    let _ = (sleeper.is_ok(), told.await);
}

fn refuse<J>(jobs: Vec<Job<J>>, kind: SendErrorKind, refused: &mut Vec<SendError<J>>) {
    refused.extend(jobs.into_iter().map(|job| SendError { job: Some(job), kind }));
}

/// A call that waits. If it is dropped, nobody waits any more.
struct Expected<'a, J, O> {
    mailboxes: &'a Mailboxes<J, O>,
    id: JobId,
    answer: tokio::sync::oneshot::Receiver<crate::actors::results::Answer<J, O>>,
}

impl<J, O> Drop for Expected<'_, J, O> {
    fn drop(&mut self) {
        self.mailboxes.forget_call(self.id);
    }
}

impl From<AdmissionError> for SendErrorKind {
    fn from(reason: AdmissionError) -> Self {
        match reason {
            AdmissionError::Full => Self::Full,
            AdmissionError::WaitsForItself => Self::WaitsForItself,
            AdmissionError::Closed => Self::Closed,
        }
    }
}

impl From<Refusal> for SendErrorKind {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::Duplicate { of } => Self::Duplicate { of },
            Refusal::Closed => Self::Closed,
            Refusal::NotWritten(why) => Self::NotWritten(why),
            Refusal::Unconfirmed => Self::Unconfirmed,
            Refusal::Unroutable => Self::Unroutable,
            Refusal::TooLarge { bytes, most } => Self::TooLarge { bytes, most },
            Refusal::Unavailable { why } => Self::Unavailable { why },
            Refusal::NotEncoded => Self::NotEncoded,
            Refusal::NotReadable => Self::NotReadable,
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Clone for Producer<J, O> {
    fn clone(&self) -> Self {
        Self {
            intake: Arc::clone(&self.intake),
            mailboxes: Arc::clone(&self.mailboxes),
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for Producer<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Moment;

    fn sealed() -> JobRef<u32> {
        let id = JobId::from_uuid(uuid::Uuid::nil());
        JobRef::new(id, Job::new(7), None, Moment::START)
    }

    fn paused(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn a_refused_job_is_handed_back_even_if_its_queue_lets_go_of_it_a_moment_after_the_answer() {
        paused(async {
            let job = sealed();
            let (holder, late) = (JobRef::clone(&job), Duration::from_millis(20));
            let held = tokio::spawn(async move {
                tokio::time::sleep(late).await;
                drop(holder);
            });
            assert_eq!(alone(job).await, Some(Job::new(7)));
            held.await.unwrap();
        });
    }

    #[test]
    fn a_queue_that_keeps_a_refused_job_is_not_waited_for_for_ever() {
        paused(async {
            let job = sealed();
            let _holder = JobRef::clone(&job);
            assert!(alone(job).await.is_none());
        });
    }
}
