//! Looking into the file of a queue without the program that wrote it: for the `consumer-group` command and for tools of
//! yours. Payloads are shown as the codec wrote them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::disk::Purpose;
use super::engine::{Change, Engine, Meta, Table};
use super::error::{FileError, OpenError, OpenErrorReason};
use super::format::{Dead, FORMAT, JobParts, Mark, Single};
use super::listing::read_page;
use super::wait::Wait;
use crate::types::{DeadReason, JobId, JobPage, JobQuery, Moment};

/// How long an owner is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open file. Nobody else can open it meanwhile.
pub struct QueueFile {
    path: PathBuf,
    engine: Engine,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The version of its layout.
    pub format: u64,
    /// The codec of its payloads.
    pub codec: String,
    /// The greatest epoch that attached.
    pub epoch: u64,
    /// How often it was opened.
    pub opens: u64,
    /// Jobs that can be leased.
    pub ready: u64,
    /// Jobs that wait for their time.
    pub delayed: u64,
    /// Jobs that were leased when its process ended without a word. At the next opening they come before all others, one at a
    /// time, since one of them may have ended it.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Deduplication keys that are remembered.
    pub keys: u64,
    /// Records that cannot be read. At the next opening they become dead letters, with the reason.
    pub damaged: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
}

/// A dead letter as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadRecord {
    /// The job; `None` if not even its name can be read.
    pub id: Option<JobId>,
    /// When it died; 1970 if that cannot be read.
    #[serde(
        rename = "died_unix_ms",
        serialize_with = "crate::types::as_millis::serialize"
    )]
    pub died: Moment,
    /// Why.
    pub reason: String,
    /// Whether the program that had the file open could not read it. It is read once more at each opening.
    pub is_unreadable: bool,
    /// Its attempts, oldest first.
    pub history: Vec<String>,
    /// Its key.
    pub key: Option<String>,
    /// The size of its payload in bytes.
    pub size: usize,
    /// Its payload: as text if it is UTF-8, else in hexadecimal digits.
    pub payload: String,
}

impl QueueFile {
    /// Opens a file that exists. Waits a second at most for an owner, here or in another process, that is about to close it:
    /// so it blocks, and is not for an arbiter.
    ///
    /// # Errors
    /// [`OpenError`]: there is none, a process has it open, or it is no queue.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        match Self::opened(&path) {
            Ok(engine) => Ok(Self { path, engine }),
            Err(reason) => Err(OpenError { path, reason }),
        }
    }

    fn opened(path: &Path) -> Result<Engine, OpenErrorReason> {
        let wait = Wait::ForAll(PATIENCE, Box::new(|| true));
        let mut engine = Engine::open(path, 16 << 20, Purpose::Look, &wait)?;
        let format = engine.get(Table::Meta, Meta::Format as u64)?;
        let found = format.and_then(|format| format.try_into().ok());
        let found = found.map_or(u64::MAX, u64::from_le_bytes);
        if found != FORMAT {
            return Err(OpenErrorReason::Format { found, known: FORMAT });
        }
        Ok(engine)
    }

    /// Counts what there is. Reads every mark and every record of single jobs, and no chunk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn summary(&mut self) -> Result<Summary, FileError> {
        let mut summary = Summary {
            bytes: self.engine.size(),
            ..Summary::default()
        };
        self.engine.each(Table::Meta, |key, value| {
            let number = value.try_into().map_or(0, u64::from_le_bytes);
            match key {
                key if key == Meta::Format as u64 => summary.format = number,
                key if key == Meta::Codec as u64 => {
                    summary.codec = String::from_utf8_lossy(value).into_owned()
                }
                key if key == Meta::Epoch as u64 => summary.epoch = number,
                key if key == Meta::Opens as u64 => summary.opens = number,
                _ => {}
            }
        })?;
        self.engine
            .each(Table::Marks, |_, record| match Mark::read(record) {
                Ok(mark) => {
                    let tried = (0..mark.leased).filter(|place| !mark.is_gone(*place)).count() as u64;
                    summary.leased += tried;
                    summary.ready += u64::from(mark.left()).saturating_sub(tried);
                }
                Err(_) => summary.damaged += 1,
            })?;
        let mut held = BTreeSet::new();
        self.engine.each(Table::Held, |number, _| {
            held.insert(number);
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.engine.each(Table::Singles, |number, record| {
            let Ok(single) = Single::read(record) else {
                summary.damaged += 1;
                return;
            };
            let delay = JobParts::read(single.job).ok().and_then(|job| job.not_before);
            let due = if single.tried {
                single.due
            } else {
                delay.unwrap_or(0)
            };
            match () {
                () if held.contains(&number) => summary.leased += 1,
                () if due > now => summary.delayed += 1,
                () => summary.ready += 1,
            }
        })?;
        self.engine.each(Table::Dead, |_, _| summary.dead += 1)?;
        self.engine.each(Table::Dedup, |_, _| summary.keys += 1)?;
        Ok(summary)
    }

    /// The dead letters, oldest first, at most `most`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn dead(&mut self, most: usize) -> Result<Vec<DeadRecord>, FileError> {
        let mut found = Vec::new();
        self.engine.each(Table::Dead, |_, record| {
            if found.len() < most {
                found.push(describe(record));
            }
        })?;
        Ok(found)
    }

    /// The dead letters that the program could not read, oldest first, at most `most`: with their bytes, their size and the
    /// reason. What keeps them unreadable may be the program: once it can read them, [`requeue`](Self::requeue), or
    /// [`DeadLetters::requeue`](crate::DeadLetters::requeue) of the group over the file, brings them back.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn unreadable(&mut self, most: usize) -> Result<Vec<DeadRecord>, FileError> {
        let mut found = Vec::new();
        self.engine.each(Table::Dead, |_, record| {
            if found.len() < most {
                found.extend(Some(describe(record)).filter(|letter| letter.is_unreadable));
            }
        })?;
        Ok(found)
    }

    /// A page of jobs, as [`Group::jobs`](crate::Group::jobs) shows those of a queue at work.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn jobs(&mut self, query: &JobQuery) -> Result<JobPage, FileError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        read_page(&mut self.engine, query, Moment::START.after(now))
    }

    /// Sends dead letters back: all of them, or those of these jobs. They are ready at the next opening, with a fresh count of
    /// attempts and their history. A letter of which nothing can be read stays.
    ///
    /// # Errors
    /// The file cannot be read or written; then nothing has changed.
    pub fn requeue(&mut self, jobs: Option<&[JobId]>) -> Result<Vec<JobId>, FileError> {
        let mut next = 0;
        self.engine.each(Table::Meta, |key, value| {
            if key == Meta::Next as u64 {
                next = next.max(value.try_into().map_or(0, u64::from_le_bytes));
            }
        })?;
        self.engine.each(Table::Marks, |first, record| {
            let jobs = Mark::read(record).map_or(1 << 20, |mark| u64::from(mark.jobs));
            next = next.max(first.saturating_add(jobs));
        })?;
        self.engine.each(Table::Singles, |number, _| {
            next = next.max(number.saturating_add(1))
        })?;
        let (mut back, mut changes) = (Vec::new(), Vec::new());
        self.engine.each(Table::Dead, |number, record| {
            let Ok(dead) = Dead::read(record) else { return };
            let Ok(job) = JobParts::read(dead.job) else { return };
            if jobs.is_some_and(|jobs| !jobs.contains(&job.id)) {
                return;
            }
            let single = Single {
                attempts: 0,
                tried: true,
                due: 0,
                history: dead.history,
                job: dead.job,
            };
            changes.push(Change::Put(Table::Singles, next, single.write()));
            changes.push(Change::Delete(Table::Dead, number));
            back.push(job.id);
            next += 1;
        })?;
        changes.push(Change::meta(Meta::Next, next));
        self.engine.commit(&changes, true)?;
        Ok(back)
    }
}

fn describe(record: &[u8]) -> DeadRecord {
    let (died, reason, is_unreadable, history, job) = match Dead::read(record) {
        Ok(dead) => {
            let history = dead.history.iter().map(ToString::to_string).collect();
            let is_unreadable = matches!(dead.reason, DeadReason::Unreadable(_));
            (dead.at, dead.reason.to_string(), is_unreadable, history, dead.job)
        }
        Err(damage) => (0, damage.to_string(), true, Vec::new(), record),
    };
    let (id, key, payload) = match JobParts::read(job) {
        Ok(parts) => (
            Some(parts.id),
            parts.key.map(|key| key.to_string()),
            parts.payload,
        ),
        Err(_) => (None, None, job),
    };
    DeadRecord {
        id,
        died: Moment::from_millis(died),
        reason,
        is_unreadable,
        history,
        key,
        size: payload.len(),
        payload: shown(payload),
    }
}

fn shown(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) if !text.contains(|c: char| c.is_control() && !c.is_whitespace()) => text.to_owned(),
        _ => payload.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

impl fmt::Debug for QueueFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
