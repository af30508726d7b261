//! One commit: its changes, and whether it is flushed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use redb::{Database, Durability};

use super::guard::{Kept, meaning};
use super::table::{Change, Table};
use crate::durable::error::FileError;

/// Makes all changes or none. A new queue gets all its tables.
pub(super) fn write<'c>(
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
