//! What stands between the engine and the disk.
//!
//! ```text
//! held ──release──▶ open ──▶ shut
//!   └───────────────────────▶ shut
//! ```
//!
//! A gate begins **held**: the engine reads the disk, and what it writes stays in memory (a repair after a crash, the header
//! that says "in use"). So a file that turns out to be no queue, or that is only looked into, keeps every byte. When the file is
//! known to be ours, what was held goes to the disk in the order in which it was written, and the gate is **open**. After a
//! failure it is **shut** for good: whatever the engine still does while it is dropped, or is left behind because it
//! panicked, changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::disk::Disk;

/// The bytes that are held back, in pieces of so many.
const BLOCK: u64 = 4_096;

/// What a file begins with until everything else of a new queue is on the disk. A process that dies in between leaves a file
/// that the next one knows as a queue which was never born.
pub(super) const BIRTH: &[u8] = b"a queue of consumer-group that is being made now\n";

/// How many bytes at the front tell whether anybody wrote to the file: every commit of the engine changes them.
const HEAD: usize = 320;

const HELD: u8 = 0;
const OPEN: u8 = 1;
const SHUT: u8 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    /// Weak: an engine that had to be left behind must not keep the file open, and with it the lock.
    disk: Weak<dyn Disk>,
    state: AtomicU8,
    held: Mutex<Held>,
    /// The first bytes as they were written last.
    head: Mutex<Vec<u8>>,
}

/// What was written and is not on the disk.
#[derive(Debug, Default)]
struct Held {
    len: u64,
    /// How many bytes of the disk still count: none of a new queue, fewer once it was cut.
    visible: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

impl Gate {
    /// A gate before this disk. For a new queue the engine is to find nothing on it.
    pub(super) fn held(disk: &Arc<dyn Disk>, is_new: bool) -> io::Result<Arc<Self>> {
        let len = if is_new { 0 } else { disk.len()? };
        Ok(Arc::new(Self {
            disk: Arc::downgrade(disk),
            state: AtomicU8::new(HELD),
            held: Mutex::new(Held {
                len,
                visible: len,
                ..Held::default()
            }),
            head: Mutex::new(Vec::new()),
        }))
    }

    pub(super) fn is_held(&self) -> bool {
        self.state.load(Ordering::Acquire) == HELD
    }

    /// Nothing passes any more.
    pub(super) fn shut(&self) {
        self.state.store(SHUT, Ordering::Release);
    }

    /// Does what was held back, in its order, and is open from then on.
    pub(super) fn release(&self) -> io::Result<()> {
        let disk = self.disk()?;
        let mut held = lock(&self.held);
        for step in &held.steps {
            match step {
                Step::Write(offset, bytes) => disk.write(*offset, bytes)?,
                Step::SetLen(len) => disk.set_len(*len)?,
                Step::Sync => disk.sync()?,
            }
        }
        *held = Held::default();
        self.state.store(OPEN, Ordering::Release);
        Ok(())
    }

    /// Writes a new queue, and is open from then on. Whenever the process dies, the file is one that was never born or one
    /// that is whole: the first block, which says that it is one, comes last.
    pub(super) fn release_new(&self) -> io::Result<()> {
        let disk = self.disk()?;
        let mut held = lock(&self.held);
        disk.write(0, BIRTH)?;
        disk.sync()?;
        disk.set_len(held.len)?;
        for (block, bytes) in held.blocks.range(1..) {
            let offset = block * BLOCK;
            let length = held.len.saturating_sub(offset).min(BLOCK);
            disk.write(offset, bytes.get(..length as usize).unwrap_or(bytes))?;
        }
        disk.sync()?;
        if let Some(first) = held.blocks.get(&0) {
            disk.write(0, first)?;
        }
        disk.sync()?;
        disk.sync_name()?;
        *held = Held::default();
        self.state.store(OPEN, Ordering::Release);
        Ok(())
    }

    /// Whether the first bytes are those that were written last. If not, somebody else writes to this file.
    pub(super) fn is_untouched(&self) -> io::Result<bool> {
        let head = lock(&self.head);
        if self.is_held() || head.is_empty() {
            return Ok(true);
        }
        let mut found = [0; HEAD];
        let found = found.get_mut(..head.len()).unwrap_or_default();
        match self.disk()?.read(0, found) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| *found == **head),
        }
    }

    fn disk(&self) -> io::Result<Arc<dyn Disk>> {
        let disk = self.disk.upgrade();
        disk.filter(|_| self.state.load(Ordering::Acquire) != SHUT)
            .ok_or_else(|| io::Error::other("the file was closed"))
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        let disk = self.disk()?;
        if self.is_held() {
            return Ok(lock(&self.held).len);
        }
        disk.len()
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let disk = self.disk()?;
        if self.is_held() {
            return lock(&self.held).read(&*disk, offset, into);
        }
        disk.read(offset, into)
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let disk = self.disk()?;
        if offset == 0 {
            // Before it is written: a write that fails half way shuts the gate.
            *lock(&self.head) = bytes.get(..HEAD).unwrap_or(bytes).to_vec();
        }
        if self.is_held() {
            return lock(&self.held).write(&*disk, offset, bytes);
        }
        disk.write(offset, bytes)
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let disk = self.disk()?;
        if self.is_held() {
            lock(&self.held).set_len(len);
            return Ok(());
        }
        disk.set_len(len)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        let disk = self.disk()?;
        if self.is_held() {
            lock(&self.held).steps.push(Step::Sync);
            return Ok(());
        }
        disk.sync()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn read(&self, disk: &dyn Disk, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if offset.saturating_add(into.len() as u64) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut at, mut rest) = (offset, into);
        while !rest.is_empty() {
            let inside = (at % BLOCK) as usize;
            let length = (BLOCK as usize - inside).min(rest.len());
            let (part, after) = rest.split_at_mut(length);
            match self.blocks.get(&(at / BLOCK)) {
                Some(block) => {
                    let found = block.get(inside..inside + length).unwrap_or_default();
                    part.copy_from_slice(found);
                }
                None => self.read_disk(disk, at, part)?,
            }
            (at, rest) = (at + length as u64, after);
        }
        Ok(())
    }

    fn write(&mut self, disk: &dyn Disk, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let inside = (at % BLOCK) as usize;
            let length = (BLOCK as usize - inside).min(rest.len());
            let (part, after) = rest.split_at(length);
            let number = at / BLOCK;
            let mut block = match self.blocks.remove(&number) {
                Some(block) => block,
                None => {
                    let mut block = vec![0; BLOCK as usize];
                    self.read_disk(disk, number * BLOCK, &mut block)?;
                    block
                }
            };
            if let Some(into) = block.get_mut(inside..inside + length) {
                into.copy_from_slice(part);
            }
            self.blocks.insert(number, block);
            (at, rest) = (at + length as u64, after);
        }
        self.len = self.len.max(at);
        self.steps.push(Step::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.visible = self.visible.min(len);
            drop(self.blocks.split_off(&len.div_ceil(BLOCK)));
            let inside = (len % BLOCK) as usize;
            if let Some(rest) = self
                .blocks
                .get_mut(&(len / BLOCK))
                .and_then(|block| block.get_mut(inside..))
            {
                rest.fill(0);
            }
        }
        self.len = len;
        self.steps.push(Step::SetLen(len));
    }

    /// What the disk has there, and zeros beyond what counts of it.
    fn read_disk(&self, disk: &dyn Disk, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let there = self.visible.saturating_sub(offset).min(into.len() as u64) as usize;
        let (found, beyond) = into.split_at_mut(there);
        beyond.fill(0);
        if found.is_empty() {
            Ok(())
        } else {
            disk.read(offset, found)
        }
    }
}
