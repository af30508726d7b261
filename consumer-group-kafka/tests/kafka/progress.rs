//! Jobs are done, in parallel and out of order, and what was done is committed: neither lost nor repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consumer_group::codec::{Json, Text};
use consumer_group::{Delivery, Failure, Group, GroupConfig};
use consumer_group_kafka::{KafkaQueue, Record};
use tokio::sync::Notify;

use crate::common::{Done, drained, on_system, server, until};

#[test]
fn every_record_is_done_once_and_the_commit_stands_at_the_end() {
    let Some(server) = server("every_record_is_done_once_and_the_commit_stands_at_the_end") else {
        return;
    };
    let (topic, done) = (server.topic("once", 4), Done::default());
    server.send(&topic, 0..2_000, 100, 4);
    let queue = KafkaQueue::<String>::open(server.config(&topic, &topic), Text).unwrap();
    on_system(async {
        let of_consumers = done.clone();
        let group = Group::builder()
            .queue(queue.clone())
            .consume_with(5, async move |delivery: &Delivery<String>| {
                of_consumers.note(delivery.job().parse().unwrap());
                Ok(())
            })
            .start()
            .unwrap();
        done.until(2_000).await;
        drained(&group).await;
    });
    // The end of the group has committed everything.
    let committed = server.committed(&topic, &topic, 4);
    assert_eq!(
        committed.iter().map(|(offset, _)| offset).sum::<i64>(),
        2_000,
        "{committed:?}"
    );
    done.assert_once(0..2_000);
}

#[test]
fn after_a_restart_only_what_was_not_done_comes_again() {
    let Some(server) = server("after_a_restart_only_what_was_not_done_comes_again") else {
        return;
    };
    let topic = server.topic("restart", 1);
    server.send(&topic, 0..300, 300, 1);
    let slow = |number: u64| number % 100 == 7;
    for round in 0..2 {
        let done = Done::default();
        let queue = KafkaQueue::<String>::open(server.config(&topic, &topic), Text).unwrap();
        on_system(async {
            let of_consumers = done.clone();
            let group = Group::builder()
                .queue(queue.clone())
                .consume_with(20, async move |delivery: &Delivery<String>| {
                    let number = delivery.job().parse().unwrap();
                    if round == 0 && slow(number) {
                        std::future::pending::<()>().await;
                    }
                    of_consumers.note(number);
                    Ok(())
                })
                .start()
                .unwrap();
            match round {
                0 => {
                    done.until(297).await;
                    assert_eq!(queue.health().partitions[0].watermark, 7);
                    // What is done above the watermark is in the note of a commit by then.
                    until("a commit of everything", || {
                        server.committed(&topic, &topic, 1)[0]
                            .1
                            .ends_with(".1.2r.1.2r.1.2k.")
                    })
                    .await;
                }
                _ => done.until(3).await,
            }
            match round {
                // What does not end is cut off.
                0 => drop(group.stop().await),
                _ => drained(&group).await,
            }
        });
        if round == 1 {
            let mut all = done.all();
            all.sort_unstable();
            assert_eq!(all, [7, 107, 207]);
        }
    }
    assert_eq!(server.committed(&topic, &topic, 1)[0].0, 300);
}

#[test]
fn a_job_that_does_not_end_holds_back_no_other_until_the_limit_and_is_named() {
    let Some(server) = server("a_job_that_does_not_end_holds_back_no_other_until_the_limit_and_is_named")
    else {
        return;
    };
    let (topic, done) = (server.topic("stuck", 2), Done::default());
    // Even numbers in one partition, odd ones in the other. The first one does not end.
    server.send(&topic, 0..2_000, 1_000, 2);
    let mut config = server.config(&topic, &topic);
    config.most_above = 100;
    let queue = KafkaQueue::<String>::open(config, Text).unwrap();
    let gate = Arc::new(Notify::new());
    on_system(async {
        let (of_consumers, of_gate) = (done.clone(), Arc::clone(&gate));
        let group = Group::builder()
            .queue(queue.clone())
            .consume_with(10, async move |delivery: &Delivery<String>| {
                let number = delivery.job().parse().unwrap();
                if number == 0 {
                    of_gate.notified().await;
                }
                of_consumers.note(number);
                Ok(())
            })
            .start()
            .unwrap();
        // All of the other partition, and of this one what stands below the limit.
        done.until(1_000).await;
        let odd = |number: &u64| number % 2 == 1;
        until("the other partition", || {
            done.all().iter().filter(|number| odd(number)).count() == 1_000
        })
        .await;
        until("the name of the job", || {
            let held = queue
                .health()
                .partitions
                .into_iter()
                .find(|partition| partition.held_up_by.is_some());
            held.is_some_and(|held| held.is_paused && held.watermark == 0 && held.partition == 0)
        })
        .await;
        let of_first = done.all().iter().filter(|number| !odd(number)).count();
        assert!((99..1_000).contains(&of_first), "{of_first}");
        gate.notify_one();
        done.until(2_000).await;
        drained(&group).await;
    });
    done.assert_once(0..2_000);
    server.until_committed(&topic, &topic, 2, 2_000);
}

#[test]
fn jobs_of_one_key_are_done_in_order_while_their_partition_is_done_in_parallel() {
    let Some(server) = server("jobs_of_one_key_are_done_in_order_while_their_partition_is_done_in_parallel")
    else {
        return;
    };
    let (topic, done) = (server.topic("order", 1), Done::default());
    server.send(&topic, 0..1_000, 10, 1);
    let queue = KafkaQueue::<String>::open(server.config(&topic, &topic), Text).unwrap();
    on_system(async {
        let of_consumers = done.clone();
        let config = GroupConfig {
            order_by_key: true,
            ..GroupConfig::default()
        };
        let group = Group::builder()
            .config(config)
            .queue(queue)
            .consume_with(8, async move |delivery: &Delivery<String>| {
                let number: u64 = delivery.job().parse().unwrap();
                if number.is_multiple_of(7) && delivery.attempt() == 1 {
                    return Err(Failure::retry("once more"));
                }
                of_consumers.note(number);
                Ok(())
            })
            .start()
            .unwrap();
        done.until(1_000).await;
        drained(&group).await;
    });
    done.assert_once(0..1_000);
    for key in 0..10 {
        let of_key: Vec<u64> = done
            .all()
            .into_iter()
            .filter(|number| number % 10 == key)
            .collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

#[test]
fn a_job_sent_through_the_group_comes_back_with_its_result() {
    let Some(server) = server("a_job_sent_through_the_group_comes_back_with_its_result") else {
        return;
    };
    let topic = server.topic("call", 2);
    let queue = KafkaQueue::<u64>::open(server.config(&topic, &topic), Json).unwrap();
    on_system(async {
        let group = Group::builder()
            .queue(queue)
            .consume_with(2, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
            .start()
            .unwrap();
        assert_eq!(group.producer().call(21).await.unwrap(), 42);
        drained(&group).await;
    });
    let read = server.read_all(&topic, 1);
    assert_eq!(read[0].payload.as_deref(), Some("21"));
    assert_eq!(read[0].headers["content-type"], "application/json");
}

#[test]
fn a_record_comes_with_its_key_headers_and_time_and_a_tombstone_is_one() {
    let Some(server) = server("a_record_comes_with_its_key_headers_and_time_and_a_tombstone_is_one") else {
        return;
    };
    let topic = server.topic("records", 1);
    server.send_one(&topic, "a", Some(b"\xff\x00"), &[("trace", "7"), ("trace", "8")]);
    server.send_one(&topic, "b", None, &[]);
    let queue = KafkaQueue::open_records(server.config(&topic, &topic)).unwrap();
    on_system(async {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let group = Group::builder()
            .queue(queue)
            .consume_with(1, async move |delivery: &Delivery<Record>| {
                let origin = delivery.origin().unwrap();
                assert_eq!(
                    (&*origin.lane.source, origin.fence),
                    (delivery.job().topic.as_str(), 1)
                );
                tell.send(delivery.job().clone()).unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        let (first, second) = (told.recv().await.unwrap(), told.recv().await.unwrap());
        assert_eq!(first.key.as_deref(), Some(b"a".as_slice()));
        assert_eq!(first.payload.as_deref(), Some(b"\xff\x00".as_slice()));
        assert_eq!(
            (first.header("trace"), first.headers.len()),
            (Some(b"8".as_slice()), 2)
        );
        assert!(first.time.unwrap().elapsed().unwrap() < Duration::from_secs(600));
        assert_eq!(
            (second.key.as_deref(), second.payload, second.offset),
            (Some(b"b".as_slice()), None, 1)
        );
        drained(&group).await;
    });
}

#[test]
fn a_consumer_slower_than_the_longest_poll_interval_costs_no_membership() {
    let Some(server) = server("a_consumer_slower_than_the_longest_poll_interval_costs_no_membership") else {
        return;
    };
    let (topic, was_again) = (server.topic("slow", 1), Arc::new(AtomicBool::new(false)));
    server.send(&topic, 0..1, 1, 1);
    let mut config = server.config(&topic, &topic);
    config
        .consumer_settings
        .insert("max.poll.interval.ms".to_owned(), "6000".to_owned());
    let queue = KafkaQueue::<String>::open(config, Text).unwrap();
    let done = Done::default();
    on_system(async {
        let (of_consumers, again) = (done.clone(), Arc::clone(&was_again));
        let group = Group::builder()
            .queue(queue.clone())
            .consume_with(2, async move |delivery: &Delivery<String>| {
                again.fetch_or(delivery.attempt() > 1, Ordering::Relaxed);
                actix::clock::sleep(Duration::from_secs(9)).await;
                of_consumers.note(delivery.job().parse().unwrap());
                Ok(())
            })
            .start()
            .unwrap();
        done.until(1).await;
        assert_eq!(queue.health().partitions[0].fence, 1);
        drained(&group).await;
    });
    done.assert_once(0..1);
    assert!(!was_again.load(Ordering::Relaxed));
    assert_eq!(server.committed(&topic, &topic, 1)[0].0, 1);
}

#[test]
fn what_a_consumer_returns_is_in_the_topic_of_results_with_the_correlation_id_of_its_record() {
    let name = "what_a_consumer_returns_is_in_the_topic_of_results_with_the_correlation_id_of_its_record";
    let Some(server) = server(name) else { return };
    let (topic, all, own) = (
        server.topic("asks", 1),
        server.topic("results", 1),
        server.topic("own", 1),
    );
    server.send_one(&topic, "a", Some(b"3"), &[("kafka_correlationId", "of three")]);
    server.send_one(
        &topic,
        "b",
        Some(b"4"),
        &[("kafka_correlationId", "of four"), ("kafka_replyTopic", &own)],
    );
    server.send_one(
        &topic,
        "c",
        Some(b"5"),
        &[("kafka_correlationId", "of five"), ("kafka_replyTopic", &own)],
    );
    let mut config = server.config(&topic, &topic);
    config.results = Some(all.clone());
    let queue = KafkaQueue::<u64>::open(config, Json).unwrap();
    on_system(async {
        let results = queue.results(Json);
        let group = Group::builder()
            .queue(queue)
            .result_sink(move || results.clone())
            .consume_with(1, async |delivery: &Delivery<u64>| match *delivery.job() {
                5 => Err(Failure::reject("no five")),
                number => Ok(number * number),
            })
            .start()
            .unwrap();
        until("the commits", || server.sum_committed(&topic, &topic, 1) == 3).await;
        drained(&group).await;
    });
    let (all, own) = (server.read_all(&all, 1), server.read_all(&own, 2));
    let said =
        |read: &crate::common::Read| (read.payload.clone(), read.headers["kafka_correlationId"].clone());
    assert_eq!(said(&all[0]), (Some("9".into()), "of three".into()));
    assert_eq!(said(&own[0]), (Some("16".into()), "of four".into()));
    assert_eq!(said(&own[1]), (None, "of five".into()));
    assert!(own[1].headers["consumer-group-failed"].contains("no five"));
}
