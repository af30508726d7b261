//! JobEncoding: jobs to bytes and back, with the codec of the queue and the clock of its process.

use std::time::Duration;

use super::format::{Dead, JobParts, Single};
use crate::actors::Clock;
use crate::codec::{CodecError, GuardedCodec};
use crate::rules::store::Refusal;
use crate::types::{AttemptRecord, DeadReason, Job, JobId, JobRef, Moment, UnreadableJob, text_of};

/// Writes and reads jobs. On disk a time is milliseconds of Unix time. A delay that was over before
/// the process began ends with its first moment.
pub(super) struct JobEncoding<J> {
    pub(super) codec: GuardedCodec<J>,
    pub(super) clock: Clock,
}

impl<J: Send + Sync + 'static> JobEncoding<J> {
    /// Appends a job.
    pub(super) fn write(&self, job: &JobRef<J>, into: &mut Vec<u8>) -> Result<(), CodecError> {
        let parts = JobParts {
            id: job.id(),
            priority: job.priority().0,
            key: job.key().cloned(),
            reply_to: job.reply_to(),
            // Rounded up: never too early.
            not_before: job.not_before().map(|at| at.as_millis().saturating_add(1)),
            expires_at: job.expires_at().map(Moment::as_millis),
            dedup: job.dedup().cloned(),
            payload: &[],
        };
        parts.write_head(into);
        let from = into.len();
        self.codec.encode(&job.payload(), into)?;
        if into.len() - from > MOST_PAYLOAD {
            return Err(CodecError::new("the payload has more than 1 GiB"));
        }
        Ok(())
    }

    /// Appends a job that was just sent, if a later process will be able to read it; else appends nothing.
    pub(super) fn write_new(&self, job: &JobRef<J>, into: &mut Vec<u8>) -> Result<(), Refusal> {
        let begin = into.len();
        let written = self
            .write(job, into)
            .map_err(|error| (Refusal::NotEncoded, error));
        let checked = written.and_then(|()| {
            let bytes = into.get(begin..).unwrap_or_default();
            self.check(bytes).map_err(|error| (Refusal::NotReadable, error))
        });
        checked.map_err(|(refusal, error)| {
            let error = text_of(error);
            tracing::warn!(job = %job.id(), %error, "a job is refused: {refusal}");
            into.truncate(begin);
            refusal
        })
    }

    fn check(&self, bytes: &[u8]) -> Result<(), CodecError> {
        let parts = JobParts::read(bytes).map_err(CodecError::new)?;
        self.codec.check(parts.payload)
    }

    /// Reads a job. `own`: it was written by this process, so somebody may wait for its outcome.
    pub(super) fn read(&self, bytes: &[u8], own: bool) -> Result<JobRef<J>, Unreadable> {
        let parts = JobParts::read(bytes).map_err(|damage| Unreadable {
            id: None,
            why: damage.to_string(),
        })?;
        let payload = self.codec.decode(parts.payload).map_err(|error| Unreadable {
            id: Some(parts.id),
            why: text_of(error).as_ref().into(),
        })?;
        let beginning = self.clock.beginning();
        let since_start = |unix: Option<u64>| unix.map(|unix| Moment::from_millis(unix).since(beginning));
        let mut job = Job::new(payload).priority(parts.priority);
        job.key = parts.key;
        if let Some(dedup) = parts.dedup {
            job = job.dedup(dedup);
        }
        if let Some(delay) = since_start(parts.not_before).filter(|delay| *delay > Duration::ZERO) {
            job = job.delay(delay);
        }
        if let Some(age) = since_start(parts.expires_at) {
            job = job.expires_after(age);
        }
        let reply_to = parts.reply_to.filter(|_| own);
        Ok(JobRef::new(parts.id, job, reply_to, beginning))
    }

    pub(super) fn single(
        &self,
        job: &JobRef<J>,
        attempts: u32,
        tried: bool,
        due: Option<Moment>,
        history: &[AttemptRecord],
    ) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        self.write(job, &mut bytes)?;
        let single = Single {
            attempts,
            tried,
            due: due.map_or(0, |due| due.as_millis().saturating_add(1)),
            history: history.to_vec(),
            job: &bytes,
        };
        Ok(single.write())
    }

    pub(super) fn dead(
        &self,
        job: &JobRef<J>,
        at: Moment,
        reason: &DeadReason,
        history: &[AttemptRecord],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A payload that was written once can be written again; if a codec will not, the letter keeps the head.
        let _ = self.write(job, &mut bytes);
        self.dead_bytes(&bytes, at, reason, history)
    }

    pub(super) fn dead_bytes(
        &self,
        bytes: &[u8],
        at: Moment,
        reason: &DeadReason,
        history: &[AttemptRecord],
    ) -> Vec<u8> {
        let dead = Dead {
            at: at.as_millis(),
            reason: reason.clone(),
            history: history.to_vec(),
            job: bytes,
        };
        dead.write()
    }
}

/// The longest payload in bytes.
const MOST_PAYLOAD: usize = 1 << 30;

/// A job that cannot be read.
pub(super) struct Unreadable {
    /// Its name, if at least that could be read.
    pub(super) id: Option<JobId>,
    pub(super) why: String,
}

impl Unreadable {
    pub(super) fn of(why: String) -> Self {
        Self { id: None, why }
    }

    /// The job of these bytes. Without a name it gets one made of the number of its record.
    pub(super) fn into_job(self, number: u64, bytes: &[u8]) -> UnreadableJob {
        let made = || JobId::from_uuid(uuid::Uuid::from_u128(u128::from(number)));
        UnreadableJob::new(self.id.unwrap_or_else(made), self.why, bytes)
    }
}
