//! From the first poll of a drain nothing is accepted, through whatever door it comes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::sync::Arc;
use std::time::Duration;

use consumer_group::supervision::GroupChild;
use consumer_group::{
    CallError, Delivery, Drained, Failure, Group, GroupBuilder, GroupState, Host, Job, Placement,
    SendErrorKind,
};

use crate::common::{Gate, calm, given_up, is_pending, local, paused, within};

const LONG: Duration = Duration::from_secs(3_600);

/// A group of one consumer that rejects odd numbers and holds even ones back until the gate opens.
fn start(
    gate: &Gate,
    configure: impl FnOnce(GroupBuilder<u64, ()>) -> GroupBuilder<u64, ()>,
) -> Group<u64, ()> {
    let gate = gate.clone();
    let builder = local().consume_with(1, async move |delivery: &Delivery<u64>| {
        if delivery.job() % 2 == 1 {
            return Err(Failure::reject("odd"));
        }
        gate.pass().await;
        Ok(())
    });
    configure(builder).start().unwrap()
}

/// Nothing happens between the first poll and these calls: no actor of the group has heard of the drain.
#[test]
fn from_the_first_poll_of_a_drain_nothing_is_accepted() {
    for drains in [true, false] {
        paused(async move {
            let gate = Gate::shut();
            let group = start(&gate, |builder| builder);
            let producer = group.producer();
            let (producers, _results) = group.producer_group();
            producer.send(2).await.unwrap();
            assert!(producer.is_open());
            let drain = async {
                if drains {
                    group.drain(LONG).await
                } else {
                    group.stop().await
                }
            };
            let mut drain = Box::pin(drain);
            assert!(is_pending(&mut drain));
            assert!(!producer.is_open());
            assert!(!group.producer().is_open(), "a new one is closed as well");
            let error = producer.send(4).await.unwrap_err();
            assert_eq!(
                (error.kind, error.job),
                (SendErrorKind::Closed, Some(Job::new(4)))
            );
            let error = producer.send_batch([6, 8]).await.unwrap_err();
            assert_eq!((error.accepted.len(), error.refused.len()), (0, 2));
            match producer.call(10).await {
                Err(CallError::Send(error)) => assert_eq!(error.job, Some(Job::new(10))),
                called => panic!("the call was not refused: {called:?}"),
            }
            let error = producers.send(12).await.unwrap_err();
            assert_eq!(
                (error.kind, error.job),
                (SendErrorKind::Closed, Some(Job::new(12)))
            );
            gate.open();
            let Drained { unfinished, .. } = within("the end", drain).await;
            assert_eq!(
                unfinished.len(),
                usize::from(!drains),
                "only what was accepted before"
            );
            assert_eq!(group.state(), GroupState::Stopped);
        });
    }
}

/// A sender that has not been told that it was accepted, because the queue was full, has not been accepted.
#[test]
fn who_waits_for_room_at_the_first_poll_is_handed_its_job_back() {
    paused(async {
        let gate = Gate::shut();
        let group = start(&gate, |builder| {
            builder.configure(|config| config.queue.capacity = 1)
        });
        let producer = group.producer();
        producer.send(2).await.unwrap();
        let mut waits = Box::pin(producer.send(4));
        assert!(is_pending(&mut waits));
        let mut drain = Box::pin(group.drain(LONG));
        assert!(is_pending(&mut drain));
        let error = within("it is told", waits).await.unwrap_err();
        assert_eq!(
            (error.kind, error.job),
            (SendErrorKind::Closed, Some(Job::new(4)))
        );
        gate.open();
        assert!(within("the end", drain).await.unfinished.is_empty());
    });
}

/// A dead letter that is sent back is a job that comes in. It stays a dead letter.
#[test]
fn dead_letters_are_not_sent_back_into_a_group_that_drains() {
    for own_letters in [true, false] {
        paused(async move {
            let gate = Gate::shut();
            let group = start(&gate, |builder| {
                if own_letters {
                    builder
                } else {
                    builder.queue(super::without_letters())
                }
            });
            let producer = group.producer();
            let letter = given_up(producer.call(1).await);
            producer.send(2).await.unwrap();
            let mut drain = Box::pin(group.drain(LONG));
            assert!(is_pending(&mut drain));
            let letters = group.dead_letters();
            within("it is refused", letters.requeue_all()).await.unwrap_err();
            within("it is refused", letters.requeue([letter.id()]))
                .await
                .unwrap_err();
            let kept = letters.list(10).await.unwrap();
            assert_eq!(kept.len(), 1, "it is still there");
            gate.open();
            let drained = within("the end", drain).await;
            assert!(drained.dead_letters.is_empty(), "it did not die once more");
        });
    }
}

/// A job that is on its way to the disk at the first poll is accepted or handed back, and its sender knows which.
#[cfg(feature = "durable")]
#[test]
fn a_durable_queue_accepts_nothing_from_the_first_poll_of_a_drain() {
    crate::common::system(async {
        let folder = tempfile::tempdir().unwrap();
        let queue = consumer_group::durable::DurableQueue::open(folder.path().join("jobs.queue")).unwrap();
        let gate = Gate::shut();
        gate.open();
        let group = start(&gate, |builder| builder.queue(queue.clone()));
        let producer = group.producer();
        let mut sends = Box::pin(producer.send(2));
        assert!(is_pending(&mut sends), "the disk has it later");
        let mut drain = Box::pin(group.drain(LONG));
        assert!(is_pending(&mut drain));
        assert!(!producer.is_open());
        let error = producer.send(4).await.unwrap_err();
        assert_eq!(
            (error.kind, error.job),
            (SendErrorKind::Closed, Some(Job::new(4)))
        );
        let accepted = within("the sender is told", sends).await.is_ok();
        within("the end", drain).await;
        assert!(accepted, "it was on its way before");
    });
}

#[test]
fn a_host_that_shuts_down_and_a_tree_that_stops_close_the_door() {
    let host = Host::start().unwrap();
    let gate = Gate::shut();
    let passed = gate.clone();
    let builder: GroupBuilder<u64, ()> = Group::builder()
        .placement(Placement::Local)
        .configure(calm)
        .consume_with(1, async move |_: &Delivery<u64>| {
            passed.pass().await;
            Ok(())
        });
    let report = host.block_on(async {
        let group = builder.start_on(&host).await.unwrap();
        let producer = Arc::new(group.producer());
        producer.send(2).await.unwrap();
        let shutdown = host.shutdown(LONG);
        let closed = async {
            while producer.is_open() {
                tokio::task::yield_now().await;
            }
            let error = producer.send(4).await.unwrap_err();
            assert_eq!(
                (error.kind, error.job),
                (SendErrorKind::Closed, Some(Job::new(4)))
            );
            gate.open();
        };
        tokio::join!(shutdown, closed).0
    });
    assert!(report.is_clean(), "{report}");
    paused(async {
        let mut child = GroupChild::new("group", async || {
            Ok(local().consume_with(1, async |_: &Delivery<u64>| Ok(())))
        });
        let handle = child.handle();
        let tree = consumer_group::supervision::SupervisorSpec::new("root")
            .child(child.into_child())
            .start()
            .await
            .unwrap();
        let producer = handle.producer().await.unwrap();
        within("the end", tree.stop()).await;
        assert!(!producer.is_open());
        assert_eq!(producer.send(4).await.unwrap_err().kind, SendErrorKind::Closed);
    });
}
