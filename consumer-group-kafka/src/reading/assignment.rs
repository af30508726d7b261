//! Where reading begins in the partitions that were assigned.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::context::{Context, Name};
use crate::config::Start;
use crate::rules::Note;

/// How long the server may take for an answer. The thread does not poll meanwhile, which is no harm for so short a time.
const WITHIN: Duration = Duration::from_secs(5);

/// Where a partition begins.
pub(super) struct Beginning {
    pub(super) name: Name,
    pub(super) position: i64,
    pub(super) note: Option<Note>,
}

/// Asks the server where to begin in each of these.
pub(super) fn beginnings(
    consumer: &BaseConsumer<Context>,
    names: &[Name],
    start: Start,
) -> KafkaResult<Vec<Beginning>> {
    let committed = consumer.committed_offsets(list_of(names), WITHIN)?;
    let mut beginnings = Vec::with_capacity(names.len());
    for element in committed.elements() {
        element.error()?;
        let (topic, partition) = (element.topic(), element.partition());
        let (low, high) = consumer.fetch_watermarks(topic, partition, WITHIN)?;
        let begins = match element.offset() {
            // Beyond its end: the topic was made anew since. What is in it was never read.
            Offset::Offset(offset) if offset > high => (low, note_of(&element).map(without_runs)),
            Offset::Offset(offset) => (offset, note_of(&element)),
            _ => (start_of(consumer, topic, partition, (low, high), start)?, None),
        };
        beginnings.push(Beginning {
            name: (topic.into(), partition),
            position: begins.0,
            note: begins.1,
        });
    }
    Ok(beginnings)
}

/// The partitions as librdkafka takes them.
pub(super) fn list_of(names: &[Name]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(names.len());
    for (topic, partition) in names {
        list.add_partition(topic, *partition);
    }
    list
}

fn without_runs(note: Note) -> Note {
    Note {
        runs: Vec::new(),
        ..note
    }
}

fn note_of(element: &TopicPartitionListElem<'_>) -> Option<Note> {
    // Another client may have committed bytes that are no text, at which the wrapper panics.
    let text = catch_unwind(AssertUnwindSafe(|| element.metadata().to_owned())).ok()?;
    Note::read(&text)
}

fn start_of(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    (low, high): (i64, i64),
    start: Start,
) -> KafkaResult<i64> {
    match start {
        Start::Earliest => Ok(low),
        Start::Latest => Ok(high),
        Start::Offset(offset) => Ok(offset.clamp(low, high)),
        Start::Time(time) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut list = TopicPartitionList::new();
            let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            list.add_partition_offset(topic, partition, Offset::Offset(millis))?;
            let found = consumer.offsets_for_times(list, WITHIN)?;
            let offset = found.elements().first().map(|element| element.offset());
            // Nothing is as young as that: what comes from now on is.
            Ok(match offset {
                Some(Offset::Offset(offset)) => offset,
                _ => high,
            })
        }
    }
}
