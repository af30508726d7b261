//! What a disk can do to a queue: torn and flipped bytes, no space left. A clear error, never a panic, and what was accepted
//! before stays readable.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use consumer_group::codec::Bytes;
use consumer_group::durable::DurableQueue;
use consumer_group::durable::format::{self, JobParts, Mark, read_chunk};
use consumer_group::{Delivery, Group, Job, SendErrorKind};
use proptest::prelude::*;

use crate::common::idle;

type Queue = DurableQueue<Vec<u8>>;

fn open(path: &Path) -> Queue {
    DurableQueue::at(path, Bytes).open().unwrap()
}

/// A file with jobs of every kind.
fn filled(path: &Path) {
    actix::System::new().block_on(async {
        let queue = open(path);
        let group = idle(&queue);
        let jobs = (0..200_u32).map(|number| {
            let job = Job::new(number.to_be_bytes().repeat(20));
            match number % 5 {
                0 => job.delay(Duration::from_secs(3_600)).key("a key"),
                1 => job.dedup(u64::from(number)),
                2 => job.priority(7).expires_after(Duration::from_secs(3_600)),
                _ => job,
            }
        });
        group.producer().send_batch(jobs).await.unwrap();
        group.stop().await;
    });
    closed(path);
}

/// Waits until the thread of the queue has let go of the file: it holds a lock on it until everything is written.
fn closed(path: &Path) {
    let file = fs::File::open(path).unwrap();
    while file.try_lock().is_err() {
        std::thread::yield_now();
    }
}

/// Opens the file and does whatever can be done. Gives how many jobs came out and how many are dead letters.
fn use_it(path: &Path) -> Result<(usize, usize), String> {
    let queue: Queue = DurableQueue::at(path, Bytes)
        .open()
        .map_err(|error| format!("{error:?}"))?;
    let counts = queue.counts();
    actix::System::new().block_on(async {
        let group = Group::<Vec<u8>, ()>::builder()
            .queue(queue.clone())
            .consume_with(2, async |_: &Delivery<Vec<u8>>| Ok(()))
            .start()
            .unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(300), async {
            while queue.counts().ready + queue.counts().leased > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        group.stop().await;
    });
    Ok((counts.unfinished(), queue.counts().dead))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same function as the fuzz target, on anything.
    #[test]
    fn nothing_that_is_read_as_a_record_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        format::read_as_everything(&bytes);
    }

    /// And on true records with a few bytes changed and the end cut off.
    #[test]
    fn nothing_that_was_a_record_panics(
        which in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let corpus = corpus();
        let mut bytes = corpus[which.index(corpus.len())].clone();
        for (place, change) in &flips {
            let length = bytes.len();
            bytes[place.index(length)] ^= change;
        }
        format::read_as_everything(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        format::read_as_everything(&bytes);
    }
}

/// True records: the same files with which the fuzzer begins.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/records");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 6, "a record of every kind");
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn a_record_of_every_kind_is_in_the_corpus_and_can_be_read() {
    let corpus = corpus();
    let some = |reads: fn(&[u8]) -> bool| corpus.iter().any(|bytes| reads(bytes));
    assert!(some(|bytes| read_chunk(bytes).is_ok()));
    assert!(some(|bytes| Mark::read(bytes).is_ok()));
    assert!(some(
        |bytes| format::Single::read(bytes).is_ok_and(|single| JobParts::read(single.job).is_ok())
    ));
    assert!(some(|bytes| format::Dead::read(bytes).is_ok()));
    assert!(some(|bytes| format::Accepted::read(bytes).is_ok()));
}

#[test]
fn flipped_and_missing_bytes_are_told_and_nothing_panics() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    filled(&whole);
    let bytes = fs::read(&whole).unwrap();
    let mut random = 1_u64;
    let (mut opened, mut refused) = (0, 0);
    for round in 0..60_usize {
        let mut bytes = bytes.clone();
        for _ in 0..=round % 8 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = (random >> 20) as usize % bytes.len();
            bytes[place] ^= (random >> 11) as u8 | 1;
        }
        if round % 6 == 5 {
            bytes.truncate((random >> 9) as usize % bytes.len());
        }
        let path = folder.path().join(format!("round-{round}"));
        fs::write(&path, bytes).unwrap();
        match use_it(&path) {
            Ok(_) => opened += 1,
            Err(error) => {
                assert!(
                    error.contains("Damaged")
                        || error.contains("Io")
                        || error.contains("Codec")
                        || error.contains("Format"),
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn a_flipped_payload_byte_costs_one_job_and_not_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    actix::System::new().block_on(async {
        let queue = open(&path);
        let group = idle(&queue);
        let jobs = (0..50_u8).map(|number| format!("payload number {number:03}").into_bytes());
        group.producer().send_batch(jobs).await.unwrap();
        group.stop().await;
    });
    closed(&path);
    let mut bytes = fs::read(&path).unwrap();
    let wanted = b"payload number 025";
    let mut changed = 0;
    for place in 0..bytes.len() - wanted.len() {
        if bytes[place..].starts_with(wanted) {
            bytes[place + 3] ^= 0x10;
            changed += 1;
        }
    }
    assert!(changed >= 1);
    fs::write(&path, bytes).unwrap();
    match use_it(&path) {
        Ok(found) => assert_eq!(found, (50, 1), "50 were there, one of them became a dead letter"),
        // The engine may see it first: then the file is refused as damaged, and nothing is touched.
        Err(error) => assert!(error.contains("Damaged"), "{error}"),
    }
}

/// The process that fills its disk. Runs only as a child of the next test, under a limit of the size of its files.
#[test]
#[ignore = "run by a_full_disk_refuses_jobs_and_keeps_what_it_has"]
fn child_with_a_full_disk() {
    let Some(path) = std::env::var_os("DURABLE_FULL_DISK") else {
        return;
    };
    let path = Path::new(&path);
    actix::System::new().block_on(async {
        let queue = open(path);
        let group = idle(&queue);
        let producer = group.producer();
        let mut accepted = 0_usize;
        let reason = loop {
            match producer.send_batch((0..100).map(|_| vec![7; 1_000])).await {
                Ok(jobs) => accepted += jobs.len(),
                Err(error) => {
                    accepted += error.accepted.len();
                    assert_eq!(
                        error.refused[0].job.as_ref().unwrap().payload().len(),
                        1_000,
                        "the job comes back"
                    );
                    break error.refused[0].kind;
                }
            }
            assert!(accepted < 1_000_000, "the disk never was full");
        };
        assert!(matches!(reason, SendErrorKind::NotWritten(_)), "{reason:?}");
        assert_eq!(queue.counts().unfinished(), accepted);
        // Again and again: the group does not die of it.
        for _ in 0..20 {
            producer
                .send_batch((0..100).map(|_| vec![7; 1_000]))
                .await
                .unwrap_err();
        }
        assert_eq!(group.state(), consumer_group::GroupState::Paused);
        println!("accepted {accepted}");
    });
}

#[cfg(unix)]
#[test]
fn a_full_disk_refuses_jobs_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    // No file larger than 8,000 blocks of 512 bytes (or of 1,024, as the shell counts), and an error instead of a signal.
    let child = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 8000; exec \"$0\" --ignored --exact durable_faults::child_with_a_full_disk --nocapture")
        .arg(std::env::current_exe().unwrap())
        .env("DURABLE_FULL_DISK", &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    let accepted: usize = said
        .lines()
        .find_map(|line| line.split("accepted ").nth(1)?.parse().ok())
        .expect("the child says how many were accepted");
    assert!(accepted > 0);
    let (found, dead) = use_it(&path).unwrap();
    assert_eq!((found, dead), (accepted, 0), "exactly what was accepted is there");
}
