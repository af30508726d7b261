//! Credit: how many jobs a queue may hand out, and how it is taken back.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use consumer_group::testing::ManualQueue;
use consumer_group::{Delivery, EventKind, Group};

use crate::common::{Gate, local, paused, settle_down, told, window, within};

/// A group of so many consumers with a window of four, each held up by the gate.
fn group_over(queue: &ManualQueue<u64>, consumers: usize, gate: &Gate) -> Group<u64, u64> {
    let gate = gate.clone();
    local()
        .queue(queue.clone())
        .configure(|config| {
            config.hold = 100;
            window(config, 4);
        })
        .consume_with(consumers, async move |delivery: &Delivery<u64>| {
            gate.pass().await;
            Ok(*delivery.job())
        })
        .start()
        .unwrap()
}

#[test]
fn a_pause_takes_the_credit_back_that_is_not_used_and_attaches_nothing_anew() {
    paused(async {
        let (queue, gate) = (ManualQueue::new(), Gate::shut());
        let group = group_over(&queue, 2, &gate);
        let mut events = group.events();
        queue.until_demanded(8).await;
        group.producer().send_batch(1..=10).await.unwrap();
        assert_eq!(queue.lease(3), 3);
        group.pause();
        settle_down().await;
        assert_eq!((queue.credit(), queue.lease(1)), (0, 0));
        group.resume();
        within("credit again", queue.until_demanded(5)).await;
        gate.open();
        settle_down().await;
        assert_eq!(queue.lease(5), 5);
        let attached = told(&mut events)
            .iter()
            .filter(|kind| matches!(kind, EventKind::Attached { .. }))
            .count();
        assert_eq!(attached, 1);
        assert!(group.drain(Duration::from_secs(60)).await.unfinished.is_empty());
    });
}

#[test]
fn a_scale_down_takes_credit_back_at_once() {
    paused(async {
        let (queue, gate) = (ManualQueue::new(), Gate::shut());
        let group = group_over(&queue, 4, &gate);
        queue.until_demanded(16).await;
        group.scale(1);
        settle_down().await;
        assert_eq!(queue.credit(), 4);
    });
}

#[test]
fn a_drain_takes_credit_back_while_what_is_leased_goes_on() {
    paused(async {
        let (queue, gate) = (ManualQueue::new(), Gate::shut());
        let group = group_over(&queue, 2, &gate);
        queue.until_demanded(8).await;
        group.producer().send_batch(1..=4).await.unwrap();
        assert_eq!(queue.lease(3), 3);
        let draining = group.clone();
        let drain = actix_rt::spawn(async move { draining.drain(Duration::from_secs(60)).await });
        settle_down().await;
        assert_eq!(queue.credit(), 0);
        gate.open();
        let drained = within("the drain", drain).await.unwrap();
        assert!(drained.unfinished.is_empty());
        assert_eq!(
            (queue.ready(), queue.leased()),
            (1, 0),
            "the rest stays in the queue"
        );
    });
}

#[test]
fn the_queue_knows_the_most_that_can_be_leased_at_once_also_after_a_change_of_scale() {
    paused(async {
        let (queue, gate) = (ManualQueue::new(), Gate::shut());
        let group = group_over(&queue, 2, &gate);
        queue.until_demanded(8).await;
        let before = queue.ceiling();
        assert!((8..400).contains(&before), "{before}");
        group.scale(5);
        settle_down().await;
        assert_eq!(queue.ceiling(), before + 12);
    });
}
