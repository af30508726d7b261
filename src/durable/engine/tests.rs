//! The engine on a disk that fails, and on one that stops at any moment.

use std::io;
use std::sync::{Arc, Mutex};

use super::{Change, Engine, Table};
use crate::durable::disk::{Disk, Purpose};
use crate::durable::error::FileError;
use crate::durable::owner::Owner;

/// A disk in memory. Everything that is written is remembered step by step; from the step `fails_from` on, `failures` steps
/// fail, the first of them half done.
#[derive(Debug, Default)]
struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// What the disk held after each step.
    states: Vec<Vec<u8>>,
    steps: usize,
    fails_from: usize,
    failures: usize,
}

impl Memory {
    fn holding(bytes: Vec<u8>) -> Arc<Self> {
        let inner = Inner {
            bytes,
            ..Inner::default()
        };
        Arc::new(Self(Mutex::new(inner)))
    }

    fn fail(&self, from: usize, failures: usize) {
        let mut inner = self.0.lock().unwrap();
        (inner.steps, inner.fails_from, inner.failures) = (0, from, failures);
    }

    fn step(&self, work: impl FnOnce(&mut Vec<u8>, bool)) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let (step, from) = (inner.steps, inner.fails_from);
        inner.steps += 1;
        let fails = inner.failures > 0 && step >= from;
        work(&mut inner.bytes, fails);
        let now = inner.bytes.clone();
        inner.states.push(now);
        if fails {
            inner.failures -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let inner = self.0.lock().unwrap();
        let from = offset as usize;
        let found = inner.bytes.get(from..from + into.len());
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.step(|disk, fails| {
            let bytes = if fails { &bytes[..bytes.len() / 2] } else { bytes };
            let (from, to) = (offset as usize, offset as usize + bytes.len());
            if disk.len() < to {
                disk.resize(to, 0);
            }
            disk[from..to].copy_from_slice(bytes);
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(|disk, fails| {
            if !fails {
                disk.resize(len as usize, 0);
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.step(|_, _| {})
    }

    fn is_in_place(&self) -> bool {
        true
    }

    fn sync_name(&self) -> io::Result<()> {
        Ok(())
    }
}

fn open(disk: &Arc<Memory>, purpose: Purpose) -> Result<Engine, FileError> {
    open_with(disk, 1 << 20, purpose)
}

fn open_with(disk: &Arc<Memory>, cache: usize, purpose: Purpose) -> Result<Engine, FileError> {
    Engine::on(Arc::clone(disk) as Arc<dyn Disk>, cache, purpose, Owner::of(None))
}

fn put(key: u64) -> Change {
    Change::Put(Table::Singles, key, vec![key as u8; 3_000])
}

/// What makes a new file a queue.
fn birth() -> [Change; 2] {
    [Change::meta(super::Meta::Format, 2), put(0)]
}

fn keys(engine: &mut Engine) -> Vec<u64> {
    let mut keys = Vec::new();
    engine
        .each(Table::Singles, |key, value| {
            assert_eq!(value, [key as u8; 3_000]);
            keys.push(key);
        })
        .unwrap();
    keys
}

#[test]
fn a_process_that_dies_while_it_makes_a_queue_leaves_one_that_is_not_born_or_one_that_is_whole() {
    let disk = Memory::holding(Vec::new());
    open(&disk, Purpose::Queue)
        .unwrap()
        .commit(&birth(), true)
        .unwrap();
    let states = std::mem::take(&mut disk.0.lock().unwrap().states);
    assert!(states.len() > 5, "{} steps", states.len());
    let (mut unborn, mut whole) = (0, 0);
    for state in states {
        let disk = Memory::holding(state);
        let mut engine = open(&disk, Purpose::Queue).unwrap();
        if engine.is_new() {
            assert_eq!(whole, 0, "it is born once");
            unborn += 1;
            engine.commit(&birth(), true).unwrap();
        } else {
            whole += 1;
        }
        assert_eq!(keys(&mut engine), [0]);
    }
    assert!(unborn > 0 && whole > 0, "{unborn} unborn, {whole} whole");
}

#[test]
fn a_commit_that_fails_at_any_step_takes_nothing_with_it_and_the_next_one_goes_through() {
    for failures in [1, 3] {
        let mut fails_from = 0;
        loop {
            let disk = Memory::holding(Vec::new());
            let mut engine = open(&disk, Purpose::Queue).unwrap();
            engine.commit(&birth(), true).unwrap();
            engine.commit(&[put(1)], true).unwrap();
            disk.fail(fails_from, failures);
            let failed = engine.commit(&[put(2)], true).is_err();
            if !failed {
                break;
            }
            let undone = put(2).undone().unwrap();
            let again = [undone, put(3)];
            let mut tries = 0;
            while engine.commit(&again, true).is_err() {
                tries += 1;
                assert!(tries <= failures, "the disk works again");
            }
            assert_eq!(keys(&mut engine), [0, 1, 3], "step {fails_from}");
            drop(engine);
            let found = keys(&mut open(&disk, Purpose::Look).unwrap());
            assert_eq!(
                found,
                [0, 1, 3],
                "step {fails_from} of {:?} failures {failures} tries {tries}",
                disk.0.lock().unwrap().failures
            );
            fails_from += 1;
        }
        assert!(fails_from > 2, "{fails_from} steps failed");
    }
}

#[test]
fn an_owner_that_finds_the_mark_of_another_one_after_a_failure_writes_no_more() {
    let disk = Memory::holding(Vec::new());
    let mut engine = open(&disk, Purpose::Queue).unwrap();
    engine.commit(&birth(), true).unwrap();
    disk.fail(0, 1);
    engine.commit(&[put(1)], true).unwrap_err();
    // On a file system without locks, another owner comes.
    let mut other = open(&disk, Purpose::Queue).unwrap();
    other.commit(&[put(2)], true).unwrap();
    drop(other);
    let before = disk.0.lock().unwrap().bytes.clone();
    for _ in 0..3 {
        let refused = engine.commit(&[put(3)], true);
        assert!(matches!(refused, Err(FileError::TakenOver)), "{refused:?}");
    }
    drop(engine);
    assert!(disk.0.lock().unwrap().bytes == before, "it has written");
}

#[test]
fn looking_writes_nothing() {
    let disk = Memory::holding(Vec::new());
    let mut engine = open(&disk, Purpose::Queue).unwrap();
    engine.commit(&birth(), true).unwrap();
    // As after a crash: nobody closed it.
    let crashed = Memory::holding(disk.0.lock().unwrap().bytes.clone());
    let mut look = open(&crashed, Purpose::Look).unwrap();
    assert_eq!(keys(&mut look), [0]);
    drop(look);
    assert_eq!(crashed.0.lock().unwrap().steps, 0);
}

/// Records, so many that the file has branches.
const RECORDS: u64 = 20;

/// A file with that many.
fn branched() -> Arc<Memory> {
    let disk = Memory::holding(Vec::new());
    let changes: Vec<_> = birth().into_iter().chain((1..RECORDS).map(put)).collect();
    open(&disk, Purpose::Queue)
        .unwrap()
        .commit(&changes, true)
        .unwrap();
    disk
}

/// The last bytes of whatever may be the number of a page, in all pages that lead to others.
fn ends_of_numbers(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.chunks(4_096).enumerate().flat_map(|(number, page)| {
        let names_tables = page[0] == 1 && page.windows(6).any(|part| part == b"chunks");
        // In those numbers stand at every place, in the others at each eighth.
        let step = if names_tables { 1 } else { 8 };
        let leads = number == 0 || page[0] == 2 || names_tables;
        let used = page.iter().rposition(|byte| *byte != 0).filter(|_| leads);
        let numbers = (step - 1..=used.unwrap_or(0)).step_by(step);
        // Of a small number the upper bytes are zeros.
        numbers
            .filter(|place| page[*place] == 0)
            .map(move |place| 4_096 * number + place)
    })
}

#[test]
fn a_flipped_bit_in_the_number_of_a_page_asks_for_no_memory_that_is_not_there() {
    let whole = branched().0.lock().unwrap().bytes.clone();
    let (mut tried, mut damaged) = (0, 0);
    for place in ends_of_numbers(&whole) {
        let mut bytes = whole.clone();
        // The upper bits say how large a page is.
        bytes[place] ^= 0b1100_0000;
        let mut keys = 0;
        let read = open_with(&Memory::holding(bytes), 0, Purpose::Look)
            .and_then(|mut engine| engine.each(Table::Singles, |_, _| keys += 1));
        assert!(read.is_err() || keys == RECORDS, "byte {place}: {keys} records");
        tried += 1;
        damaged += usize::from(read.is_err());
    }
    assert!(damaged > 30, "{damaged} of {tried} places were damage");
}

#[test]
fn a_table_that_a_flipped_byte_hides_is_damage_and_no_new_one_is_made_in_its_place() {
    for table in Table::ALL {
        let disk = branched();
        let mut engine = open_with(&disk, 0, Purpose::Queue).unwrap();
        let one = |key| [Change::Put(table, key, vec![1])];
        engine.commit(&one(1 << 20), true).unwrap();
        let mut inner = disk.0.lock().unwrap();
        let name = table.name().as_bytes();
        for place in 0..inner.bytes.len() - name.len() {
            if inner.bytes[place..].starts_with(name) {
                inner.bytes[place] ^= 1;
            }
        }
        drop(inner);
        let hidden = engine.commit(&one(1 << 21), true);
        let is_told = matches!(hidden, Err(FileError::Damaged { .. }));
        assert!(is_told, "{table:?}: {hidden:?}");
    }
}
