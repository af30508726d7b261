//! Suspects: jobs that were leased when a process ended without a word. One of them may have ended it.
//!
//! They keep their attempts, and are leased before everything else and with nothing beside them; the group begins them one at
//! a time and has each begin written down. So the next process knows which one it was, if it was one of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Entry, State};
use crate::durable::engine::{Change, Meta};
use crate::durable::format::Held;
use crate::rules::store::Leased;
use crate::types::{AttemptRecord, Begin, Cause, Epoch, Moment, Priority};

/// The suspects of the file.
pub(super) struct Suspects<J> {
    /// Those that are not leased, in the order of their lanes. They come before everything else.
    waiting: BTreeMap<(Reverse<Priority>, u64), Entry<J>>,
    /// How many are leased. Nothing but suspects is leased while there are any.
    leased: usize,
    /// Jobs with smaller numbers are flushed to the disk when they are leased, also if commits need not be: they were left by a
    /// process that ended without a word, and could end one process after the other before the disk knows that they were leased.
    careful_below: u64,
}

impl<J> Suspects<J> {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            leased: 0,
            careful_below: 0,
        }
    }

    /// Whether there is a suspect, leased or not.
    pub(super) fn any(&self) -> bool {
        self.leased > 0 || !self.waiting.is_empty()
    }

    /// How many are not leased.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The process before ended without a word; this one writes jobs from this number on.
    pub(super) fn be_careful_below(&mut self, number: u64) {
        self.careful_below = number;
    }

    /// Whether the lease of this job must be flushed to the disk.
    pub(super) fn are_careful(&self, number: u64) -> bool {
        number < self.careful_below
    }

    fn lease_next(&mut self) -> Option<Entry<J>> {
        let (_, entry) = self.waiting.pop_first()?;
        self.leased += 1;
        Some(entry)
    }

    /// A leased job has ended somehow, and the process lives.
    pub(super) fn cleared(&mut self, entry: &mut Entry<J>) {
        if std::mem::take(&mut entry.suspect) {
            self.leased -= 1;
        }
    }

    /// A leased suspect goes back, and stays one.
    pub(super) fn given_back(&mut self) {
        self.leased -= 1;
    }

    /// Every leased suspect goes back.
    pub(super) fn all_given_back(&mut self) {
        self.leased = 0;
    }
}

impl<J: Send + Sync + 'static> State<J> {
    /// Suspects that are not leased.
    pub(in crate::durable) fn suspects(&self) -> usize {
        self.suspects.len()
    }

    pub(super) fn lease_suspects(&mut self, most: usize, leased: &mut Vec<Leased<J>>, out: &mut Vec<Change>) {
        while leased.len() < most
            && let Some(entry) = self.suspects.lease_next()
        {
            leased.push(self.begin(entry, out));
        }
    }

    /// Puts a suspect that is not leased to its place. What was written of a begin does not hold any more.
    pub(super) fn wait_suspected(&mut self, mut entry: Entry<J>, out: &mut Vec<Change>) {
        entry.suspect = true;
        Self::write_held(&mut entry, Some(Held::Leased), out);
        let place = (Reverse(entry.job.priority()), entry.number);
        self.suspects.waiting.insert(place, entry);
    }

    /// The process `life` ended when this job had begun and no other one of its suspects.
    pub(super) fn blame(&self, entry: &mut Entry<J>, life: u64, with: Begin, at: u64) {
        let record = AttemptRecord {
            attempt: entry.attempt(),
            slot: with.slot,
            incarnation: with.incarnation,
            cause: Cause::ProcessEnded {
                life,
                begun: Moment::from_millis(at),
            },
            at: Moment::from_millis(at),
        };
        entry.end_attempt(true, Some(&record), self.history);
    }

    /// The supervisor of this epoch has ended with all its consumers, unless a later one is attached. Nobody does any job any
    /// more: what was leased waits again, as if it had not been, and is no suspect.
    pub(in crate::durable) fn goodbye(&mut self, epoch: Epoch, out: &mut Vec<Change>) {
        if self.shell.goodbye(epoch) {
            self.take_back(out);
            out.push(Change::meta(Meta::Clean, 1));
            self.must_flush = true;
        }
    }

    /// A group is at work: from here on an end without a word makes suspects.
    pub(super) fn note_attached(&mut self, epoch: Epoch, out: &mut Vec<Change>) {
        out.push(Change::meta(Meta::Epoch, epoch.0));
        out.push(Change::meta(Meta::Clean, 0));
        // Else an end before the first flush would look like the one before.
        self.must_flush = true;
    }
}
