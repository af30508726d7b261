//! The jobs of a queue at work, page by page, through the group.

use std::time::Duration;

use consumer_group::durable::DurableQueue;
use consumer_group::durable::inspect::QueueFile;
use consumer_group::queue::{JobCursor, JobQuery, JobRecord, JobState};
use consumer_group::{DeadReason, Delivery, Failure, Group, Job, JobId, LookError};

use super::common::{Gate, calm, system, within};

fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    (folder, path)
}

/// A group with one consumer that waits at a gate, fails a job of 7 and rejects one of 13.
fn group(queue: &DurableQueue<u64>, gate: &Gate) -> Group<u64, ()> {
    let gate = gate.clone();
    Group::builder()
        .queue(queue.clone())
        .consume_with(1, async move |delivery: &Delivery<u64>| match *delivery.job() {
            7 => Err(Failure::retry_after(Duration::from_secs(3_600), "later")),
            13 => Err(Failure::reject("unlucky")),
            _ => {
                gate.pass().await;
                Ok(())
            }
        })
        .configure(calm)
        .configure(|config| super::common::window(config, 1))
        .start()
        .unwrap()
}

async fn all(group: &Group<u64, ()>, query: JobQuery) -> Vec<JobRecord> {
    let page = group.jobs(&query).await.unwrap();
    assert!(page.next.is_none(), "all fit on one page");
    page.jobs
}

fn of(state: JobState) -> JobQuery {
    JobQuery {
        states: vec![state],
        ..JobQuery::default()
    }
}

fn payloads(jobs: &[JobRecord]) -> Vec<String> {
    let mut payloads: Vec<_> = jobs.iter().map(JobRecord::shown_payload).collect();
    payloads.sort_by_key(|payload| payload.parse::<u64>().unwrap());
    payloads
}

/// Waits until the jobs in this state are those.
async fn until(group: &Group<u64, ()>, state: JobState, expected: &[&str]) {
    within("the jobs are in their state", async {
        while payloads(&all(group, of(state)).await) != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[test]
fn waiting_delayed_leased_and_dead_jobs_are_shown_while_the_group_runs() {
    system(async {
        let (_folder, path) = folder();
        let queue = DurableQueue::open(&path).unwrap();
        let gate = Gate::shut();
        let group = group(&queue, &gate);
        let producer = group.producer();
        for job in [7, 13, 100] {
            producer.send(job).await.unwrap();
        }
        until(&group, JobState::Leased, &["100"]).await;
        producer
            .send(Job::new(200).delay(Duration::from_secs(3_600)).key("host"))
            .await
            .unwrap();
        let ids = producer.send_batch((300..305).map(Job::new)).await.unwrap();
        until(&group, JobState::Waiting, &["300", "301", "302", "303", "304"]).await;
        until(&group, JobState::Delayed, &["7", "200"]).await;
        until(&group, JobState::Dead, &["13"]).await;

        let delayed = all(&group, of(JobState::Delayed)).await;
        let failed = delayed.iter().find(|job| job.shown_payload() == "7").unwrap();
        assert_eq!((failed.attempts, failed.history.len()), (1, 1));
        assert!(failed.due.is_some());
        let dead = all(&group, of(JobState::Dead)).await.remove(0);
        assert_eq!(dead.reason, Some(DeadReason::Rejected("unlucky".into())));
        assert!(dead.died.is_some());

        let by_id = JobQuery {
            jobs: vec![ids[3], ids[1]],
            ..JobQuery::default()
        };
        assert_eq!(payloads(&all(&group, by_id).await), ["301", "303"]);
        let by_key = JobQuery {
            key: Some("host".into()),
            ..JobQuery::default()
        };
        assert_eq!(payloads(&all(&group, by_key).await), ["200"]);
        assert_eq!(all(&group, JobQuery::default()).await.len(), 9);

        // Dead ones go back, or are forgotten.
        let letter = dead.id.unwrap();
        assert_eq!(group.dead_letters().requeue([letter]).await.unwrap(), [letter]);
        until(&group, JobState::Dead, &[]).await;
        gate.open();
        until(&group, JobState::Dead, &["13"]).await;
        assert_eq!(group.dead_letters().purge([letter]).await.unwrap(), 1);
        until(&group, JobState::Dead, &[]).await;
        until(&group, JobState::Waiting, &[]).await;
        group.stop().await;
    });
}

#[test]
fn the_pages_of_a_long_queue_show_each_job_once() {
    system(async {
        let (_folder, path) = folder();
        let queue = DurableQueue::open(&path).unwrap();
        let group = group(&queue, &Gate::shut());
        group.pause();
        let producer = group.producer();
        let mut sent = producer.send_batch((0..10_000).map(Job::new)).await.unwrap();
        for delay in 1..=50 {
            let job = Job::new(delay).delay(Duration::from_secs(3_600));
            sent.push(producer.send(job).await.unwrap());
        }
        for size in [1_000, 3_333] {
            let mut query = JobQuery {
                most: size,
                ..JobQuery::default()
            };
            let mut seen: Vec<JobId> = Vec::new();
            loop {
                let page = group.jobs(&query).await.unwrap();
                assert!(page.jobs.len() == size || page.next.is_none());
                seen.extend(page.jobs.iter().map(|job| job.id.unwrap()));
                query.after = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            seen.sort();
            sent.sort();
            assert_eq!(seen, sent, "in pages of {size}");
        }
        // One at the end is found, though a look passes over thousands.
        let last = JobQuery {
            states: vec![JobState::Delayed],
            most: 50,
            ..JobQuery::default()
        };
        assert_eq!(group.jobs(&last).await.unwrap().jobs.len(), 50);
        group.stop().await;
        drop((group, producer, queue));
        let mut file = within("the file is free", async {
            loop {
                match QueueFile::open(&path) {
                    Ok(file) => break file,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        })
        .await;
        let page = file.jobs(&JobQuery::default()).unwrap();
        assert_eq!(
            page.jobs.len(),
            100,
            "the same reader shows a file that nobody has open"
        );
    });
}

#[test]
fn a_place_between_two_jobs_survives_json() {
    let text = r#"{"list":1,"number":5,"place":0}"#;
    let cursor: JobCursor = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&cursor).unwrap(), text);
}

#[test]
fn a_queue_that_cannot_show_its_jobs_says_so_and_a_group_that_has_ended_as_well() {
    system(async {
        let group: Group<u64, ()> = Group::builder()
            .consume_with(1, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        let refused = group.jobs(&JobQuery::default()).await.unwrap_err();
        assert!(matches!(refused, LookError::Unsupported(_)));
        assert!(
            refused.to_string().contains("memory of this program"),
            "{refused}"
        );
        group.stop().await;
        assert_eq!(group.jobs(&JobQuery::default()).await, Err(LookError::Stopped));
    });
}
