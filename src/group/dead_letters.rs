//! Dead letters: jobs that will not be tried again, listed, sent back or forgotten.

use std::fmt;

use super::errors::GroupGone;
use crate::protocol::{Command, QueueCommand, QueueDoor, QueueReply};
use crate::rules::store::DeadSelection;
use crate::words::{DeadLetter, JobId, QueueCounts};
use tokio::sync::watch;

/// The dead letters of a group. Clones see the same ones.
pub struct DeadLetters<J: Send + Sync + 'static> {
    doors: watch::Receiver<Option<QueueDoor<J>>>,
}

impl<J: Send + Sync + 'static> DeadLetters<J> {
    pub(super) fn new(doors: watch::Receiver<Option<QueueDoor<J>>>) -> Self {
        Self { doors }
    }

    /// The dead letters, oldest first, at most `most`.
    ///
    /// # Errors
    /// [`GroupGone`] if the group has ended.
    pub async fn list(&self, most: usize) -> Result<Vec<DeadLetter<J>>, GroupGone> {
        match self.ask(QueueCommand::DeadLetters { most }).await? {
            QueueReply::DeadLetters(letters) => Ok(letters),
            _ => Ok(Vec::new()),
        }
    }

    /// Sends these dead letters back to the queue, with a fresh count of attempts; their history stays with them. Returns
    /// the jobs that went back: fewer than asked for if the queue is full or some of them are not dead.
    ///
    /// # Errors
    /// [`GroupGone`] if the group has ended.
    pub async fn requeue(&self, jobs: impl IntoIterator<Item = JobId>) -> Result<Vec<JobId>, GroupGone> {
        self.send_back(DeadSelection::Jobs(jobs.into_iter().collect()))
            .await
    }

    /// Sends all dead letters back, as [`requeue`](Self::requeue).
    ///
    /// # Errors
    /// [`GroupGone`] if the group has ended.
    pub async fn requeue_all(&self) -> Result<Vec<JobId>, GroupGone> {
        self.send_back(DeadSelection::All).await
    }

    /// Forgets these dead letters. Returns how many.
    ///
    /// # Errors
    /// [`GroupGone`] if the group has ended.
    pub async fn purge(&self, jobs: impl IntoIterator<Item = JobId>) -> Result<usize, GroupGone> {
        self.forget(DeadSelection::Jobs(jobs.into_iter().collect())).await
    }

    /// Forgets all dead letters. Returns how many.
    ///
    /// # Errors
    /// [`GroupGone`] if the group has ended.
    pub async fn purge_all(&self) -> Result<usize, GroupGone> {
        self.forget(DeadSelection::All).await
    }

    async fn send_back(&self, which: DeadSelection) -> Result<Vec<JobId>, GroupGone> {
        match self.ask(QueueCommand::Requeue(which)).await? {
            QueueReply::Requeued(jobs) => Ok(jobs),
            _ => Ok(Vec::new()),
        }
    }

    async fn forget(&self, which: DeadSelection) -> Result<usize, GroupGone> {
        match self.ask(QueueCommand::Purge(which)).await? {
            QueueReply::Purged(count) => Ok(count),
            _ => Ok(0),
        }
    }

    async fn ask(&self, command: QueueCommand) -> Result<QueueReply<J>, GroupGone> {
        ask_queue(&self.doors, command).await
    }
}

/// What the queue holds.
pub(super) async fn count<J: Send + Sync + 'static>(
    doors: &watch::Receiver<Option<QueueDoor<J>>>,
) -> Result<QueueCounts, GroupGone> {
    match ask_queue(doors, QueueCommand::Counts).await? {
        QueueReply::Counts(counts) => Ok(counts),
        _ => Ok(QueueCounts::default()),
    }
}

/// Asks the present life of the queue, or the next one if it dies before it answers. A command that was carried out
/// without an answer is carried out again; each of them may be.
async fn ask_queue<J: Send + Sync + 'static>(
    doors: &watch::Receiver<Option<QueueDoor<J>>>,
    command: QueueCommand,
) -> Result<QueueReply<J>, GroupGone> {
    let mut doors = doors.clone();
    loop {
        let door = doors.borrow_and_update().clone();
        if let Some(door) = door
            && let Ok(reply) = door.command.send(Command::new(command.clone())).await
        {
            return Ok(reply);
        }
        doors.changed().await.map_err(|_| GroupGone)?;
    }
}

impl<J: Send + Sync + 'static> Clone for DeadLetters<J> {
    fn clone(&self) -> Self {
        Self {
            doors: self.doors.clone(),
        }
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for DeadLetters<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}
