//! The files of a run: in memory, and as forgetful as a disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use fastrand::Rng;

use super::RunWorld;
use crate::protocol::faults::{Visit, Visitor, WorldDisk};
use crate::sim::history::Occurrence;

/// How long a commit takes at most, in ms.
const SLOWEST_MS: u64 = 3;

/// The files by their paths. A file that is asked for is there.
pub(super) struct Disks {
    files: BTreeMap<PathBuf, Arc<MemoryDisk>>,
    world: Weak<RunWorld>,
    random: Rng,
    /// How another process works with the files; known once a queue was opened.
    visitor: Option<Visitor>,
}

impl Disks {
    pub(super) fn new(seed: u64, world: Weak<RunWorld>) -> Self {
        Self {
            files: BTreeMap::new(),
            world,
            random: Rng::with_seed(seed),
            visitor: None,
        }
    }

    pub(super) fn at(&mut self, path: &Path) -> Arc<MemoryDisk> {
        let make = || MemoryDisk::new(Vec::new(), self.world.clone());
        Arc::clone(self.files.entry(path.to_owned()).or_insert_with(make))
    }

    /// From here on it is known how another process works with the files.
    pub(super) fn visit_by(&mut self, visitor: Visitor) {
        self.visitor = Some(visitor);
    }

    pub(super) fn visitor(&self) -> Option<Visitor> {
        self.visitor
    }

    /// What a crash would leave of each file now.
    pub(super) fn copies(&mut self) -> Vec<Arc<MemoryDisk>> {
        let random = &mut self.random;
        self.files.values().map(|disk| disk.survivor(random)).collect()
    }

    /// How long the next commit takes.
    pub(super) fn commit_takes(&mut self) -> Duration {
        Duration::from_millis(self.random.u64(0..=SLOWEST_MS))
    }

    /// The next syncs fail. `None` if there are no files.
    pub(super) fn fail(&self, syncs: u32) -> Option<()> {
        let files = self.files.values();
        files.fold(None, |_, disk| {
            disk.file().failing += syncs;
            Some(())
        })
    }

    /// There is room again. Whoever cannot start the program for want of it tries again later, and that is here.
    pub(super) fn have_room(&self) {
        for disk in self.files.values() {
            disk.file().failing = 0;
        }
    }

    /// From here on somebody else wants every file. `None` if there are none.
    pub(super) fn want(&self) -> Option<()> {
        let files = self.files.values();
        files.fold(None, |_, disk| {
            disk.file().is_wanted = true;
            Some(())
        })
    }

    /// He wants them no more, and gives back what he got.
    pub(super) fn let_go(&self) {
        for disk in self.files.values() {
            let mut file = disk.file();
            file.is_wanted = false;
            if std::mem::take(&mut file.is_taken) {
                file.is_locked = false;
            }
        }
    }

    pub(super) fn are_locked(&self) -> bool {
        self.files.values().any(|disk| disk.file().is_locked)
    }

    /// The process ends: of the writes since the last sync only the first ones are there, as many as the seed says. The
    /// answer has what the old process wrote to, and what is left of it.
    pub(super) fn crash(&mut self) -> Vec<(Arc<MemoryDisk>, Arc<MemoryDisk>)> {
        let random = &mut self.random;
        let replace = |disk: &mut Arc<MemoryDisk>| {
            let survivor = disk.survivor(random);
            survivor.file().is_wanted = disk.file().is_wanted;
            (std::mem::replace(disk, Arc::clone(&survivor)), survivor)
        };
        self.files.values_mut().map(replace).collect()
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct MemoryDisk {
    file: Mutex<File>,
    world: Weak<RunWorld>,
    me: Weak<Self>,
}

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    /// What undoes each write since the last sync, oldest first.
    undo: Vec<Undo>,
    is_locked: bool,
    /// Whether another process takes the lock as soon as it is free.
    is_wanted: bool,
    /// Whether it did.
    is_taken: bool,
    /// How many more syncs fail.
    failing: u32,
}

#[derive(Debug)]
enum Undo {
    /// These bytes stood here.
    Bytes(usize, Vec<u8>),
    /// It was so long, and these bytes were cut off.
    Length(usize, Vec<u8>),
}

impl MemoryDisk {
    fn new(bytes: Vec<u8>, world: Weak<RunWorld>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            file: Mutex::new(File {
                bytes,
                undo: Vec::new(),
                is_locked: false,
                is_wanted: false,
                is_taken: false,
                failing: 0,
            }),
            world,
            me: me.clone(),
        })
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of it after a crash.
    fn survivor(&self, random: &mut Rng) -> Arc<Self> {
        let file = self.file();
        let kept = random.usize(0..=file.undo.len());
        let mut bytes = file.bytes.clone();
        for undo in file.undo.iter().skip(kept).rev() {
            undo.carry_out(&mut bytes);
        }
        Self::new(bytes, self.world.clone())
    }

    /// Nobody has it any more, and nobody else gets it: whoever still writes to it while he is dropped is dead already.
    pub(super) fn is_dead(&self) {
        let file = &mut *self.file();
        (file.failing, file.is_wanted) = (0, false);
    }

    /// The lock is free: another process takes it, if it wants it.
    pub(super) fn is_free(&self) {
        let is_taken = {
            let mut file = self.file();
            file.is_locked = file.is_wanted;
            file.is_taken = file.is_wanted;
            file.is_taken
        };
        if !is_taken {
            return;
        }
        let Some(world) = self.world.upgrade() else { return };
        world.write(Occurrence::TakenByAnother);
        match self.visit(&world) {
            Some(Visit::Left(before)) => world.write(Occurrence::Visited { before }),
            Some(Visit::Unreadable(why)) => world.write(Occurrence::Unreadable { why }),
            Some(Visit::NoQueue) | None => {}
        }
    }

    /// Another process looks into it. Its own commits do not fail: that it wrote is what the run is to see.
    pub(super) fn visit(&self, world: &RunWorld) -> Option<Visit> {
        let (visitor, me) = (world.visitor()?, self.me.upgrade()?);
        let failing = std::mem::take(&mut self.file().failing);
        let visit = visitor(me);
        self.file().failing = failing;
        Some(visit)
    }
}

impl Undo {
    fn carry_out(&self, bytes: &mut Vec<u8>) {
        let (from, before) = match self {
            Self::Bytes(offset, before) => (*offset, before),
            Self::Length(len, cut) => {
                bytes.resize(*len, 0);
                (len - cut.len(), cut)
            }
        };
        let to = from + before.len();
        if let Some(place) = bytes.get_mut(from..to) {
            place.copy_from_slice(before);
        }
    }
}

fn place(offset: u64, len: usize) -> std::ops::Range<usize> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    offset..offset.saturating_add(len)
}

impl WorldDisk for MemoryDisk {
    fn lock(&self) -> bool {
        !std::mem::replace(&mut self.file().is_locked, true)
    }

    fn unlock(&self) {
        self.is_free();
    }

    fn size(&self) -> u64 {
        self.file().bytes.len() as u64
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        let file = &mut *self.file();
        let cut = file.bytes.get(len..).unwrap_or_default().to_vec();
        file.undo.push(Undo::Length(file.bytes.len(), cut));
        file.bytes.resize(len, 0);
        Ok(())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let file = self.file();
        let found = file.bytes.get(place(offset, into.len()));
        let found = found.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
        into.copy_from_slice(found);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = &mut *self.file();
        let place = place(offset, bytes.len());
        let begin = place.start;
        if place.end > file.bytes.len() {
            file.undo.push(Undo::Length(file.bytes.len(), Vec::new()));
            file.bytes.resize(place.end, 0);
        }
        let found = file.bytes.get_mut(place);
        let found = found.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let before = found.to_vec();
        found.copy_from_slice(bytes);
        file.undo.push(Undo::Bytes(begin, before));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut file = self.file();
        if file.failing == 0 {
            file.undo.clear();
            return Ok(());
        }
        file.failing -= 1;
        drop(file);
        if let Some(world) = self.world.upgrade() {
            world.write(Occurrence::CommitFailed);
        }
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}
