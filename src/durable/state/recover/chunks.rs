//! The chunks of a file that was just opened.

use super::{Earlier, Recovered};
use crate::durable::encoding::Unreadable;
use crate::durable::engine::{Change, Engine, Table};
use crate::durable::error::FileError;
use crate::durable::format::{Held, Mark};
use crate::durable::state::{Entry, Loaded, State};
use crate::types::Moment;

impl<J: Send + Sync + 'static> Recovered<J> {
    /// The chunks, from their marks alone. Gives those of which jobs were leased and are not done.
    pub(super) fn chunks(&mut self, engine: &mut Engine) -> Result<Vec<(u64, Mark)>, FileError> {
        let Self { state, .. } = self;
        let mut used = Vec::new();
        let mut without = Vec::new();
        engine.each(Table::Marks, |first, record| match Mark::read(record) {
            Ok(mark) => {
                state.next = state.next.max(first + u64::from(mark.jobs));
                let (bytes, was_leased) = state.ready.recover_chunk(first, mark.clone());
                state.account.change_bytes(0, bytes);
                if was_leased {
                    used.push((first, mark));
                }
            }
            Err(_) => without.push(first),
        })?;
        for first in without {
            self.without_mark(engine, first)?;
        }
        Ok(used)
    }

    /// A chunk whose mark is damaged: all its jobs count as waiting. Some may be done a second time, none is lost.
    fn without_mark(&mut self, engine: &mut Engine, first: u64) -> Result<(), FileError> {
        let record = engine.get(Table::Chunks, first)?.unwrap_or_default();
        let jobs = crate::durable::format::read_chunk(&record).map_or(0, |jobs| jobs.len() as u32);
        let Self { state, changes } = self;
        if jobs == 0 {
            let lost = Unreadable::of("neither the chunk nor its mark can be read".into());
            state.bury_unreadable(state.now(), lost.into_job(first, &record), changes);
            changes.push(Change::Delete(Table::Marks, first));
            changes.push(Change::Delete(Table::Chunks, first));
            return Ok(());
        }
        let mark = Mark {
            jobs,
            bytes: record.len() as u32,
            ..Mark::default()
        };
        state.next = state.next.max(first + u64::from(jobs));
        let (bytes, _) = state.ready.recover_chunk(first, mark);
        state.account.change_bytes(0, bytes);
        state.ready.touch(first);
        Ok(())
    }

    /// Jobs of chunks that the last process had leased get records of their own.
    pub(super) fn tried_in_chunks(
        &mut self,
        engine: &mut Engine,
        now: Moment,
        earlier: &Earlier,
        used: Vec<(u64, Mark)>,
    ) -> Result<(), FileError> {
        let Self { state, changes } = self;
        for (first, mark) in used {
            let record = engine.get(Table::Chunks, first)?;
            let cut = Mark {
                jobs: mark.leased,
                ..mark
            };
            let loaded = Loaded::read(&state.paper, first, &cut, 0, record.as_deref(), false);
            for (place, job) in loaded.jobs {
                let number = first + u64::from(place);
                let mut entry = Entry {
                    chunk: Some(first),
                    tried: true,
                    ..Entry::new(job, number)
                };
                if earlier.held.get(&number) != Some(&Held::Released) {
                    state.suspect(entry, earlier, changes);
                    continue;
                }
                state.write_single(&mut entry, None, changes);
                State::release(&mut entry, changes);
                state.ready.put(entry);
            }
            state.bury_lost(now, first, loaded.unreadable, changes);
        }
        Ok(())
    }
}
