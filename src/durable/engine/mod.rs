//! The engine under the queue: redb, one file. Everything that names redb is in this folder.
//!
//! | module | what lives there |
//! |---|---|
//! | here | [`Engine`]: the open file, reading, and what a failure does |
//! | `table` | the tables and their keys, and changes of them |
//! | `write` | one commit |
//! | `guard` | panics and errors of redb as those of the queue |
//! | `backend` | the gate, as redb wants a disk; whether there is anything of redb's |
//! | `pages` | numbers of pages that would ask for more memory than there is |

mod backend;
mod guard;
mod pages;
mod reading;
mod table;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::Database;

use self::backend::{Backend, is_new};
use self::guard::{guarded, meaning};
pub(super) use self::table::{Change, Meta, Table};
use self::write::{lengths, write};
use super::disk::{Disk, Purpose};
use super::error::{FileError, OtherFile};
use super::gate::Gate;
use super::owner::Owner;
use super::wait::Wait;
use crate::{protocol::faults, rules::ledger::Plant};

/// How many engines that panicked are left behind, with their memory, before the file is given up.
const MOST_LEFT_BEHIND: u32 = 8;

/// The open file. It lives on one thread.
///
/// The disk, and with it the lock, stays from the opening to the end; the database on it comes and goes. Every call of the
/// database and every drop of it is guarded, because damaged pages can make it panic anywhere.
pub(super) struct Engine {
    /// None between a failure and the next successful opening: after an error of the disk redb wants to be opened again.
    database: Option<Database>,
    gate: Arc<Gate>,
    disk: Arc<dyn Disk>,
    cache: usize,
    /// The number that this owner wrote into the file; none until it has written. A file with another one has moved on.
    mark: Option<u64>,
    /// Somebody else has written to the file. It stays so.
    is_taken_over: bool,
    /// Whether the file has no queue yet.
    is_new: bool,
    left_behind: u32,
    /// How many records each table has. A damaged page can hide a table, and then the engine makes a new one without a word.
    lengths: BTreeMap<Table, u64>,
    /// After the disk, so that the lock goes first.
    owner: Arc<Owner>,
}

impl Engine {
    /// Opens the file; for a queue it is made if there is none, for its owner alone. Nothing is written before the first commit.
    pub(super) fn open(path: &Path, cache: usize, purpose: Purpose, wait: &Wait) -> Result<Self, FileError> {
        if let Some(disk) = super::simulated_disk::SimulatedDisk::open(path) {
            // Nobody is waited for: the thread that would wait is the one on which the owner lives.
            return Self::on(Arc::new(disk?), cache, purpose, Owner::of(None));
        }
        let disk = wait.open(path, purpose)?;
        let owner = Owner::of(disk.id());
        Self::on(Arc::new(disk), cache, purpose, owner)
    }

    /// Opens what is on a disk.
    pub(super) fn on(
        disk: Arc<dyn Disk>,
        cache: usize,
        purpose: Purpose,
        owner: Arc<Owner>,
    ) -> Result<Self, FileError> {
        let is_new = is_new(&*disk)?;
        if is_new && purpose == Purpose::Look {
            return Err(FileError::NotAQueue(OtherFile::Empty));
        }
        let gate = Gate::held(&disk, is_new)?;
        let mut engine = Self {
            database: None,
            gate,
            disk,
            cache,
            mark: None,
            is_taken_over: false,
            is_new,
            left_behind: 0,
            lengths: Table::ALL.map(|table| (table, 0)).into(),
            owner,
        };
        engine.reopen()?;
        if !is_new {
            engine.check_tables()?;
            engine.read_lengths()?;
        }
        Ok(engine)
    }

    /// Who has the file: to be told when the last handle of the queue goes.
    pub(super) fn owner(&self) -> Arc<Owner> {
        Arc::clone(&self.owner)
    }

    /// Whether the file has no queue yet. The first commit makes one.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// A database on the same locked file. What it writes is held back.
    fn reopen(&mut self) -> Result<(), FileError> {
        self.close(End::Failed);
        if self.left_behind >= MOST_LEFT_BEHIND {
            return Err(FileError::damaged("it made the queue fail again and again"));
        }
        self.gate = Gate::held(&self.disk, self.is_new)?;
        let (cache, backend) = (self.cache, Backend(Arc::clone(&self.gate)));
        let opened = guarded(|| {
            Database::builder()
                .set_cache_size(cache)
                .create_with_backend(backend)
        });
        match opened {
            Ok(Ok(database)) => {
                self.database = Some(database);
                Ok(())
            }
            // The magic number was compared before: this is the version of a database that no queue ever had.
            Ok(Err(redb::DatabaseError::UpgradeRequired(_))) => {
                Err(FileError::NotAQueue(OtherFile::OtherDatabase))
            }
            Ok(Err(error)) => Err(meaning(error)),
            Err(panicked) => {
                self.left_behind += 1;
                Err(panicked)
            }
        }
    }

    /// A database without the tables of a queue is somebody else's.
    fn check_tables(&mut self) -> Result<(), FileError> {
        match self.get(Table::Meta, Meta::Format as u64) {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(FileError::Damaged { engine: None, .. }) => {
                Err(FileError::NotAQueue(OtherFile::OtherDatabase))
            }
            Err(error) => Err(error),
        }
    }

    /// The open database; opens it again if an error closed it.
    fn database(&mut self) -> Result<&mut Database, FileError> {
        if self.is_taken_over {
            return Err(FileError::TakenOver);
        }
        if self.database.is_none() {
            self.reopen()?;
            self.check_mark()?;
            self.read_lengths()?;
        }
        self.database
            .as_mut()
            .ok_or_else(|| FileError::damaged("it could not be opened again"))
    }

    fn read_lengths(&mut self) -> Result<(), FileError> {
        if !self.is_new {
            self.lengths = self.work(lengths)?;
        }
        Ok(())
    }

    /// After a reopening: whether the file is as this owner left it. If not, nothing that was held back reaches it.
    fn check_mark(&mut self) -> Result<(), FileError> {
        if faults::is_planted(Plant::LetsGoOfTheFile) {
            return Ok(());
        }
        let Some(own) = self.mark else { return Ok(()) };
        let found = self.get(Table::Meta, Meta::Owner as u64)?;
        if found
            .and_then(|found| found.try_into().ok())
            .map(u64::from_le_bytes)
            == Some(own)
        {
            return Ok(());
        }
        Err(self.taken_over())
    }

    fn taken_over(&mut self) -> FileError {
        self.close(End::Failed);
        self.is_taken_over = true;
        FileError::TakenOver
    }

    /// Makes all changes or none. With `flush` they are on the disk when this returns; without, when a later one with `flush`
    /// returns. The first one tells the file who its owner is.
    pub(super) fn commit<'c>(
        &mut self,
        changes: impl IntoIterator<Item = &'c Change>,
        flush: bool,
    ) -> Result<(), FileError> {
        // A moment later it can be gone all the same: this is to tell, not to prevent.
        if !self.disk.is_in_place() {
            return Err(FileError::Moved);
        }
        // First, because a reopening brings a gate of its own: what is written must pass that one.
        self.database()?;
        if !self.gate.is_untouched()? {
            return Err(self.taken_over());
        }
        let (gate, is_new, own) = (Arc::clone(&self.gate), self.is_new, self.mark);
        let mark = own.unwrap_or_else(|| fastrand::u64(..));
        let signature = own.is_none().then(|| Change::meta(Meta::Owner, mark));
        let mut lengths = self.lengths.clone();
        self.work(|database| {
            if gate.is_held() && !is_new {
                gate.release()?;
            }
            let changes = changes.into_iter().map(|change| -> &Change { change });
            write(database, changes.chain(&signature), flush, is_new, &mut lengths)?;
            if is_new {
                gate.release_new()?;
            }
            Ok(())
        })?;
        self.lengths = lengths;
        self.mark = Some(mark);
        self.is_new = false;
        Ok(())
    }

    /// Gives space back to the file system.
    pub(super) fn compact(&mut self) -> Result<(), FileError> {
        self.work(|database| {
            // Each round moves pages towards the front; the last one finds nothing to move.
            while database.compact().map_err(meaning)? {}
            Ok(())
        })
    }

    /// The size of the file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.disk.len().unwrap_or(0)
    }

    /// Something with the database, guarded. An error closes it: who knows what of it is whole.
    fn work<T>(&mut self, work: impl FnOnce(&mut Database) -> Result<T, FileError>) -> Result<T, FileError> {
        let database = self.database()?;
        match guarded(|| work(database)) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                self.close(End::Failed);
                Err(error)
            }
            Err(panicked) => {
                self.close(End::Panicked);
                Err(panicked)
            }
        }
    }

    /// Drops the database. The lock stays.
    fn close(&mut self, end: End) {
        let Some(database) = self.database.take() else {
            return;
        };
        if end != End::Whole {
            // First, so that nothing that it still does while it goes reaches the file.
            self.gate.shut();
            if faults::is_planted(Plant::LetsGoOfTheFile) {
                self.disk.let_go();
            }
        }
        if end == End::Panicked {
            // Its locks may be poisoned, and then its drop panics while it unwinds, which ends the process. Its memory stays.
            self.left_behind += 1;
            std::mem::forget(database);
            return;
        }
        // The panic of a drop leaves nothing to be told: the file is as the last commit left it.
        let _ = guarded(|| drop(database));
        self.gate.shut();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close(End::Whole);
    }
}

/// In what state a database ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Failed,
    Panicked,
}
