//! Dead letters: jobs that will not be tried again, listed, sent back or forgotten.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::errors::StoppedError;
use crate::actors::dead_letter_store::DeadLetterStore;
use crate::actors::intake::{AdmissionError, Intake};
use crate::protocol::{Command, QueueAddr, QueueCommand, QueueReply};
use crate::rules::store::DeadSelection;
use crate::types::{DeadLetter, JobId, UnreadableJob};
use tokio::sync::watch;

/// The dead letters of a group. Clones see the same ones.
pub struct DeadLetters<J: Send + Sync + 'static> {
    addresses: watch::Receiver<Option<QueueAddr<J>>>,
    /// Where they are if the queue keeps none itself.
    dead_letter_store: Option<Arc<DeadLetterStore<J>>>,
    intake: Arc<Intake<J>>,
}

impl<J: Send + Sync + 'static> DeadLetters<J> {
    pub(super) fn new(
        addresses: watch::Receiver<Option<QueueAddr<J>>>,
        dead_letter_store: Option<Arc<DeadLetterStore<J>>>,
        intake: Arc<Intake<J>>,
    ) -> Self {
        Self {
            addresses,
            dead_letter_store,
            intake,
        }
    }

    /// The dead letters, oldest first, at most `most`.
    ///
    /// # Errors
    /// [`StoppedError`] if the group has ended.
    pub async fn list(&self, most: usize) -> Result<Vec<DeadLetter<J>>, StoppedError> {
        if let Some(dead_letter_store) = &self.dead_letter_store {
            return Ok(dead_letter_store.list(most));
        }
        match self.ask(QueueCommand::DeadLetters { most }).await? {
            QueueReply::DeadLetters(letters) => Ok(letters),
            _ => Ok(Vec::new()),
        }
    }

    /// The jobs that came from a queue without dead letters and cannot be read, oldest first, at most `most`. They share the room
    /// of the other letters, can be purged, and cannot be sent back. A queue with dead letters keeps its own where it keeps those.
    pub fn unreadable(&self, most: usize) -> Vec<UnreadableJob> {
        let own = self.dead_letter_store.as_ref();
        own.map_or_else(Vec::new, |own| own.unreadable(most))
    }

    /// Sends these dead letters back to the queue, with a fresh count of attempts; their history stays with them. Whoever
    /// waited for the outcome of such a job was told that it was given up; the second outcome is not sent to anybody. Returns
    /// the jobs that went back: fewer than asked for if the queue is full or some of them are not dead.
    ///
    /// With a queue that keeps no dead letters itself, this waits for room as a send does. **Cancellation**: each letter is
    /// back in the queue or still here.
    ///
    /// # Errors
    /// [`StoppedError`] if the group takes no more jobs: from the beginning of a drain or a stop. The letters stay.
    pub async fn requeue(&self, jobs: impl IntoIterator<Item = JobId>) -> Result<Vec<JobId>, StoppedError> {
        self.send_back(DeadSelection::Jobs(jobs.into_iter().collect()))
            .await
    }

    /// Sends all dead letters back, as [`requeue`](Self::requeue).
    ///
    /// # Errors
    /// As [`requeue`](Self::requeue).
    pub async fn requeue_all(&self) -> Result<Vec<JobId>, StoppedError> {
        self.send_back(DeadSelection::All).await
    }

    /// Forgets these dead letters. Returns how many.
    ///
    /// # Errors
    /// [`StoppedError`] if the group has ended.
    pub async fn purge(&self, jobs: impl IntoIterator<Item = JobId>) -> Result<usize, StoppedError> {
        self.forget(DeadSelection::Jobs(jobs.into_iter().collect())).await
    }

    /// Forgets all dead letters. Returns how many.
    ///
    /// # Errors
    /// [`StoppedError`] if the group has ended.
    pub async fn purge_all(&self) -> Result<usize, StoppedError> {
        self.forget(DeadSelection::All).await
    }

    async fn send_back(&self, which: DeadSelection) -> Result<Vec<JobId>, StoppedError> {
        // To the group such a job is one that comes in, through whatever door.
        if !self.intake.is_open() {
            return Err(StoppedError);
        }
        if let Some(dead_letter_store) = &self.dead_letter_store {
            return self.send_back_from(dead_letter_store, &which).await;
        }
        match self.ask(QueueCommand::Requeue(which)).await? {
            QueueReply::Requeued(jobs) => Ok(jobs),
            _ => Ok(Vec::new()),
        }
    }

    /// First the room is taken, then the letter leaves the dead letter store: at no moment it is nowhere.
    async fn send_back_from(
        &self,
        dead_letter_store: &DeadLetterStore<J>,
        which: &DeadSelection,
    ) -> Result<Vec<JobId>, StoppedError> {
        let meant = dead_letter_store
            .list(usize::MAX)
            .into_iter()
            .map(|letter| letter.id())
            .filter(|job| match which {
                DeadSelection::All => true,
                DeadSelection::Jobs(jobs) => jobs.contains(job),
            });
        let mut sent = Vec::new();
        for job in meant {
            match self.intake.admit(1).await {
                Ok(_) => {}
                Err(AdmissionError::Full | AdmissionError::WaitsForItself) => break,
                Err(AdmissionError::Closed) => return Err(StoppedError),
            }
            let letter = dead_letter_store.take(&DeadSelection::Jobs(vec![job])).pop();
            // Somebody else may have taken the letter meanwhile; then the room goes back.
            match letter {
                Some(letter) => {
                    if !self.intake.put_back(letter.job) {
                        return Err(StoppedError);
                    }
                    sent.push(job);
                }
                None => self.intake.give_back(1),
            }
        }
        Ok(sent)
    }

    async fn forget(&self, which: DeadSelection) -> Result<usize, StoppedError> {
        if let Some(dead_letter_store) = &self.dead_letter_store {
            return Ok(dead_letter_store.forget(&which));
        }
        match self.ask(QueueCommand::Purge(which)).await? {
            QueueReply::Purged(count) => Ok(count),
            _ => Ok(0),
        }
    }

    async fn ask(&self, command: QueueCommand) -> Result<QueueReply<J>, StoppedError> {
        ask_queue(&self.addresses, command).await
    }
}

/// Asks the present life of the queue, or the next one if it dies before it answers. A command that was carried out
/// without an answer is carried out again; each of them may be.
pub(super) async fn ask_queue<J: Send + Sync + 'static>(
    addresses: &watch::Receiver<Option<QueueAddr<J>>>,
    command: QueueCommand,
) -> Result<QueueReply<J>, StoppedError> {
    let mut addresses = addresses.clone();
    loop {
        let address = addresses.borrow_and_update().clone();
        let Some(address) = address else {
            addresses.changed().await.map_err(|_| StoppedError)?;
            continue;
        };
        let recipient = address.command.clone();
        match or_changed(recipient.send(Command::new(command.clone())), &mut addresses).await {
            Some(Ok(reply)) => return Ok(reply),
            // It died, and the news of its successor are still to come.
            Some(Err(_)) => addresses.changed().await.map_err(|_| StoppedError)?,
            // The successor is here, or the group has ended.
            None => addresses.has_changed().map(|_| ()).map_err(|_| StoppedError)?,
        }
    }
}

/// Waits for an answer; `None` if `news` come before it. An actor that dies on another thread in the very moment in which a
/// message is put into its mailbox may leave the message unread and unanswered for ever.
pub(super) async fn or_changed<F: Future, T>(answer: F, news: &mut watch::Receiver<T>) -> Option<F::Output> {
    let mut answer = pin!(answer);
    let mut changed = pin!(news.changed());
    poll_fn(|context| {
        // First the answer: news that come together with it do not spoil it.
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        changed.as_mut().poll(context).map(|_| None)
    })
    .await
}

impl<J: Send + Sync + 'static> Clone for DeadLetters<J> {
    fn clone(&self) -> Self {
        Self {
            addresses: self.addresses.clone(),
            dead_letter_store: self.dead_letter_store.clone(),
            intake: Arc::clone(&self.intake),
        }
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for DeadLetters<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}
