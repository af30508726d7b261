//! The queue as a group gets it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use consumer_group::codec::{Codec, GuardedCodec};
use consumer_group::queue::{Capabilities, Clock, QueueRoom, QueueSource};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use crate::actor::KafkaActor;
use crate::config::{KafkaConfig, Tombstones};
use crate::core::{Alive, Core};
use crate::health::{KafkaHealth, PartitionHealth};
use crate::reading::{Context, Reader};
use crate::record::{Form, Payloads, Record, Records};
use crate::sending::{Confirming, Sender};
use crate::{committing::Committing, error::OpenError, outbox::Outbox, results::KafkaResults};

/// Topics of Kafka as the queue of a group. Clones are the same queue, and one group at a time uses it.
///
/// The process becomes a member of the group of [`KafkaConfig::group`] when a group is started over it, and leaves when that ends.
///
/// ```no_run
/// use consumer_group::codec::Text;
/// use consumer_group::{Delivery, Group};
/// use consumer_group_kafka::{KafkaConfig, KafkaQueue};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let config = KafkaConfig::new("127.0.0.1:9092", "billing", ["orders"]);
/// let group = Group::builder()
///     .queue(KafkaQueue::<String>::open(config, Text)?)
///     .consume_with(5, async |delivery: &Delivery<String>| Ok(println!("{}", delivery.job())))
///     .start()?;
/// # Ok(())
/// # }
/// ```
pub struct KafkaQueue<J: Send + Sync + 'static> {
    alive: Arc<Alive<J>>,
}

impl<J: Send + Sync + 'static> KafkaQueue<J> {
    /// A queue of the payloads of records, read and written by this codec. No server is asked yet.
    ///
    /// # Errors
    /// A setting that librdkafka does not know or take, in its own words, or a thread that cannot be had.
    pub fn open(config: KafkaConfig, codec: impl Codec<J>) -> Result<Self, OpenError> {
        let form = Payloads {
            codec: GuardedCodec::new(codec),
            skips_tombstones: config.tombstones == Tombstones::Skip,
        };
        Self::with_form(config, Box::new(form))
    }

    fn with_form(config: KafkaConfig, form: Box<dyn Form<J>>) -> Result<Self, OpenError> {
        if config.topics.is_empty() {
            return Err(OpenError::NoTopic);
        }
        let reading = config.reading();
        let sending = config.sending();
        let core = Arc::new(Core::new(config, form));
        let consumer: BaseConsumer<Context> = reading
            .create_with_context(Context::default())
            .map_err(OpenError::Reading)?;
        let confirming = Confirming(Arc::downgrade(&core));
        let sender: Result<Sender<J>, KafkaError> = sending.create_with_context(confirming);
        core.set_sender(Some(Arc::new(sender.map_err(OpenError::Sending)?)));
        let transacting = core.config.transacting();
        let producer = transacting
            .map(|transacting| transacting.create())
            .transpose()
            .map_err(OpenError::Sending)?;
        let alive = Arc::new(Alive(Arc::clone(&core)));
        start(core, Arc::new(consumer), producer).map_err(OpenError::Thread)?;
        Ok(Self { alive })
    }

    /// Where consumers put what they send on, exactly once within Kafka.
    pub fn outbox(&self) -> Outbox<J> {
        Outbox::of(&self.alive.0)
    }

    /// Where what consumers return goes, for [`result_sink`](consumer_group::GroupBuilder::result_sink).
    pub fn results<O: 'static>(&self, codec: impl Codec<O>) -> KafkaResults<J, O> {
        KafkaResults::new(&self.alive.0, codec)
    }

    /// What is known of the partitions that this process owns.
    pub fn health(&self) -> KafkaHealth {
        let core = &self.alive.0;
        let failed_commits = core.failed_commits.load(Ordering::Relaxed);
        core.operate(|partitions| KafkaHealth {
            partitions: partitions.iter().map(PartitionHealth::of).collect(),
            failed_commits,
        })
    }
}

impl KafkaQueue<Record> {
    /// A queue of whole records: with key, time and headers, and tombstones among them.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_records(config: KafkaConfig) -> Result<Self, OpenError> {
        Self::with_form(config, Box::new(Records))
    }
}

/// Starts the two threads. Both end when the queue is dropped.
fn start<J: Send + Sync + 'static>(
    core: Arc<Core<J>>,
    consumer: Arc<BaseConsumer<Context>>,
    producer: Option<BaseProducer>,
) -> std::io::Result<()> {
    let committing = Committing {
        core: Arc::clone(&core),
        consumer: Arc::clone(&consumer),
        producer,
        is_known: false,
    };
    let committer = thread::Builder::new()
        .name("kafka-commits".to_owned())
        .spawn(move || committing.run())?;
    let core_of_reader = Arc::clone(&core);
    let reading = thread::Builder::new()
        .name("kafka-reading".to_owned())
        .spawn(move || Reader::new(core_of_reader, consumer, committer).run());
    if reading.is_err() {
        core.end_commits();
    }
    reading.map(drop)
}

impl<J: Send + Sync + 'static> Clone for KafkaQueue<J> {
    fn clone(&self) -> Self {
        let alive = Arc::clone(&self.alive);
        Self { alive }
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for KafkaQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaQueue")
            .field("config", &self.alive.0.config)
            .finish_non_exhaustive()
    }
}

impl<J: Send + Sync + 'static> QueueSource<J> for KafkaQueue<J> {
    type Actor = KafkaActor<J>;

    fn create(&self, clock: Clock) -> Self::Actor {
        self.alive.0.set_clock(clock);
        KafkaActor::new(Arc::clone(&self.alive))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            dead_letter: self.alive.0.config.dead_letters.is_some(),
            // Of a key all records are in one partition, and a partition has one owner.
            order_by_key: true,
            ..Capabilities::LEAST
        }
    }

    fn room(&self) -> Option<QueueRoom> {
        None
    }
}
