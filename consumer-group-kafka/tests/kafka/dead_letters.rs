//! Dead letters are in their topic, with an envelope, before their source counts as done.

use consumer_group::codec::Json;
use consumer_group::{DeadReason, Delivery, Failure, Group, GroupConfig};
use consumer_group_kafka::KafkaQueue;

use crate::common::{Done, on_system, server, until};

#[test]
fn a_rejected_job_and_one_that_used_up_its_attempts_are_in_the_topic_with_their_envelope() {
    let name = "a_rejected_job_and_one_that_used_up_its_attempts_are_in_the_topic_with_their_envelope";
    let Some(server) = server(name) else { return };
    let (topic, dead, done) = (server.topic("work", 1), server.topic("dead", 1), Done::default());
    server.send_one(
        &topic,
        "a",
        Some(b"1"),
        &[
            ("trace", "7"),
            ("consumer-group-dead-topic", "of an earlier life"),
        ],
    );
    server.send_one(&topic, "b", Some(b"2"), &[]);
    server.send_one(&topic, "c", Some(b"3"), &[]);
    let mut config = server.config(&topic, &topic);
    config.dead_letters = Some(dead.clone());
    let queue = KafkaQueue::<u64>::open(config, Json).unwrap();
    on_system(async {
        let of_consumers = done.clone();
        let mut config = GroupConfig::default();
        config.retry.attempts = 2;
        let group = Group::builder()
            .config(config)
            .queue(queue)
            .consume_with(1, async move |delivery: &Delivery<u64>| match *delivery.job() {
                1 => Err(Failure::reject("I do not do 1")),
                2 => Err(Failure::retry("not now")),
                number => {
                    of_consumers.note(number);
                    Ok(())
                }
            })
            .start()
            .unwrap();
        done.until(1).await;
        until("the commits", || server.sum_committed(&topic, &topic, 1) == 3).await;
        group.stop().await;
    });
    let letters = server.read_all(&dead, 2);
    let letter = |key: &str| {
        letters
            .iter()
            .find(|letter| letter.key.as_deref() == Some(key))
            .unwrap()
    };
    let (rejected, tried) = (letter("a"), letter("b"));
    let said = |letter: &crate::common::Read, name: &str| {
        letter.headers[&format!("consumer-group-dead-{name}")].clone()
    };
    assert_eq!(rejected.payload.as_deref(), Some("1"));
    assert_eq!(rejected.headers["trace"], "7");
    assert_eq!(
        (
            said(rejected, "topic"),
            said(rejected, "partition"),
            said(rejected, "offset")
        ),
        (topic.clone(), "0".into(), "0".into())
    );
    assert!(said(rejected, "reason").contains("I do not do 1"));
    assert_eq!(
        (said(rejected, "attempts"), said(tried, "attempts")),
        ("1".into(), "2".into())
    );
    assert_eq!(said(tried, "history").lines().count(), 2);
    assert!(said(tried, "history").contains("not now"));
}

#[test]
fn a_record_that_does_not_decode_is_a_dead_letter_with_its_bytes_and_holds_nothing_back() {
    let name = "a_record_that_does_not_decode_is_a_dead_letter_with_its_bytes_and_holds_nothing_back";
    let Some(server) = server(name) else { return };
    let (topic, dead, done) = (server.topic("work", 1), server.topic("dead", 1), Done::default());
    server.send_one(&topic, "a", Some(b"no number"), &[("trace", "7")]);
    server.send_one(&topic, "b", None, &[]);
    server.send_one(&topic, "c", Some(b"3"), &[]);
    let mut config = server.config(&topic, &topic);
    config.dead_letters = Some(dead.clone());
    let queue = KafkaQueue::<u64>::open(config, Json).unwrap();
    on_system(async {
        let of_consumers = done.clone();
        let group = Group::builder()
            .queue(queue)
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                of_consumers.note(*delivery.job());
                Ok(())
            })
            .start()
            .unwrap();
        done.until(1).await;
        until("the commits", || server.sum_committed(&topic, &topic, 1) == 3).await;
        group.stop().await;
    });
    assert_eq!(done.all(), [3]);
    let letters = server.read_all(&dead, 1);
    assert_eq!(
        (letters[0].key.as_deref(), letters[0].payload.as_deref()),
        (Some("a"), Some("no number"))
    );
    assert_eq!(letters[0].headers["trace"], "7");
    let reason = &letters[0].headers["consumer-group-dead-reason"];
    let expected = DeadReason::Unreadable("expected ident at line 1 column 2".into()).to_string();
    assert_eq!(reason, &expected);
}

#[test]
fn whoever_waits_for_a_job_learns_that_it_is_dead_once_its_letter_is_confirmed() {
    let name = "whoever_waits_for_a_job_learns_that_it_is_dead_once_its_letter_is_confirmed";
    let Some(server) = server(name) else { return };
    let (topic, dead) = (server.topic("work", 1), server.topic("dead", 1));
    let mut config = server.config(&topic, &topic);
    config.dead_letters = Some(dead.clone());
    let queue = KafkaQueue::<u64>::open(config, Json).unwrap();
    on_system(async {
        let group = Group::builder()
            .queue(queue)
            .consume_with(1, async |_: &Delivery<u64>| {
                Err::<(), _>(Failure::reject("never"))
            })
            .start()
            .unwrap();
        let error = group.producer().call(5).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
        group.stop().await;
    });
    assert_eq!(server.read_all(&dead, 1)[0].payload.as_deref(), Some("5"));
}
