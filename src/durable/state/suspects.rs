//! Suspects: jobs that were leased when a process ended without a word. One of them may have ended it.
//!
//! They keep their attempts, and are leased before everything else and with nothing beside them; the group begins them one at
//! a time and has each begin written down. So the next process knows which one it was, if it was one of them.

use std::cmp::Reverse;

use super::{Entry, State};
use crate::durable::engine::{Change, Meta};
use crate::durable::format::Held;
use crate::rules::store::Leased;
use crate::words::{AttemptRecord, Begin, Cause, Epoch};

impl<J: Send + Sync + 'static> State<J> {
    /// Whether there is a suspect, leased or not.
    pub(super) fn has_suspects(&self) -> bool {
        self.suspects_leased > 0 || !self.suspects.is_empty()
    }

    /// Suspects that are not leased.
    pub(in crate::durable) fn suspects(&self) -> usize {
        self.suspects.len()
    }

    pub(super) fn lease_suspects(&mut self, most: usize, leased: &mut Vec<Leased<J>>, out: &mut Vec<Change>) {
        while leased.len() < most
            && let Some((_, entry)) = self.suspects.pop_first()
        {
            self.suspects_leased += 1;
            leased.push(self.begin(entry, out));
        }
    }

    /// A leased job has ended somehow, and the process lives.
    pub(super) fn cleared(&mut self, entry: &mut Entry<J>) {
        if std::mem::take(&mut entry.suspect) {
            self.suspects_leased -= 1;
        }
    }

    /// Puts a suspect that is not leased to its place. What was written of a begin does not hold any more.
    pub(super) fn wait_suspected(&mut self, mut entry: Entry<J>, out: &mut Vec<Change>) {
        entry.suspect = true;
        Self::write_held(&mut entry, Some(Held::Leased), out);
        let place = (Reverse(entry.job.priority()), entry.number);
        self.suspects.insert(place, entry);
    }

    /// The process `life` ended when this job had begun and no other one of its suspects.
    pub(super) fn blame(&self, entry: &mut Entry<J>, life: u64, with: Begin, at: u64) {
        let record = AttemptRecord {
            attempt: entry.attempt(),
            slot: with.slot,
            incarnation: with.incarnation,
            cause: Cause::ProcessEnded {
                life,
                begun_unix_ms: at,
            },
            at: self.paper.moment(at),
        };
        entry.end_attempt(true, Some(&record), self.config.history);
    }

    /// The supervisor of this epoch has ended with all its consumers. Nothing happens if a later one is attached.
    pub(in crate::durable) fn detach_from(&mut self, epoch: Epoch, out: &mut Vec<Change>) {
        if epoch >= self.epoch {
            self.detach(out);
        }
    }

    /// Nobody does any job any more: what was leased waits again, as if it had not been, and is no suspect.
    pub(in crate::durable) fn detach(&mut self, out: &mut Vec<Change>) {
        if std::mem::take(&mut self.is_attached) {
            self.take_back(out);
            out.push(Change::meta(Meta::Clean, 1));
            self.must_flush = true;
        }
    }

    /// A group is at work: from here on an end without a word makes suspects.
    pub(in crate::durable) fn attached(&mut self, epoch: Epoch, out: &mut Vec<Change>) {
        self.epoch = epoch;
        self.is_attached = true;
        out.push(Change::meta(Meta::Epoch, epoch.0));
        out.push(Change::meta(Meta::Clean, 0));
        // Else an end before the first flush would look like the one before.
        self.must_flush = true;
    }
}
