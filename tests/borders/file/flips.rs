//! One byte that flipped: an error or a queue, never a panic in the caller, never the end of the process, never a hang, and no
//! job that is gone without a word.
//!
//! Each test flips in a process of its own, because it is the end of a process that must not come. That process says each
//! place before it tries it, so a failure names the place.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use consumer_group::codec::Bytes;
use consumer_group::durable::DurableQueue;
use consumer_group::durable::inspect::QueueFile;
use consumer_group::{Delivery, Failure, Group, Job};

use super::place;
use crate::child::{self, Other};
use crate::common::{system, within};
use crate::texts::says_its_causes;

type Queue = DurableQueue<Vec<u8>>;

/// Jobs in the file of these tests, the dead letter among them.
const JOBS: usize = 120;

/// The bytes at the front that say where everything else is.
const HEAD: usize = 320;

fn group(queue: &Queue) -> Group<Vec<u8>, ()> {
    Group::builder()
        .queue(queue.clone())
        .consume_with(2, async |delivery: &Delivery<Vec<u8>>| {
            match delivery.job().first() {
                Some(0) => Err(Failure::reject("it is broken")),
                _ => Ok(()),
            }
        })
        .start()
        .unwrap()
}

/// A file with jobs of every kind.
fn filled(path: &Path) {
    system(async {
        let queue: Queue = DurableQueue::at(path, Bytes).open().unwrap();
        let group = group(&queue);
        group.producer().send(vec![0; 40]).await.unwrap();
        within("the first is a dead letter", async {
            while queue.counts().dead < 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        group.pause();
        for number in 1..JOBS as u8 {
            let job = Job::new(vec![number; 40]);
            let job = match number % 6 {
                0 => job.delay(Duration::from_secs(3_600)).key("a key"),
                1 => job.dedup(u64::from(number)),
                2 => job.priority(7).expires_after(Duration::from_secs(3_600)),
                _ => job,
            };
            group.producer().send(job).await.unwrap();
        }
        group.stop().await;
    });
    // Each waits for the one before.
    for _ in 0..2 {
        drop(DurableQueue::<Vec<u8>>::at(path, Bytes).open().unwrap());
    }
}

/// What became of a file with a flipped byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Refused,
    Whole,
    /// Some jobs are dead letters now, with the reason.
    Told,
}

/// Looks into the file, opens it, and takes everything out of it that can be leased.
fn open_and_empty(path: &Path, at_least: usize) -> Met {
    if let Ok(mut file) = QueueFile::open(path) {
        // Whether they succeed is nothing to this test: they return.
        let _ = (file.summary(), file.dead(1_000));
    }
    let queue = match DurableQueue::<Vec<u8>>::at(path, Bytes).cache(0).open() {
        Ok(queue) => queue,
        Err(error) => {
            says_its_causes(&error);
            return Met::Refused;
        }
    };
    let counts = queue.counts();
    assert!(counts.unfinished() + counts.dead >= at_least, "{counts:?}");
    system(async {
        let group = group(&queue);
        until_empty_or_failing(&queue).await;
        group.stop().await;
    });
    if queue.counts().dead > 1 {
        Met::Told
    } else {
        Met::Whole
    }
}

async fn until_empty_or_failing(queue: &Queue) {
    within("the queue is empty or says why it cannot go on", async {
        while queue.counts().ready + queue.counts().leased > 0 && queue.write_failure().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Every place of the head by threes, the rest of the file by a prime.
fn places(len: usize) -> impl Iterator<Item = usize> {
    let step = std::env::var("FLIP_STEP").map_or(997, |step| step.parse().unwrap());
    (0..HEAD).step_by(3).chain((HEAD..len).step_by(step))
}

const AT_REST: &str = "file::flips::a_byte_that_flipped_while_the_file_was_closed_is_an_error_or_a_queue";

#[test]
fn a_byte_that_flipped_while_the_file_was_closed_is_an_error_or_a_queue() {
    if let Some(path) = child::part("flips") {
        let whole = fs::read(&path).unwrap();
        let mut seen = [0; 3];
        for place in places(whole.len()) {
            let flipped = path.with_extension(format!("{place}"));
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            fs::write(&flipped, bytes).unwrap();
            child::say("place", place);
            seen[open_and_empty(&flipped, JOBS) as usize] += 1;
            // The queue may still be closing it.
            fs::remove_file(&flipped).unwrap();
        }
        child::say("seen", format!("{seen:?}"));
        return;
    }
    let (_folder, path) = place();
    filled(&path);
    let mut other = Other::start(AT_REST, "flips", &path, None);
    let seen = other.says("seen");
    assert!(
        !seen.contains("[0, ") && !seen.contains(", 0, "),
        "some are refused, some are whole: {seen}"
    );
    other.ends_well();
}

const IN_USE: &str = "file::flips::a_byte_that_flips_while_the_file_is_open_is_an_error_or_a_queue";

#[test]
fn a_byte_that_flips_while_the_file_is_open_is_an_error_or_a_queue() {
    if let Some(path) = child::part("flips") {
        let seed = std::env::var("FLIP_SEED")
            .map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
        child::say("place", format!("the seed is {seed}"));
        let whole = fs::read(&path).unwrap();
        let mut random = seed;
        for round in 0..40 {
            let flipped = path.with_extension(format!("{round}"));
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = (random >> 24) as usize % whole.len();
            fs::write(&flipped, &whole).unwrap();
            child::say("place", place);
            let accepted = flip_in_use(&flipped, place as u64, 1 << (random >> 61));
            open_and_empty(&flipped, accepted);
            fs::remove_file(&flipped).unwrap();
        }
        child::say("seen", "all");
        return;
    }
    let (_folder, path) = place();
    filled(&path);
    let mut other = Other::start(IN_USE, "flips", &path, None);
    other.says("seen");
    other.ends_well();
}

/// An owner whose file changes under it. Gives how many jobs are to be found afterwards, if the file can be opened.
fn flip_in_use(path: &Path, place: u64, mask: u8) -> usize {
    let mut expected = 0;
    system(async {
        // Without a cache the owner meets what is on the disk.
        let queue: Queue = DurableQueue::at(path, Bytes).cache(0).open().unwrap();
        let group = group(&queue);
        group.pause();
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(place)).unwrap();
        if file.read_exact(&mut byte).is_ok() {
            file.seek(SeekFrom::Start(place)).unwrap();
            file.write_all(&[byte[0] ^ mask]).unwrap();
        }
        let mut accepted = 0;
        for number in 1..=5 {
            match group.producer().send(vec![number; 40]).await {
                Ok(_) => accepted += 1,
                Err(error) => assert_eq!(error.job, Some(vec![number; 40].into()), "the job comes back"),
            }
        }
        if place.is_multiple_of(2) {
            group.resume();
            until_empty_or_failing(&queue).await;
        } else {
            expected = JOBS + accepted;
        }
        group.stop().await;
    });
    expected
}
