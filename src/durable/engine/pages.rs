//! Numbers of pages, as they come from the disk.
//!
//! A number of a page says how large the page is. redb makes room for a page before it reads it, and it compares checksums only
//! after a crash: one flipped bit in a number asks for terabytes, and a process that gets no memory is ended. So each number is
//! looked at before redb sees it: no page is larger than the file.

use std::io;

/// The first byte of a page: records, or the tables themselves.
const LEAF: u8 = 1;

/// The first byte of a page of a tree that leads to other pages.
const BRANCH: u8 = 2;

/// The bytes of a page of order 0; each further order is twice as large.
const PAGE: u64 = 4_096;

/// Pages of a lower order are no danger to anybody's memory, and the length of the file need not be asked for: 4 MiB.
const LARGE: u32 = 10;

/// Where the two commit slots of the head have the roots of their trees, and the byte that says whether there is one.
const HEAD_ROOTS: [(usize, usize); 4] = [
    (SLOT + 1, SLOT + 8),
    (SLOT + 2, SLOT + 40),
    (2 * SLOT + 65, 2 * SLOT + 72),
    (2 * SLOT + 66, 2 * SLOT + 104),
];
const SLOT: usize = 64;

/// Refuses what was read at this place if it leads to a page that is larger than the file, whose length `len` gives.
pub(super) fn check(offset: u64, bytes: &[u8], len: impl Fn() -> io::Result<u64>) -> io::Result<()> {
    let order = match bytes.first() {
        _ if offset == 0 => of_head(bytes),
        Some(&BRANCH) => of_branch(bytes),
        Some(&LEAF) => of_tables(bytes).unwrap_or(0),
        _ => 0,
    };
    if order >= LARGE && PAGE << order > len()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a page leads to one that is larger than the file",
        ));
    }
    Ok(())
}

/// The largest order in the head of the file.
fn of_head(bytes: &[u8]) -> u32 {
    let roots = HEAD_ROOTS.iter().filter_map(|(has_one, root)| {
        let has_one = bytes.get(*has_one).is_some_and(|has_one| *has_one != 0);
        has_one.then(|| order(bytes, *root)).flatten()
    });
    roots.max().unwrap_or(0)
}

/// The largest order among the pages to which a branch leads.
fn of_branch(bytes: &[u8]) -> u32 {
    let Some(keys) = number_16(bytes, 2) else { return 0 };
    let children = keys + 1;
    let first = 8 + 16 * children;
    let orders = (0..children).map_while(|child| order(bytes, first + 8 * child));
    orders.max().unwrap_or(0)
}

/// The largest order among the roots of the tables, if this page says where the tables are. Other leaves hold what the queue
/// wrote; that one looks like this one cannot be: its numbers would have to be the ends of names and of definitions.
fn of_tables(bytes: &[u8]) -> Option<u32> {
    let tables = number_16(bytes, 2)?;
    let end = |place: usize| number_32(bytes, 4 + 4 * place);
    let mut begin = end(tables.checked_sub(1)?)?;
    let mut largest = 0;
    for table in tables..2 * tables {
        let end = end(table)?;
        let definition = bytes.get(begin..end)?;
        largest = largest.max(of_definition(definition)?);
        begin = end;
    }
    Some(largest)
}

/// Of one table: its kind, its length, its root, the sizes of keys and values, their alignments, and the names of their types.
fn of_definition(definition: &[u8]) -> Option<u32> {
    let is_flag = |place: usize| definition.get(place).is_some_and(|flag| *flag <= 1);
    let is_one = definition.first() == Some(&3)
        && [9, 42, 47].into_iter().all(is_flag)
        && [52, 56]
            .into_iter()
            .all(|place| number_32(definition, place) == Some(1))
        && number_32(definition, 60)? <= definition.len() - 64;
    match definition.get(9) {
        Some(1) if is_one => order(definition, 10),
        _ => is_one.then_some(0),
    }
}

/// The order of the page whose number stands there.
fn order(bytes: &[u8], place: usize) -> Option<u32> {
    // The order is in the upper five bits of eight bytes.
    bytes.get(place + 7).map(|byte| u32::from(byte >> 3))
}

fn number_16(bytes: &[u8], place: usize) -> Option<usize> {
    let found = bytes.get(place..place + 2)?.try_into().ok()?;
    Some(u16::from_le_bytes(found).into())
}

fn number_32(bytes: &[u8], place: usize) -> Option<usize> {
    let found = bytes.get(place..place + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(found) as usize)
}
