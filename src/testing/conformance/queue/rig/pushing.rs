//! How the rig pushes jobs, as an intake does.

use actix::dev::RecipientRequest;

use super::{Rig, WayBack};
use crate::actors::queue::QueueSource;
use crate::protocol::Push;
use crate::rules::store::Refused;
use crate::testing::conformance::runner::{Held, Stop, ensure};
use crate::types::{Job, JobRef};

impl<S: QueueSource<u64>> Rig<S> {
    pub(in crate::testing::conformance::queue) fn seal(
        &mut self,
        number: u64,
        wishes: impl FnOnce(Job<u64>) -> Job<u64>,
    ) -> JobRef<u64> {
        let now = self.clock.now();
        let name = self.names.next(now.as_millis());
        JobRef::new(name, wishes(Job::new(number)), None, now)
    }

    /// Takes permits as a sender does.
    async fn take_room(&mut self, jobs: usize) -> Held {
        let Some(room) = self.source.room() else {
            return Ok(());
        };
        ensure(jobs <= room.capacity, || {
            format!(
                "the suite needs room for {jobs} jobs, and the queue has room for {}",
                room.capacity
            )
        })?;
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        let permits = self.pace.wait("room for jobs", room.semaphore.acquire_many(jobs));
        match permits.await? {
            Ok(permits) => permits.forget(),
            Err(_) => return Err(Stop::Broken("the room of the queue was closed".into())),
        }
        Ok(())
    }

    /// How many jobs fit in, if the queue says so.
    pub(in crate::testing::conformance::queue) fn room(&self) -> Option<usize> {
        self.source.room().map(|room| room.semaphore.available_permits())
    }

    pub(in crate::testing::conformance::queue) async fn push_sealed(
        &mut self,
        jobs: Vec<JobRef<u64>>,
    ) -> Held<Vec<Refused<u64>>> {
        self.take_room(jobs.len()).await?;
        let (push, _back) = Push::new(jobs);
        let to = self.life.door.push.clone();
        Ok(self.ask(&to, push, "Push").await?.refused)
    }

    /// Pushes jobs with these numbers; all must be taken.
    pub(in crate::testing::conformance::queue) async fn push(
        &mut self,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Held {
        let jobs: Vec<_> = numbers
            .into_iter()
            .map(|number| self.seal(number, |job| job))
            .collect();
        self.push_all(jobs).await
    }

    pub(in crate::testing::conformance::queue) async fn push_all(&mut self, jobs: Vec<JobRef<u64>>) -> Held {
        let refused = self.push_sealed(jobs).await?;
        match refused.first() {
            None => Ok(()),
            Some(first) => Err(Stop::Broken(format!(
                "it refused job {}: {}",
                first.job.payload(),
                first.refusal
            ))),
        }
    }

    /// Sends a push without waiting for the answer. Gives what comes back if nobody takes the jobs, and the answer.
    pub(in crate::testing::conformance::queue) async fn push_and_go(
        &mut self,
        jobs: Vec<JobRef<u64>>,
    ) -> Held<(WayBack, RecipientRequest<Push<u64>>)> {
        self.take_room(jobs.len()).await?;
        let (push, back) = Push::new(jobs);
        Ok((back, self.life.door.push.send(push)))
    }
}
