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
    Engine::on(
        Arc::clone(disk) as Arc<dyn Disk>,
        1 << 20,
        purpose,
        Owner::of(None),
    )
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
