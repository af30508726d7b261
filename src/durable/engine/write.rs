//! One commit: its changes, the count of the records, and whether it is flushed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use redb::{Database, Durability, ReadableDatabase as _, ReadableTableMetadata as _};

use super::guard::{Kept, contradiction, meaning};
use super::table::{Change, Table};
use crate::durable::error::FileError;

/// Makes all changes or none. A new queue gets all its tables. `lengths` are the counts of the records as they should be, and
/// become those afterwards.
pub(super) fn write<'c>(
    database: &mut Database,
    changes: impl IntoIterator<Item = &'c Change>,
    flush: bool,
    is_new: bool,
    lengths: &mut BTreeMap<Table, u64>,
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
                    let mut table = Kept::new(table);
                    // A damaged page can hide a table, and then the engine has just made an empty one.
                    if Some(&table.get()?.len().map_err(meaning)?) != lengths.get(name) {
                        return Err(contradiction());
                    }
                    place.insert(table)
                }
            };
            let length = lengths.entry(*name).or_default();
            match change {
                Change::Put(_, key, value) => {
                    let before = table.get()?.insert(key, value.as_slice()).map_err(meaning)?;
                    *length += u64::from(before.is_none());
                }
                Change::Delete(_, key) => {
                    let before = table.get()?.remove(key).map_err(meaning)?;
                    *length = length.saturating_sub(u64::from(before.is_some()));
                }
            }
        }
    }
    writing.take()?.commit().map_err(meaning)
}

/// How many records each table has.
pub(super) fn lengths(database: &mut Database) -> Result<BTreeMap<Table, u64>, FileError> {
    let mut reading = Kept::new(database.begin_read().map_err(meaning)?);
    let mut lengths = BTreeMap::new();
    for name in Table::ALL {
        let table = reading.get()?.open_table(name.definition()).map_err(meaning)?;
        let mut table = Kept::new(table);
        lengths.insert(name, table.get()?.len().map_err(meaning)?);
    }
    Ok(lengths)
}
