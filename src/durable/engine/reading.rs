//! What is read out of the file: a record, or all of a table.

use redb::{ReadableDatabase as _, ReadableTableMetadata as _};

use super::guard::{Kept, contradiction, meaning};
use super::{Engine, Table};
use crate::durable::error::FileError;

impl Engine {
    /// One record.
    pub(in crate::durable) fn get(&mut self, table: Table, key: u64) -> Result<Option<Vec<u8>>, FileError> {
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
    pub(in crate::durable) fn each(
        &mut self,
        table: Table,
        mut see: impl FnMut(u64, &[u8]),
    ) -> Result<(), FileError> {
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

    /// The records of a table from a key on, in the order of the keys, as long as `see` wants more.
    pub(in crate::durable) fn each_from(
        &mut self,
        table: Table,
        from: u64,
        mut see: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), FileError> {
        if self.is_new {
            return Ok(());
        }
        self.work(|database| {
            let mut reading = Kept::new(database.begin_read().map_err(meaning)?);
            let table = reading.get()?.open_table(table.definition()).map_err(meaning)?;
            let mut table = Kept::new(table);
            let mut records = Kept::new(table.get()?.range(from..).map_err(meaning)?);
            while let Some(record) = records.get()?.next() {
                let (key, value) = record.map_err(meaning)?;
                if !see(key.value(), value.value()) {
                    break;
                }
            }
            Ok(())
        })
    }
}
