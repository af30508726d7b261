//! What goes into the file of a durable queue: only what can be read again, only so many bytes, and nothing for a duplicate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::path::Path;

use consumer_group::codec::{Codec, Compact, Json};
use consumer_group::config::{Overflow, QueueConfig};
use consumer_group::durable::DurableQueue;
use consumer_group::durable::inspect::QueueFile;
use consumer_group::{Delivery, Group, Job, JobId, SendErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::common::{idle, system};

fn json<J: Serialize + DeserializeOwned + Send + Sync + 'static>(folder: &Path) -> DurableQueue<J> {
    DurableQueue::open(folder.join("jobs.queue")).unwrap()
}

#[test]
fn a_thousand_refused_duplicates_of_a_committed_job_cost_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    system(async move {
        let queue = json::<u64>(folder.path());
        let group = idle(&queue);
        let first = group.producer().send(Job::new(1).dedup("once")).await.unwrap();
        let before = queue.commits();
        for turn in 0..1_000 {
            let again = group
                .producer()
                .send(Job::new(turn).dedup("once"))
                .await
                .unwrap_err();
            assert!(matches!(again.kind, SendErrorKind::Duplicate { of } if of == first));
        }
        // Those of the group's own attach may be among them.
        assert!(
            queue.commits() - before <= 2,
            "{} commits",
            queue.commits() - before
        );
        group.stop().await;
    });
}

#[test]
fn a_duplicate_beside_new_jobs_is_refused_and_they_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    system(async move {
        let queue = json::<u64>(folder.path());
        let group = idle(&queue);
        let jobs = [1, 2, 3].map(|number| Job::new(number).dedup(number / 2));
        let refused = group.producer().send_batch(jobs).await.unwrap_err();
        assert_eq!(queue.counts().ready, 2, "{refused:?}");
        group.stop().await;
    });
}

/// Sends one payload, opens the file again and gives what is there, or why it was refused.
fn sent_and_read_again<J>(codec: impl Codec<J> + Clone, payload: J) -> Result<J, SendErrorKind>
where
    J: Clone + Debug + Send + Sync + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    let (tell, told) = std::sync::mpsc::channel();
    system(async move {
        let open = || DurableQueue::at(&path, codec.clone()).open().unwrap();
        let queue = open();
        let group = idle(&queue);
        let sent = group.producer().send(payload).await;
        group.stop().await;
        drop((group, queue));
        if let Err(refused) = sent {
            return tell.send(Err(refused.kind)).unwrap();
        }
        let queue = open();
        let (found, mut finding) = unbounded_channel();
        let group = Group::<J, ()>::builder()
            .queue(queue.clone())
            .consume_with(1, async move |delivery: &Delivery<J>| {
                found.send(delivery.job().clone()).unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        tell.send(Ok(finding.recv().await.unwrap())).unwrap();
        group.stop().await;
    });
    told.recv().unwrap()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Skips {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    before: Option<u8>,
    first: u8,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    text: String,
    last: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OtherDefault {
    #[serde(skip_serializing_if = "Option::is_none", default = "seven")]
    number: Option<u8>,
}

fn seven() -> Option<u8> {
    Some(7)
}

#[test]
fn a_payload_that_could_not_be_read_again_is_refused_and_handed_back() {
    let refused = Err(SendErrorKind::NotReadable);
    assert_eq!(sent_and_read_again(Json, f64::NAN).map(|_| ()), refused);
    assert_eq!(
        sent_and_read_again(Json, vec![1.0, f64::INFINITY]).map(|_| ()),
        refused
    );
    assert_eq!(
        sent_and_read_again(Compact, Untagged::Number(5)).map(|_| ()),
        refused
    );
    let value = serde_json::json!({ "a": [1, 2] });
    assert_eq!(sent_and_read_again(Compact, value).map(|_| ()), refused);
    for first in 0..=3 {
        let skips = Skips {
            first,
            ..Skips::default()
        };
        assert_eq!(sent_and_read_again(Compact, skips).map(|_| ()), refused);
    }
}

#[test]
fn a_payload_that_would_be_read_as_another_one_is_refused() {
    let skips = Skips {
        before: None,
        first: 1,
        text: "ab".into(),
        last: 0,
    };
    assert_eq!(
        sent_and_read_again(Compact, skips).map(|_| ()),
        Err(SendErrorKind::NotReadable)
    );
    let other = OtherDefault { number: None };
    assert_eq!(
        sent_and_read_again(Json, other).map(|_| ()),
        Err(SendErrorKind::NotReadable)
    );
}

#[test]
fn what_can_be_read_again_is_taken_and_comes_back_as_it_was() {
    fn comes_back<J>(codec: impl Codec<J> + Clone, payload: &J)
    where
        J: Clone + Debug + PartialEq + Send + Sync + 'static,
    {
        assert_eq!(sent_and_read_again(codec, payload.clone()).as_ref(), Ok(payload));
    }
    comes_back(Json, &Untagged::Text("text".into()));
    comes_back(
        Json,
        &Skips {
            first: 1,
            ..Skips::default()
        },
    );
    comes_back(Json, &serde_json::json!({ "b": 1, "a": [null, 0.1, "x"] }));
    // Numbers of which a reader that is not exact loses the last bit.
    comes_back(
        Json,
        &vec![
            0.1 + 0.2,
            5e-324,
            1.797_693_134_862_315_7e308,
            9_007_199_254_740_993.0_f64,
        ],
    );
    comes_back(Json, &vec![0.1_f32, 16_777_216.0, f32::MIN_POSITIVE]);
    // A hash map is written in another order each time.
    let map: HashMap<String, u32> = (0..100).map(|number| (number.to_string(), number)).collect();
    comes_back(Json, &map);
    comes_back(Compact, &map);
    comes_back(Json, &(0..100_u64).collect::<HashSet<_>>());
    comes_back(Compact, &Some("text".to_owned()));
}

#[test]
fn one_payload_that_cannot_be_read_again_does_not_take_its_neighbours_along() {
    let folder = tempfile::tempdir().unwrap();
    system(async move {
        let queue = json::<f64>(folder.path());
        let group = idle(&queue);
        let refused = group
            .producer()
            .send_batch([1.0, f64::NAN, 3.0])
            .await
            .unwrap_err();
        assert_eq!(refused.accepted.len(), 2);
        assert!(refused.refused[0].job.as_ref().unwrap().payload().is_nan());
        assert_eq!(refused.refused[0].kind, SendErrorKind::NotReadable);
        assert_eq!(queue.counts().ready, 2);
        group.stop().await;
    });
}

/// A later version of [`Skips`] whose programs cannot read the payloads of the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Later {
    first: u8,
    needed: u8,
}

/// The version that is put right again: what was not known before has a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mended {
    first: u8,
    #[serde(default)]
    needed: u8,
}

/// A job that became a dead letter because a later program could not read it.
async fn one_unreadable(folder: &Path) -> JobId {
    let queue = json::<Skips>(folder);
    let group = idle(&queue);
    let sent = group
        .producer()
        .send(Skips {
            first: 5,
            last: 6,
            ..Skips::default()
        })
        .await
        .unwrap();
    group.stop().await;
    drop((group, queue));

    // A program that cannot read it finds it when it leases.
    let queue = json::<Later>(folder);
    let group = Group::<Later, ()>::builder()
        .queue(queue.clone())
        .consume_with(1, async |_: &Delivery<Later>| Ok(()))
        .start()
        .unwrap();
    while queue.counts().dead == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(group.dead_letters().requeue_all().await.unwrap(), []);
    group.stop().await;
    sent
}

/// A program that can read it, and what it does.
fn mended(folder: &Path) -> (Group<Mended, ()>, UnboundedReceiver<(JobId, Mended)>) {
    let (tell, told) = unbounded_channel();
    let group = Group::builder()
        .queue(json::<Mended>(folder))
        .consume_with(1, async move |delivery: &Delivery<Mended>| {
            tell.send((delivery.id(), delivery.job().clone())).unwrap();
            Ok(())
        })
        .start()
        .unwrap();
    (group, told)
}

#[test]
fn what_an_opening_cannot_read_is_listed_with_its_bytes_and_comes_back_once_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    system(async move {
        let sent = one_unreadable(folder.path()).await;

        let unreadable = QueueFile::open(&path).unwrap().unreadable(10).unwrap();
        assert_eq!(unreadable.len(), 1);
        let letter = &unreadable[0];
        assert_eq!(letter.id, Some(sent));
        assert_eq!(letter.payload, r#"{"first":5,"last":6}"#);
        assert_eq!(letter.size, letter.payload.len());
        assert!(
            letter.reason.contains("missing field `needed`"),
            "{}",
            letter.reason
        );

        // With a program that can, a requeue brings it back.
        let (group, mut done) = mended(folder.path());
        assert_eq!(group.dead_letters().requeue_all().await.unwrap(), [sent]);
        assert_eq!(done.recv().await, Some((sent, Mended { first: 5, needed: 0 })));
        group.stop().await;
    });
}

#[test]
fn what_a_file_without_its_program_requeues_is_done_by_a_program_that_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    system(async move {
        let sent = one_unreadable(folder.path()).await;
        // As `queue requeue --all` does: it knows no payload and no codec.
        let mut file = QueueFile::open(&path).unwrap();
        assert_eq!(file.requeue(None).unwrap(), [sent]);
        assert_eq!(file.summary().unwrap().dead, 0);
        drop(file);
        let (group, mut done) = mended(folder.path());
        assert_eq!(done.recv().await, Some((sent, Mended { first: 5, needed: 0 })));
        group.stop().await;
    });
}

/// A queue for payloads of text that takes 10,000 bytes.
fn narrow(folder: &Path, overflow: Overflow) -> DurableQueue<String> {
    DurableQueue::at(folder.join("jobs.queue"), Json)
        .config(QueueConfig {
            overflow,
            ..QueueConfig::default()
        })
        .capacity_bytes(10_000)
        .open()
        .unwrap()
}

/// Nearly a thousand bytes with everything that is written beside it.
fn text() -> String {
    "x".repeat(950)
}

#[test]
fn past_its_capacity_in_bytes_a_queue_refuses_drops_the_new_or_drops_the_old() {
    for (overflow, ready, dead) in [
        (Overflow::Reject, 10, 0),
        (Overflow::DropNewest, 10, 5),
        (Overflow::DropOldest, 10, 5),
    ] {
        let folder = tempfile::tempdir().unwrap();
        system(async move {
            let queue = narrow(folder.path(), overflow);
            let group = idle(&queue);
            let mut refused = 0;
            for _ in 0..15 {
                if let Err(error) = group.producer().send(text()).await {
                    assert_eq!(error.kind, SendErrorKind::Full);
                    assert_eq!(error.job, Some(Job::new(text())));
                    refused += 1;
                }
            }
            let counts = queue.counts();
            assert_eq!(
                (counts.ready, counts.dead, refused),
                (ready, dead, 5 - dead),
                "{overflow:?}"
            );
            group.stop().await;
            drop((group, queue));
            // The next opening counts the same.
            let queue = narrow(folder.path(), Overflow::Reject);
            let group = idle(&queue);
            assert_eq!(
                group.producer().send(text()).await.unwrap_err().kind,
                SendErrorKind::Full
            );
            group.stop().await;
        });
    }
}

#[test]
fn past_its_capacity_in_bytes_senders_wait_and_every_job_is_done_in_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    system(async move {
        let queue = narrow(folder.path(), Overflow::Wait);
        let (tell, mut told) = unbounded_channel();
        let group = Group::<String, ()>::builder()
            .configure(|config| config.window.max = 1)
            .queue(queue.clone())
            .consume_with(1, async move |delivery: &Delivery<String>| {
                let number: u32 = delivery.job().trim_end_matches('x').parse()?;
                tell.send(number).unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        group.pause();
        // One batch of five times the capacity, and a duplicate that is refused in the middle of it.
        let jobs = (0..50_u32).map(|number| {
            let job = Job::new(format!("{number}{}", text()));
            if number == 3 || number == 33 {
                job.dedup("once")
            } else {
                job
            }
        });
        let producer = group.producer();
        let jobs: Vec<_> = jobs.collect();
        let sending = actix::spawn(async move { producer.send_batch(jobs).await });
        while queue.counts().ready < 10 {
            tokio::task::yield_now().await;
        }
        // As long as nothing is done, no more is taken.
        group.dead_letters().purge_all().await.unwrap();
        assert_eq!(queue.counts().ready, 10);
        assert!(!sending.is_finished());
        group.resume();
        let refused = sending.await.unwrap().unwrap_err();
        assert_eq!(refused.accepted.len(), 49);
        assert_eq!(refused.refused.len(), 1);
        assert!(
            refused.refused[0]
                .job
                .as_ref()
                .is_some_and(|job| job.payload().starts_with("33"))
        );
        assert!(matches!(refused.refused[0].kind, SendErrorKind::Duplicate { .. }));
        for number in (0..50).filter(|number| *number != 33) {
            assert_eq!(told.recv().await, Some(number));
        }
        group.stop().await;
    });
}

#[test]
fn a_job_that_is_larger_than_the_whole_capacity_is_handed_back_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    system(async move {
        let queue = narrow(folder.path(), Overflow::Wait);
        let group = idle(&queue);
        let refused = group.producer().send("x".repeat(10_001)).await.unwrap_err();
        assert_eq!(refused.kind, SendErrorKind::Full);
        group.producer().send(text()).await.unwrap();
        group.stop().await;
    });
}
