//! What the tests share: a server, topics of their own, a plain producer, and a reader of what was committed.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consumer_group_kafka::KafkaConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// How long a test waits for what must come, on a machine that has much else to do.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// What `scripts/services env kafka` says.
pub(crate) fn environment() -> Option<BTreeMap<String, String>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let output = Command::new(script).args(["env", "kafka"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let found: BTreeMap<_, _> = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    found
        .contains_key("CONSUMER_GROUP_KAFKA_SERVERS")
        .then_some(found)
}

/// The server, or `None` after it was said that this test is skipped.
pub(crate) fn server(test: &str) -> Option<Server> {
    if let Some(environment) = environment() {
        return Some(Server::at(&environment["CONSUMER_GROUP_KAFKA_SERVERS"]));
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test}: there is no Kafka; call `scripts/services up kafka`"
    );
    eprintln!("skipped: {test}: there is no Kafka; `scripts/services up kafka` starts one");
    None
}

/// A topic name that nobody else has.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    format!("{what}-{}-{since}-{count}", std::process::id())
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) servers: String,
}

impl Server {
    pub(crate) fn at(servers: &str) -> Self {
        let servers = servers.to_owned();
        Self { servers }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// A new topic with so many partitions.
    pub(crate) fn topic(&self, what: &str, partitions: i32) -> String {
        let name = unique(what);
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(LONG));
        let created = block_on(self.admin().create_topics([&topic], &options)).unwrap();
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        name
    }

    pub(crate) fn grow(&self, topic: &str, partitions: usize) {
        let options = AdminOptions::new().operation_timeout(Some(LONG));
        let more = NewPartitions::new(topic, partitions);
        let grown = block_on(self.admin().create_partitions([&more], &options)).unwrap();
        assert!(grown.iter().all(Result::is_ok), "{grown:?}");
    }

    pub(crate) fn producer(&self) -> BaseProducer {
        let mut config = self.client();
        config.set("linger.ms", "5").set("enable.idempotence", "true");
        config.create().unwrap()
    }

    /// Sends so many records: number, key `number % keys`, to the partition of the key. Confirmed when it returns.
    pub(crate) fn send(&self, topic: &str, numbers: std::ops::Range<u64>, keys: u64, partitions: u64) {
        let producer = self.producer();
        for number in numbers {
            let (key, payload) = (format!("key-{}", number % keys), number.to_string());
            let partition = i32::try_from(number % keys % partitions).unwrap();
            let record = || {
                BaseRecord::to(topic)
                    .key(&key)
                    .payload(&payload)
                    .partition(partition)
            };
            while producer.send(record()).is_err() {
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(LONG).unwrap();
    }

    /// Sends one record with headers, or a tombstone.
    pub(crate) fn send_one(&self, topic: &str, key: &str, payload: Option<&[u8]>, headers: &[(&str, &str)]) {
        let producer = self.producer();
        let mut all = OwnedHeaders::new();
        for (key, value) in headers {
            let value = Some(*value);
            all = all.insert(Header { key, value });
        }
        let mut record = BaseRecord::to(topic).key(key).headers(all);
        if let Some(payload) = payload {
            record = record.payload(payload);
        }
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(LONG).unwrap();
    }

    /// What a group has committed, by partition: offset and metadata. An independent consumer asks.
    pub(crate) fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<(i64, String)> {
        let mut config = self.client();
        let consumer: BaseConsumer = config.set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let committed = consumer.committed_offsets(list, LONG).unwrap();
        let elements = committed.elements().into_iter();
        elements
            .map(|element| match element.offset() {
                Offset::Offset(offset) => (offset, element.metadata().to_owned()),
                _ => (-1, String::new()),
            })
            .collect()
    }

    /// How much the group has committed in all.
    pub(crate) fn sum_committed(&self, group: &str, topic: &str, partitions: i32) -> i64 {
        let committed = self.committed(group, topic, partitions);
        committed.iter().map(|(offset, _)| (*offset).max(0)).sum()
    }

    /// Waits until it is so much.
    pub(crate) fn until_committed(&self, group: &str, topic: &str, partitions: i32, records: i64) {
        let began = Instant::now();
        while self.sum_committed(group, topic, partitions) != records {
            assert!(
                began.elapsed() < LONG,
                "{:?}",
                self.committed(group, topic, partitions)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// How many records a reader of committed ones sees, to the present end of the topic.
    pub(crate) fn committed_records(&self, topic: &str, partitions: i32) -> usize {
        let mut config = self.client();
        config
            .set("group.id", unique("audit"))
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut records, mut ends) = (0, 0);
        while ends < partitions {
            match consumer.poll(LONG).expect("the end of the topic") {
                Ok(_) => records += 1,
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
                Err(error) => panic!("{error}"),
            }
        }
        records
    }

    /// Every record of a topic, read by a plain consumer: key, payload, headers.
    pub(crate) fn read_all(&self, topic: &str, records: usize) -> Vec<Read> {
        let mut config = self.client();
        config
            .set("group.id", unique("audit"))
            .set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let (mut read, began) = (Vec::new(), Instant::now());
        while read.len() < records {
            assert!(began.elapsed() < LONG, "{} of {records} are there", read.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                let headers = message.headers().into_iter().flat_map(Headers::iter);
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                read.push(Read {
                    key: message.key().map(text),
                    payload: message.payload().map(text),
                    headers: headers
                        .map(|header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
                        .collect(),
                });
            }
        }
        read
    }

    /// The configuration of a group that reads this topic, quick at everything that tests wait for.
    pub(crate) fn config(&self, group: &str, topic: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new(&self.servers, group, [topic]);
        let quick = [
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "300"),
            ("topic.metadata.refresh.interval.ms", "1000"),
        ];
        let quick = quick.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config.consumer_settings.extend(quick);
        config
    }
}

#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) key: Option<String>,
    pub(crate) payload: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
}

/// On a thread of its own, since the test may run on a runtime already.
fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Ends a group that finishes what it has begun.
pub(crate) async fn drained<J, O>(group: &consumer_group::Group<J, O>)
where
    J: Send + Sync + 'static,
    O: Send + 'static,
{
    let drained = group.drain(LONG).await;
    assert!(drained.unfinished.is_empty());
}

/// Runs the body of a test on a system of its own.
pub(crate) fn on_system<T>(body: impl Future<Output = T>) -> T {
    actix::System::new().block_on(async {
        let within = LONG * 3;
        actix::clock::timeout(within, body)
            .await
            .expect("it takes too long")
    })
}

/// What was done, by number, in order.
#[derive(Clone, Default)]
pub(crate) struct Done(Arc<Mutex<Vec<u64>>>);

impl Done {
    pub(crate) fn note(&self, number: u64) {
        self.0.lock().unwrap().push(number);
    }

    pub(crate) fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until so many different ones are done.
    pub(crate) async fn until(&self, different: usize) {
        let began = Instant::now();
        loop {
            let mut all = self.all();
            all.sort_unstable();
            all.dedup();
            if all.len() >= different {
                return;
            }
            assert!(began.elapsed() < LONG, "{} of {different} are done", all.len());
            actix::clock::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Each exactly once.
    pub(crate) fn assert_once(&self, numbers: std::ops::Range<u64>) {
        let mut all = self.all();
        all.sort_unstable();
        assert!(
            all.iter().copied().eq(numbers),
            "{} were done: {all:?}",
            all.len()
        );
    }
}

/// Waits until it is true.
pub(crate) async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < LONG, "{what} did not come");
        actix::clock::sleep(Duration::from_millis(10)).await;
    }
}
