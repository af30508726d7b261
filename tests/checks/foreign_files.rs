//! What is no queue is left as it is, and the errors say so in the words of the queue.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use consumer_group::codec::{Bytes, Compact};
use consumer_group::durable::inspect::QueueFile;
use consumer_group::durable::{DurableQueue, FileError, OpenErrorReason, OtherFile};
use redb::{Database, ReadableDatabase as _, TableDefinition};
use tempfile::TempDir;

use crate::common::{idle, system};

const META: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("meta");
const OTHERS: TableDefinition<'_, &str, u64> = TableDefinition::new("accounts");

/// A folder that goes with the test, and where the queue is in it.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    (folder, path)
}

/// What must not change.
fn state(path: &Path) -> (Vec<u8>, SystemTime) {
    (
        fs::read(path).unwrap(),
        fs::metadata(path).unwrap().modified().unwrap(),
    )
}

fn opened(path: &Path) -> OpenErrorReason {
    DurableQueue::<u64>::open(path).unwrap_err().reason
}

fn inspected(path: &Path) -> OpenErrorReason {
    QueueFile::open(path).unwrap_err().reason
}

fn other(reason: &OpenErrorReason) -> Option<OtherFile> {
    match reason {
        OpenErrorReason::File(FileError::NotAQueue(other)) => Some(*other),
        _ => None,
    }
}

/// The text alone says what is wrong, once, and never in the words of the engine.
fn speaks_of_the_queue(path: &Path) {
    for error in [DurableQueue::<u64>::open(path).err(), QueueFile::open(path).err()]
        .into_iter()
        .flatten()
    {
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(text.contains(&error.reason.to_string()), "{text}");
        for word in [
            "redb", "magic", "Database", "Storage", "storage", "B-tree", "btree", "page", "quick",
        ] {
            assert!(!text.contains(word), "{word:?} in: {text}");
        }
    }
}

fn queue(path: &Path) -> Vec<u64> {
    let jobs = vec![1, 2, 3];
    system(async {
        let queue: DurableQueue<u64> = DurableQueue::open(path).unwrap();
        let group = idle(&queue);
        drop(queue);
        group.producer().send_batch(jobs.clone()).await.unwrap();
        group.stop().await;
    });
    // Waits until it is closed.
    drop(QueueFile::open(path).unwrap());
    jobs
}

fn foreign_database(path: &Path) -> Database {
    let database = Database::create(path).unwrap();
    let writing = database.begin_write().unwrap();
    writing
        .open_table(OTHERS)
        .unwrap()
        .insert("an account", 7)
        .unwrap();
    writing.commit().unwrap();
    database
}

#[test]
fn files_of_something_else_are_refused_and_keep_every_byte_and_their_time() {
    let (folder, _) = place();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let closed = folder.path().join("closed");
    drop(foreign_database(&closed));
    // As a process that died has left it.
    let live = folder.path().join("live");
    let database = foreign_database(&live);
    let crashed = folder.path().join("crashed");
    fs::copy(&live, &crashed).unwrap();
    drop(database);
    for (path, expected) in [
        (
            file("text", &b"this is a text".repeat(500)),
            OtherFile::SomethingElse,
        ),
        (file("short", b"r"), OtherFile::SomethingElse),
        (
            file("sqlite", &[b"SQLite format 3\0".as_slice(), &[0; 4_080]].concat()),
            OtherFile::SomethingElse,
        ),
        (file("zeros", &[0; 1 << 20]), OtherFile::SomethingElse),
        (closed.clone(), OtherFile::OtherDatabase),
        (crashed, OtherFile::OtherDatabase),
    ] {
        let before = state(&path);
        assert_eq!(other(&opened(&path)), Some(expected), "{}", path.display());
        assert_eq!(other(&inspected(&path)), Some(expected), "{}", path.display());
        speaks_of_the_queue(&path);
        assert!(state(&path) == before, "{} has changed", path.display());
    }
    let database = Database::open(&closed).unwrap();
    let reading = database.begin_read().unwrap();
    assert_eq!(reading.list_tables().unwrap().count(), 1, "no table of ours");
}

#[test]
fn an_empty_file_is_no_queue_to_look_into_and_can_become_one() {
    let (_folder, path) = place();
    fs::write(&path, b"").unwrap();
    let before = state(&path);
    assert_eq!(other(&inspected(&path)), Some(OtherFile::Empty));
    assert!(state(&path) == before, "it has changed");
    queue(&path);
    assert_eq!(QueueFile::open(&path).unwrap().summary().unwrap().ready, 3);
}

#[cfg(unix)]
#[test]
fn folders_and_pipes_are_refused_and_nothing_waits_at_a_pipe() {
    let (folder, path) = place();
    assert_eq!(other(&opened(folder.path())), Some(OtherFile::Folder));
    assert_eq!(other(&inspected(folder.path())), Some(OtherFile::Folder));
    speaks_of_the_queue(folder.path());
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert_eq!(other(&opened(&path)), Some(OtherFile::Special));
    assert_eq!(other(&inspected(&path)), Some(OtherFile::Special));
    speaks_of_the_queue(&path);
}

#[test]
fn looking_into_a_queue_changes_nothing_even_after_a_crash() {
    let (folder, path) = place();
    let crashed = folder.path().join("crashed");
    system(async {
        let queue: DurableQueue<u64> = DurableQueue::open(&path).unwrap();
        let group = idle(&queue);
        drop(queue);
        group.producer().send_batch([1, 2, 3]).await.unwrap();
        fs::copy(&path, &crashed).unwrap();
        group.stop().await;
    });
    let before = state(&crashed);
    for _ in 0..2 {
        let mut file = QueueFile::open(&crashed).unwrap();
        assert_eq!(file.summary().unwrap().ready, 3);
        assert!(file.dead(10).unwrap().is_empty());
    }
    assert!(state(&crashed) == before, "it has changed");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_only_be_read_is_looked_into_and_no_more() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, path) = place();
    queue(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        // To root every file is writable.
        return;
    }
    assert_eq!(QueueFile::open(&path).unwrap().summary().unwrap().ready, 3);
    assert!(QueueFile::open(&path).unwrap().requeue(None).is_err());
    assert!(opened(&path).to_string().contains("writable"));
}

#[test]
fn queues_of_another_version_or_codec_keep_every_byte() {
    let (folder, path) = place();
    queue(&path);
    for version in [1_u64, 99] {
        let other = folder.path().join(format!("version-{version}"));
        fs::copy(&path, &other).unwrap();
        let database = Database::open(&other).unwrap();
        let writing = database.begin_write().unwrap();
        writing
            .open_table(META)
            .unwrap()
            .insert(0, version.to_le_bytes().as_slice())
            .unwrap();
        writing.commit().unwrap();
        drop(database);
        let before = state(&other);
        for reason in [opened(&other), inspected(&other)] {
            assert!(
                matches!(reason, OpenErrorReason::Format { found, .. } if found == version),
                "{reason:?}"
            );
        }
        speaks_of_the_queue(&other);
        assert!(state(&other) == before, "it has changed");
    }
    let before = state(&path);
    let reason = DurableQueue::<u64>::at(&path, Compact).open().unwrap_err().reason;
    assert!(matches!(reason, OpenErrorReason::Codec { .. }), "{reason:?}");
    let reason = DurableQueue::<Vec<u8>>::at(&path, Bytes)
        .open()
        .unwrap_err()
        .reason;
    assert!(matches!(reason, OpenErrorReason::Codec { .. }), "{reason:?}");
    assert!(state(&path) == before, "it has changed");
}

#[test]
fn a_missing_file_and_a_missing_folder_are_told_with_the_cure_and_not_made() {
    let (folder, path) = place();
    let text = inspected(&path).to_string();
    assert!(text.contains("must exist"), "{text}");
    let missing = folder.path().join("missing/jobs.queue");
    let text = DurableQueue::<u64>::open(&missing).unwrap_err().to_string();
    assert!(text.contains("the folder of a queue must exist"), "{text}");
    assert!(!path.exists() && !missing.exists());
}
