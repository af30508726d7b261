//! What a group costs beside the bare client (lapin), side by side in one run on one server.
//!
//! ```text
//! scripts/services up rabbitmq
//! export $(scripts/services env rabbitmq)
//! cargo run --release -p consumer-group-rabbitmq --example rabbitmq_rates [MESSAGES]
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use consumer_group::codec::Bytes;
use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Declare, Link, RabbitMqConfig, RabbitMqQueue};
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

type Any = Box<dyn std::error::Error>;

const PREFETCH: u16 = 1_000;
const PAYLOAD: usize = 100;

fn main() -> Result<(), Any> {
    let url = std::env::var("CONSUMER_GROUP_RABBITMQ_URL")?;
    let messages = std::env::args()
        .nth(1)
        .map_or(Ok(50_000), |number| number.parse())?;
    let rates = Rates { url, messages };
    println!("{messages} messages of {PAYLOAD} bytes, prefetch {PREFETCH}, durable classic queue");
    for round in 1..=3 {
        println!("round {round}");
        let bare = rates.bare(|rates| Box::pin(rates.bare_publish()))?;
        let group = rates.group_publish()?;
        told("published and confirmed", bare, group);
        let (bare, group) = (
            rates.bare(|rates| Box::pin(rates.bare_consume(0)))?,
            rates.group_consume(4, 0)?,
        );
        told("consumed, done at once, acked", bare, group);
        let few = Rates {
            url: rates.url.clone(),
            messages: 2_000,
        };
        let (one, group) = (
            few.bare(|few| Box::pin(few.bare_consume(1)))?,
            few.group_consume(100, 1)?,
        );
        told("with 1 ms of work; bare: one at a time", one, group);
        let (bare, group) = (
            rates.bare(|rates| Box::pin(rates.bare_latency()))?,
            rates.group_latency()?,
        );
        println!("  from publish to handler at 5,000/s, p99: bare {bare:.2} ms, group {group:.2} ms");
    }
    Ok(())
}

fn told(what: &str, bare: f64, group: f64) {
    println!(
        "  {what}: bare {bare:.0}/s, group {group:.0}/s, {:.2} of it",
        group / bare
    );
}

struct Rates {
    url: String,
    messages: usize,
}

type Run<'a> = std::pin::Pin<Box<dyn Future<Output = Result<f64, Any>> + 'a>>;

impl Rates {
    /// The bare client has a runtime to itself, as the adapter has.
    fn bare(&self, run: impl for<'a> FnOnce(&'a Self) -> Run<'a>) -> Result<f64, Any> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(run(self))
    }

    async fn channel(&self) -> Result<(Connection, Channel), Any> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    async fn declared(&self, name: &str) -> Result<(Connection, Channel), Any> {
        let (connection, channel) = self.channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel.queue_declare(name.into(), options, arguments).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    async fn delete(&self, name: &str) -> Result<(), Any> {
        let (_connection, channel) = self.channel().await?;
        channel
            .queue_delete(name.into(), QueueDeleteOptions::default())
            .await?;
        Ok(())
    }

    /// The best loop of the bare client that we found: everything of a window sent before the first confirm is awaited.
    async fn publish(&self, channel: &Channel, name: &str, messages: usize) -> Result<(), Any> {
        let body = [7_u8; PAYLOAD];
        let properties = BasicProperties::default().with_delivery_mode(2);
        let mut left = messages;
        while left > 0 {
            let window = left.min(1_000);
            left -= window;
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let sent = (0..window)
                .map(|_| channel.basic_publish("".into(), name.into(), options, &body, properties.clone()));
            let confirms: Result<Vec<_>, _> = join_all(sent).await.into_iter().collect();
            for confirm in confirms? {
                confirm.await?;
            }
        }
        Ok(())
    }

    async fn bare_publish(&self) -> Result<f64, Any> {
        let name = "rates.publish.bare";
        let (_connection, channel) = self.declared(name).await?;
        let began = Instant::now();
        self.publish(&channel, name, self.messages).await?;
        let rate = self.messages as f64 / began.elapsed().as_secs_f64();
        self.delete(name).await?;
        Ok(rate)
    }

    async fn bare_consume(&self, milliseconds: u64) -> Result<f64, Any> {
        let name = "rates.consume.bare";
        let (_connection, channel) = self.declared(name).await?;
        self.publish(&channel, name, self.messages).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let began = Instant::now();
        let consume = channel.basic_consume(
            name.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = consume.await?;
        for number in 1..=self.messages {
            let delivery = consumer.next().await.ok_or("the consumer has ended")??;
            if milliseconds > 0 {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                delivery.acker.ack(BasicAckOptions::default()).await?;
            } else if number % 500 == 0 || number == self.messages {
                channel
                    .basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true })
                    .await?;
            }
        }
        let rate = self.messages as f64 / began.elapsed().as_secs_f64();
        self.delete(name).await?;
        Ok(rate)
    }

    fn config(&self, name: &str) -> RabbitMqConfig {
        RabbitMqConfig::new(&self.url, name)
            .declare(Declare::Classic)
            .most_prefetched(PREFETCH)
    }

    fn open(&self, name: &str) -> Result<RabbitMqQueue<Vec<u8>>, Any> {
        Ok(RabbitMqQueue::open_with(self.config(name), Bytes)?)
    }

    fn group_consume(&self, consumers: usize, milliseconds: u64) -> Result<f64, Any> {
        let name = "rates.consume.group";
        self.bare(|rates| {
            Box::pin(async move {
                let (_connection, channel) = rates.declared(name).await?;
                rates.publish(&channel, name, rates.messages).await?;
                Ok(0.0)
            })
        })?;
        let rate = actix::System::new().block_on(async {
            let done = Arc::new(AtomicU64::new(0));
            let all = self.messages as u64;
            let (finished, told) = tokio::sync::watch::channel(false);
            let (finished, counted) = (Arc::new(finished), Arc::clone(&done));
            let queue = self.open(name)?;
            queue.link().wait_for(|link| *link == Link::Connected).await?;
            let began = Instant::now();
            let group: Group<Vec<u8>, ()> = Group::builder()
                .queue(queue)
                .consume_with(consumers, async move |delivery: &Delivery<Vec<u8>>| {
                    assert_eq!(delivery.job().len(), PAYLOAD);
                    if milliseconds > 0 {
                        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    }
                    if counted.fetch_add(1, Ordering::Relaxed) + 1 >= all {
                        finished.send_replace(true);
                    }
                    Ok::<(), Failure>(())
                })
                .start()?;
            told.clone().wait_for(|finished| *finished).await?;
            // The acks are out when the drain has ended.
            group.drain(Duration::from_secs(10)).await;
            Ok::<f64, Any>(all as f64 / began.elapsed().as_secs_f64())
        })?;
        self.bare(|rates| Box::pin(async move { rates.delete(name).await.map(|()| 0.0) }))?;
        Ok(rate)
    }

    fn group_publish(&self) -> Result<f64, Any> {
        let name = "rates.publish.group";
        let rate = actix::System::new().block_on(async {
            let queue = self.open(name)?;
            queue.link().wait_for(|link| *link == Link::Connected).await?;
            let group: Group<Vec<u8>, ()> = Group::builder()
                .queue(queue)
                .consume_with(1, async |_: &Delivery<Vec<u8>>| Ok::<(), Failure>(()))
                .start()?;
            group.pause();
            let producer = group.producer();
            producer
                .send(vec![7_u8; PAYLOAD])
                .await
                .map_err(|error| error.to_string())?;
            let began = Instant::now();
            // As many at a time as the bare client has.
            let senders = (0..4).map(|_| async {
                for _ in 0..self.messages.div_ceil(4 * 250) {
                    let sent = producer.send_batch((0..250).map(|_| vec![7_u8; PAYLOAD])).await;
                    sent.map_err(|error| error.to_string())?;
                }
                Ok::<(), Any>(())
            });
            for sent in join_all(senders).await {
                sent?;
            }
            let sent = self.messages.div_ceil(4 * 250) * 4 * 250;
            let rate = sent as f64 / began.elapsed().as_secs_f64();
            group.stop().await;
            Ok::<f64, Any>(rate)
        })?;
        self.bare(|rates| Box::pin(async move { rates.delete(name).await.map(|()| 0.0) }))?;
        Ok(rate)
    }

    /// Publishes with the time in each message, so many in each second.
    async fn publish_times(&self, name: &str, messages: usize) -> Result<(), Any> {
        let (_connection, channel) = self.declared(name).await?;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..messages / 50 {
            ticks.tick().await;
            let now = nanoseconds().to_be_bytes();
            for _ in 0..50 {
                let options = BasicPublishOptions::default();
                channel
                    .basic_publish("".into(), name.into(), options, &now, BasicProperties::default())
                    .await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    }

    fn publisher(&self, name: &'static str, messages: usize) -> std::thread::JoinHandle<()> {
        let rates = Rates {
            url: self.url.clone(),
            messages,
        };
        std::thread::spawn(move || {
            let published = rates.bare(|rates| {
                Box::pin(async move { rates.publish_times(name, messages).await.map(|()| 0.0) })
            });
            if let Err(error) = published {
                println!("{error}");
            }
        })
    }

    async fn bare_latency(&self) -> Result<f64, Any> {
        let name = "rates.latency.bare";
        let messages = 10_000;
        let (_connection, channel) = self.declared(name).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let consume = channel.basic_consume(
            name.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = consume.await?;
        let publisher = self.publisher(name, messages);
        let mut waits = Vec::with_capacity(messages);
        while waits.len() < messages {
            let delivery = consumer.next().await.ok_or("the consumer has ended")??;
            waits.push(wait(&delivery.data));
            if waits.len() % 50 == 0 {
                channel
                    .basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true })
                    .await?;
            }
        }
        drop(publisher.join());
        self.delete(name).await?;
        Ok(p99(waits))
    }

    fn group_latency(&self) -> Result<f64, Any> {
        let name = "rates.latency.group";
        let messages = 10_000;
        let waits = Arc::new(std::sync::Mutex::new(Vec::with_capacity(messages)));
        let seen = Arc::clone(&waits);
        actix::System::new().block_on(async {
            let queue = self.open(name)?;
            queue.link().wait_for(|link| *link == Link::Connected).await?;
            let group: Group<Vec<u8>, ()> = Group::builder()
                .queue(queue)
                .consume_with(4, async move |delivery: &Delivery<Vec<u8>>| {
                    let wait = wait(delivery.job());
                    seen.lock()
                        .map_err(|error| Failure::reject(error.to_string()))?
                        .push(wait);
                    Ok::<(), Failure>(())
                })
                .start()?;
            let publisher = self.publisher(name, messages);
            tokio::task::spawn_blocking(move || drop(publisher.join())).await?;
            group.drain(Duration::from_secs(10)).await;
            Ok::<(), Any>(())
        })?;
        self.bare(|rates| Box::pin(async move { rates.delete(name).await.map(|()| 0.0) }))?;
        let waits = waits.lock().map(|waits| waits.clone());
        Ok(p99(waits.map_err(|error| error.to_string())?))
    }
}

fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since the time in a message.
fn wait(body: &[u8]) -> f64 {
    let sent = body.try_into().map(u64::from_be_bytes).unwrap_or_default();
    nanoseconds().saturating_sub(sent) as f64 / 1e6
}

fn p99(mut waits: Vec<f64>) -> f64 {
    waits.sort_by(f64::total_cmp);
    waits.get(waits.len() * 99 / 100).copied().unwrap_or_default()
}
