//! Fetching pauses where too much waits, or where a job does not end, and goes on.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::context::{Context, report};
use crate::core::Core;
use crate::partitions::Partition;

/// Pauses and goes on where that is due. True if anything is paused.
pub(super) fn pause<J: Send + Sync + 'static>(core: &Core<J>, consumer: &BaseConsumer<Context>) -> bool {
    let (mut pause, mut resume, mut any) = (TopicPartitionList::new(), TopicPartitionList::new(), false);
    core.operate(|partitions| {
        let level = partitions.level();
        partitions.flow.turn(level);
        let all = partitions.flow.is_paused();
        for (_, partition) in partitions.iter_mut() {
            if partition.lane.turn() == Some(true) {
                told_of_holder(partition);
            }
            let shall = all || partition.lane.is_held_up();
            any |= shall;
            if shall != partition.is_paused {
                partition.is_paused = shall;
                let list = if shall { &mut pause } else { &mut resume };
                list.add_partition(&partition.topic, partition.number);
            }
        }
    });
    if pause.count() > 0 {
        report(consumer.pause(&pause));
    }
    if resume.count() > 0 {
        report(consumer.resume(&resume));
    }
    any
}

/// Too many jobs stand above the watermark: says which one holds it.
fn told_of_holder<J>(partition: &Partition<J>) {
    let Some((offset, held)) = partition.lane.jobs().oldest() else {
        return;
    };
    let job = held.job.as_ref().map(|job| job.id().to_string());
    tracing::warn!(
        topic = &*partition.topic,
        partition = partition.number,
        offset,
        job,
        above = partition.lane.jobs().width(),
        "kafka: a job does not end, and its partition is paused until it does"
    );
}
