//! The file of a queue in a simulation: it belongs to the world.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::error::FileError;
use crate::protocol::faults::{self, WorldDisk};

/// Whether the world of this thread has disks of its own.
pub(super) fn has_disks() -> bool {
    faults::ask(|world| world.is_virtual()) == Some(true)
}

/// A file of the world, locked as long as this lives.
#[derive(Debug)]
pub(super) struct SimulatedDisk {
    disk: Arc<dyn WorldDisk>,
    /// Whether the lock on it is somebody else's, who lends it.
    is_lent: bool,
}

impl SimulatedDisk {
    /// Opens and locks the file at this path; `None` if the world of this thread has no disks.
    pub(super) fn open(path: &Path) -> Option<Result<Self, FileError>> {
        let disk = faults::ask(|world| world.disk(path)).flatten()?;
        Some(if disk.lock() {
            Ok(Self { disk, is_lent: false })
        } else {
            Err(FileError::InUse)
        })
    }

    /// The file of somebody who has locked it.
    pub(super) fn lent(disk: Arc<dyn WorldDisk>) -> Self {
        Self { disk, is_lent: true }
    }
}

impl Drop for SimulatedDisk {
    fn drop(&mut self) {
        if !self.is_lent {
            self.disk.unlock();
        }
    }
}

impl Disk for SimulatedDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.size())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, into)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn is_in_place(&self) -> bool {
        true
    }

    fn let_go(&self) {
        self.disk.unlock();
        self.disk.lock();
    }

    fn sync_name(&self) -> io::Result<()> {
        Ok(())
    }
}
