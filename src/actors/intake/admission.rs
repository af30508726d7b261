//! How a producer gets room for its jobs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::{Intake, to_u32};
use crate::protocol::{OwnWait, OwnWaits, wait_for_group};
use crate::types::{Job, Overflow};

impl<J: Send + Sync + 'static> Intake<J> {
    /// Which of the group's own consumers wait for it.
    pub(crate) fn own_waits(&self) -> &Arc<OwnWaits> {
        &self.own_waits
    }

    /// A wait for the group begins, until the answer is dropped; an error if no consumer would be left to end it.
    pub(crate) fn begin_wait(&self) -> Result<Option<OwnWait>, AdmissionError> {
        wait_for_group(&self.own_waits).map_err(|_| AdmissionError::WaitsForItself)
    }

    /// Room for up to `wanted` jobs, at least one: waits for it, or fails, as the policy says. Whoever gets room must
    /// [`put`](Self::put) exactly as many jobs. Cancel safe. Fair: who came first gets room first.
    pub(crate) async fn admit(&self, wanted: usize) -> Result<usize, AdmissionError> {
        let wanted = wanted.min(self.capacity).max(1);
        match self.try_admit(wanted) {
            Ok(()) => Ok(wanted),
            Err(_) => self.wait_for_room(wanted).await,
        }
    }

    /// As [`admit`](Self::admit), where there was no room at once: most sends find some, and going in and out of a future costs
    /// more than that.
    #[cold]
    pub(crate) async fn wait_for_room(&self, wanted: usize) -> Result<usize, AdmissionError> {
        if self.open.is_closed() {
            return Err(AdmissionError::Closed);
        }
        let wanted = wanted.min(self.capacity).max(1);
        if self.overflow == Overflow::Reject {
            return match self.more_room(wanted) {
                0 => Err(AdmissionError::Full),
                some => Ok(some),
            };
        }
        let _wait = self.begin_wait()?;
        // One place is enough to go on with: whoever waited for many could wait for a job that is delayed by an hour.
        let mut room = pin!(self.room.acquire());
        let mut closed = pin!(self.open.acquire());
        poll_fn(|context| {
            if closed.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(AdmissionError::Closed));
            }
            room.as_mut().poll(context).map(|permits| match permits {
                Ok(permits) => {
                    permits.forget();
                    Ok(1 + self.more_room(wanted - 1))
                }
                Err(_) => Err(AdmissionError::Closed),
            })
        })
        .await
    }

    /// Room for so many jobs, now or not at all, as for [`admit`](Self::admit).
    #[inline]
    pub(crate) fn try_admit(&self, jobs: usize) -> Result<(), AdmissionError> {
        if self.open.is_closed() {
            return Err(AdmissionError::Closed);
        }
        let Ok(permits) = self.room.try_acquire_many(to_u32(jobs)) else {
            return Err(AdmissionError::Full);
        };
        permits.forget();
        if self.open.is_closed() {
            self.give_back(jobs);
            return Err(AdmissionError::Closed);
        }
        Ok(())
    }

    /// Whether the queue has to be asked before this job counts as accepted.
    pub(crate) fn asks(&self, job: &Job<J>) -> bool {
        !self.volatile || job.has_dedup()
    }

    /// Takes as much of the room that nobody waits for as is there, up to `wanted`.
    fn more_room(&self, wanted: usize) -> usize {
        let some = self.room.available_permits().min(wanted);
        match self.room.try_acquire_many(to_u32(some)) {
            Ok(permits) => {
                permits.forget();
                some
            }
            Err(_) => 0,
        }
    }
}

/// Why jobs were not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdmissionError {
    /// There is no room and the policy is to reject.
    Full,
    /// The group takes no more jobs.
    Closed,
    /// There is no room, and all consumers of the group would wait for some.
    WaitsForItself,
}
