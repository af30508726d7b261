//! The committing thread: one commit after the other, each of them answered.
//!
//! A commit that is not waited for and fails is told to nobody by librdkafka, so none is made in that way. Waiting costs nothing
//! here: meanwhile more jobs are done, and the next commit is about all of them.
//!
//! With transactions a commit is one: the outputs of the jobs that were done, and the offsets. Since jobs end out of order, what
//! is done above the watermark must be in the note of the same transaction, or its outputs would come twice after a crash: a
//! commit whose note has no room for everything is not made yet.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::burying;
use crate::core::{Core, LaneCommit};
use crate::outbox::Output;
use crate::reading::Context;

/// The wait after a commit that failed.
const AFTER_A_FAILURE: Duration = Duration::from_millis(100);

/// How long a step of a transaction may take.
const WITHIN: Duration = Duration::from_secs(30);

/// How commits are made.
pub(crate) struct Committing<J: Send + Sync + 'static> {
    pub(crate) core: Arc<Core<J>>,
    pub(crate) consumer: Arc<BaseConsumer<Context>>,
    /// For transactions.
    pub(crate) producer: Option<BaseProducer>,
    /// The producer is known to the server.
    pub(crate) is_known: bool,
}

impl<J: Send + Sync + 'static> Committing<J> {
    pub(crate) fn run(mut self) {
        let least = self.core.config.commit_every;
        while let Some(commits) = self.core.next_commits() {
            let result = match self.producer.take() {
                None => self.commit(&commits),
                Some(producer) => {
                    let result = self.transact(&producer, &commits);
                    self.producer = Some(producer);
                    result
                }
            };
            if let Err(error) = &result {
                self.core.failed_commits.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, partitions = commits.len(), "kafka: a commit failed and is made again");
            }
            let is_answered = result.is_ok();
            self.answered(commits, is_answered);
            thread::sleep(match is_answered {
                true => least,
                false => least.max(AFTER_A_FAILURE),
            });
        }
    }

    /// The commits were answered: what they are about is not at risk any more, and more can be leased.
    fn answered(&self, commits: Vec<LaneCommit>, is_well: bool) {
        let dying = self.core.operate(|partitions| {
            partitions.is_committing = false;
            for LaneCommit {
                lane, mut outputs, ..
            } in commits
            {
                // Of a partition that was lost, the next owner does the jobs once more, with their outputs.
                let Some(partition) = partitions.get_mut(lane) else {
                    continue;
                };
                partition.lane.committed(is_well);
                if !is_well {
                    outputs.append(&mut partition.outputs);
                    partition.outputs = outputs;
                }
            }
            self.core.hand_out(partitions)
        });
        burying::bury(&self.core, dying);
    }

    fn commit(&self, commits: &[LaneCommit]) -> KafkaResult<()> {
        self.consumer.commit(&offsets(commits)?, CommitMode::Sync)
    }

    /// Either all of it happens, or nothing.
    fn transact(&mut self, producer: &BaseProducer, commits: &[LaneCommit]) -> KafkaResult<()> {
        if !self.is_known {
            producer.init_transactions(WITHIN)?;
            self.is_known = true;
        }
        producer.begin_transaction()?;
        let done = self.in_transaction(producer, commits);
        let result = done.and_then(|()| producer.commit_transaction(WITHIN));
        if let Err(error) = &result {
            if is_fatal(error) {
                // Another process has taken the name of these transactions.
                self.core.breaks(format!("its transactions have ended: {error}"));
            } else if let Err(error) = producer.abort_transaction(WITHIN) {
                tracing::warn!(%error, "kafka: a transaction could not be aborted; the server does it in time");
            }
        }
        result
    }

    fn in_transaction(&self, producer: &BaseProducer, commits: &[LaneCommit]) -> KafkaResult<()> {
        for output in commits.iter().flat_map(|commit| &commit.outputs) {
            send(producer, output)?;
        }
        let members = self.consumer.group_metadata().ok_or(KafkaError::Canceled)?;
        producer.send_offsets_to_transaction(&offsets(commits)?, &members, WITHIN)
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_fatal())
}

fn send(producer: &BaseProducer, output: &Output) -> KafkaResult<()> {
    let mut headers = OwnedHeaders::new();
    for (name, value) in &output.headers {
        let (key, value) = (name.as_str(), value.as_ref());
        headers = headers.insert(Header { key, value });
    }
    let mut record = BaseRecord::<'_, [u8], [u8]>::to(&output.topic).headers(headers);
    if let Some(key) = &output.key {
        record = record.key(key);
    }
    if let Some(payload) = &output.payload {
        record = record.payload(payload);
    }
    loop {
        record = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::QueueFull), record)) => {
                record
            }
            Err((error, _)) => return Err(error),
        };
        // The queue of librdkafka is full until the server has confirmed some.
        producer.poll(Duration::from_millis(10));
    }
}

fn offsets(commits: &[LaneCommit]) -> KafkaResult<TopicPartitionList> {
    let mut offsets = TopicPartitionList::with_capacity(commits.len());
    for LaneCommit {
        topic,
        partition,
        commit,
        ..
    } in commits
    {
        let mut element = offsets.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(commit.position))?;
        element.set_metadata(&commit.note);
    }
    Ok(offsets)
}
