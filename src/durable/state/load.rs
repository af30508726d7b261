//! Chunks that come from the disk into memory.

use std::collections::VecDeque;

use super::{RESIDENT, State};
use crate::durable::engine::Change;
use crate::durable::format::{Mark, read_chunk};
use crate::durable::paper::{Paper, Unreadable};
use crate::words::{JobId, Moment, Priority, Sealed};

/// Chunks that are wanted in memory, with what is known of them.
pub(in crate::durable) type Needed = Vec<(u64, Mark)>;

/// A chunk as it was read.
pub(in crate::durable) struct Loaded<J> {
    first: u64,
    jobs: VecDeque<(u32, Sealed<J>)>,
    unreadable: Vec<Lost>,
}

/// A job of a chunk that cannot be read.
struct Lost {
    place: u32,
    id: JobId,
    why: String,
    bytes: Vec<u8>,
}

impl<J: Send + Sync + 'static> Loaded<J> {
    /// Decodes what is left of a chunk, from the place `from` on. Done outside of the lock.
    pub(in crate::durable) fn read(
        paper: &Paper<J>,
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
                    id: lost.id_or(first + u64::from(place)),
                    why: lost.why,
                    bytes: bytes.to_vec(),
                }),
            }
        }
        loaded
    }

    /// The jobs, and what could not be read: place, name, reason, bytes.
    #[allow(clippy::type_complexity, reason = "taken apart at once, in one place")]
    pub(super) fn into_parts(self) -> (VecDeque<(u32, Sealed<J>)>, Vec<(u32, JobId, String, Vec<u8>)>) {
        let lost = self.unreadable.into_iter();
        (
            self.jobs,
            lost.map(|lost| (lost.place, lost.id, lost.why, lost.bytes))
                .collect(),
        )
    }

    fn all_lost(mut self, mark: &Mark, from: u32, why: &str) -> Self {
        let places = (from..mark.jobs).filter(|place| !mark.is_gone(*place));
        for place in places {
            let lost = Unreadable::of(why.into());
            self.unreadable.push(Lost {
                place,
                id: lost.id_or(self.first + u64::from(place)),
                why: lost.why,
                bytes: Vec::new(),
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
    pub(in crate::durable) fn loaded(&mut self, now: Moment, loaded: Loaded<J>, out: &mut Vec<Change>) {
        let Some(chunk) = self.chunks.get_mut(&loaded.first) else {
            return;
        };
        chunk.is_asked_for = false;
        if chunk.jobs.is_some() {
            return;
        }
        let priority = Priority(chunk.mark.priority);
        self.resident += chunk.mark.bytes as usize;
        chunk.jobs = Some(loaded.jobs);
        self.fresh = self.fresh.saturating_sub(loaded.unreadable.len());
        for lost in loaded.unreadable {
            self.note_gone(loaded.first, loaded.first + u64::from(lost.place));
            self.bury_unreadable(now, lost.id, &lost.why, &lost.bytes, out);
        }
        self.drop_if_empty(priority, loaded.first);
    }

    /// The read failed: it may be asked for again.
    pub(in crate::durable) fn not_loaded(&mut self, first: u64) {
        if let Some(chunk) = self.chunks.get_mut(&first) {
            chunk.is_asked_for = false;
        }
    }

    /// The bytes of all jobs on disk, about.
    pub(in crate::durable) fn bytes_on_disk(&self) -> u64 {
        let chunks: u64 = self
            .chunks
            .values()
            .map(|chunk| u64::from(chunk.mark.bytes))
            .sum();
        let singles = self.alone + self.suspects.len() + self.shelf.len() + self.dead.len();
        chunks + singles as u64 * 512
    }

    /// Whether there is room in memory for chunks that are not needed at once.
    pub(super) fn has_memory(&self) -> bool {
        self.resident < RESIDENT
    }
}
