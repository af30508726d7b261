//! A batch that can get no larger is closed at once, however long it may wait.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::time::Duration;

use consumer_group::supervision::{GroupChild, SupervisorSpec};
use consumer_group::{
    BatchConsumer, BatchSize, Deliver, Failure, Group, GroupBuilder, Host, Placement, SlotId,
};
use tokio::time::Instant;

use crate::common::{Log, calm, is_pending, local, paused, settle_down, system, window, within};

const LONG: Duration = Duration::from_secs(3_600);

/// How long a batch waits that is not closed before.
const WAIT: Duration = Duration::from_secs(60);

/// Nothing waited for that: the tests of this file stand on a clock that passes only when nothing else can happen.
const SOON: Duration = Duration::from_secs(1);

/// Notes each batch, then dies of a lucky number in it.
struct Batches {
    noted: Log<(SlotId, Vec<u64>)>,
    deadly: Option<u64>,
}

impl BatchConsumer for Batches {
    type Job = u64;
    type Output = ();

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, ()>>) -> Result<(), Failure> {
        let jobs: Vec<u64> = batch.iter().map(|delivery| *delivery.job()).collect();
        let deadly = self.deadly.is_some_and(|deadly| jobs.contains(&deadly));
        self.noted.note((batch[0].slot(), jobs));
        assert!(!deadly, "deadly");
        batch.drain(..).for_each(|delivery| delivery.ack(()));
        Ok(())
    }
}

#[derive(Clone)]
struct Noted(Log<(SlotId, Vec<u64>)>);

impl Noted {
    fn new() -> Self {
        Self(Log::new())
    }

    fn jobs(&self) -> Vec<Vec<u64>> {
        self.0.all().into_iter().map(|(_, jobs)| jobs).collect()
    }

    fn consumers(
        &self,
        builder: GroupBuilder<u64, ()>,
        consumers: usize,
        size: BatchSize,
    ) -> GroupBuilder<u64, ()> {
        self.deadly(builder, consumers, size, None)
    }

    fn deadly(
        &self,
        builder: GroupBuilder<u64, ()>,
        consumers: usize,
        size: BatchSize,
        deadly: Option<u64>,
    ) -> GroupBuilder<u64, ()> {
        let noted = self.0.clone();
        let make = move || Batches {
            noted: noted.clone(),
            deadly,
        };
        builder.batch_consumers(consumers, size, make)
    }
}

fn size(most: usize) -> BatchSize {
    BatchSize { most, wait: WAIT }
}

#[test]
fn a_drain_closes_a_partial_batch_at_once() {
    for wait in [WAIT, Duration::MAX] {
        paused(async move {
            let noted = Noted::new();
            let group = noted
                .consumers(local(), 1, BatchSize { most: 10, wait })
                .start()
                .unwrap();
            group.producer().send_batch(0..3).await.unwrap();
            settle_down().await;
            assert!(noted.jobs().is_empty(), "it waits for more");
            let before = Instant::now();
            let drained = within("the drain", group.drain(LONG)).await;
            assert!(drained.unfinished.is_empty(), "{drained:?}");
            assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
            assert_eq!(noted.jobs(), [[0, 1, 2]]);
        });
    }
}

#[test]
fn jobs_that_still_wait_in_the_queue_fill_the_batches_of_a_drain() {
    paused(async {
        let noted = Noted::new();
        let group = noted
            .consumers(local(), 1, size(5))
            .configure(|config| window(config, 5))
            .start()
            .unwrap();
        group.pause();
        group.producer().send_batch(0..23).await.unwrap();
        let before = Instant::now();
        let drained = within("the drain", group.drain(LONG)).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
        let sizes: Vec<usize> = noted.jobs().iter().map(Vec::len).collect();
        assert_eq!(sizes, [5, 5, 5, 5, 3]);
    });
}

/// A retry of the drain is a batch of its own; it must not wait for company that cannot come.
#[test]
fn a_job_that_comes_late_in_a_drain_waits_for_no_other() {
    paused(async {
        let noted = Noted::new();
        let group = noted.consumers(local(), 1, size(5)).start().unwrap();
        let producer = group.producer();
        producer.send(1).await.unwrap();
        let late = consumer_group::Job::new(2).delay(Duration::from_secs(10));
        producer.send(late).await.unwrap();
        let before = Instant::now();
        let drained = within("the drain", group.drain(LONG)).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        assert!(
            before.elapsed() < Duration::from_secs(11),
            "{:?}",
            before.elapsed()
        );
        assert_eq!(noted.jobs(), [[1], [2]]);
    });
}

#[test]
fn a_slot_that_is_taken_away_closes_its_partial_batch_and_the_others_wait_on() {
    paused(async {
        let noted = Noted::new();
        let group = noted.consumers(local(), 2, size(10)).start().unwrap();
        group.producer().send_batch(0..4).await.unwrap();
        settle_down().await;
        let before = Instant::now();
        group.scale(1);
        settle_down().await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(noted.0.all(), [(SlotId(1), vec![1, 3])]);
        within("the rest of the wait", async {
            while noted.0.len() < 2 {
                tokio::time::sleep(SOON).await;
            }
        })
        .await;
        assert_eq!(noted.jobs(), [[1, 3], [0, 2]]);
        assert!(before.elapsed() >= WAIT - SOON, "{:?}", before.elapsed());
        group.stop().await;
    });
}

#[test]
fn a_paused_group_finishes_what_its_batches_hold_and_gathers_again_when_it_is_resumed() {
    paused(async {
        let noted = Noted::new();
        let group = noted.consumers(local(), 1, size(10)).start().unwrap();
        let producer = group.producer();
        producer.send_batch(0..3).await.unwrap();
        settle_down().await;
        group.pause();
        settle_down().await;
        assert_eq!(noted.jobs(), [[0, 1, 2]]);
        group.resume();
        producer.send_batch(3..5).await.unwrap();
        settle_down().await;
        assert_eq!(noted.jobs().len(), 1, "it waits for more again");
        group.stop().await;
    });
}

/// After a death that nobody can pin on one job each of them is delivered alone: there is nothing to wait for.
#[test]
fn a_suspect_that_is_delivered_alone_waits_for_no_company() {
    paused(async {
        let noted = Noted::new();
        let wait = Duration::MAX;
        let group = noted
            .deadly(local(), 1, BatchSize { most: 2, wait }, Some(1))
            .configure(|config| config.retry.attempts = 2)
            .start()
            .unwrap();
        group.producer().send_batch([0, 1]).await.unwrap();
        settle_down().await;
        assert_eq!(noted.jobs(), [vec![0, 1], vec![0], vec![1]]);
        let letters = group.dead_letters().list(9).await.unwrap();
        assert_eq!(letters.len(), 1, "{letters:?}");
        group.stop().await;
    });
}

#[test]
fn a_supervisor_that_is_replaced_in_a_drain_holds_no_batch_back_either() {
    paused(async {
        let noted = Noted::new();
        let group = noted.consumers(local(), 1, size(10)).start().unwrap();
        group.producer().send_batch(0..3).await.unwrap();
        settle_down().await;
        group.end_role(consumer_group::Role::Supervisor);
        let before = Instant::now();
        let mut drain = Box::pin(group.drain(LONG));
        assert!(is_pending(&mut drain));
        let drained = within("the drain", drain).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
        assert_eq!(noted.jobs(), [[0, 1, 2]]);
    });
}

#[test]
fn batches_on_other_threads_are_closed_by_a_drain() {
    for placement in [Placement::Arbiters(2), Placement::Dedicated] {
        system(async move {
            let noted = Noted::new();
            let group = noted
                .consumers(
                    Group::builder().placement(placement).configure(calm),
                    3,
                    size(100),
                )
                .start()
                .unwrap();
            group.producer().send_batch(0..30).await.unwrap();
            let drained = group.drain(WAIT / 2).await;
            assert!(drained.unfinished.is_empty(), "{drained:?}");
            let done: usize = noted.jobs().iter().map(Vec::len).sum();
            assert_eq!(done, 30);
        });
    }
}

/// Only what the group has leased is finished; the rest stays in the queue.
#[cfg(feature = "durable")]
#[test]
fn a_drain_over_a_durable_queue_closes_a_partial_batch_at_once() {
    system(async {
        let folder = tempfile::tempdir().unwrap();
        let queue = consumer_group::durable::DurableQueue::open(folder.path().join("jobs.queue")).unwrap();
        let noted = Noted::new();
        let group = noted
            .consumers(local(), 1, size(10))
            .queue(queue)
            .configure(|config| window(config, 10))
            .start()
            .unwrap();
        group.producer().send_batch(0..3).await.unwrap();
        within("the jobs are leased", async {
            while group.health().await.unwrap().slots[0].in_flight < 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let drained = group.drain(WAIT / 2).await;
        assert!(drained.unfinished.is_empty(), "{drained:?}");
        assert_eq!(noted.jobs(), [[0, 1, 2]]);
    });
}

#[test]
fn the_stop_of_a_tree_closes_the_batches_of_its_group() {
    paused(async {
        let noted = Noted::new();
        let consumers = noted.clone();
        let mut child = GroupChild::new("group", async move || {
            Ok(consumers.consumers(local(), 1, size(10)))
        });
        let handle = child.handle();
        let tree = SupervisorSpec::new("root")
            .child(child.into_child())
            .start()
            .await
            .unwrap();
        handle.producer().await.unwrap().send_batch(0..3).await.unwrap();
        settle_down().await;
        let before = Instant::now();
        within("the end", tree.stop()).await;
        assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
        assert_eq!(noted.jobs(), [[0, 1, 2]]);
    });
}

#[test]
fn the_shutdown_of_a_host_closes_the_batches_of_its_groups() {
    let noted = Noted::new();
    let host = Host::start().unwrap();
    let builder = Group::builder().placement(Placement::Local).configure(calm);
    let report = host.block_on(async {
        let group = noted
            .consumers(builder, 1, size(10))
            .start_on(&host)
            .await
            .unwrap();
        group.producer().send_batch(0..3).await.unwrap();
        host.shutdown(WAIT / 2).await
    });
    assert!(report.is_clean(), "{report}");
    assert_eq!(noted.jobs().concat(), [0, 1, 2]);
}
