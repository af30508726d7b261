//! The gate, as the engine wants a disk.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::pages;
use crate::durable::disk::Disk;
use crate::durable::error::{FileError, OtherFile};
use crate::durable::gate::{BIRTH, Gate};

/// The engine's way to the disk.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<Gate>);

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)?;
        pages::check(offset, out, || self.0.len())
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

/// Whether a disk has no queue yet: it is empty, or the process that made one died before it was done.
pub(super) fn is_new(disk: &dyn Disk) -> Result<bool, FileError> {
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
