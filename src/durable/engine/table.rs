//! What stands in the file: tables of records by number, and changes of them.

use redb::TableDefinition;

/// The tables of the file. Keys are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::durable) enum Table {
    /// Jobs as they were accepted, many in one record. The key is the number of the first.
    Chunks,
    /// What became of the jobs of a chunk. Same key.
    Marks,
    /// Jobs in a record of their own: delayed, expiring, tried. The key is the job's number.
    Singles,
    /// Which jobs are suspects, should this process end without a word; see [`Held`](crate::durable::format::Held).
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
pub(in crate::durable) enum Meta {
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
    pub(in crate::durable) const ALL: [Self; 7] = [
        Self::Chunks,
        Self::Marks,
        Self::Singles,
        Self::Held,
        Self::Dead,
        Self::Dedup,
        Self::Meta,
    ];

    pub(super) fn definition(self) -> TableDefinition<'static, u64, &'static [u8]> {
        TableDefinition::new(self.name())
    }

    /// As it stands in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chunks => "chunks",
            Self::Marks => "marks",
            Self::Singles => "singles",
            Self::Held => "held",
            Self::Dead => "dead",
            Self::Dedup => "dedup",
            Self::Meta => "meta",
        }
    }
}

/// One change of the file.
#[derive(Debug, Clone)]
pub(in crate::durable) enum Change {
    Put(Table, u64, Vec<u8>),
    Delete(Table, u64),
}

impl Change {
    /// What takes a new record away again.
    pub(in crate::durable) fn undone(&self) -> Option<Self> {
        match self {
            Self::Put(table, key, _) => Some(Self::Delete(*table, *key)),
            Self::Delete(..) => None,
        }
    }

    pub(in crate::durable) fn meta(key: Meta, value: u64) -> Self {
        Self::Put(Table::Meta, key as u64, value.to_le_bytes().to_vec())
    }
}
