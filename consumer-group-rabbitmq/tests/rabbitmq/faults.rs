//! What happens when something fails: nothing is lost, and what is repeated is counted.
//!
//! The messages are those of another client, which publishes each until it is confirmed; so is the audit at the end.

use std::time::{Duration, Instant};

use consumer_group::testing::Gate;
use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Declare, Link, RabbitMqConfig};

use crate::proxy::Proxy;
use crate::{Done, LIMIT, name, noting, open, run, server, until, until_again, until_link};

/// Messages of a run under load.
const MESSAGES: usize = 3_000;

/// Publishes under way while `fault` strikes three times, then waits until everything is done and asks the server.
async fn under_load(server: &server::Server, config: RabbitMqConfig, mut fault: impl FnMut()) {
    let name = config.queue().to_owned();
    let queue = open(config.longest_pause(Duration::from_millis(200)));
    let done = Done::default();
    let group = noting(&queue, &done);
    until_link(&mut queue.link(), |link| *link == Link::Connected).await;
    let publisher = server.start_client(&["publish", &name, "0", &MESSAGES.to_string()]);
    for part in 1..=3 {
        done.until(MESSAGES * part / 5).await;
        fault();
    }
    done.until(MESSAGES).await;
    assert!(publisher.wait());
    until("the server has heard of all acks", async || {
        *queue.link().borrow() == Link::Connected && server.count(&name) == 0
    })
    .await;
    assert_eq!(server.client(&["consumers", &name]), 1, "one consumer, never two");
    group.drain(LIMIT).await;
    assert_eq!(server.count(&name), 0, "nothing was given back that was done");
    // Done again is at most what was prefetched at each fault; and what the other client did not see confirmed it sends again.
    assert!(
        done.repeated() <= 3 * (2_000 + 1),
        "{} were done again",
        done.repeated()
    );
    println!("{} of {MESSAGES} were done again", done.repeated());
}

#[test]
fn a_server_that_is_stopped_and_started_under_load_loses_nothing() {
    let Some(own) = server::own() else { return };
    run(async {
        let config = RabbitMqConfig::new(&own.server.url, name("stopped")).declare(Declare::Quorum);
        under_load(&own.server, config, || {
            own.server.stop();
            own.server.start();
        })
        .await;
    });
}

#[test]
fn a_server_that_is_killed_under_load_loses_nothing() {
    let Some(own) = server::own() else { return };
    run(async {
        let name = name("killed");
        own.server
            .client(&["declare", &name, r#"{"x-queue-type": "quorum"}"#]);
        own.server.keep_what_is_declared();
        let config = RabbitMqConfig::new(&own.server.url, &name).declare(Declare::Quorum);
        under_load(&own.server, config, || {
            own.server.kill();
            own.server.start();
        })
        .await;
    });
}

#[test]
fn connections_that_are_cut_under_load_lose_nothing() {
    let Some(server) = server::shared() else { return };
    run(async {
        let proxy = Proxy::before(server.port());
        for declare in [Declare::Quorum, Declare::Classic] {
            let name = name("cut");
            let config = RabbitMqConfig::new(server.url_by(proxy.port), &name).declare(declare);
            under_load(&server, config, || assert!(proxy.cut() > 0)).await;
            server.client(&["delete", &name]);
        }
    });
}

#[test]
fn jobs_that_are_sent_while_connections_are_cut_are_there_or_handed_back() {
    let Some(server) = server::shared() else { return };
    run(async {
        let proxy = Proxy::before(server.port());
        let name = name("sent");
        server.client(&["declare", &name, r#"{"x-queue-type": "quorum"}"#]);
        let config = RabbitMqConfig::new(server.url_by(proxy.port), &name);
        let queue = open(config.longest_pause(Duration::from_millis(200)));
        let done = Done::default();
        let group = noting(&queue, &done);
        let (producer, mut accepted) = (group.producer(), 0);
        for batch in 0..20_u64 {
            let jobs = batch * 100..batch * 100 + 100;
            let sent = producer.send_batch(jobs);
            if batch % 5 == 4 {
                proxy.cut();
            }
            accepted += match sent.await {
                Ok(jobs) => jobs.len(),
                Err(error) => error.accepted.len(),
            };
        }
        done.until(accepted).await;
        group.drain(LIMIT).await;
        assert!(accepted > 1_000, "{accepted}");
        server.client(&["delete", &name]);
    });
}

#[test]
fn work_goes_on_within_two_seconds_after_the_server_listens_again() {
    let Some(own) = server::own() else { return };
    run(async {
        let name = name("back");
        let queue = open(RabbitMqConfig::new(&own.server.url, &name).declare(Declare::Quorum));
        let done = Done::default();
        let group = noting(&queue, &done);
        until_link(&mut queue.link(), |link| *link == Link::Connected).await;
        own.server.client(&["publish", &name, "0", "100"]);
        done.until(100).await;
        own.server.stop();
        until_link(&mut queue.link(), |link| matches!(link, Link::Down { .. })).await;
        own.server.start();
        let listens = Instant::now();
        own.server.client(&["publish", &name, "100", "101"]);
        done.until(101).await;
        let back = listens.elapsed();
        println!("back at work after {back:?}");
        assert!(back <= Duration::from_secs(2), "{back:?}");
        group.drain(LIMIT).await;
    });
}

#[test]
fn a_channel_that_the_server_closes_for_slow_acks_is_opened_again() {
    let Some(own) = server::own() else { return };
    run(async {
        let name = name("timeout");
        own.server
            .rabbitmqctl(&["eval", "application:set_env(rabbit, consumer_timeout, 2000)."]);
        let queue = open(RabbitMqConfig::new(&own.server.url, &name).declare(Declare::Quorum));
        let gate = Gate::new();
        let (held, done) = (gate.clone(), Done::default());
        let noted = done.clone();
        let group: Group<u64, ()> = Group::builder()
            .queue(queue.clone())
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                if *delivery.job() == 0 {
                    held.pass().await;
                }
                noted.note(*delivery.job());
                Ok::<(), Failure>(())
            })
            .start()
            .unwrap();
        until_link(&mut queue.link(), |link| *link == Link::Connected).await;
        own.server.client(&["publish", &name, "0", "1"]);
        gate.until_waiting(1).await;
        let down = until_link(&mut queue.link(), |link| matches!(link, Link::Down { .. })).await;
        assert!(format!("{down:?}").contains("PRECONDITION_FAILED"), "{down:?}");
        own.server
            .rabbitmqctl(&["eval", "application:set_env(rabbit, consumer_timeout, 1800000)."]);
        gate.open();
        own.server.client(&["publish", &name, "1", "101"]);
        done.until(101).await;
        until("all is acked", async || own.server.count(&name) == 0).await;
        assert_eq!(own.server.client(&["consumers", &name]), 1);
        group.drain(LIMIT).await;
        assert_eq!(own.server.count(&name), 0);
    });
}

#[test]
fn a_queue_that_is_deleted_is_declared_again_where_that_was_asked_for() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("deleted");
        let queue = open(RabbitMqConfig::new(&server.url, &name).declare(Declare::Quorum));
        let done = Done::default();
        let group = noting(&queue, &done);
        until_link(&mut queue.link(), |link| *link == Link::Connected).await;
        server.client(&["publish", &name, "0", "10"]);
        done.until(10).await;
        let mut links = queue.link();
        links.mark_unchanged();
        server.client(&["delete", &name]);
        until_again(&mut links).await;
        server.client(&["publish", &name, "10", "20"]);
        done.until(20).await;
        group.drain(LIMIT).await;
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_server_whose_disk_is_full_blocks_what_is_sent_and_not_what_is_done() {
    let Some(own) = server::own() else { return };
    run(async {
        let name = name("disk");
        let config = RabbitMqConfig::new(&own.server.url, &name).declare(Declare::Quorum);
        let queue = open(config.publish_within(Duration::from_secs(20)));
        own.server
            .client(&["declare", &name, r#"{"x-queue-type": "quorum"}"#]);
        own.server.client(&["publish", &name, "0", "1000"]);
        own.server.rabbitmqctl(&["set_disk_free_limit", "9000GB"]);
        let done = Done::default();
        let group = noting(&queue, &done);
        let sending = tokio::task::spawn_local({
            let producer = group.producer();
            async move { producer.send(1_000).await }
        });
        let links = &mut queue.publishing_link();
        let blocked = until_link(links, |link| matches!(link, Link::Blocked { .. })).await;
        assert!(format!("{blocked:?}").contains("disk"), "{blocked:?}");
        done.until(1_000).await;
        until("what was done is acked", async || own.server.count(&name) == 0).await;
        assert!(!sending.is_finished());
        own.server.rabbitmqctl(&["set_disk_free_limit", "50MB"]);
        sending.await.unwrap().unwrap();
        done.until(1_001).await;
        group.drain(LIMIT).await;
        assert_eq!(done.repeated(), 0);
    });
}

#[test]
fn a_consumer_sees_that_its_delivery_is_void_when_the_connection_is_cut() {
    let Some(server) = server::shared() else { return };
    run(async {
        let proxy = Proxy::before(server.port());
        let name = name("void");
        server.client(&["declare", &name]);
        let queue = open(RabbitMqConfig::new(server.url_by(proxy.port), &name));
        let gate = Gate::new();
        let (held, seen) = (gate.clone(), Done::default());
        let noted = seen.clone();
        let group: Group<u64, ()> = Group::builder()
            .queue(queue.clone())
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                held.pass().await;
                // The first time it is void, the second time it is not.
                noted.note(u64::from(delivery.is_revoked()));
                Ok::<(), Failure>(())
            })
            .start()
            .unwrap();
        server.client(&["publish", &name, "7", "8"]);
        gate.until_waiting(1).await;
        let mut links = queue.link();
        links.mark_unchanged();
        proxy.cut();
        until_again(&mut links).await;
        gate.open();
        seen.until(2).await;
        group.drain(LIMIT).await;
        assert_eq!((seen.repeated(), server.count(&name)), (0, 0));
        server.client(&["delete", &name]);
    });
}
