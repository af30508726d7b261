//! The block that is being filled.

use std::fmt;
use std::sync::Arc;

use super::block::SpareBlocks;
use super::job::Wishes;
use super::place::Place;
use super::spares::Spares;
use super::{Block, Job, JobId, Key, Moment, Places, ReplyTo};

/// A block that is being filled.
pub(crate) struct OpenBlock<J> {
    first: Option<JobId>,
    jobs: Vec<Place<J>>,
    /// The keys, if the jobs of this block have some.
    keys: Vec<Key>,
    reply_to: Option<ReplyTo>,
    wishes: Wishes,
    kind: Kind,
    spares: Arc<SpareBlocks<J>>,
}

impl<J> OpenBlock<J> {
    pub(crate) fn new() -> Self {
        Self {
            first: None,
            jobs: Vec::new(),
            keys: Vec::new(),
            reply_to: None,
            wishes: Wishes::default(),
            kind: Kind::EMPTY,
            spares: Arc::new(Spares::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// How many of these jobs, from the first one on, can join: they agree with the others in what a block agrees in. An empty
    /// block becomes theirs. `id` is the name of the first of them, `now` the moment from which delay and expiry count.
    #[inline(always)]
    pub(crate) fn takes(
        &mut self,
        id: JobId,
        jobs: &[Job<J>],
        reply_to: Option<ReplyTo>,
        now: Moment,
    ) -> usize {
        let Some(first) = jobs.first() else { return 0 };
        let kind = Kind::of(first);
        if self.kind == Kind::EMPTY {
            (self.first, self.reply_to, self.kind) = (Some(id), reply_to, kind);
            self.wishes = first.wishes(now);
        } else if (self.kind != kind || self.reply_to != reply_to || kind == Kind::TIMED)
            && !self.agrees(first, reply_to, now)
        {
            return 0;
        }
        debug_assert_eq!(
            self.first.map(|first| first.following(self.jobs.len() as u8)),
            Some(id)
        );
        if kind == Kind::TIMED {
            // The next one is asked for its own wishes.
            return 1;
        }
        let room = jobs.iter().take(Places::MOST - self.jobs.len());
        room.take_while(|job| Kind::of(job) == kind).count()
    }

    #[cold]
    fn agrees(&self, job: &Job<J>, reply_to: Option<ReplyTo>, now: Moment) -> bool {
        self.keys.is_empty() == job.key.is_none()
            && self.reply_to == reply_to
            && self.wishes.dedup.is_none()
            && self.wishes == job.wishes(now)
    }

    /// Adds a job that the block [`takes`](Self::takes). Whether it is full.
    #[inline(always)]
    pub(crate) fn put(&mut self, job: Job<J>) -> bool {
        let place = place_of(job, &mut self.keys);
        self.jobs.push(place);
        self.jobs.len() >= Places::MOST
    }

    /// Adds jobs that the block [`takes`](Self::takes). Whether it is full.
    #[inline(always)]
    pub(crate) fn put_all(&mut self, jobs: impl Iterator<Item = Job<J>>) -> bool {
        let keys = &mut self.keys;
        self.jobs.extend(jobs.map(|job| place_of(job, keys)));
        self.jobs.len() >= Places::MOST
    }

    /// The block of what was put in, if there is something. The next one is open then.
    pub(crate) fn close(&mut self) -> Option<Arc<Block<J>>> {
        let first = self.first.take()?;
        self.kind = Kind::EMPTY;
        let wishes = std::mem::take(&mut self.wishes);
        if self.jobs.len() == 1 {
            let job = self.jobs.pop()?;
            let block = Block::of_place((first, self.reply_to), job, self.keys.pop(), wishes);
            return Some(Arc::new(block));
        }
        Some(self.block(first, wishes))
    }

    fn block(&mut self, first: JobId, wishes: Wishes) -> Arc<Block<J>> {
        let terms = (first, self.reply_to, wishes);
        let (jobs, keys) = (&mut self.jobs, &mut self.keys);
        // The next block will be about as large as this one; growing to that step by step would copy it several times.
        let (room, keys_room) = if jobs.len() > 4 {
            (jobs.len(), keys.len())
        } else {
            (0, 0)
        };
        if let Some(mut spare) = self.spares.take()
            && let Some(block) = Arc::get_mut(&mut spare)
        {
            block.fill(terms, jobs, keys, Arc::clone(&self.spares));
            return spare;
        }
        let mut block = Block::empty();
        block.fill(terms, jobs, keys, Arc::clone(&self.spares));
        (*jobs, *keys) = (Vec::with_capacity(room), Vec::with_capacity(keys_room));
        Arc::new(block)
    }
}

#[inline(always)]
fn place_of<J>(job: Job<J>, keys: &mut Vec<Key>) -> Place<J> {
    if let Some(key) = job.key {
        keys.push(key);
    }
    Place::new(job.payload)
}

/// What is said of most jobs in one number, so that each is asked once whether it agrees with the last one: the priority, and
/// whether there is a key. A job with other wishes is asked for each of them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind(u16);

impl Kind {
    /// That of a block without jobs.
    const EMPTY: Self = Self(u16::MAX);

    /// That of a job with other wishes.
    const TIMED: Self = Self(u16::MAX - 1);

    #[inline(always)]
    fn of<J>(job: &Job<J>) -> Self {
        match job.is_plain() {
            true => Self(u16::from(job.priority.0) << 1 | u16::from(job.key.is_some())),
            false => Self::TIMED,
        }
    }
}

impl<J> fmt::Debug for OpenBlock<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBlock").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
                let job = Job::new(payload);
                let taken = open.takes(id, std::slice::from_ref(&job), None, Moment::START);
                let is_full = open.put(job);
                assert_eq!(taken, 1);
                assert_eq!(is_full, number == 63);
            }
            let block = open.close().unwrap();
            let is_used_again = last.is_some_and(|last| last == Arc::as_ptr(&block));
            assert_eq!(is_used_again, round > 0);
            assert_eq!(*block.place(63).unwrap().read().unwrap(), format!("{round} 63"));
            last = Some(Arc::as_ptr(&block));
            block.end(block.places());
            block.recycle();
        }
    }

    #[test]
    fn jobs_share_a_block_as_long_as_they_agree_in_what_is_wished_for_them() {
        let takes = |first: Job<u8>, next: &Job<u8>| {
            let id = JobId::from_uuid(Uuid::nil());
            let jobs = [first, next.clone()];
            // Both at once, and one after the other.
            let together = OpenBlock::new().takes(id, &jobs, None, Moment::START);
            let mut open = OpenBlock::new();
            assert_eq!(open.takes(id, &jobs[..1], None, Moment::START), 1);
            let [first, _] = jobs;
            open.put(first);
            let is_taken = open.takes(id.following(1), std::slice::from_ref(next), None, Moment::START) == 1;
            assert!(together <= 1 + usize::from(is_taken));
            is_taken
        };
        let (job, second) = (Job::new(0), Duration::from_secs(1));
        let wishes = [
            job.clone(),
            job.clone().priority(1),
            job.clone().delay(second),
            job.clone().delay(second * 2),
            job.clone().expires_after(second),
            job.expires_after(second).priority(1),
        ];
        for (index, first) in wishes.iter().enumerate() {
            for (other, next) in wishes.iter().enumerate() {
                let first = || first.clone();
                assert_eq!(takes(first(), next), index == other, "{index}, {other}");
                assert_eq!(takes(first().key(1), &next.clone().key(2)), index == other);
                assert!(!takes(first().key(1), next));
                assert!(!takes(first().dedup(1), &next.clone().dedup(1)));
                assert!(!takes(first(), &next.clone().dedup(1)) && !takes(first().dedup(1), next));
            }
        }
    }
}
