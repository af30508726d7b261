//! What the results add up to, and how it is told at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use consumer_group::{DeadLetter, DeadReason, Health, Outcome, SlotId};

use crate::checksums;
use crate::hasher::{FileJob, Hashed};

#[derive(Debug, Default)]
pub(crate) struct Report {
    hashed: Vec<Hashed>,
    dead: Vec<Arc<DeadLetter<FileJob>>>,
    slots: BTreeMap<SlotId, Share>,
    bytes: u64,
    /// Attempts that were made beyond the first ones.
    retries: u64,
    /// Folders whose files are not known.
    pub(crate) unlisted: Vec<(PathBuf, io::Error)>,
    took: Duration,
}

/// What one slot did.
#[derive(Debug, Default)]
struct Share {
    jobs: u64,
    weight: u32,
    restarts: u64,
}

impl Report {
    /// How many jobs have ended, one way or the other.
    pub(crate) fn ended(&self) -> u64 {
        (self.hashed.len() + self.dead.len()) as u64
    }

    pub(crate) fn note(&mut self, outcome: Outcome<FileJob, Hashed>) {
        match outcome.result {
            Ok(hashed) => {
                self.slots.entry(hashed.slot).or_default().jobs += 1;
                self.bytes += hashed.bytes;
                self.retries += u64::from(hashed.attempt.saturating_sub(1));
                self.hashed.push(hashed);
            }
            Err(letter) => {
                let attempts = letter.history.last().map_or(1, |last| last.attempt);
                self.retries += u64::from(attempts.saturating_sub(1));
                self.dead.push(letter);
            }
        }
    }

    /// The work is over: adds what the group knows about its slots, and puts everything in order.
    pub(crate) fn close(&mut self, health: &Health, took: Duration) {
        self.took = took;
        for slot in &health.slots {
            let share = self.slots.entry(slot.slot).or_default();
            share.weight = slot.weight.0;
            share.restarts = slot.restarts;
        }
        let dead_path = |letter: &Arc<DeadLetter<FileJob>>| bytes_of(&letter.job.payload().path).to_vec();
        self.hashed
            .sort_by(|one, other| bytes_of(path(one)).cmp(bytes_of(path(other))));
        self.dead.sort_by_cached_key(dead_path);
        self.unlisted
            .sort_by(|(one, _), (other, _)| bytes_of(one).cmp(bytes_of(other)));
    }

    /// Whether every file has its checksum.
    pub(crate) fn is_complete(&self) -> bool {
        self.dead.is_empty() && self.unlisted.is_empty()
    }

    /// The checksums, sorted by path.
    pub(crate) fn checksums(&self) -> impl Iterator<Item = (&Path, &[u8; 32])> {
        self.hashed.iter().map(|hashed| (path(hashed), &hashed.digest))
    }

    pub(crate) fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        let jobs = self.hashed.len() as u64;
        let restarts: u64 = self.slots.values().map(|slot| slot.restarts).sum();
        let seconds = self.took.as_secs_f64();
        writeln!(
            out,
            "jobs          {jobs} ({:.1} MiB) in {seconds:.2} s",
            self.bytes as f64 / f64::from(1 << 20)
        )?;
        writeln!(
            out,
            "jobs/s        {:.0}",
            self.ended() as f64 / seconds.max(f64::EPSILON)
        )?;
        writeln!(out, "retries       {}", self.retries)?;
        writeln!(out, "restarts      {restarts}")?;
        writeln!(out, "dead letters  {}", self.dead.len())?;
        writeln!(out, "consumer      weight       jobs   share  restarts")?;
        for (slot, share) in &self.slots {
            let Share {
                jobs: own,
                weight,
                restarts,
            } = share;
            let percent = *own as f64 * 100.0 / jobs.max(1) as f64;
            writeln!(
                out,
                "{:<13} {weight:>6} {own:>10} {percent:>5.1} % {restarts:>9}",
                slot.to_string()
            )?;
        }
        for letter in &self.dead {
            tell_trouble(out, "not hashed", &letter.job.payload().path, &reason(letter))?;
        }
        for (folder, error) in &self.unlisted {
            tell_trouble(out, "not listed", folder, &error.to_string())?;
        }
        Ok(())
    }
}

/// One line, whatever bytes the name has.
fn tell_trouble(out: &mut impl Write, what: &str, path: &Path, why: &str) -> io::Result<()> {
    write!(out, "{what}: ")?;
    out.write_all(&checksums::name(path))?;
    writeln!(out, ": {why}")
}

fn path(hashed: &Hashed) -> &Path {
    &hashed.path
}

/// Names are ordered as `sort` orders them in the C locale.
fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// Why a file has no checksum: the words of the consumer, or how the last attempt ended.
fn reason(letter: &DeadLetter<FileJob>) -> String {
    match (&letter.reason, letter.history.last()) {
        (DeadReason::Rejected(words), _) => words.to_string(),
        (other, Some(last)) => format!("{other}; the last attempt {}", last.cause),
        (other, None) => other.to_string(),
    }
}
