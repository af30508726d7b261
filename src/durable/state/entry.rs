//! One job of the index that does not stand in its chunk any more, and what its record says of it.

use super::State;
use crate::durable::engine::{Change, Table};
use crate::durable::format::Held;
use crate::types::{AttemptRecord, JobRef, Moment};

pub(super) struct Entry<J> {
    pub(super) job: JobRef<J>,
    /// Its place in the order of acceptance, and the key of its record.
    pub(super) number: u64,
    /// The chunk in which it is written, if it has no record of its own.
    pub(super) chunk: Option<u64>,
    /// The bytes of its own record; 0 while it has none.
    pub(super) bytes: u64,
    /// Attempts that count.
    pub(super) attempts: u32,
    /// Whether it was leased or requeued: then the queue waits neither for its delay nor for its expiry.
    pub(super) tried: bool,
    /// What [`Table::Held`] says of it.
    pub(super) held: Option<Held>,
    /// Whether it was leased when a process ended without a word, and no delivery of it has ended since.
    pub(super) suspect: bool,
    pub(super) history: Vec<AttemptRecord>,
}

impl<J> Entry<J> {
    /// A job that nobody has tried, in a record of its own.
    pub(super) fn new(job: JobRef<J>, number: u64) -> Self {
        Self {
            job,
            number,
            chunk: None,
            bytes: 0,
            attempts: 0,
            tried: false,
            held: None,
            suspect: false,
            history: Vec::new(),
        }
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }

    pub(super) fn end_attempt(&mut self, counts: bool, record: Option<&AttemptRecord>, most: usize) {
        if counts {
            self.attempts = self.attempts.saturating_add(1);
            self.job.forget_expiry();
        }
        if let Some(record) = record {
            // Past the bound the second oldest goes: the first failure and the latest ones tell the most.
            if self.history.len() >= most.max(2) {
                self.history.remove(1);
            }
            self.history.push(record.clone());
        }
    }
}

impl<J: Send + Sync + 'static> State<J> {
    /// Writes the job into a record of its own, as it is now.
    pub(super) fn write_single(&mut self, entry: &mut Entry<J>, due: Option<Moment>, out: &mut Vec<Change>) {
        let record = self
            .paper
            .single(&entry.job, entry.attempts, entry.tried, due, &entry.history);
        // A payload that could be written once and cannot be written now stays where it was: the attempt is forgotten with
        // the process, the job is not.
        if let Ok(record) = record {
            let bytes = record.len() as u64;
            self.account.change_bytes(entry.bytes, bytes);
            entry.bytes = bytes;
            out.push(Change::Put(Table::Singles, entry.number, record));
            if let Some(chunk) = entry.chunk.take() {
                self.note_gone(chunk, entry.number);
            }
        }
    }

    /// Takes the job off the disk.
    pub(super) fn erase(&mut self, entry: &Entry<J>, out: &mut Vec<Change>) {
        match entry.chunk {
            Some(chunk) => self.note_gone(chunk, entry.number),
            None => {
                self.account.change_bytes(entry.bytes, 0);
                out.push(Change::Delete(Table::Singles, entry.number));
            }
        }
        if entry.held.is_some() {
            out.push(Change::Delete(Table::Held, entry.number));
        }
    }

    /// Notes what is to be thought of the job if the process ends.
    pub(super) fn write_held(entry: &mut Entry<J>, held: Option<Held>, out: &mut Vec<Change>) {
        if entry.held != held {
            out.push(match held {
                Some(held) => Change::Put(Table::Held, entry.number, held.write()),
                None => Change::Delete(Table::Held, entry.number),
            });
            entry.held = held;
        }
    }

    /// Notes that a job of a chunk is done, dead, or in a record of its own.
    pub(super) fn note_gone(&mut self, first: u64, number: u64) {
        let bytes = self.ready.note_gone(first, number);
        self.account.change_bytes(bytes, 0);
    }
}
