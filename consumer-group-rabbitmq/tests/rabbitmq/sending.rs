//! What a producer sends: confirmed, refused, told.

use consumer_group::{Delivery, Failure, Group, Job, SendErrorKind};
use consumer_group_rabbitmq::{Declare, RabbitMqConfig, headers};

use crate::{Done, LIMIT, name, noting, open, run, server};

#[test]
fn a_job_that_is_sent_is_a_message_that_other_clients_understand() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("sent");
        server.client(&["declare", &name]);
        let queue = open(RabbitMqConfig::new(&server.url, &name));
        let done = Done::default();
        let group = noting(&queue, &done);
        group.pause();
        let job = group
            .producer()
            .send(Job::new(7).key("host-7").priority(3))
            .await
            .unwrap();
        let messages = server.take(&name);
        // It may be here already, and then it goes back with the drain.
        group.drain(LIMIT).await;
        let messages = [messages, server.take(&name)].concat();
        let [message] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!(message["body"], "7");
        assert_eq!(message["message_id"], job.to_string());
        assert_eq!(message["content_type"], "application/json");
        assert_eq!(message["priority"], 3);
        assert_eq!(message["headers"][headers::KEY], "host-7");
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_caller_in_this_process_hears_the_outcome() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("call");
        let queue = open(RabbitMqConfig::new(&server.url, &name).declare(Declare::Quorum));
        let group: Group<u64, u64> = Group::builder()
            .queue(queue)
            .consume_with(2, async |delivery: &Delivery<u64>| {
                Ok::<u64, Failure>(delivery.job() * 2)
            })
            .start()
            .unwrap();
        assert_eq!(group.producer().call(21).await.unwrap(), 42);
        group.drain(LIMIT).await;
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_thousand_jobs_in_one_batch_are_confirmed_and_done() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("batch");
        let queue = open(RabbitMqConfig::new(&server.url, &name).declare(Declare::Quorum));
        let done = Done::default();
        let group = noting(&queue, &done);
        let sent = group.producer().send_batch(0..1_000_u64).await.unwrap();
        assert_eq!(sent.len(), 1_000);
        done.until(1_000).await;
        group.drain(LIMIT).await;
        assert_eq!((done.repeated(), server.count(&name)), (0, 0));
        server.client(&["delete", &name]);
    });
}

#[test]
fn a_job_that_no_queue_takes_is_handed_back() {
    let Some(server) = server::shared() else { return };
    run(async {
        let queue = open(RabbitMqConfig::new(&server.url, name("nowhere")));
        let group = noting(&queue, &Done::default());
        let error = group.producer().send(7).await.unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Unroutable);
        group.stop().await;
    });
}

#[test]
fn a_job_for_which_the_queue_has_no_room_is_handed_back() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("full");
        let arguments = r#"{"x-max-length": 10, "x-overflow": "reject-publish"}"#;
        server.client(&["declare", &name, arguments]);
        server.client(&["fill", &name, "0", "10"]);
        let queue = open(RabbitMqConfig::new(&server.url, &name));
        let group = noting(&queue, &Done::default());
        group.pause();
        let mut refused = 0;
        for job in 0..20_u64 {
            refused += u32::from(group.producer().send(job).await.is_err());
        }
        assert!(refused > 0);
        group.stop().await;
        server.client(&["delete", &name]);
    });
}

#[test]
fn an_existing_client_gets_the_answers_of_its_calls_with_their_correlation() {
    let Some(server) = server::shared() else { return };
    run(async {
        let name = name("rpc");
        server.client(&["declare", &name]);
        let queue = open(RabbitMqConfig::new(&server.url, &name));
        let group: Group<u64, u64> = Group::builder()
            .result_sink(queue.replies())
            .queue(queue)
            .configure(|config| config.retry.attempts = 1)
            .consume_with(4, async |delivery: &Delivery<u64>| {
                if *delivery.job() == 13 {
                    return Err(Failure::reject("no such number"));
                }
                Ok(delivery.job() * 2)
            })
            .start()
            .unwrap();
        // Elsewhere: this thread is the group's.
        let (client, to) = (server.clone(), name.clone());
        let call = move || client.client(&["call", &to, "1", "2", "13", "21"]);
        let answers = tokio::task::spawn_blocking(call).await.unwrap();
        assert_eq!(answers, serde_json::json!(["2", "4", "", "42"]));
        group.drain(LIMIT).await;
        assert_eq!(server.count(&name), 0);
        server.client(&["delete", &name]);
    });
}
