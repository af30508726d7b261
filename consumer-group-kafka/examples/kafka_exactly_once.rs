//! Consume, process, produce, exactly once: numbers come from one topic, their squares go to another, and the process is killed
//! in between as often as you like.
//!
//! ```text
//! scripts/services up kafka
//! export $(scripts/services env kafka | grep SERVERS=)
//! cargo run -p consumer-group-kafka --example kafka_exactly_once
//! ```
//!
//! It starts itself as a worker, kills it by -9 in the middle, three times, and counts the squares in the end as a plain consumer
//! sees them that reads what is committed.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use consumer_group::codec::Json;
use consumer_group::{Delivery, Failure, Group};
use consumer_group_kafka::{KafkaConfig, KafkaQueue, Output};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};

const NUMBERS: u64 = 5_000;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let servers =
        std::env::var("CONSUMER_GROUP_KAFKA_SERVERS").unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [worker, numbers, squares] if worker == "--worker" => work(&servers, numbers, squares.clone()).await,
        _ => watch(&servers).await,
    }
}

/// The worker: what it puts into the outbox is there if, and only if, the job is committed.
async fn work(servers: &str, numbers: &str, squares: String) -> Result<(), Box<dyn Error>> {
    let mut config = KafkaConfig::new(servers, numbers, [numbers]);
    // One worker at a time: the next one takes the name of the last one, and what that one began is aborted.
    config.transactions = Some(numbers.to_owned());
    config
        .consumer_settings
        .insert("session.timeout.ms".to_owned(), "6000".to_owned());
    let queue = KafkaQueue::<u64>::open(config, Json)?;
    let outbox = queue.outbox();
    let _group = Group::builder()
        .queue(queue)
        .consume_with(8, async move |delivery: &Delivery<u64>| {
            let number = *delivery.job();
            actix::clock::sleep(Duration::from_millis(number % 7)).await;
            let origin = delivery
                .origin()
                .ok_or_else(|| Failure::reject("not from a topic"))?;
            let square = Output {
                topic: squares.clone(),
                key: Some(number.to_string().into_bytes()),
                payload: Some((number * number).to_string().into_bytes()),
                ..Output::default()
            };
            outbox.put(origin, square).map_err(Failure::retry)
        })
        .start()?;
    std::future::pending().await
}

async fn watch(servers: &str) -> Result<(), Box<dyn Error>> {
    let since = std::time::UNIX_EPOCH.elapsed()?.as_millis();
    let (numbers, squares) = (format!("numbers-{since}"), format!("squares-{since}"));
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers);
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let topics = [&numbers, &squares].map(|name| NewTopic::new(name, 3, TopicReplication::Fixed(1)));
    admin.create_topics(&topics, &AdminOptions::new()).await?;
    let producer: BaseProducer = client.create()?;
    for number in 0..NUMBERS {
        let (key, payload) = (number.to_string(), number.to_string());
        producer
            .send(BaseRecord::to(&numbers).key(&key).payload(&payload))
            .map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(30))?;

    client
        .set("group.id", format!("audit-{since}"))
        .set("auto.offset.reset", "earliest");
    let audit: BaseConsumer = client.create()?;
    audit.subscribe(&[&squares])?;
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    for part in [1, 2, 3] {
        let worker = start(&numbers, &squares)?;
        read(&audit, &mut seen, usize::try_from(NUMBERS)? * part / 4)?;
        kill(worker)?;
        println!("{} squares are there; the worker was killed", seen.len());
    }
    let worker = start(&numbers, &squares)?;
    read(&audit, &mut seen, usize::try_from(NUMBERS)?)?;
    // What came twice would come now.
    read_for(&audit, &mut seen, Duration::from_secs(3))?;
    kill(worker)?;
    let twice = seen.values().filter(|count| **count > 1).count();
    println!(
        "{} squares of {NUMBERS} numbers, {twice} of them more than once",
        seen.len()
    );
    assert_eq!((u64::try_from(seen.len())?, twice), (NUMBERS, 0));
    Ok(())
}

fn start(numbers: &str, squares: &str) -> Result<Child, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    Ok(Command::new(own).args(["--worker", numbers, squares]).spawn()?)
}

fn kill(mut worker: Child) -> std::io::Result<()> {
    worker.kill()?;
    worker.wait().map(drop)
}

fn read(audit: &BaseConsumer, seen: &mut BTreeMap<u64, u32>, until: usize) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    while seen.len() < until {
        if began.elapsed() > Duration::from_secs(120) {
            return Err(format!("{} of {until} squares came in two minutes", seen.len()).into());
        }
        read_for(audit, seen, Duration::from_millis(50))?;
    }
    Ok(())
}

fn read_for(
    audit: &BaseConsumer,
    seen: &mut BTreeMap<u64, u32>,
    time: Duration,
) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    while began.elapsed() < time {
        let Some(message) = audit.poll(Duration::from_millis(20)) else {
            continue;
        };
        let message = message?;
        let key = std::str::from_utf8(message.key().unwrap_or_default())?;
        *seen.entry(key.parse()?).or_default() += 1;
    }
    Ok(())
}
