//! Reads a page of jobs out of the file: of a queue at work, by the thread that writes it, and of one that nobody has open.
//!
//! | list | records | jobs |
//! |---|---|---|
//! | 0 | chunks, by the number of their first job | that have not been tried |
//! | 1 | singles, by the number of the job | delayed, expiring, tried |
//! | 2 | dead letters, by a running number | dead |
//!
//! What is read is what the last commit left, so it is a state that the queue was in.

use super::engine::{Engine, Table};
use super::error::FileError;
use super::format::{Damage, Dead, Held, JobParts, Mark, Single, read_chunk};
use crate::types::{DeadReason, JobCursor, JobPage, JobQuery, JobRecord, JobState, Moment, Priority};

/// Jobs that are looked at for one page at most, so that a look never holds up the thread that writes for long. A page that ends
/// by this may have fewer jobs than were asked for, or none, and is not the last one.
const MOST_LOOKED_AT: usize = 4_096;

const CHUNKS: u8 = 0;
const SINGLES: u8 = 1;
const DEAD: u8 = 2;

/// A page of jobs as they stand in the file.
pub(super) fn read_page(engine: &mut Engine, query: &JobQuery, now: Moment) -> Result<JobPage, FileError> {
    let start = query.after.unwrap_or(JobCursor {
        list: CHUNKS,
        number: 0,
        place: 0,
    });
    let mut look = Look {
        query,
        now: now.as_millis(),
        page: JobPage::default(),
        looked_at: 0,
    };
    for list in start.list..=DEAD {
        if look.page.next.is_some() {
            break;
        }
        // Behind the place only in the list of the place.
        let from = match list == start.list {
            true => (start.number, start.place),
            false => (0, 0),
        };
        match list {
            CHUNKS => look.chunks(engine, from)?,
            SINGLES if !look.wants_only(JobState::Dead) => look.singles(engine, from.0)?,
            DEAD if query.wants(JobState::Dead) => look.dead(engine, from.0)?,
            _ => {}
        }
    }
    Ok(look.page)
}

/// A look at the file.
struct Look<'q> {
    query: &'q JobQuery,
    /// In milliseconds since the Unix epoch.
    now: u64,
    page: JobPage,
    looked_at: usize,
}

/// What is known of a job beside what it is.
#[derive(Default)]
struct Known {
    attempts: u32,
    due: Option<Moment>,
    died: Option<Moment>,
    reason: Option<DeadReason>,
    history: Vec<crate::types::AttemptRecord>,
}

impl Look<'_> {
    fn wants_only(&self, state: JobState) -> bool {
        !self.query.states.is_empty() && self.query.states.iter().all(|wanted| *wanted == state)
    }

    /// Whether the page ends in front of this job.
    fn ends_at(&mut self, list: u8, number: u64, place: u32) -> bool {
        let is_full = self.page.jobs.len() >= self.query.most.max(1);
        if is_full || self.looked_at >= MOST_LOOKED_AT {
            self.page.next = Some(JobCursor { list, number, place });
        }
        self.looked_at += 1;
        self.page.next.is_some()
    }

    fn add(&mut self, state: JobState, job: Result<&[u8], Damage>, known: Known) {
        let parts = job.and_then(JobParts::read);
        let bytes = job.unwrap_or_default();
        let (id, key, priority, payload) = match &parts {
            Ok(parts) => (Some(parts.id), parts.key.clone(), parts.priority, parts.payload),
            Err(_) => (None, None, 0, bytes),
        };
        let unreadable = parts.as_ref().err().map(|damage| unreadable(*damage));
        let record = JobRecord {
            id,
            state,
            key,
            priority: Priority(priority),
            attempts: known.attempts,
            due: known.due,
            died: known.died,
            reason: known.reason.or(unreadable),
            history: known.history,
            payload: payload.to_vec(),
        };
        if self.query.means(&record) {
            self.page.jobs.push(record);
        }
    }

    fn chunks(&mut self, engine: &mut Engine, (number, place): (u64, u32)) -> Result<(), FileError> {
        if self.wants_only(JobState::Dead) || self.wants_only(JobState::Delayed) {
            return Ok(());
        }
        let (mut marks, mut jobs) = (Vec::new(), 0);
        engine.each_from(Table::Marks, number, |first, record| {
            // The place is behind the last one that is there: it only says where the list goes on.
            let mark = Mark::read(record).unwrap_or_default();
            jobs += mark.left() as usize;
            marks.push((first, mark));
            jobs <= MOST_LOOKED_AT
        })?;
        for (first, mark) in marks {
            let record = engine.get(Table::Chunks, first)?;
            let found = record.as_deref().map_or(Err(Damage::Short), read_chunk);
            let from = if first == number { place } else { 0 };
            for place in (from..mark.jobs).filter(|place| !mark.is_gone(*place)) {
                if self.ends_at(CHUNKS, first, place) {
                    return Ok(());
                }
                let body = match &found {
                    Ok(bodies) => bodies.get(place as usize).copied().unwrap_or(Err(Damage::Short)),
                    Err(damage) => Err(*damage),
                };
                // One that was leased and came back has a line that says so.
                let number = first.saturating_add(place.into());
                let state = match place < mark.leased && is_held(engine, number, true)? {
                    true => JobState::Leased,
                    false => JobState::Waiting,
                };
                self.add(state, body, Known::default());
            }
        }
        Ok(())
    }

    fn singles(&mut self, engine: &mut Engine, number: u64) -> Result<(), FileError> {
        let mut records = Vec::new();
        engine.each_from(Table::Singles, number, |number, record| {
            records.push((number, record.to_vec()));
            records.len() <= MOST_LOOKED_AT
        })?;
        for (number, record) in records {
            if self.ends_at(SINGLES, number, 0) {
                return Ok(());
            }
            let is_held = is_held(engine, number, false)?;
            let single = match Single::read(&record) {
                Ok(single) => single,
                Err(damage) => {
                    self.add(JobState::Waiting, Err(damage), Known::default());
                    continue;
                }
            };
            let delay = JobParts::read(single.job).ok().and_then(|job| job.not_before);
            let due = if single.tried {
                single.due
            } else {
                delay.unwrap_or(0)
            };
            let state = match () {
                () if is_held => JobState::Leased,
                () if due > self.now => JobState::Delayed,
                () => JobState::Waiting,
            };
            let known = Known {
                attempts: single.attempts,
                due: (state == JobState::Delayed).then(|| Moment::from_millis(due)),
                history: single.history,
                ..Known::default()
            };
            self.add(state, Ok(single.job), known);
        }
        Ok(())
    }

    fn dead(&mut self, engine: &mut Engine, number: u64) -> Result<(), FileError> {
        engine.each_from(Table::Dead, number, |number, record| {
            if self.ends_at(DEAD, number, 0) {
                return false;
            }
            match Dead::read(record) {
                Ok(dead) => {
                    let known = Known {
                        attempts: u32::try_from(dead.history.len()).unwrap_or(u32::MAX),
                        died: Some(Moment::from_millis(dead.at)),
                        reason: Some(dead.reason),
                        history: dead.history,
                        due: None,
                    };
                    self.add(JobState::Dead, Ok(dead.job), known);
                }
                Err(damage) => {
                    let reason = Some(unreadable(damage));
                    self.add(
                        JobState::Dead,
                        Ok(record),
                        Known {
                            reason,
                            ..Known::default()
                        },
                    );
                }
            }
            true
        })
    }
}

/// Whether the job of this number is leased. `without`: whether one without a line is.
fn is_held(engine: &mut Engine, number: u64, without: bool) -> Result<bool, FileError> {
    let line = engine.get(Table::Held, number)?;
    Ok(line.map_or(without, |line| !matches!(Held::read(&line), Ok(Held::Released))))
}

fn unreadable(damage: Damage) -> DeadReason {
    DeadReason::Unreadable(damage.to_string().into())
}
