//! Chunks that come from the disk into memory.

use std::collections::VecDeque;

use super::State;
use crate::durable::encoding::{JobEncoding, Unreadable};
use crate::durable::engine::Change;
use crate::durable::format::{Mark, read_chunk};
use crate::types::{JobRef, Moment, UnreadableJob};

/// Chunks that are wanted in memory, with what is known of them.
pub(in crate::durable) type Needed = Vec<(u64, Mark)>;

/// A chunk as it was read.
pub(in crate::durable) struct Loaded<J> {
    pub(super) first: u64,
    pub(super) jobs: VecDeque<(u32, JobRef<J>)>,
    pub(super) unreadable: Vec<Lost>,
}

/// A job of a chunk that cannot be read.
pub(super) struct Lost {
    pub(super) place: u32,
    pub(super) job: UnreadableJob,
}

impl<J: Send + Sync + 'static> Loaded<J> {
    /// Decodes what is left of a chunk, from the place `from` on. Done outside of the lock.
    pub(in crate::durable) fn read(
        paper: &JobEncoding<J>,
        first: u64,
        mark: &Mark,
        from: u32,
        record: Option<&[u8]>,
        own: bool,
    ) -> Self {
        let mut loaded = Self {
            first,
            jobs: VecDeque::new(),
            unreadable: Vec::new(),
        };
        let found = match record.map(read_chunk) {
            Some(Ok(found)) => found,
            Some(Err(damage)) => return loaded.all_lost(mark, from, &damage.to_string()),
            None => return loaded.all_lost(mark, from, "its record is missing"),
        };
        for place in (from..mark.jobs).filter(|place| !mark.is_gone(*place)) {
            let body = found.get(place as usize).copied();
            let (bytes, read) = match body {
                Some(Ok(bytes)) => (bytes, paper.read(bytes, own)),
                Some(Err(damage)) => (Default::default(), Err(Unreadable::of(damage.to_string()))),
                None => (
                    Default::default(),
                    Err(Unreadable::of("its record is missing".into())),
                ),
            };
            match read {
                Ok(job) => loaded.jobs.push_back((place, job)),
                Err(lost) => loaded.unreadable.push(Lost {
                    place,
                    job: lost.into_job(first + u64::from(place), bytes),
                }),
            }
        }
        loaded
    }

    fn all_lost(mut self, mark: &Mark, from: u32, why: &str) -> Self {
        let places = (from..mark.jobs).filter(|place| !mark.is_gone(*place));
        for place in places {
            let lost = Unreadable::of(why.into());
            self.unreadable.push(Lost {
                place,
                job: lost.into_job(self.first + u64::from(place), &[]),
            });
        }
        self
    }
}

impl<J: Send + Sync + 'static> State<J> {
    /// Jobs with a number from here on were written by this process.
    pub(in crate::durable) fn first_own(&self) -> u64 {
        self.first_own
    }

    /// A chunk has come into memory. What cannot be read of it becomes dead letters.
    pub(in crate::durable) fn loaded(&mut self, now: Moment, mut loaded: Loaded<J>, out: &mut Vec<Change>) {
        if self.ready.loaded(&mut loaded) {
            self.bury_lost(now, loaded.first, loaded.unreadable, out);
        }
    }

    /// Makes dead letters of the jobs of a chunk that cannot be read.
    pub(super) fn bury_lost(&mut self, now: Moment, first: u64, lost: Vec<Lost>, out: &mut Vec<Change>) {
        for lost in lost {
            self.note_gone(first, first + u64::from(lost.place));
            self.bury_unreadable(now, lost.job, out);
        }
    }

    /// The read failed: it may be asked for again.
    pub(in crate::durable) fn not_loaded(&mut self, first: u64) {
        self.ready.not_loaded(first);
    }
}
