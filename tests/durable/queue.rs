//! The queue on disk: the promises of every queue, and those that only a disk can keep.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consumer_group::codec::{Bytes, Compact};
use consumer_group::config::{Overflow, QueueConfig};
use consumer_group::durable::inspect::QueueFile;
use consumer_group::durable::{Durability, DurableQueue, FileError, OpenErrorReason};
use consumer_group::testing::conformance::{self, QueueTraits};
use consumer_group::{DeadReason, Delivery, Failure, Group, Job, SendErrorKind};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::common::idle;

/// A folder for one queue. It goes with the test.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("jobs.queue")
    }

    fn open(&self) -> DurableQueue<u64> {
        DurableQueue::open(self.path()).unwrap()
    }

    /// The file as another process would find it if this one died now.
    fn after_a_crash(&self) -> Self {
        let copy = Self::new();
        fs::copy(self.path(), copy.path()).unwrap();
        copy
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    actix::System::new().block_on(work)
}

/// A group whose single consumer tells what it gets, one delivery at a time: number and attempt.
fn telling(queue: &DurableQueue<u64>) -> (Group<u64, ()>, UnboundedReceiver<(u64, u32)>) {
    let (tell, told) = unbounded_channel();
    let group = Group::builder()
        .configure(|config| config.window.max = 1)
        .queue(queue.clone())
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            tell.send((*delivery.job(), delivery.attempt())).unwrap();
            Ok(())
        })
        .start()
        .unwrap();
    (group, told)
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work)
        .await
        .expect("it did not come within 10 s")
}

/// Waits until the queue has no unfinished job.
async fn until_empty(queue: &DurableQueue<u64>) {
    soon(async {
        while queue.counts().unfinished() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

mod promises {
    use super::*;

    /// A queue of its own in this folder, which goes with the test.
    fn fresh(folder: &Path, overflow: Overflow, durability: Durability) -> DurableQueue<u64> {
        let config = QueueConfig {
            capacity: 64,
            overflow,
            ..QueueConfig::default()
        };
        let path = tempfile::tempdir_in(folder).unwrap().keep().join("jobs.queue");
        DurableQueue::at(path, Compact)
            .config(config)
            .durability(durability)
            .open()
            .unwrap()
    }

    #[test]
    fn the_durable_queue_keeps_every_promise_of_a_queue() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_owned();
        let report = conformance::queue(move || fresh(&place, Overflow::Wait, Durability::EveryJob))
            .claims(QueueTraits::ALL)
            .real_time()
            .assert();
        // Its leases do not end by themselves, and unfinished jobs stay on disk at the end of a group.
        let not_claimed = ["an_extended_lease_goes_on", "unfinished_jobs_are_handed_out_once"];
        assert_eq!(report.not_claimed(), not_claimed, "{report}");
    }

    #[test]
    fn it_keeps_them_whatever_its_overflow_policy_and_when_it_may_lose_a_little() {
        for overflow in [Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest] {
            let relaxed = Durability::LoseUpTo(Duration::from_millis(20));
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().to_owned();
            conformance::queue(move || fresh(&place, overflow, relaxed))
                .claims(QueueTraits::ALL)
                .real_time()
                .assert();
        }
    }
}

mod restarts {
    use super::*;

    #[test]
    fn jobs_of_an_earlier_process_come_by_priority_and_in_order() {
        let place = Place::new();
        run(async {
            let queue = place.open();
            let group = idle(&queue);
            let jobs = [(1, 0), (2, 9), (3, 0), (4, 9)]
                .map(|(number, priority)| Job::new(number).priority(priority));
            group.producer().send_batch(jobs).await.unwrap();
            assert!(group.stop().await.unfinished.is_empty(), "they stay in the queue");
        });
        run(async {
            let queue = place.open();
            let (group, mut told) = telling(&queue);
            for wanted in [2, 4, 1, 3] {
                assert_eq!(soon(told.recv()).await, Some((wanted, 1)));
            }
            until_empty(&queue).await;
            group.stop().await;
        });
        assert_eq!(place.open().counts().unfinished(), 0);
    }

    #[test]
    fn delays_expiries_and_deduplication_keys_survive() {
        let place = Place::new();
        run(async {
            let queue = place.open();
            let group = idle(&queue);
            let jobs = [
                Job::new(1).delay(Duration::from_millis(400)),
                Job::new(2).expires_after(Duration::from_millis(50)),
                Job::new(3).dedup("three"),
            ];
            group.producer().send_batch(jobs).await.unwrap();
            group.stop().await;
        });
        std::thread::sleep(Duration::from_millis(60));
        let found = QueueFile::open(place.path()).unwrap().summary().unwrap();
        assert_eq!(found.keys, 1, "{found:?}");
        run(async {
            let queue = place.open();
            assert_eq!(queue.counts().dead, 1, "the second job has expired");
            assert_eq!(queue.counts().delayed, 1);
            let (group, mut told) = telling(&queue);
            let again = group
                .producer()
                .send(Job::new(4).dedup("three"))
                .await
                .unwrap_err();
            assert!(
                matches!(again.kind, SendErrorKind::Duplicate { .. }),
                "{:?}",
                again.kind
            );
            assert_eq!(soon(told.recv()).await, Some((3, 1)));
            assert_eq!(soon(told.recv()).await, Some((1, 1)));
            group.stop().await;
        });
    }

    /// A process that dies while it works on job 7, and leaves this file.
    fn dies_at_work(place: &Place) -> Place {
        run(async {
            let queue = place.open();
            let (tell, mut told) = unbounded_channel();
            let group = Group::<u64, ()>::builder()
                .queue(queue.clone())
                .consume_with(1, async move |delivery: &Delivery<u64>| {
                    tell.send(*delivery.job()).unwrap();
                    std::future::pending().await
                })
                .start()
                .unwrap();
            if queue.counts().unfinished() == 0 {
                group.producer().send(7).await.unwrap();
            }
            assert_eq!(soon(told.recv()).await, Some(7));
            place.after_a_crash()
        })
    }

    #[test]
    fn an_attempt_counts_if_it_had_begun_alone_when_the_process_died_and_not_if_it_was_only_leased() {
        let once = dies_at_work(&Place::new());
        run(async {
            let (_group, mut told) = telling(&once.open());
            assert_eq!(soon(told.recv()).await, Some((7, 1)));
        });
        let copy = dies_at_work(&dies_at_work(&Place::new()));
        run(async {
            let queue = copy.open();
            assert_eq!(queue.counts().ready, 1, "the lease of a dead process is over");
            let (group, mut told) = telling(&queue);
            assert_eq!(soon(told.recv()).await, Some((7, 2)));
            group.stop().await;
        });
    }

    #[test]
    fn a_job_that_ends_the_process_again_and_again_becomes_a_dead_letter() {
        let copy = dies_at_work(&dies_at_work(&dies_at_work(&Place::new())));
        run(async {
            let queue = copy.open();
            let group = Group::<u64, ()>::builder()
                .configure(|config| config.retry.attempts = 2)
                .queue(queue.clone())
                .consume_with(1, async |_: &Delivery<u64>| panic!("it must not be tried again"))
                .start()
                .unwrap();
            until_empty(&queue).await;
            let letters = group.dead_letters().list(10).await.unwrap();
            assert_eq!(letters[0].reason, DeadReason::Poison { attempts: 2 });
            group.stop().await;
        });
    }

    #[test]
    fn a_job_that_waits_for_its_retry_keeps_attempts_and_history() {
        let place = Place::new();
        let copy = run(async {
            let queue = place.open();
            let group = Group::<u64, ()>::builder()
                .queue(queue.clone())
                .consume_with(1, async |_: &Delivery<u64>| {
                    Err(Failure::retry_after(
                        Duration::from_millis(300),
                        "the first reason",
                    ))
                })
                .start()
                .unwrap();
            group.producer().send(1).await.unwrap();
            soon(async {
                while queue.counts().delayed == 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            // The count is that of the index; a command is answered when the disk has it.
            group.dead_letters().purge_all().await.unwrap();
            place.after_a_crash()
        });
        run(async {
            let queue = copy.open();
            let group = Group::<u64, ()>::builder()
                .queue(queue.clone())
                .consume_with(1, async |delivery: &Delivery<u64>| {
                    assert_eq!(delivery.attempt(), 2);
                    Err(Failure::reject("the second reason"))
                })
                .start()
                .unwrap();
            until_empty(&queue).await;
            group.stop().await;
        });
        run(async {
            let queue = copy.open();
            let group = idle(&queue);
            let letters = group.dead_letters().list(10).await.unwrap();
            let told = letters[0].to_string();
            assert!(
                told.contains("the first reason") && told.contains("the second reason"),
                "{told}"
            );
            assert_eq!(letters[0].history.len(), 2);
            group.stop().await;
        });
    }

    #[test]
    fn a_wall_clock_that_was_set_back_stops_nobody() {
        use consumer_group::queue::QueueSource as _;
        let place = Place::new();
        run(async {
            let queue = place.open();
            epochs::attach(&queue, u64::MAX / 2).await;
        });
        run(async {
            let queue = place.open();
            assert_eq!(queue.epoch().0, u64::MAX / 2);
            let (group, mut told) = telling(&queue);
            group.producer().send(5).await.unwrap();
            assert_eq!(soon(told.recv()).await, Some((5, 1)));
            assert!(queue.epoch().0 > u64::MAX / 2);
            group.stop().await;
        });
    }

    #[test]
    fn more_jobs_than_fit_into_memory_come_back_from_the_disk_in_order() {
        let place = Place::new();
        run(async {
            let queue: DurableQueue<Vec<u8>> = DurableQueue::at(place.path(), Bytes).open().unwrap();
            let (tell, mut told) = unbounded_channel();
            let group = Group::<Vec<u8>, ()>::builder()
                .queue(queue.clone())
                .consume_with(1, async move |delivery: &Delivery<Vec<u8>>| {
                    tell.send(delivery.job()[..4].to_vec()).unwrap();
                    Ok(())
                })
                .start()
                .unwrap();
            group.pause();
            // 50 MB, where 32 MB stay in memory.
            for from in (0..50_000_u32).step_by(1_000) {
                let jobs = (from..from + 1_000)
                    .map(|number| [&number.to_be_bytes(), [0; 1_000].as_slice()].concat());
                group.producer().send_batch(jobs).await.unwrap();
            }
            group.resume();
            for number in 0..50_000_u32 {
                assert_eq!(soon(told.recv()).await.unwrap(), number.to_be_bytes());
            }
            group.stop().await;
            // And the space is given back, once there is nothing to do.
            let size = || fs::metadata(place.path()).unwrap().len();
            let full = size();
            soon(async {
                while size() > 8 << 20 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            assert!(full > 32 << 20, "it was {full} bytes");
        });
    }
}

mod epochs {
    use consumer_group::queue::{
        Attach, Batch, Clock, DeadLetteredJobs, Epoch, Later, QueueNews, QueueSource, Released, Revoke,
    };

    use super::*;

    struct Desk;

    impl actix::Actor for Desk {
        type Context = actix::Context<Self>;
    }

    macro_rules! ignores {
        ($($message:ty),*) => {$(
            impl actix::Handler<$message> for Desk {
                type Result = ();
                fn handle(&mut self, _: $message, _: &mut Self::Context) {}
            }
        )*};
    }

    ignores!(Batch<u64>, QueueNews, DeadLetteredJobs<u64>);

    impl actix::Handler<Revoke> for Desk {
        type Result = Later<Released>;
        fn handle(&mut self, _: Revoke, _: &mut Self::Context) -> Self::Result {
            Later::now(Released::default())
        }
    }

    pub(super) async fn attach(queue: &DurableQueue<u64>, epoch: u64) {
        use actix::Actor as _;
        let (actor, desk) = (queue.create(Clock::start()).start(), Desk.start());
        let attach = Attach {
            epoch: Epoch(epoch),
            ceiling: 64,
            batches: desk.clone().recipient(),
            revoke: desk.clone().recipient(),
            tell: desk.clone().recipient(),
            dead_lettered: desk.recipient(),
        };
        actor.send(attach).await.unwrap().unwrap();
    }
}

mod payloads {
    use super::*;

    #[test]
    fn a_payload_that_no_longer_decodes_becomes_a_dead_letter_and_comes_back_to_a_program_that_can_read_it() {
        let place = Place::new();
        run(async {
            let queue: DurableQueue<String> = DurableQueue::open(place.path()).unwrap();
            let group = idle(&queue);
            group.producer().send("not a number".to_owned()).await.unwrap();
            group.producer().send("17".to_owned()).await.unwrap();
            group.stop().await;
        });
        run(async {
            let queue = place.open();
            let (group, _told) = telling(&queue);
            until_empty(&queue).await;
            assert_eq!(queue.counts().dead, 2, "neither text is a number");
            assert!(
                group.dead_letters().list(10).await.unwrap().is_empty(),
                "this program cannot read them"
            );
            group.stop().await;
        });
        run(async {
            let queue: DurableQueue<String> = DurableQueue::open(place.path()).unwrap();
            let group = idle(&queue);
            let letters = group.dead_letters().list(10).await.unwrap();
            assert_eq!(letters.len(), 2);
            assert!(
                letters[0].reason.to_string().contains("could not be read"),
                "{}",
                letters[0]
            );
            group.dead_letters().requeue_all().await.unwrap();
            assert_eq!(queue.counts().ready, 2);
            group.stop().await;
        });
    }
}

mod openings {
    use super::*;

    fn reason(path: &Path) -> OpenErrorReason {
        DurableQueue::<u64>::open(path).unwrap_err().reason
    }

    #[test]
    fn a_second_owner_gets_a_clear_error() {
        let place = Place::new();
        let _queue = place.open();
        let error = DurableQueue::<u64>::open(place.path()).unwrap_err();
        assert!(
            matches!(error.reason, OpenErrorReason::File(FileError::InUse)),
            "{error:?}"
        );
        assert!(error.to_string().contains("jobs.queue"));
    }

    #[test]
    fn a_queue_that_was_dropped_can_be_opened_again_at_once() {
        let place = Place::new();
        for _ in 0..20 {
            drop(place.open());
        }
    }

    #[test]
    fn a_missing_folder_a_folder_and_a_file_of_something_else_are_told_apart_from_queues() {
        let place = Place::new();
        let missing = reason(&place.0.path().join("missing/jobs.queue"));
        assert!(
            matches!(&missing, OpenErrorReason::File(FileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound),
            "{missing:?}"
        );
        assert!(matches!(
            reason(place.0.path()),
            OpenErrorReason::File(FileError::NotAQueue(_))
        ));
        fs::write(place.path(), "this is a text and no queue".repeat(1_000)).unwrap();
        let text = reason(&place.path());
        assert!(matches!(text, OpenErrorReason::File(_)), "{text:?}");
        assert!(
            fs::read_to_string(place.path())
                .unwrap()
                .starts_with("this is a text"),
            "it was left alone"
        );
    }

    #[test]
    fn another_codec_than_that_of_the_file_is_refused() {
        let place = Place::new();
        drop(place.open());
        let error = DurableQueue::<u64>::at(place.path(), Compact).open().unwrap_err();
        assert!(matches!(error.reason, OpenErrorReason::Codec { .. }), "{error:?}");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = Place::new();
        let _queue = place.open();
        assert_eq!(
            fs::metadata(place.path()).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
