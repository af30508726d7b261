//! Another process in a simulation: what it does with the file of a queue when it gets it.

use std::sync::Arc;

use super::disk::Purpose;
use super::engine::{Change, Engine, Table};
use super::error::{FileError, OtherFile};
use super::owner::Owner;
use super::simulated_disk::SimulatedDisk;
use crate::protocol::faults::{Visit, WorldDisk};

/// Where the number of visits stands among the numbers about the whole. No queue looks there.
const VISITS: u64 = u64::MAX;

/// The memory that it gives to the engine.
const CACHE: usize = 1 << 20;

/// Reads everything in the file, as `inspect` does, and leaves a mark, as `requeue` does.
pub(super) fn visit(disk: Arc<dyn WorldDisk>) -> Visit {
    match look(disk) {
        Ok(found) => Visit::Left(found),
        Err(FileError::NotAQueue(OtherFile::Empty)) => Visit::NoQueue,
        Err(error) => Visit::Unreadable(error.to_string()),
    }
}

fn look(disk: Arc<dyn WorldDisk>) -> Result<u64, FileError> {
    let disk = Arc::new(SimulatedDisk::lent(disk));
    let mut engine = Engine::on(disk, CACHE, Purpose::Look, Owner::of(None))?;
    for table in Table::ALL {
        engine.each(table, |_, _| {})?;
    }
    let found = engine.get(Table::Meta, VISITS)?;
    let found = found
        .and_then(|found| found.try_into().ok())
        .map_or(0, u64::from_le_bytes);
    let mark = Change::Put(Table::Meta, VISITS, (found + 1).to_le_bytes().to_vec());
    engine.commit(&[mark], true)?;
    Ok(found)
}
