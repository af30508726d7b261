//! What was sent and has not been pushed.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Word;
use crate::rules::job_ids::JobIds;
use crate::rules::store::Refused;
use crate::types::{Job, JobId, JobRef, Moment, OpenBlock, ReplyTo, Run};

/// Jobs in one push at most.
const PUSHED_AT_ONCE: usize = 4_096;

pub(super) struct Buffer<J> {
    pub(super) ids: JobIds,
    /// What was sent and has not been pushed, oldest first.
    pub(super) runs: VecDeque<Run<J>>,
    /// Jobs that were sent after all of `runs`. They become a block when it is full, when a job comes that does not agree with
    /// them, or when the pump comes.
    pub(super) open: OpenBlock<J>,
    /// Jobs in `runs` and `open`.
    pub(super) len: usize,
    /// The time that the names of jobs carry: read when the buffer was last empty, since a name is a little early or not, the
    /// clock costs as much as the rest of a send, and names that follow each other can share a block.
    pub(super) unix_ms: u64,
    pub(super) waiters: VecDeque<Waiter<J>>,
    pub(super) closed: bool,
    /// How many pushes the pump has in its hands, or on their way.
    pub(super) pushing: usize,
    /// How long the next push waits, since the queue had no room at the last one; zero if it had.
    pub(super) pause: Duration,
    /// Jobs that the queue refused for good while it closed, or that came back from it when nobody was left to push them
    /// again; handed back with the unfinished ones.
    pub(super) stranded: Vec<JobRef<J>>,
    /// Who waits for the queue's word on jobs that were on their way when the pump ended: the jobs may still come back.
    pub(super) left_waiting: Vec<Asked<J>>,
}

/// A producer that waits for the queue's own word on some of the jobs.
pub(super) struct Waiter<J> {
    pub(super) jobs: std::ops::Range<usize>,
    pub(super) answer: oneshot::Sender<Vec<Refused<J>>>,
}

/// The jobs of one push, by name, and who waits for the queue's word on some of them.
pub(super) struct Asked<J> {
    /// The first job.
    pub(super) first: Option<JobId>,
    pub(super) ids: Vec<JobId>,
    pub(super) waiters: Vec<Waiter<J>>,
}

impl<J> Buffer<J> {
    /// Puts jobs back that a queue had no room for after all, in front of everything that was sent after them.
    pub(super) fn put_in_front(&mut self, jobs: Vec<JobRef<J>>) {
        self.len += jobs.len();
        for waiter in &mut self.waiters {
            waiter.jobs = waiter.jobs.start + jobs.len()..waiter.jobs.end + jobs.len();
        }
        for job in jobs.into_iter().rev() {
            self.runs.push_front(job.into());
        }
    }

    /// Puts a job at the end that was in a buffer before.
    pub(super) fn put_again(&mut self, job: JobRef<J>) {
        self.close_block();
        self.len += 1;
        self.runs.push_back(job.into());
    }

    /// Puts a job at the end: it joins the block that is open, if it agrees with its neighbours. Its name follows that of the job
    /// before it: every name is given under the lock of the buffer, a job that was named before closes the block, and the time in
    /// names changes only while the buffer is empty.
    #[inline(always)]
    pub(super) fn put(&mut self, id: JobId, job: Job<J>, reply_to: Option<ReplyTo>, now: Moment) {
        self.taken(id, std::slice::from_ref(&job), reply_to, now);
        let is_full = self.open.put(job);
        self.note_put(1, is_full);
    }

    /// As [`put`](Self::put), for jobs whose names are these.
    #[inline(always)]
    pub(super) fn put_all(
        &mut self,
        ids: &[JobId],
        jobs: Vec<Job<J>>,
        reply_to: Option<ReplyTo>,
        now: Moment,
    ) {
        let (mut ids, mut jobs) = (ids.iter(), jobs.into_iter());
        while let Some(id) = ids.next() {
            let count = self.taken(*id, jobs.as_slice(), reply_to, now);
            let is_full = self.open.put_all(jobs.by_ref().take(count));
            self.note_put(count, is_full);
            if count > 1 {
                ids.nth(count - 2);
            }
        }
    }

    /// How many of these jobs join the open block, or one that is opened for them: one at least.
    #[inline(always)]
    fn taken(&mut self, id: JobId, jobs: &[Job<J>], reply_to: Option<ReplyTo>, now: Moment) -> usize {
        match self.open.takes(id, jobs, reply_to, now) {
            0 => {
                self.close_block();
                self.open.takes(id, jobs, reply_to, now)
            }
            count => count,
        }
    }

    #[inline(always)]
    fn note_put(&mut self, count: usize, is_full: bool) {
        self.len += count;
        if is_full {
            self.close_block();
        }
    }

    /// Whatever comes next does not join the open block.
    pub(super) fn close_block(&mut self) {
        self.runs.extend(self.open.close().map(Run::from));
    }

    /// Notes that a producer waits for the queue's word on the jobs from `from` on. Each is a run of its own.
    pub(super) fn ask(&mut self, from: usize) -> Word<J> {
        self.close_block();
        let (tell, answer) = oneshot::channel();
        let asked = from..self.len;
        let runs = self.runs.iter().rev().take(asked.len()).rev();
        let jobs = runs.flat_map(Run::handles).collect();
        self.waiters.push_back(Waiter {
            jobs: asked,
            answer: tell,
        });
        Word { answer, jobs }
    }

    /// Takes the oldest runs, of at least `jobs` jobs.
    pub(super) fn take(&mut self, jobs: usize) -> Vec<Run<J>> {
        self.close_block();
        let (mut taken, mut runs) = (0, Vec::with_capacity(self.runs.len().min(jobs)));
        while taken < jobs
            && let Some(run) = self.runs.pop_front()
        {
            taken += run.len();
            runs.push(run);
        }
        self.len -= taken;
        for waiter in &mut self.waiters {
            waiter.jobs = waiter.jobs.start.saturating_sub(taken)..waiter.jobs.end.saturating_sub(taken);
        }
        runs
    }

    /// How many jobs the next push takes. A cut through the jobs of one waiter would need two answers for it, so the cut is
    /// made after it; what is overrun is bounded, because room is granted in lots.
    pub(super) fn cut(&self) -> usize {
        let most = self.len.min(PUSHED_AT_ONCE);
        let cut_through = self
            .waiters
            .iter()
            .map(|waiter| &waiter.jobs)
            .find(|jobs| jobs.end > most);
        cut_through
            .filter(|jobs| jobs.start < most)
            .map_or(most, |jobs| jobs.end)
    }
}
