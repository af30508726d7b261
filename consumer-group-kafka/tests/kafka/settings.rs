//! Settings are refused in the words of librdkafka, before anything starts.

use std::time::Duration;

use consumer_group::codec::Text;
use consumer_group::events::LinkState;
use consumer_group::{Delivery, Group, SendErrorKind};
use consumer_group_kafka::{KafkaConfig, KafkaQueue, OpenError};

use crate::common::on_system;

fn config() -> KafkaConfig {
    KafkaConfig::new("127.0.0.1:1", "group", ["topic"])
}

#[test]
fn an_unknown_setting_is_refused_with_the_words_of_librdkafka() {
    let mut config = config();
    config
        .settings
        .insert("sessoin.timeout.ms".to_owned(), "6000".to_owned());
    let error = KafkaQueue::<String>::open(config, Text).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::Reading(_)), "{error:?}");
    assert!(
        text.contains("No such configuration property") && text.contains("sessoin.timeout.ms"),
        "{text}"
    );
}

#[test]
fn a_value_out_of_range_is_refused_for_the_side_that_it_is_about() {
    let mut config = config();
    config
        .producer_settings
        .insert("acks".to_owned(), "many".to_owned());
    let error = KafkaQueue::<String>::open(config, Text).unwrap_err();
    assert!(matches!(error, OpenError::Sending(_)), "{error:?}");
    assert!(error.to_string().contains("acks"), "{error}");
}

#[test]
fn a_queue_without_a_topic_is_refused() {
    let config = KafkaConfig::new("127.0.0.1:1", "group", [""; 0]);
    let error = KafkaQueue::<String>::open(config, Text).unwrap_err();
    assert!(matches!(error, OpenError::NoTopic), "{error:?}");
}

#[test]
fn without_a_server_a_send_is_refused_in_time_and_the_health_of_the_group_says_why() {
    let mut config = config();
    config
        .producer_settings
        .insert("message.timeout.ms".to_owned(), "500".to_owned());
    let queue = KafkaQueue::<String>::open(config, Text).unwrap();
    on_system(async {
        let group = Group::builder()
            .queue(queue)
            .consume_with(1, async |_: &Delivery<String>| Ok(()))
            .start()
            .unwrap();
        let error = group
            .producer()
            .send("nobody takes it".to_owned())
            .await
            .unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Unconfirmed);
        assert_eq!(error.job.unwrap().payload(), "nobody takes it");
        let mut health = group.health().await.unwrap();
        while health.queue_state.link == LinkState::Connected {
            actix::clock::sleep(Duration::from_millis(50)).await;
            health = group.health().await.unwrap();
        }
        assert_eq!(
            health.queue_state.link.to_string(),
            "disconnected: no server is connected"
        );
        group.stop().await;
    });
}
