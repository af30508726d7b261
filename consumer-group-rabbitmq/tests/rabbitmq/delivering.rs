//! What comes from the server: by whom it is done, how much is prefetched, what is acked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_group::testing::Gate;
use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Declare, Link, RabbitMqConfig, StreamFrom};

use crate::{Done, LIMIT, name, noting, open, run, server, until, until_link};

#[test]
fn jobs_of_another_client_are_each_done_once_and_acked() {
    let Some(server) = server::shared() else { return };
    for declare in [Declare::Quorum, Declare::Classic, Declare::Priorities(10)] {
        run(async {
            let name = name("acked");
            let queue = open(RabbitMqConfig::new(&server.url, &name).declare(declare));
            let done = Done::default();
            let group = noting(&queue, &done);
            until_link(&mut queue.link(), |link| *link == Link::Connected).await;
            server.client(&["fill", &name, "0", "2000"]);
            done.until(2_000).await;
            group.drain(LIMIT).await;
            assert_eq!(done.repeated(), 0);
            assert_eq!(server.count(&name), 0);
            server.client(&["delete", &name]);
        });
    }
}

#[test]
fn a_queue_that_is_not_there_is_waited_for_and_not_declared_unless_asked() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("absent");
        let queue = open(RabbitMqConfig::new(&server.url, &name));
        let done = Done::default();
        let group = noting(&queue, &done);
        let down = until_link(&mut queue.link(), |link| matches!(link, Link::Down { .. })).await;
        assert!(format!("{down:?}").contains("NOT_FOUND"), "{down:?}");
        server.client(&["declare", &name]);
        server.client(&["fill", &name, "0", "10"]);
        done.until(10).await;
        group.drain(LIMIT).await;
        server.client(&["delete", &name]);
    });
}

#[test]
fn the_prefetch_follows_what_the_group_takes() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("prefetch");
        server.client(&["declare", &name]);
        server.client(&["fill", &name, "0", "500"]);
        let gate = Gate::new();
        let held = gate.clone();
        let queue = open(RabbitMqConfig::new(&server.url, &name));
        let group: Group<u64, ()> = Group::builder()
            .queue(queue)
            .configure(|config| (config.window.min, config.window.max, config.hold) = (2, 2, 1))
            .consume_with(2, async move |_: &Delivery<u64>| {
                held.pass().await;
                Ok::<(), Failure>(())
            })
            .start()
            .unwrap();
        gate.until_waiting(2).await;
        // Two consumers with two each, and a quarter more; the others are there for whoever comes.
        until("the rest stays at the server", async || {
            server.count(&name) >= 480
        })
        .await;
        gate.open();
        until("all are done", async || server.count(&name) == 0).await;
        group.drain(LIMIT).await;
        assert_eq!(server.count(&name), 0);
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_slow_job_does_not_hold_up_the_acks_of_those_behind_it() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("slow");
        server.client(&["declare", &name]);
        let gate = Gate::new();
        let (held, done) = (gate.clone(), Done::default());
        let noted = done.clone();
        let queue = open(RabbitMqConfig::new(&server.url, &name).most_prefetched(20));
        let group: Group<u64, ()> = Group::builder()
            .queue(queue)
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                if *delivery.job() == 0 {
                    held.pass().await;
                }
                noted.note(*delivery.job());
                Ok::<(), Failure>(())
            })
            .start()
            .unwrap();
        server.client(&["fill", &name, "0", "1"]);
        gate.until_waiting(1).await;
        // More than is prefetched: they come only if those before them are acked.
        server.client(&["fill", &name, "1", "201"]);
        done.until(200).await;
        gate.open();
        done.until(201).await;
        group.drain(LIMIT).await;
        assert_eq!((server.count(&name), done.repeated()), (0, 0));
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_drain_finishes_what_is_leased_and_gives_the_rest_back() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("drain");
        server.client(&["declare", &name, r#"{"x-queue-type": "quorum"}"#]);
        let done = Done::default();
        let queue = open(RabbitMqConfig::new(&server.url, &name));
        let group = noting(&queue, &done);
        server.client(&["fill", &name, "0", "1000"]);
        group.drain(LIMIT).await;
        // What was done was acked, and nothing that was given back is missing. The server puts it back in its own time.
        let mut left = 0;
        until("all of it is there", async || {
            left += server.take(&name).len();
            done.jobs() + left >= 1_000
        })
        .await;
        assert_eq!(done.jobs() + left, 1_000);
        assert_eq!(server.client(&["consumers", &name]), 0);
        server.client(&["delete", &name]);
    });
}

#[test]
#[ignore = "failed once in three runs: the second group did not get its jobs in time, and the cause is not known yet"]
fn a_second_group_over_the_same_queue_goes_on_where_the_first_ended() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("again");
        let queue = open(RabbitMqConfig::new(&server.url, &name).declare(Declare::Quorum));
        let done = Done::default();
        for round in 0..3_u32 {
            let group = noting(&queue, &done);
            let (first, last) = ((round * 100).to_string(), (round * 100 + 100).to_string());
            until_link(&mut queue.link(), |link| *link == Link::Connected).await;
            server.client(&["fill", &name, &first, &last]);
            done.until(last.parse().unwrap()).await;
            group.drain(LIMIT).await;
        }
        assert_eq!((done.jobs(), done.repeated()), (300, 0));
        server.client(&["delete", &name]);
    });
}

#[test]
fn urgent_messages_of_a_priority_queue_come_first() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("priority");
        server.client(&["declare", &name, r#"{"x-max-priority": 9}"#]);
        server.client(&["prioritized", &name, "1", "9", "5", "0"]);
        let order = Arc::<Mutex<Vec<u64>>>::default();
        let seen = Arc::clone(&order);
        let queue = open(RabbitMqConfig::new(&server.url, &name));
        let group: Group<u64, ()> = Group::builder()
            .queue(queue)
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                seen.lock().unwrap().push(*delivery.job());
                Ok::<(), Failure>(())
            })
            .start()
            .unwrap();
        until("all are done", async || order.lock().unwrap().len() == 4).await;
        assert_eq!(*order.lock().unwrap(), [9, 5, 1, 0]);
        group.drain(LIMIT).await;
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_stream_is_read_from_its_beginning_by_each_group() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("stream");
        server.client(&["declare", &name, r#"{"x-queue-type": "stream"}"#]);
        server.client(&["fill", &name, "0", "500"]);
        for _ in 0..2 {
            let done = Done::default();
            let queue = open(RabbitMqConfig::new(&server.url, &name).stream_from(StreamFrom::First));
            let group = noting(&queue, &done);
            done.until(500).await;
            group.drain(LIMIT).await;
            assert_eq!(done.repeated(), 0);
        }
        server.client(&["delete", &name]);
    });
}

#[test]
fn an_encrypted_connection_trusts_the_authority_that_was_given_and_no_other() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("encrypted");
        server.client(&["declare", &name]);
        server.client(&["fill", &name, "0", "10"]);
        let config = RabbitMqConfig::new(&server.tls_url, &name);
        let stranger = open(config.clone());
        let down = until_link(&mut stranger.link(), |link| matches!(link, Link::Down { .. })).await;
        assert!(!format!("{down:?}").contains("guest"), "{down:?}");
        let authority = std::fs::read_to_string(&server.authority).unwrap();
        let queue = open(config.authority(authority));
        let done = Done::default();
        let group = noting(&queue, &done);
        done.until(10).await;
        group.drain(LIMIT).await;
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_wrong_password_is_told_and_stands_in_no_word_of_it() {
    let Some(server) = server::shared() else { return };
    run(async {
        let url = server.url.replace("guest:guest", "guest:secret-word");
        let queue = open(RabbitMqConfig::new(url, "none").longest_pause(Duration::from_millis(100)));
        let down = until_link(&mut queue.link(), |link| matches!(link, Link::Down { .. })).await;
        let told = format!("{down:?} {queue:?}");
        assert!(told.contains("ACCESS_REFUSED") || told.contains("403"), "{told}");
        assert!(!told.contains("secret-word") && !told.contains("guest"), "{told}");
    });
}
