//! The gate, as the engine wants a disk.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::pages;
use crate::durable::gate::Gate;

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
