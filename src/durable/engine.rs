//! The engine under the queue: redb, one file. Everything that names redb is here.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, Durability, ReadableDatabase as _, StorageError, TableDefinition};

use super::owner::{FileId, Owner};

/// The tables of the file. Keys are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Jobs as they were accepted, many in one record. The key is the number of the first.
    Chunks,
    /// What became of the jobs of a chunk. Same key.
    Marks,
    /// Jobs in a record of their own: delayed, expiring, tried. The key is the job's number.
    Singles,
    /// Which jobs are suspects, should this process end without a word; see [`Held`](super::format::Held).
    Held,
    /// Dead letters, by a running number.
    Dead,
    /// Deduplication keys, by a running number.
    Dedup,
    /// Numbers about the whole; see [`Meta`].
    Meta,
}

/// The keys of [`Table::Meta`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Meta {
    Format = 0,
    Codec = 1,
    Epoch = 2,
    Opens = 3,
    Next = 4,
    /// 1 after an end of which the queue was told. Not there, or 0, while a group is at work, and after any other end.
    Clean = 5,
}

impl Table {
    fn definition(self) -> TableDefinition<'static, u64, &'static [u8]> {
        TableDefinition::new(match self {
            Self::Chunks => "chunks",
            Self::Marks => "marks",
            Self::Singles => "singles",
            Self::Held => "held",
            Self::Dead => "dead",
            Self::Dedup => "dedup",
            Self::Meta => "meta",
        })
    }
}

/// One change of the file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(Table, u64, Vec<u8>),
    Delete(Table, u64),
}

impl Change {
    /// What takes a new record away again.
    pub(super) fn undone(&self) -> Option<Self> {
        match self {
            Self::Put(table, key, _) => Some(Self::Delete(*table, *key)),
            Self::Delete(..) => None,
        }
    }

    pub(super) fn meta(key: Meta, value: u64) -> Self {
        Self::Put(Table::Meta, key as u64, value.to_le_bytes().to_vec())
    }
}

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Another queue, here or in another process, has the file open.
    #[error("another process, or another queue of this one, has it open")]
    InUse,
    /// The disk, the folder or the permissions are in the way.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file is damaged, or no queue.
    #[error("the file is damaged or no queue: {0}")]
    Damaged(String),
}

impl EngineError {
    /// The kind of trouble, for a refusal that must be small.
    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::InUse => io::ErrorKind::ResourceBusy,
            Self::Io(error) => error.kind(),
            Self::Damaged(_) => io::ErrorKind::InvalidData,
        }
    }
}

fn storage(error: StorageError) -> EngineError {
    match error {
        StorageError::Io(error) => EngineError::Io(error),
        other => EngineError::Damaged(other.to_string()),
    }
}

fn any(error: impl Into<redb::Error>) -> EngineError {
    match error.into() {
        redb::Error::Io(error) => EngineError::Io(error),
        redb::Error::DatabaseAlreadyOpen => EngineError::InUse,
        other => EngineError::Damaged(other.to_string()),
    }
}

/// How long an opening that must not wait for an owner waits for one of this process that is just letting go of the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What an opening does about a file that is in use.
pub(super) enum Wait {
    /// It waits a moment for a queue of this process whose last handle has gone, and for nobody else: another owner may live
    /// on the thread that waits.
    ForOneThatLeaves,
    /// It waits for any owner so long, and while this says that somebody still waits for the opening. Not for an arbiter.
    ForAll(Duration, Box<dyn Fn() -> bool + Send>),
}

impl Wait {
    /// Whether a file that is in use is tried again.
    fn goes_on(&self, began: Instant, path: &Path) -> bool {
        match self {
            Self::ForOneThatLeaves => {
                let file = std::fs::metadata(path).ok().as_ref().and_then(FileId::of);
                began.elapsed() < PATIENCE && file.is_none_or(Owner::is_leaving)
            }
            Self::ForAll(within, is_wanted) => began.elapsed() < *within && is_wanted(),
        }
    }
}

/// The open file. One thread at a time writes.
pub(super) struct Engine {
    path: PathBuf,
    /// None between a failure and the next successful opening: after an error of the disk redb wants to be opened again.
    database: Option<Database>,
    cache: usize,
    /// After the database, so that the lock goes first.
    owner: Arc<Owner>,
}

impl Engine {
    /// Opens the file; makes it if `create` is set and there is none, for its owner alone.
    pub(super) fn open(path: &Path, cache: usize, create: bool, wait: &Wait) -> Result<Self, EngineError> {
        let mut engine = Self {
            path: path.to_owned(),
            database: None,
            cache,
            owner: Owner::of(None),
        };
        let began = Instant::now();
        let mut is_last = false;
        loop {
            match engine.reopen(create) {
                Err(EngineError::InUse) if !is_last => {
                    // An owner that has just gone may have left the register after we found its lock: hence once more.
                    is_last = !wait.goes_on(began, path);
                    std::thread::sleep(LOOK_AGAIN);
                }
                other => {
                    other?;
                    engine.owner = Owner::of(std::fs::metadata(path).ok().as_ref().and_then(FileId::of));
                    return Ok(engine);
                }
            }
        }
    }

    /// Who has the file: to be told when the last handle of the queue goes.
    pub(super) fn owner(&self) -> Arc<Owner> {
        Arc::clone(&self.owner)
    }

    fn reopen(&mut self, create: bool) -> Result<(), EngineError> {
        // First the old one goes: it holds the lock.
        self.database = None;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path)?;
        let cache = self.cache;
        let opened = whole(|| Database::builder().set_cache_size(cache).create_file(file))?;
        self.database = Some(opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => EngineError::InUse,
            DatabaseError::Storage(error) => storage(error),
            other => EngineError::Damaged(other.to_string()),
        })?);
        Ok(())
    }

    /// The open database; opens it again if an error closed it.
    fn database(&mut self) -> Result<&mut Database, EngineError> {
        if self.database.is_none() {
            self.reopen(false)?;
        }
        self.database
            .as_mut()
            .ok_or_else(|| EngineError::Damaged("it could not be opened again".into()))
    }

    /// Makes all changes or none. With `flush` they are on the disk when this returns; without, when a later one with `flush`
    /// returns.
    pub(super) fn commit<'c>(
        &mut self,
        changes: impl IntoIterator<Item = &'c Change>,
        flush: bool,
    ) -> Result<(), EngineError> {
        let database = self.database()?;
        let done = whole(|| write(database, changes, flush)).and_then(|done| done);
        if done.is_err() {
            self.database = None;
        }
        done
    }

    /// One record.
    pub(super) fn get(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let database = self.database()?;
        whole(|| {
            let reading = database.begin_read().map_err(any)?;
            let table = match reading.open_table(table.definition()) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                other => other.map_err(any)?,
            };
            let found = table.get(key).map_err(storage)?;
            Ok(found.map(|value| value.value().to_vec()))
        })?
    }

    /// Every record of a table, in the order of the keys.
    pub(super) fn each(&mut self, table: Table, mut see: impl FnMut(u64, &[u8])) -> Result<(), EngineError> {
        let database = self.database()?;
        whole(|| {
            let reading = database.begin_read().map_err(any)?;
            let table = match reading.open_table(table.definition()) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
                other => other.map_err(any)?,
            };
            for record in table.range::<u64>(..).map_err(storage)? {
                let (key, value) = record.map_err(storage)?;
                see(key.value(), value.value());
            }
            Ok(())
        })?
    }

    /// Gives space back to the file system.
    pub(super) fn compact(&mut self) -> Result<(), EngineError> {
        let database = self.database()?;
        let done = whole(|| {
            // Each round moves pages towards the front; the last one finds nothing to move.
            while database.compact().map_err(any)? {}
            Ok(())
        })
        .and_then(|done| done);
        if done.is_err() {
            self.database = None;
        }
        done
    }

    /// The size of the file in bytes.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |found| found.len())
    }
}

/// Damaged pages can make the engine panic; to the queue that is damage like any other.
fn whole<T>(work: impl FnOnce() -> T) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        EngineError::Damaged(said.unwrap_or_else(|| "the engine panicked".into()))
    })
}

fn write<'c>(
    database: &mut Database,
    changes: impl IntoIterator<Item = &'c Change>,
    flush: bool,
) -> Result<(), EngineError> {
    let mut writing = database.begin_write().map_err(any)?;
    if !flush {
        writing.set_durability(Durability::None).map_err(any)?;
    }
    {
        let mut tables = BTreeMap::new();
        for change in changes {
            let (Change::Put(name, ..) | Change::Delete(name, _)) = change;
            let table = match tables.entry(*name) {
                std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(writing.open_table(name.definition()).map_err(any)?)
                }
            };
            match change {
                Change::Put(_, key, value) => drop(table.insert(key, value.as_slice()).map_err(storage)?),
                Change::Delete(_, key) => drop(table.remove(key).map_err(storage)?),
            }
        }
    }
    writing.commit().map_err(any)
}
