//! The queue on disk: the promises of every queue, and those that only a disk can keep.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use consumer_group::durable::{Compact, DurableQueue};
use consumer_group::testing::conformance::{self, QueueTraits};
use consumer_group::{Overflow, QueueConfig};

/// A queue in a folder that goes with the process of the test.
fn fresh(config: QueueConfig) -> DurableQueue<u64> {
    let folder = tempfile::tempdir().unwrap().keep();
    DurableQueue::at(folder.join("jobs.queue"), Compact)
        .config(config)
        .open()
        .unwrap()
}

fn of_64(overflow: Overflow) -> QueueConfig {
    QueueConfig {
        capacity: 64,
        overflow,
        ..QueueConfig::default()
    }
}

mod promises {
    use super::*;

    #[test]
    fn the_durable_queue_keeps_every_promise_of_a_queue() {
        let report = conformance::queue(|| fresh(of_64(Overflow::Wait)))
            .claims(QueueTraits::ALL)
            .real_time()
            .assert();
        let not_claimed: Vec<_> = report.not_claimed().into_iter().collect();
        assert_eq!(not_claimed.len(), 1, "{report}");
    }

    #[test]
    fn it_keeps_them_whatever_its_overflow_policy() {
        for overflow in [Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest] {
            conformance::queue(move || fresh(of_64(overflow)))
                .claims(QueueTraits::ALL)
                .real_time()
                .assert();
        }
    }
}
