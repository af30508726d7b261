//! One consumer group in several processes: start it twice, kill one with -9, and watch the partitions move.
//!
//! ```text
//! scripts/services up kafka
//! export $(scripts/services env kafka | grep SERVERS=)
//! cargo run -p consumer-group-kafka --example kafka_group -- --make orders 6     # a topic with 6 partitions
//! cargo run -p consumer-group-kafka --example kafka_group -- orders              # in two terminals
//! cargo run -p consumer-group-kafka --example kafka_group -- --send orders 10000
//! ```
//!
//! A process prints, each second, which partitions it owns, what it has done, and what is left. At its end (control-C) it drains
//! what is at work; killed, it leaves that to the others, who do it once more.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use consumer_group::codec::Text;
use consumer_group::{Delivery, Group, GroupConfig};
use consumer_group_kafka::{KafkaConfig, KafkaQueue};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers =
        std::env::var("CONSUMER_GROUP_KAFKA_SERVERS").unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--make", topic, partitions] => make(&servers, topic, partitions.parse()?).await,
        ["--send", topic, jobs] => send(&servers, topic, jobs.parse()?).await,
        [topic] => work(&servers, topic).await,
        _ => Err("say a topic, or --make TOPIC PARTITIONS, or --send TOPIC JOBS".into()),
    }
}

async fn make(servers: &str, topic: &str, partitions: i32) -> Result<(), Box<dyn Error>> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for made in admin.create_topics([&new], &AdminOptions::new()).await? {
        match made {
            Ok(topic) => println!("made {topic} with {partitions} partitions"),
            Err((topic, why)) => println!("{topic}: {why}"),
        }
    }
    Ok(())
}

/// Sends through a group, with as many consumers as do the work: none.
async fn send(servers: &str, topic: &str, jobs: u64) -> Result<(), Box<dyn Error>> {
    let config = KafkaConfig::new(servers, "of the sender, who reads nothing", [topic]);
    let group = Group::builder()
        .queue(KafkaQueue::<String>::open(config, Text)?)
        .consume_with(0, async |_: &Delivery<String>| Ok(()))
        .start()?;
    let all = (0..jobs).map(|number| consumer_group::Job::new(format!("order {number}")).key(number % 100));
    let accepted = group.producer().send_batch(all).await?;
    println!("{} orders were sent and confirmed", accepted.len());
    group.stop().await;
    Ok(())
}

async fn work(servers: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let queue = KafkaQueue::<String>::open(KafkaConfig::new(servers, "kafka_group", [topic]), Text)?;
    let done = Arc::new(AtomicU64::new(0));
    let of_consumers = Arc::clone(&done);
    // Orders of one customer, whose number is the key, are done in order.
    let config = GroupConfig {
        order_by_key: true,
        ..GroupConfig::default()
    };
    let group = Group::builder()
        .config(config)
        .queue(queue.clone())
        .consume_with(5, async move |_: &Delivery<String>| {
            actix::clock::sleep(Duration::from_millis(5)).await;
            of_consumers.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .start()?;
    println!("process {}", std::process::id());
    loop {
        let tick = actix::clock::sleep(Duration::from_secs(1));
        let interrupted = tokio::select! {
            () = tick => false,
            _ = actix_signal() => true,
        };
        let health = queue.health();
        let owned: Vec<i32> = health
            .partitions
            .iter()
            .map(|partition| partition.partition)
            .collect();
        let lag: u64 = health
            .partitions
            .iter()
            .filter_map(|partition| partition.lag)
            .sum();
        println!(
            "partitions {owned:?}, {} done, {lag} left in them",
            done.load(Ordering::Relaxed)
        );
        if interrupted {
            break;
        }
    }
    let drained = group.drain(Duration::from_secs(30)).await;
    println!("drained; {} left to others", drained.unfinished.len());
    Ok(())
}

async fn actix_signal() {
    // Without a signal handler the process ends at once, which is what a broken one would do as well.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
