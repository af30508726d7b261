//! What a queue on Kafka is told at its start.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Where reading begins in a partition of which this group has committed nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest record that is there.
    #[default]
    Earliest,
    /// At what comes from now on.
    Latest,
    /// At the first record that is not older.
    Time(SystemTime),
    /// At this offset, in each partition.
    Offset(i64),
}

/// How the members of a group share the partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// The protocol that every server knows. A rebalance moves only what has to move (`cooperative-sticky`).
    #[default]
    Classic,
    /// The protocol of KIP-848, in which the server decides. Known from Kafka 4.0 on.
    Consumer,
}

/// What to do with a record that has a key and no payload, the mark by which a compacted topic forgets a key. A queue of
/// [`Record`](crate::Record)s is not asked: such a record is a job as any other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tombstones {
    /// It counts as done.
    #[default]
    Skip,
    /// The codec gets no bytes, and says what that means.
    Decode,
}

/// A queue on Kafka, in numbers and names.
///
/// ```
/// use consumer_group_kafka::{KafkaConfig, Start};
///
/// let mut config = KafkaConfig::new("127.0.0.1:9092", "billing", ["orders"]);
/// config.dead_letters = Some("orders-dlt".to_owned());
/// config.start = Start::Latest;
/// config.settings.insert("security.protocol".to_owned(), "SASL_SSL".to_owned());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct KafkaConfig {
    /// The servers that are asked for all the others: `host:port`, with commas between them.
    pub servers: String,
    /// The group that commits. Processes of one group share the partitions.
    pub group: String,
    /// The topics from which jobs come.
    pub topics: Vec<String>,
    /// The topic to which [`Producer`](consumer_group::Producer)s of the group send. By default the first one of `topics`.
    pub send_to: Option<String>,
    /// The topic for dead letters; it is not created. `None`: the group keeps them on its own shelf, and they are lost with the
    /// process.
    pub dead_letters: Option<String>,
    /// The topic for what consumers return, of records that do not name one themselves; see [`KafkaResults`](crate::KafkaResults).
    pub results: Option<String>,
    /// Where a partition begins of which nothing was committed.
    pub start: Start,
    /// How partitions are shared.
    pub protocol: Protocol,
    /// What a record without a payload is.
    pub tombstones: Tombstones,
    /// Jobs that are fetched and wait to be leased, over all partitions; fetching pauses there and goes on at half of it.
    pub buffered_jobs: usize,
    /// Their bytes, as they came; likewise. A record that is larger than this is taken alone.
    pub buffered_bytes: usize,
    /// Jobs of one partition that may stand above its oldest one that is not done, done or not. There the partition pauses until
    /// half of them are past: a job that never ends holds back its own partition alone, and only then.
    pub most_above: usize,
    /// Jobs that are leased, or done and not committed yet: as many may be done once more after a crash, and no more. Less of it
    /// makes the group wait for commits.
    pub most_at_risk: usize,
    /// How long jobs of a partition that goes to another member may still be at work. It must end well before
    /// `max.poll.interval.ms` (5 min by default), past which the server waits no longer.
    pub drain: Duration,
    /// The least time between two commits.
    pub commit_every: Duration,
    /// A name for the transactions of this process, unlike that of any other process of the group: what consumers put into the
    /// [`Outbox`](crate::Outbox) is then in its topic exactly once, together with the commit of the job. `None`: no transactions.
    pub transactions: Option<String>,
    /// Settings of librdkafka for reading and sending, such as `security.protocol`. They win over what this crate would set, except
    /// `enable.auto.commit` and `enable.auto.offset.store`.
    pub settings: BTreeMap<String, String>,
    /// Settings for reading alone.
    pub consumer_settings: BTreeMap<String, String>,
    /// Settings for sending alone.
    pub producer_settings: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// A group that reads these topics, with the defaults for the rest.
    pub fn new(
        servers: impl Into<String>,
        group: impl Into<String>,
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            servers: servers.into(),
            group: group.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            send_to: None,
            dead_letters: None,
            results: None,
            start: Start::default(),
            protocol: Protocol::default(),
            tombstones: Tombstones::default(),
            buffered_jobs: 20_000,
            buffered_bytes: 64 << 20,
            most_above: 100_000,
            most_at_risk: 10_000,
            drain: Duration::from_secs(30),
            commit_every: Duration::from_millis(20),
            transactions: None,
            settings: BTreeMap::new(),
            consumer_settings: BTreeMap::new(),
            producer_settings: BTreeMap::new(),
        }
    }

    /// What librdkafka is told for reading.
    pub(crate) fn reading(&self) -> rdkafka::ClientConfig {
        let mut config = self.both();
        config
            .set("group.id", &self.group)
            .set("auto.offset.reset", "earliest")
            // A new partition, or one that is gone, is seen after this time.
            .set("topic.metadata.refresh.interval.ms", "10000")
            // Lag is told this often.
            .set("statistics.interval.ms", "1000")
            // What is fetched ahead, beside what is counted here.
            .set("queued.max.messages.kbytes", "16384");
        match self.protocol {
            Protocol::Classic => config
                .set("partition.assignment.strategy", "cooperative-sticky")
                // A member learns of a rebalance by the answer to its heartbeat.
                .set("heartbeat.interval.ms", "500"),
            Protocol::Consumer => config.set("group.protocol", "consumer"),
        };
        overwrite(&mut config, &self.settings);
        overwrite(&mut config, &self.consumer_settings);
        // Nothing is committed but what this crate says.
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config
    }

    /// What it is told for sending.
    pub(crate) fn sending(&self) -> rdkafka::ClientConfig {
        let mut config = self.both();
        config
            .set("enable.idempotence", "true")
            // A sender learns after this time that nobody confirms.
            .set("message.timeout.ms", "30000")
            .set("linger.ms", "1")
            // The partition that clients in Java choose for the same key.
            .set("partitioner", "murmur2_random");
        overwrite(&mut config, &self.settings);
        overwrite(&mut config, &self.producer_settings);
        config
    }

    /// What it is told for transactions, if there are any.
    pub(crate) fn transacting(&self) -> Option<rdkafka::ClientConfig> {
        let name = self.transactions.as_deref()?;
        let mut config = self.sending();
        config.set("transactional.id", name);
        // The transaction has a time of its own, which must not be the shorter one.
        config
            .set("message.timeout.ms", "30000")
            .set("transaction.timeout.ms", "60000");
        Some(config)
    }

    /// Jobs that may stand above the watermark. With transactions everything that is done must have room in the note.
    pub(crate) fn above(&self) -> usize {
        /// Each second one done: a thousand pairs of two letters with their points.
        const WITH_TRANSACTIONS: usize = 1_500;
        match self.transactions {
            Some(_) => self.most_above.min(WITH_TRANSACTIONS),
            None => self.most_above,
        }
    }

    /// The largest record that is sent, in bytes.
    pub(crate) fn most_bytes(&self) -> u64 {
        /// What librdkafka takes unless it is told otherwise.
        const DEFAULT: u64 = 1_000_000;
        let set = self
            .sending()
            .get("message.max.bytes")
            .and_then(|set| set.parse().ok());
        set.unwrap_or(DEFAULT)
    }

    fn both(&self) -> rdkafka::ClientConfig {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config.set("client.id", "consumer-group");
        config
    }

    /// The topic for what producers of the group send.
    pub(crate) fn send_topic(&self) -> Option<&str> {
        let first = self.topics.first();
        self.send_to.as_deref().or(first.map(String::as_str))
    }
}

fn overwrite(config: &mut rdkafka::ClientConfig, settings: &BTreeMap<String, String>) {
    for (name, value) in settings {
        config.set(name, value);
    }
}

/// Settings of librdkafka without what nobody should read in a log.
struct Shown<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = [
            "password",
            "secret",
            "key",
            "token",
            "jaas",
            "username",
            "oauthbearer",
        ];
        let shown = self.0.iter().map(|(name, value)| {
            let hides = hidden.iter().any(|word| name.contains(word));
            (name, if hides { "***" } else { value.as_str() })
        });
        f.debug_map().entries(shown).finish()
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("servers", &self.servers)
            .field("group", &self.group)
            .field("topics", &self.topics)
            .field("send_to", &self.send_to)
            .field("dead_letters", &self.dead_letters)
            .field("results", &self.results)
            .field("start", &self.start)
            .field("protocol", &self.protocol)
            .field("tombstones", &self.tombstones)
            .field("buffered_jobs", &self.buffered_jobs)
            .field("buffered_bytes", &self.buffered_bytes)
            .field("most_above", &self.most_above)
            .field("most_at_risk", &self.most_at_risk)
            .field("drain", &self.drain)
            .field("commit_every", &self.commit_every)
            .field("transactions", &self.transactions)
            .field("settings", &Shown(&self.settings))
            .field("consumer_settings", &Shown(&self.consumer_settings))
            .field("producer_settings", &Shown(&self.producer_settings))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown_and_what_must_hold_cannot_be_set() {
        let mut config = KafkaConfig::new("127.0.0.1:1", "group", ["topic"]);
        for name in [
            "sasl.password",
            "sasl.username",
            "ssl.key.pem",
            "ssl.key.password",
            "sasl.oauthbearer.client.secret",
        ] {
            config.settings.insert(name.to_owned(), "tiger".to_owned());
        }
        config
            .consumer_settings
            .insert("enable.auto.commit".to_owned(), "true".to_owned());
        assert!(!format!("{config:?}").contains("tiger"));
        assert_eq!(config.reading().get("enable.auto.commit"), Some("false"));
        assert_eq!(config.sending().get("sasl.password"), Some("tiger"));
    }
}
