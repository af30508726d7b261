//! The engine under the queue: redb, one file. Everything that names redb is here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTableMetadata as _, StorageBackend, TableDefinition,
};

use super::disk::{Disk, FileDisk, Purpose};
use super::error::{FileError, OtherFile};
use super::gate::{BIRTH, Gate};
use super::owner::{FileId, Owner};
#[cfg(feature = "sim")]
use crate::{protocol::faults, rules::ledger::Plant};

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
    /// A random number of whoever opened the file last to write to it.
    Owner = 6,
}

impl Table {
    /// All of them are there from the birth of a queue on, so one that is missing is damage.
    pub(super) const ALL: [Self; 7] = [
        Self::Chunks,
        Self::Marks,
        Self::Singles,
        Self::Held,
        Self::Dead,
        Self::Dedup,
        Self::Meta,
    ];

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

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }
}

/// The engine's way to the disk.
#[derive(Debug)]
struct Backend(Arc<Gate>);

/// What an error of the engine means for the file.
fn meaning(error: impl Into<redb::Error>) -> FileError {
    const UNFIT: &str = "what is in it does not fit its checksums";
    match error.into() {
        redb::Error::Io(error) => FileError::Io(error),
        redb::Error::DatabaseAlreadyOpen => FileError::InUse,
        redb::Error::TableDoesNotExist(_) => {
            FileError::damaged("a part of it that every queue has is missing")
        }
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => FileError::Io(io::Error::other(
            "the disk failed before, and the file has to be opened again",
        )),
        other => FileError::found(UNFIT, other.to_string()),
    }
}

/// How long an opening that must not wait for an owner waits for one of this process that is just letting go of the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How many engines that panicked are left behind, with their memory, before the file is given up.
const MOST_LEFT_BEHIND: u32 = 8;

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

    /// Opens and locks the file.
    fn open(&self, path: &Path, purpose: Purpose) -> Result<FileDisk, FileError> {
        let began = Instant::now();
        let mut is_last = false;
        loop {
            match FileDisk::open(path, purpose) {
                Err(FileError::InUse) if !is_last => {
                    // An owner that has just gone may have left the register after we found its lock: hence once more.
                    is_last = !self.goes_on(began, path);
                    std::thread::sleep(LOOK_AGAIN);
                }
                other => return other,
            }
        }
    }
}

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
    /// After the disk, so that the lock goes first.
    owner: Arc<Owner>,
}

impl Engine {
    /// Opens the file; for a queue it is made if there is none, for its owner alone. Nothing is written before the first commit.
    pub(super) fn open(path: &Path, cache: usize, purpose: Purpose, wait: &Wait) -> Result<Self, FileError> {
        #[cfg(feature = "sim")]
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
            owner,
        };
        engine.reopen()?;
        if !is_new {
            engine.check_tables()?;
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
        }
        self.database
            .as_mut()
            .ok_or_else(|| FileError::damaged("it could not be opened again"))
    }

    /// After a reopening: whether the file is as this owner left it. If not, nothing that was held back reaches it.
    fn check_mark(&mut self) -> Result<(), FileError> {
        #[cfg(feature = "sim")]
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
        if self.database.is_some() && !self.gate.is_untouched()? {
            return Err(self.taken_over());
        }
        // First it is opened, if an error closed it: that comes with a gate of its own, and the changes go through that one.
        self.database()?;
        let (gate, is_new, own) = (Arc::clone(&self.gate), self.is_new, self.mark);
        let mark = own.unwrap_or_else(|| fastrand::u64(..));
        let signature = own.is_none().then(|| Change::meta(Meta::Owner, mark));
        self.work(|database| {
            if gate.is_held() && !is_new {
                gate.release()?;
            }
            let changes = changes.into_iter().map(|change| -> &Change { change });
            write(database, changes.chain(&signature), flush, is_new)?;
            if is_new {
                gate.release_new()?;
            }
            Ok(())
        })?;
        self.mark = Some(mark);
        self.is_new = false;
        Ok(())
    }

    /// One record.
    pub(super) fn get(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, FileError> {
        if self.is_new {
            return Ok(None);
        }
        self.work(|database| {
            let mut reading = Kept::new(database.begin_read().map_err(meaning)?);
            let table = reading.get()?.open_table(table.definition()).map_err(meaning)?;
            let mut table = Kept::new(table);
            let mut found = Kept::new(table.get()?.get(key).map_err(meaning)?);
            Ok(found.get()?.as_ref().map(|value| value.value().to_vec()))
        })
    }

    /// Every record of a table, in the order of the keys.
    pub(super) fn each(&mut self, table: Table, mut see: impl FnMut(u64, &[u8])) -> Result<(), FileError> {
        if self.is_new {
            return Ok(());
        }
        self.work(|database| {
            let mut reading = Kept::new(database.begin_read().map_err(meaning)?);
            let table = reading.get()?.open_table(table.definition()).map_err(meaning)?;
            let mut table = Kept::new(table);
            // Its length stands elsewhere than its records: so records that cannot be reached are found out.
            let mut left = table.get()?.len().map_err(meaning)?;
            let mut records = Kept::new(table.get()?.range::<u64>(..).map_err(meaning)?);
            while let Some(record) = records.get()?.next() {
                let (key, value) = record.map_err(meaning)?;
                left = left.checked_sub(1).ok_or_else(contradiction)?;
                see(key.value(), value.value());
            }
            if left == 0 { Ok(()) } else { Err(contradiction()) }
        })
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
            #[cfg(feature = "sim")]
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

/// Something of the engine that is left behind where it would be dropped by a panic. Its drop takes locks that the panic may
/// have poisoned; a second panic would end the process. The database that it belongs to is left behind as well.
struct Kept<T>(Option<T>);

impl<T> Kept<T> {
    fn new(value: T) -> Self {
        Self(Some(value))
    }

    fn get(&mut self) -> Result<&mut T, FileError> {
        self.0.as_mut().ok_or_else(contradiction)
    }

    fn take(&mut self) -> Result<T, FileError> {
        self.0.take().ok_or_else(contradiction)
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

fn contradiction() -> FileError {
    FileError::damaged("it does not hold as many records as it says")
}

/// Whether a disk has no queue yet: it is empty, or the process that made one died before it was done.
fn is_new(disk: &dyn Disk) -> Result<bool, FileError> {
    let len = disk.len()?;
    let mut begin = vec![0; len.min(BIRTH.len() as u64) as usize];
    disk.read(0, &mut begin)?;
    if begin.is_empty() || begin == BIRTH {
        return Ok(true);
    }
    if begin.starts_with(MAGIC) {
        Ok(false)
    } else {
        Err(FileError::NotAQueue(OtherFile::SomethingElse))
    }
}

/// The first bytes of every file of the engine.
const MAGIC: &[u8] = &[b'r', b'e', b'd', b'b', 0x1a, 0x0a, 0xa9, 0x0d, 0x0a];

/// Damaged pages can make the engine panic; to the queue that is damage like any other.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, FileError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        FileError::found(
            "its parts contradict each other",
            said.unwrap_or_else(|| "it panicked".into()),
        )
    })
}

fn write<'c>(
    database: &mut Database,
    changes: impl IntoIterator<Item = &'c Change>,
    flush: bool,
    is_new: bool,
) -> Result<(), FileError> {
    let mut writing = Kept::new(database.begin_write().map_err(meaning)?);
    if !flush {
        let writing = writing.get()?;
        writing.set_durability(Durability::None).map_err(meaning)?;
    }
    {
        let writing = writing.get()?;
        let mut tables = BTreeMap::new();
        if is_new {
            for name in Table::ALL {
                let table = writing.open_table(name.definition()).map_err(meaning)?;
                tables.insert(name, Kept::new(table));
            }
        }
        for change in changes {
            let (Change::Put(name, ..) | Change::Delete(name, _)) = change;
            let table = match tables.entry(*name) {
                Entry::Occupied(found) => found.into_mut(),
                Entry::Vacant(place) => {
                    let table = writing.open_table(name.definition()).map_err(meaning)?;
                    place.insert(Kept::new(table))
                }
            };
            match change {
                Change::Put(_, key, value) => {
                    drop(table.get()?.insert(key, value.as_slice()).map_err(meaning)?);
                }
                Change::Delete(_, key) => drop(table.get()?.remove(key).map_err(meaning)?),
            }
        }
    }
    writing.take()?.commit().map_err(meaning)
}
