//! The chunks of a file that was just opened.

use super::{Earlier, Recovered};
use crate::durable::engine::{Change, Engine, Table};
use crate::durable::error::FileError;
use crate::durable::format::{Held, Mark};
use crate::durable::paper::Unreadable;
use crate::durable::state::{Chunk, Entry, Loaded, State};
use crate::words::{Moment, Priority};

impl<J: Send + Sync + 'static> Recovered<J> {
    /// The chunks, from their marks alone. Gives those of which jobs were leased and are not done.
    pub(super) fn chunks(&mut self, engine: &mut Engine) -> Result<Vec<(u64, Mark)>, FileError> {
        let Self { state, .. } = self;
        let mut used = Vec::new();
        let mut without = Vec::new();
        engine.each(Table::Marks, |first, record| match Mark::read(record) {
            Ok(mark) => {
                let gone_fresh = (mark.leased..mark.jobs)
                    .filter(|place| mark.is_gone(*place))
                    .count();
                let fresh = (mark.jobs - mark.leased) as usize - gone_fresh;
                let left = mark.left();
                if left as usize > fresh {
                    used.push((first, mark.clone()));
                }
                state.next = state.next.max(first + u64::from(mark.jobs));
                state.fresh += fresh;
                let bytes_left = u64::from(mark.bytes) * u64::from(left) / u64::from(mark.jobs.max(1));
                state.bytes += bytes_left;
                if fresh > 0 {
                    state.lane(Priority(mark.priority)).chunks.push_back(first);
                }
                state.chunks.insert(
                    first,
                    Chunk {
                        mark,
                        left,
                        bytes_left,
                        jobs: None,
                        is_asked_for: false,
                    },
                );
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
            state.bury_unreadable(Moment::START, lost.id_or(first), &lost.why, &record, changes);
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
        state.fresh += jobs as usize;
        let bytes_left = u64::from(mark.bytes);
        state.bytes += bytes_left;
        state.lane(Priority(0)).chunks.push_back(first);
        state.chunks.insert(
            first,
            Chunk {
                mark,
                left: jobs,
                bytes_left,
                jobs: None,
                is_asked_for: false,
            },
        );
        state.touched.insert(first);
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
            let (jobs, lost) = loaded.into_parts();
            for (place, job) in jobs {
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
                let held = entry.chunk.map(|_| Held::Released);
                State::write_held(&mut entry, held, changes);
                state.put_alone(entry);
            }
            for (place, id, why, bytes) in lost {
                state.note_gone(first, first + u64::from(place));
                state.bury_unreadable(now, id, &why, &bytes, changes);
            }
        }
        Ok(())
    }
}
