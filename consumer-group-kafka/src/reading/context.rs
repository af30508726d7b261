//! What librdkafka calls: it only writes down what happened. The reading thread acts on it after the poll, so that it goes on
//! polling while a partition is drained, and is never taken for dead.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

/// A partition by its name.
pub(crate) type Name = (Arc<str>, i32);

/// What a rebalance asks for. Each is answered, in order, and the server waits for that.
#[derive(Debug)]
pub(crate) enum Rebalanced {
    /// These come.
    Assigned(Vec<Name>),
    /// These go.
    Revoked {
        names: Vec<Name>,
        /// They are somebody else's already.
        is_lost: bool,
    },
}

/// The context of the consumer.
#[derive(Default)]
pub(crate) struct Context {
    events: Mutex<VecDeque<Rebalanced>>,
    /// The offsets after the last records, as the statistics say.
    highs: Mutex<Vec<(Name, i64)>>,
    /// Whether a server was connected, as the statistics say.
    is_up: Mutex<Option<bool>>,
    /// The consumer is being dropped: nobody will act on what is written down.
    is_closing: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Context {
    pub(crate) fn next(&self) -> Option<Rebalanced> {
        lock(&self.events).pop_front()
    }

    pub(crate) fn take_highs(&self) -> Vec<(Name, i64)> {
        std::mem::take(&mut *lock(&self.highs))
    }

    /// Whether a server is connected, if that was told since the last question.
    pub(crate) fn take_is_up(&self) -> Option<bool> {
        lock(&self.is_up).take()
    }

    pub(crate) fn closes(&self) {
        self.is_closing.store(true, Ordering::Release);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        logged(level, fac, message);
    }

    fn stats(&self, statistics: Statistics) {
        let is_up = statistics.brokers.values().any(|broker| broker.state == "UP");
        *lock(&self.is_up) = Some(is_up);
        let mut highs = lock(&self.highs);
        highs.clear();
        for (topic, statistics) in statistics.topics {
            let topic: Arc<str> = topic.into();
            let partitions = statistics.partitions.into_values();
            let known = partitions.filter(|partition| partition.hi_offset >= 0);
            highs.extend(
                known.map(|partition| ((Arc::clone(&topic), partition.partition), partition.hi_offset)),
            );
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka: librdkafka reports an error");
    }
}

/// Passes on what librdkafka logs.
pub(crate) fn logged(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "librdkafka: {message}"),
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.is_closing.load(Ordering::Acquire) {
            let answered = match is_assigned {
                true => assign(consumer, &TopicPartitionList::new()),
                false => unassign(consumer, list),
            };
            report(answered);
            return;
        }
        let names = list.elements().into_iter();
        let names = names
            .map(|element| (Arc::from(element.topic()), element.partition()))
            .collect();
        lock(&self.events).push_back(match is_assigned {
            true => Rebalanced::Assigned(names),
            false => Rebalanced::Revoked {
                names,
                is_lost: consumer.assignment_lost(),
            },
        });
    }
}

/// Answers a rebalance: these are read from here on, beside those that are read already if the protocol knows that.
pub(crate) fn assign(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(list),
    }
}

/// Answers a rebalance: these are given up.
pub(crate) fn unassign(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

/// The group goes on without this answer; a member that the server does not hear is taken for lost.
pub(crate) fn report(answered: KafkaResult<()>) {
    if let Err(error) = answered {
        tracing::warn!(%error, "kafka: a rebalance could not be answered");
    }
}
