//! Chunks that are wanted in memory.

use super::Writer;
use super::rest::Rest;
use crate::durable::core::lock;
use crate::durable::engine::Table;
use crate::durable::error::FileError;
use crate::durable::format::Mark;
use crate::durable::state::Loaded;

impl<J: Send + Sync + 'static> Writer<J> {
    pub(super) fn read_chunk(
        &mut self,
        first_own: u64,
        first: u64,
        mark: &Mark,
    ) -> Result<Loaded<J>, FileError> {
        let record = self.engine.get(Table::Chunks, first)?;
        let own = first >= first_own;
        Ok(Loaded::read(
            &self.paper,
            first,
            mark,
            mark.leased,
            record.as_deref(),
            own,
        ))
    }

    /// Reads what is wanted. What the disk does not give is asked for again after a rest; it stays there meanwhile.
    pub(super) fn load(&mut self) {
        let first_own = lock(&self.state).first_own();
        let mut needed = std::mem::take(&mut self.needed).into_iter();
        while let Some((first, mark)) = needed.next() {
            match self.read_chunk(first_own, first, &mark) {
                Ok(loaded) => {
                    self.unread = None;
                    let mut state = lock(&self.state);
                    let now = state.now();
                    state.loaded(now, loaded, &mut self.unsaved);
                    state.settle_accounts(&mut self.unsaved);
                }
                Err(error) => {
                    if self.unread.is_none() {
                        tracing::error!(%error, first, "jobs could not be read; they stay on disk");
                    }
                    self.unread = Some(Rest::after(self.unread));
                    self.needed.push((first, mark));
                    self.needed.extend(needed);
                    return;
                }
            }
        }
    }
}
