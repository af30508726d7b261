//! The index of a file that was just opened.

mod chunks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::dead::{DeadEntry, DeadTable};
use super::{Entry, Ready, State, Suspects};
use crate::actors::queue::{Account, QueueShell};
use crate::durable::encoding::{JobEncoding, Unreadable};
use crate::durable::engine::{Change, Engine, Meta, Table};
use crate::durable::error::FileError;
use crate::durable::format::{Accepted, Damage, Dead, Held, Single};
use crate::rules::store::{Bound, Dedup, DelayedJobs, LeaseTable};
use crate::types::{DeadLetter, DeadReason, Epoch, Moment, QueueConfig};
use crate::{protocol::faults, rules::ledger::Plant, types::Begin};

/// A file that was read.
pub(in crate::durable) struct Recovered<J: Send + Sync + 'static> {
    pub(in crate::durable) state: State<J>,
    /// What has to be written before anything else: attempts of the dead process, records that cannot be read.
    pub(in crate::durable) changes: Vec<Change>,
}

/// Reads a table whose records have numbers.
fn numbers(engine: &mut Engine, table: Table) -> Result<BTreeMap<u64, u64>, FileError> {
    let mut found = BTreeMap::new();
    engine.each(table, |key, value| {
        if let Ok(value) = value.try_into() {
            found.insert(key, u64::from_le_bytes(value));
        }
    })?;
    Ok(found)
}

impl<J: Send + Sync + 'static> Recovered<J> {
    /// Reads the index of the file. Chunks are not read, but for those with jobs that the last process had leased.
    pub(in crate::durable) fn read(
        engine: &mut Engine,
        paper: Arc<JobEncoding<J>>,
        config: QueueConfig,
        (capacity_bytes, dead_age): (u64, Option<Duration>),
    ) -> Result<Self, FileError> {
        let meta = numbers(engine, Table::Meta)?;
        let number = |key: Meta| meta.get(&(key as u64)).copied().unwrap_or(0);
        let opens = number(Meta::Opens) + 1;
        let bound = Bound {
            bytes: capacity_bytes,
            ..Bound::of_jobs(config.capacity, config.overflow)
        };
        let mut recovered = Self {
            state: State {
                shell: QueueShell::after(Epoch(number(Meta::Epoch))),
                next: number(Meta::Next),
                // No lease is ever named twice: each opening has a range of names of its own.
                leases: LeaseTable::starting_at(opens << 40),
                ..State::empty(paper, &config, bound, dead_age)
            },
            changes: vec![Change::meta(Meta::Opens, opens)],
        };
        let now = recovered.state.now();
        let life = opens - 1;
        let mut held = BTreeMap::new();
        engine.each(Table::Held, |key, value| {
            // Of a line that cannot be read this much is true: the job was held.
            held.insert(key, Held::read(value).unwrap_or(Held::Leased));
        })?;
        // First the old lines go, then those of the suspects come.
        recovered
            .changes
            .extend(held.keys().map(|number| Change::Delete(Table::Held, *number)));
        let earlier = Earlier { life, held };
        recovered.dead(engine, now)?;
        recovered.singles(engine, now, &earlier)?;
        let used = recovered.chunks(engine)?;
        recovered.tried_in_chunks(engine, now, &earlier, used)?;
        recovered.keys(engine)?;
        let Self { state, changes } = &mut recovered;
        state.first_own = state.next;
        if opens > 1 && number(Meta::Clean) == 0 {
            state.suspects.be_careful_below(state.first_own);
        }
        changes.push(Change::meta(Meta::Next, state.next));
        state.wake(now, changes);
        state.write_marks(changes);
        let unfinished = state.unfinished();
        state.account.open(unfinished);
        Ok(recovered)
    }

    fn dead(&mut self, engine: &mut Engine, now: Moment) -> Result<(), FileError> {
        let Self { state, .. } = self;
        engine.each(Table::Dead, |number, record| {
            let read = Dead::read(record);
            let (unix, reason, history, job) = match &read {
                Ok(dead) => (dead.at, dead.reason.clone(), dead.history.clone(), dead.job),
                Err(damage) => (now.as_millis(), unreadable(*damage), Vec::new(), record),
            };
            let letter = state.paper.read(job, false);
            let (id, letter) = match letter {
                Ok(job) => {
                    let at = Moment::from_millis(unix);
                    let letter = DeadLetter {
                        job,
                        reason,
                        history,
                        at,
                    };
                    (letter.id(), Some(letter))
                }
                Err(lost) => (lost.into_job(number, &[]).id, None),
            };
            state.dead.recover(DeadEntry {
                number,
                at: unix,
                id,
                letter,
            });
        })
    }

    /// Jobs in records of their own. Those that were leased are suspects.
    fn singles(&mut self, engine: &mut Engine, now: Moment, earlier: &Earlier) -> Result<(), FileError> {
        let Self { state, changes } = self;
        engine.each(Table::Singles, |number, record| {
            state.next = state.next.max(number + 1);
            let single = match Single::read(record) {
                Ok(single) => single,
                Err(damage) => {
                    return lose(
                        state,
                        now,
                        (number, record),
                        Unreadable::of(damage.to_string()),
                        changes,
                    );
                }
            };
            let job = match state.paper.read(single.job, false) {
                Ok(job) => job,
                Err(lost) => return lose(state, now, (number, single.job), lost, changes),
            };
            let held = earlier.held.get(&number);
            let was_leased = held.is_some_and(|held| *held != Held::Released);
            if single.tried || was_leased {
                // Perhaps it has begun: then it does not expire.
                job.forget_expiry();
            }
            let due = (single.due > 0).then(|| Moment::from_millis(single.due));
            let entry = Entry {
                bytes: record.len() as u64,
                attempts: single.attempts,
                tried: single.tried || was_leased,
                history: single.history,
                ..Entry::new(job, number)
            };
            state.account.change_bytes(0, entry.bytes);
            if was_leased {
                return state.suspect(entry, earlier, changes);
            }
            state.place_single(now, entry, due);
        })
    }

    fn keys(&mut self, engine: &mut Engine) -> Result<(), FileError> {
        let Self { state, changes } = self;
        engine.each(Table::Dedup, |number, record| {
            let accepted = Accepted::read(record).ok();
            if accepted.is_none() {
                changes.push(Change::Delete(Table::Dedup, number));
            }
            let key = accepted.map(|accepted| (Moment::from_millis(accepted.at), accepted.key, accepted.job));
            state.keys.recover(number, key);
        })
    }
}

/// What the process before left behind.
struct Earlier {
    /// Its number.
    life: u64,
    /// What it noted of its jobs.
    held: BTreeMap<u64, Held>,
}

fn unreadable(damage: Damage) -> DeadReason {
    DeadReason::Unreadable(damage.to_string().into())
}

/// A single that cannot be read becomes a dead letter; its bytes are kept there.
fn lose<J: Send + Sync + 'static>(
    state: &mut State<J>,
    now: Moment,
    (number, bytes): (u64, &[u8]),
    lost: Unreadable,
    changes: &mut Vec<Change>,
) {
    changes.push(Change::Delete(Table::Singles, number));
    state.bury_unreadable(now, lost.into_job(number, bytes), changes);
}

impl<J: Send + Sync + 'static> State<J> {
    /// A job was leased when the process before ended: it is a suspect, and to blame if it had begun alone.
    fn suspect(&mut self, mut entry: Entry<J>, earlier: &Earlier, changes: &mut Vec<Change>) {
        if let Some(Held::Begun { with, at }) = earlier.held.get(&entry.number) {
            self.blame(&mut entry, earlier.life, *with, *at);
        } else {
            if faults::is_planted(Plant::ChargesAllLeased) {
                let (slot, incarnation) = Default::default();
                self.blame(&mut entry, earlier.life, Begin { slot, incarnation }, 0);
            }
        }
        self.write_single(&mut entry, None, changes);
        self.wait_suspected(entry, changes);
    }

    fn empty(
        paper: Arc<JobEncoding<J>>,
        config: &QueueConfig,
        bound: Bound,
        dead_age: Option<Duration>,
    ) -> Self {
        Self {
            paper,
            shell: QueueShell::new(),
            account: Account::new(Some(bound)),
            history: config.history,
            next: 0,
            first_own: 0,
            ready: Ready::default(),
            shelf: DelayedJobs::default(),
            leases: LeaseTable::new(),
            suspects: Suspects::new(),
            dead: DeadTable::new(config, dead_age),
            keys: Dedup::new(config),
            must_flush: false,
        }
    }
}
