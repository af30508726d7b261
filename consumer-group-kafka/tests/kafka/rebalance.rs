//! Partitions move between members: what is at work finishes first, nothing is lost, nothing is done twice.

use std::time::Duration;

use consumer_group::codec::Text;
use consumer_group::{Delivery, Group, GroupConfig};
use consumer_group_kafka::{KafkaQueue, Protocol};

use crate::common::{Done, Server, drained, on_system, server, until};

fn member(
    server: &Server,
    topic: &str,
    done: &Done,
    protocol: Protocol,
) -> (KafkaQueue<String>, Group<String, ()>) {
    let mut config = server.config(topic, topic);
    config.protocol = protocol;
    if protocol == Protocol::Consumer {
        config.consumer_settings.remove("session.timeout.ms");
        config.consumer_settings.remove("heartbeat.interval.ms");
    }
    let queue = KafkaQueue::open(config, Text).unwrap();
    let of_consumers = done.clone();
    let config = GroupConfig {
        order_by_key: true,
        ..GroupConfig::default()
    };
    let group = Group::builder()
        .config(config)
        .queue(queue.clone())
        .consume_with(4, async move |delivery: &Delivery<String>| {
            actix::clock::sleep(Duration::from_millis(5)).await;
            of_consumers.note(delivery.job().parse().unwrap());
            Ok(())
        })
        .start()
        .unwrap();
    (queue, group)
}

fn owned(queue: &KafkaQueue<String>) -> usize {
    queue.health().partitions.len()
}

/// A member joins under load, another one leaves under load.
fn moves(server: &Server, protocol: Protocol) {
    let (topic, done) = (server.topic("moves", 4), Done::default());
    server.send(&topic, 0..2_000, 40, 4);
    on_system(async {
        let (first, first_group) = member(server, &topic, &done, protocol);
        until("the first member", || owned(&first) == 4).await;
        done.until(50).await;
        let (second, second_group) = member(server, &topic, &done, protocol);
        until("the second member", || owned(&first) == 2 && owned(&second) == 2).await;
        let at_the_move = done.all().len();
        assert!(at_the_move < 2_000, "it was too late to say anything");
        done.until((at_the_move + 300).min(1_900)).await;
        drained(&first_group).await;
        until("all of it at the second one", || owned(&second) == 4).await;
        done.until(2_000).await;
        drained(&second_group).await;
    });
    let committed = server.committed(&topic, &topic, 4);
    assert_eq!(
        committed.iter().map(|(offset, _)| offset).sum::<i64>(),
        2_000,
        "{committed:?}"
    );
    for key in 0..40 {
        let of_key: Vec<u64> = done
            .all()
            .into_iter()
            .filter(|number| number % 40 == key)
            .collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    done.assert_once(0..2_000);
}

#[test]
fn a_partition_that_moves_is_drained_and_nothing_is_lost_or_done_twice() {
    let Some(server) = server("a_partition_that_moves_is_drained_and_nothing_is_lost_or_done_twice") else {
        return;
    };
    moves(&server, Protocol::Classic);
}

#[test]
fn the_same_holds_by_the_protocol_in_which_the_server_decides() {
    let Some(server) = server("the_same_holds_by_the_protocol_in_which_the_server_decides") else {
        return;
    };
    moves(&server, Protocol::Consumer);
}

#[test]
fn partitions_that_a_topic_gains_are_read_from_their_beginning() {
    let Some(server) = server("partitions_that_a_topic_gains_are_read_from_their_beginning") else {
        return;
    };
    let (topic, done) = (server.topic("grows", 1), Done::default());
    server.send(&topic, 0..10, 10, 1);
    on_system(async {
        let (queue, group) = member(&server, &topic, &done, Protocol::Classic);
        done.until(10).await;
        server.grow(&topic, 3);
        server.send(&topic, 10..100, 30, 3);
        done.until(100).await;
        until("the new partitions", || owned(&queue) == 3).await;
        drained(&group).await;
    });
    done.assert_once(0..100);
}
