//! The block that is being filled.

use std::fmt;
use std::sync::Arc;

use super::block::{Place, SpareBlocks};
use super::spares::Spares;
use super::{Block, Job, JobId, Key, Load, Moment, Places, ReplyTo, Sealed};

/// A block that is being filled.
pub(crate) struct OpenBlock<J> {
    first: Option<JobId>,
    jobs: Vec<Place<J>>,
    /// The keys, if the jobs of this block have some.
    keys: Vec<Key>,
    reply_to: Option<ReplyTo>,
    spares: Arc<SpareBlocks<J>>,
}

impl<J> OpenBlock<J> {
    pub(crate) fn new() -> Self {
        Self {
            first: None,
            jobs: Vec::new(),
            keys: Vec::new(),
            reply_to: None,
            spares: Arc::new(Spares::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether a job can join: it agrees with the others in what a block agrees in.
    #[inline(always)]
    pub(crate) fn takes(&self, job: &Job<J>, reply_to: Option<ReplyTo>) -> bool {
        self.first.is_none() || (self.keys.is_empty() == job.key.is_none() && self.reply_to == reply_to)
    }

    /// Adds a plain job that the block [`takes`](Self::takes); `id` is the name that follows the last one. Whether the block is full.
    #[inline(always)]
    pub(crate) fn put(&mut self, id: JobId, job: Job<J>, reply_to: Option<ReplyTo>) -> bool {
        if self.first.is_none() {
            (self.first, self.reply_to) = (Some(id), reply_to);
        }
        debug_assert_eq!(
            self.first.map(|first| first.following(self.jobs.len() as u8)),
            Some(id)
        );
        self.jobs.push(Place::new(job.payload));
        if let Some(key) = job.key {
            self.keys.push(key);
        }
        self.jobs.len() >= Places::MOST
    }

    /// What was put in, if there is something: a block, or a job that travels alone. The next one is open then.
    pub(crate) fn close(&mut self) -> Option<Load<J>> {
        let first = self.first.take()?;
        if self.jobs.len() == 1 {
            let mut job = Job::new(self.jobs.pop()?.into_payload()?);
            job.key = self.keys.pop();
            return Some(Load::Job(Sealed::new(first, job, self.reply_to, Moment::START)));
        }
        Some(Load::Block(self.block(first)))
    }

    fn block(&mut self, first: JobId) -> Arc<Block<J>> {
        let terms = (first, self.reply_to);
        let (jobs, keys) = (&mut self.jobs, &mut self.keys);
        let spare = self.spares.take();
        if let Some(mut spare) = spare
            && let Some(block) = Arc::get_mut(&mut spare)
        {
            block.fill(terms, jobs, keys, Arc::clone(&self.spares));
            return spare;
        }
        // The next block will be about as large as this one; growing to that step by step would copy it several times.
        let (room, keys_room) = if jobs.len() > 4 {
            (jobs.len(), keys.len())
        } else {
            (0, 0)
        };
        let mut block = Block::empty();
        block.fill(terms, jobs, keys, Arc::clone(&self.spares));
        (*jobs, *keys) = (Vec::with_capacity(room), Vec::with_capacity(keys_room));
        Arc::new(block)
    }
}

impl<J> fmt::Debug for OpenBlock<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBlock").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_block_whose_jobs_have_ended_is_filled_again() {
        let mut open = OpenBlock::new();
        let mut last = None;
        for round in 0..3_u64 {
            let first = JobId::from_uuid(Uuid::nil());
            for number in 0..64 {
                let id = first.following(number);
                let payload = format!("{round} {number}");
                let is_full = open.put(id, Job::new(payload), None);
                assert_eq!(is_full, number == 63);
            }
            let Some(Load::Block(block)) = open.close() else {
                unreachable!()
            };
            let is_used_again = last.is_some_and(|last| last == Arc::as_ptr(&block));
            assert_eq!(is_used_again, round > 0);
            assert_eq!(*block.place(63).unwrap().read().unwrap(), format!("{round} 63"));
            last = Some(Arc::as_ptr(&block));
            block.end(block.places());
            block.recycle();
        }
    }
}
