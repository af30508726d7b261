//! Retries and dead letters.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Declare, RabbitMqConfig, RabbitMqQueue, headers};

use crate::{Done, LIMIT, name, noting, open, run, server, until};

const STEP: Duration = Duration::from_millis(200);

fn with_retries(url: &str, name: &str) -> RabbitMqConfig {
    RabbitMqConfig::new(url, name)
        .declare(Declare::Quorum)
        .dead_letters(format!("{name}.dead"))
        .retry_steps([STEP, STEP * 5])
}

/// Fails each job on its first attempts, and notes each attempt with its moment.
type Attempts = Arc<Mutex<Vec<(u64, u32, Instant)>>>;

fn failing(queue: &RabbitMqQueue<u64>, attempts: &Attempts, until: u32) -> Group<u64, ()> {
    let attempts = Arc::clone(attempts);
    Group::builder()
        .queue(queue.clone())
        .configure(|config| config.retry.attempts = 3)
        .consume_with(2, async move |delivery: &Delivery<u64>| {
            let seen = (*delivery.job(), delivery.attempt(), Instant::now());
            attempts.lock().unwrap().push(seen);
            if delivery.attempt() < until {
                return Err(Failure::retry_after(STEP / 2, "not yet"));
            }
            Ok(())
        })
        .start()
        .unwrap()
}

fn delete(server: &server::Server, name: &str) {
    let queues = [
        name.to_owned(),
        format!("{name}.dead"),
        format!("{name}.retry.200"),
        format!("{name}.retry.1000"),
    ];
    let queues = queues.iter().map(String::as_str);
    server.client(&["delete"].into_iter().chain(queues).collect::<Vec<_>>());
}

#[test]
fn a_retry_waits_at_the_server_for_a_rounded_delay_and_counts_its_attempts() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("retry");
        let queue = open(with_retries(&server.url, &name));
        let attempts = Attempts::default();
        let group = failing(&queue, &attempts, 3);
        group.producer().send(7).await.unwrap();
        until("it was tried three times", async || {
            attempts.lock().unwrap().len() == 3
        })
        .await;
        group.drain(LIMIT).await;
        let attempts = attempts.lock().unwrap().clone();
        assert_eq!(
            attempts
                .iter()
                .map(|(_, attempt, _)| *attempt)
                .collect::<Vec<_>>(),
            [1, 2, 3]
        );
        for pair in attempts.windows(2) {
            assert!(pair[1].2 - pair[0].2 >= STEP, "{attempts:?}");
        }
        assert_eq!(
            (server.count(&name), server.count(&format!("{name}.dead"))),
            (0, 0)
        );
        delete(&server, &name);
    });
}

#[test]
fn a_job_that_is_given_up_becomes_a_dead_letter_that_says_why() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("dead");
        let queue = open(with_retries(&server.url, &name));
        let attempts = Attempts::default();
        let group = failing(&queue, &attempts, 99);
        let job = group.producer().send(7).await.unwrap();
        let dead = format!("{name}.dead");
        until("it is a dead letter", async || server.count(&dead) == 1).await;
        let listed = group.dead_letters().list(10).await.unwrap();
        assert_eq!(
            (listed.len(), listed[0].id(), *listed[0].job.payload()),
            (1, job, 7)
        );
        group.drain(LIMIT).await;
        let letters = server.take(&dead);
        let letter = &letters[0];
        assert_eq!(letter["body"], "7");
        assert_eq!(letter["message_id"], job.to_string());
        let header = |name: &str| letter["headers"][name].clone();
        assert_eq!(header(headers::ATTEMPTS), 3);
        assert_eq!(header(headers::REASON), "attempts-used-up");
        assert_eq!(header(headers::QUEUE), name);
        assert!(
            header(headers::LAST_FAILURE)
                .as_str()
                .unwrap()
                .contains("not yet")
        );
        assert!(header(headers::DEAD_AT).as_u64().unwrap() > 1_700_000_000_000);
        assert_eq!(server.count(&name), 0);
        delete(&server, &name);
    });
}

#[test]
fn dead_letters_are_sent_back_and_purged_on_demand() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("requeue");
        let queue = open(with_retries(&server.url, &name));
        let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (well, done) = (Arc::clone(&is_well), Done::default());
        let noted = done.clone();
        let group: Group<u64, ()> = Group::builder()
            .queue(queue)
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                if !well.load(std::sync::atomic::Ordering::Relaxed) {
                    return Err(Failure::reject("not today"));
                }
                noted.note(*delivery.job());
                Ok(())
            })
            .start()
            .unwrap();
        group.producer().send_batch(0..5_u64).await.unwrap();
        let dead = format!("{name}.dead");
        until("all are dead letters", async || server.count(&dead) == 5).await;
        is_well.store(true, std::sync::atomic::Ordering::Relaxed);
        let letters = group.dead_letters().list(2).await.unwrap();
        let two: Vec<_> = letters.iter().map(consumer_group::DeadLetter::id).collect();
        until("what was looked at is back", async || server.count(&dead) == 5).await;
        group.dead_letters().requeue(two).await.unwrap();
        done.until(2).await;
        until("the others are back", async || server.count(&dead) == 3).await;
        group.dead_letters().purge_all().await.unwrap();
        assert_eq!(server.count(&dead), 0);
        group.drain(LIMIT).await;
        delete(&server, &name);
    });
}

#[test]
fn a_message_that_is_no_job_becomes_a_dead_letter_with_its_bytes_and_headers() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("unreadable");
        let queue = open(with_retries(&server.url, &name));
        let done = Done::default();
        let group = noting(&queue, &done);
        group.producer().send(1).await.unwrap();
        server.client(&["raw", &name, "no number", r#"{"color": "red"}"#]);
        group.producer().send(2).await.unwrap();
        done.until(2).await;
        let dead = format!("{name}.dead");
        until("it is a dead letter", async || server.count(&dead) == 1).await;
        group.drain(LIMIT).await;
        let letters = server.take(&dead);
        assert_eq!(letters[0]["body"], "no number");
        assert_eq!(letters[0]["headers"]["color"], "red");
        assert_eq!(letters[0]["headers"][headers::REASON], "unreadable");
        assert_eq!(server.count(&name), 0);
        delete(&server, &name);
    });
}

#[test]
fn without_queues_for_them_the_group_keeps_retries_itself() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("kept");
        let queue = open(RabbitMqConfig::new(&server.url, &name).declare(Declare::Classic));
        let attempts = Attempts::default();
        let group = failing(&queue, &attempts, 3);
        group.producer().send(7).await.unwrap();
        until("it was tried three times", async || {
            attempts.lock().unwrap().len() == 3
        })
        .await;
        group.drain(LIMIT).await;
        assert_eq!(server.count(&name), 0);
        server.client(&["delete", &name]);
    });
}

#[test]
fn without_a_queue_for_dead_letters_the_group_keeps_what_is_no_job() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("shelf");
        let queue = open(RabbitMqConfig::new(&server.url, &name).declare(Declare::Classic));
        let done = Done::default();
        let group = noting(&queue, &done);
        group.producer().send(1).await.unwrap();
        server.client(&["raw", &name, "no number"]);
        done.until(1).await;
        let letters = group.dead_letters();
        until("the group has it", async || letters.unreadable(10).len() == 1).await;
        assert_eq!(&*letters.unreadable(10)[0].bytes, b"no number");
        group.drain(LIMIT).await;
        assert_eq!(server.count(&name), 0);
        server.client(&["delete", &name]);
    });
}
