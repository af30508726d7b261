//! What can be seen of a queue on Kafka from outside.

use std::sync::Arc;

use consumer_group::JobId;

use crate::partitions::Partition;

/// The partitions of this process, as they are now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KafkaHealth {
    /// Those that it owns, in the order in which they were assigned.
    pub partitions: Vec<PartitionHealth>,
    /// Commits that failed since the queue was opened. Each was made again, unless the partition was lost.
    pub failed_commits: u64,
}

/// A partition.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PartitionHealth {
    /// Of which topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// Everything before this offset is done.
    pub watermark: i64,
    /// The offset after the last record that was fetched.
    pub fetched: i64,
    /// Jobs that are fetched and not done.
    pub unfinished: usize,
    /// Jobs above the watermark, done or not.
    pub above: usize,
    /// Records that the server has and that are not done, as of the last statistics (about once a second).
    pub lag: Option<u64>,
    /// How often the partition was taken over by a group like this.
    pub fence: u64,
    /// Fetching is paused, because of what waits or because of `held_up_by`.
    pub is_paused: bool,
    /// The job that holds the watermark, if so many stand above it that the partition is paused.
    pub held_up_by: Option<JobId>,
    /// It is going to another member, and finishes what is at work.
    pub is_draining: bool,
}

impl PartitionHealth {
    pub(crate) fn of<J>(partition: &Partition<J>) -> Self {
        let (lane, jobs) = (&partition.lane, partition.lane.jobs());
        let oldest = jobs.oldest().and_then(|(_, held)| held.job.as_ref());
        let behind = |high: i64| u64::try_from(high.saturating_sub(jobs.position())).unwrap_or(0);
        Self {
            topic: Arc::clone(&partition.topic),
            partition: partition.number,
            watermark: jobs.position(),
            fetched: jobs.end(),
            unfinished: jobs.unfinished(),
            above: jobs.width(),
            lag: partition.high.map(behind),
            fence: lane.fence(),
            is_paused: partition.is_paused,
            held_up_by: oldest.filter(|_| lane.is_held_up()).map(|job| job.id()),
            is_draining: !lane.is_owned(),
        }
    }
}
