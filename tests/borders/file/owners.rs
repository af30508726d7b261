//! One owner: the lock outlives every failure, and the owner never writes over what is not its own.

use std::fs;
use std::path::Path;

use consumer_group::codec::Bytes;
use consumer_group::durable::{DurableQueue, FileError, OpenErrorReason};
use consumer_group::events::WriteFailure;
use consumer_group::{Delivery, Group, SendErrorKind};

use super::{LONG, place};
use crate::child::{self, Other};
use crate::common::{idle, system, within};

type Queue = DurableQueue<Vec<u8>>;

fn open(path: &Path) -> Queue {
    DurableQueue::at(path, Bytes).open().unwrap()
}

/// Opens a copy of a file that is in use. One that was made while the owner wrote is torn, and is made once more.
fn copied(path: &Path, copy: &Path) -> Queue {
    for _ in 0..100 {
        fs::copy(path, copy).unwrap();
        if let Ok(queue) = DurableQueue::at(copy, Bytes).open() {
            return queue;
        }
    }
    panic!("no copy of the file was a queue");
}

async fn waited(path: &Path) -> Queue {
    DurableQueue::at(path, Bytes).open_when_free(LONG).await.unwrap()
}

fn refusal(path: &Path) -> OpenErrorReason {
    DurableQueue::<Vec<u8>>::at(path, Bytes)
        .open()
        .unwrap_err()
        .reason
}

/// Why a send is refused; the job comes back.
async fn refused(group: &Group<Vec<u8>, ()>, job: &[u8]) -> SendErrorKind {
    let error = group.producer().send(job.to_vec()).await.unwrap_err();
    assert_eq!(error.job, Some(job.to_vec().into()));
    error.kind
}

/// Sends until the queue takes jobs again.
async fn taken_again(group: &Group<Vec<u8>, ()>, job: &[u8]) {
    within("the queue takes jobs again", async {
        while group.producer().send(job.to_vec()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const DISK_FAILED: &str =
    "file::owners::after_a_failed_commit_no_other_process_gets_the_file_and_what_was_accepted_stays";

#[cfg(unix)]
#[test]
fn after_a_failed_commit_no_other_process_gets_the_file_and_what_was_accepted_stays() {
    if let Some(path) = child::part("owner") {
        return owner_whose_disk_fails(&path);
    }
    if let Some(path) = child::part("opener") {
        child::say("opener", refusal(&path));
        return;
    }
    let (_folder, path) = place();
    let mut owner = Other::start(DISK_FAILED, "owner", &path, Some(8_000));
    for round in ["first", "second"] {
        assert_eq!(owner.says("failed"), round);
        // A second process, a third one, and the command.
        assert!(matches!(refusal(&path), OpenErrorReason::File(FileError::InUse)));
        let mut opener = Other::start(DISK_FAILED, "opener", &path, None);
        assert!(opener.says("opener").contains("has it open"));
        opener.ends_well();
        #[cfg(feature = "command-line")]
        {
            let command = std::process::Command::new(env!("CARGO_BIN_EXE_consumer-group"))
                .args(["queue", "requeue", "--all"])
                .arg(&path)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&command.stderr).into_owned();
            assert!(
                !command.status.success() && said.contains("has it open"),
                "{said}"
            );
        }
        owner.go_on();
    }
    let accepted: usize = owner.says("accepted").parse().unwrap();
    owner.ends_well();
    let queue = open(&path);
    assert_eq!(
        queue.counts().unfinished(),
        accepted,
        "exactly what was accepted is there"
    );
}

/// Five jobs, then one that is too large for the disk, twice.
fn owner_whose_disk_fails(path: &Path) {
    system(async {
        let queue = open(path);
        let group = idle(&queue);
        let mut accepted = 0;
        for round in ["first", "second"] {
            for number in 0..5 {
                taken_again(&group, &[number; 100]).await;
                accepted += 1;
            }
            let reason = refused(&group, &vec![7; 20_000_000]).await;
            assert!(
                matches!(reason, SendErrorKind::NotWritten(WriteFailure::Disk(_))),
                "{reason:?}"
            );
            assert_eq!(queue.counts().unfinished(), accepted);
            child::say("failed", round);
            child::wait();
        }
        group.stop().await;
        child::say("accepted", accepted);
    });
}

#[cfg(target_os = "linux")]
const WORKS_AGAIN: &str = "file::owners::what_is_accepted_after_a_failure_of_the_disk_is_there_after_a_kill";

#[cfg(target_os = "linux")]
#[test]
fn what_is_accepted_after_a_failure_of_the_disk_is_there_after_a_kill() {
    if let Some(path) = child::part("owner") {
        return owner_whose_disk_works_again(&path);
    }
    for _ in 0..3 {
        let (_folder, path) = place();
        let mut owner = Other::start(WORKS_AGAIN, "owner", &path, Some(8_000));
        owner.says("ready");
        owner.limit(0);
        owner.go_on();
        owner.says("failed");
        owner.limit(4_000_000);
        owner.go_on();
        let accepted: usize = owner.says("accepted").parse().unwrap();
        // Killed here, without a word to its queue.
        drop(owner);
        assert_eq!(open(&path).counts().unfinished(), accepted);
    }
}

/// A job, one that the disk does not take, and one that it takes again.
#[cfg(target_os = "linux")]
fn owner_whose_disk_works_again(path: &Path) {
    system(async {
        let queue = open(path);
        let group = idle(&queue);
        taken_again(&group, b"before").await;
        child::say("ready", "");
        child::wait();
        let reason = refused(&group, b"refused").await;
        assert!(
            matches!(reason, SendErrorKind::NotWritten(WriteFailure::Disk(_))),
            "{reason:?}"
        );
        child::say("failed", "");
        child::wait();
        taken_again(&group, b"after").await;
        child::say("accepted", queue.counts().unfinished());
        child::wait();
    });
}

#[test]
fn who_waits_for_room_in_a_queue_that_cannot_write_gets_what_was_not_taken_back() {
    const SIZE: usize = 1_000;
    system(async {
        let (folder, path) = place();
        let narrow = DurableQueue::at(&path, Bytes).capacity_bytes(10 * SIZE as u64 + 500);
        let queue = narrow.open().unwrap();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let group = Group::<Vec<u8>, ()>::builder()
            .queue(queue.clone())
            .consume_with(1, async move |delivery: &Delivery<Vec<u8>>| {
                tell.send(delivery.job()[0]).unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        group.pause();
        let producer = group.producer();
        let batch = (0..20).map(|number| vec![number; SIZE]).collect::<Vec<_>>();
        let sending = actix::spawn(async move { producer.send_batch(batch).await });
        within("there is no more room", async {
            while queue.counts().ready < 10 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        // A commit that makes no room, and fails.
        let letters = group.dead_letters();
        let purging = actix::spawn(async move { letters.purge_all().await });
        let refused = within("the sender is told", sending).await.unwrap().unwrap_err();
        assert_eq!(refused.accepted.len(), 10);
        let back: Vec<_> = refused
            .refused
            .iter()
            .map(|one| one.job.as_ref().unwrap().payload()[0])
            .collect();
        assert_eq!(back, Vec::from_iter(10..20));
        let moved = SendErrorKind::NotWritten(WriteFailure::Moved);
        assert!(refused.refused.iter().all(|one| one.kind == moved));
        assert_eq!(queue.counts().unfinished(), 10);
        fs::rename(&away, &path).unwrap();
        within("it can write again", purging).await.unwrap().unwrap();
        group.resume();
        for number in 0..10 {
            assert_eq!(told.recv().await, Some(number));
        }
        // Every place is free again: in jobs and in bytes.
        let batch = (20..40).map(|number| vec![number; 10]).collect::<Vec<_>>();
        within("all are taken", group.producer().send_batch(batch))
            .await
            .unwrap();
        for number in 20..40 {
            assert_eq!(told.recv().await, Some(number));
        }
        group.stop().await;
    });
}

#[test]
fn a_file_that_was_moved_away_takes_no_jobs_and_goes_on_when_it_is_back() {
    system(async {
        let (folder, path) = place();
        let queue = open(&path);
        let group = idle(&queue);
        group.producer().send(b"one".to_vec()).await.unwrap();
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        assert_eq!(
            refused(&group, b"two").await,
            SendErrorKind::NotWritten(WriteFailure::Moved)
        );
        assert_eq!(queue.write_failure(), Some(WriteFailure::Moved));
        fs::rename(&away, &path).unwrap();
        taken_again(&group, b"three").await;
        within("the queue says that it writes again", async {
            while queue.write_failure().is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        group.stop().await;
        drop((group, queue));
        assert_eq!(waited(&path).await.counts().ready, 2);
    });
}

#[test]
fn an_owner_whose_file_was_replaced_leaves_the_other_one_alone() {
    system(async {
        let (folder, path) = place();
        let first = open(&path);
        let first_group = idle(&first);
        first_group
            .producer()
            .send(b"of the first".to_vec())
            .await
            .unwrap();
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        // Another queue in its place, and a program that looks into it.
        let second = open(&path);
        let second_group = idle(&second);
        for _ in 0..5 {
            second_group
                .producer()
                .send(b"of the second".to_vec())
                .await
                .unwrap();
            let reason = refused(&first_group, b"late").await;
            assert_eq!(reason, SendErrorKind::NotWritten(WriteFailure::Moved));
        }
        first_group.stop().await;
        second_group.stop().await;
        drop((first, first_group, second, second_group));
        assert_eq!(waited(&path).await.counts().ready, 5);
        assert_eq!(waited(&away).await.counts().ready, 1);
    });
}

#[test]
fn an_owner_whose_file_was_deleted_accepts_nothing_more() {
    system(async {
        let (_folder, path) = place();
        let queue = open(&path);
        let group = idle(&queue);
        fs::remove_file(&path).unwrap();
        assert_eq!(
            refused(&group, b"one").await,
            SendErrorKind::NotWritten(WriteFailure::Moved)
        );
        group.stop().await;
        assert!(!path.exists(), "and it does not make it again");
    });
}

#[test]
fn an_owner_writes_no_more_to_a_file_that_somebody_wrote_to_without_asking_for_the_lock() {
    system(async {
        let (folder, path) = place();
        let copy = folder.path().join("copy");
        let queue = open(&path);
        let first = idle(&queue);
        first.producer().send(b"one".to_vec()).await.unwrap();
        let other = copied(&path, &copy);
        let second = idle(&other);
        for _ in 0..3 {
            second.producer().send(b"of the other".to_vec()).await.unwrap();
        }
        second.stop().await;
        drop((second, other));
        drop(waited(&copy).await);
        // Written over in place, as `cp` does: the same file, other bytes.
        drop(waited(&copy).await);
        let bytes = fs::read(&copy).unwrap();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(
            refused(&first, b"late").await,
            SendErrorKind::NotWritten(WriteFailure::TakenOver)
        );
        assert_eq!(queue.write_failure(), Some(WriteFailure::TakenOver));
        first.stop().await;
        drop((first, queue));
        assert_eq!(waited(&path).await.counts().ready, 4, "what was written stays");
    });
}

#[cfg(unix)]
#[test]
fn a_file_that_is_open_is_in_use_under_every_name() {
    let (folder, path) = place();
    let _queue = open(&path);
    let (hard, soft) = (folder.path().join("hard"), folder.path().join("soft"));
    fs::hard_link(&path, &hard).unwrap();
    std::os::unix::fs::symlink(&path, &soft).unwrap();
    for name in [hard, soft] {
        assert!(matches!(refusal(&name), OpenErrorReason::File(FileError::InUse)));
    }
}
