//! A queue says how its link is, and a group waits for none that says nothing.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use consumer_group::events::{LinkState, QueueCounts};
use consumer_group::queue::MemoryQueue;
use consumer_group::testing::ManualQueue;
use consumer_group::{Delivery, EventKind, Group};
use tokio::time::Instant;

use crate::common::{Gate, event, local, paused, settle_down, within};

fn group_over(queue: &ManualQueue<u64>, gate: &Gate) -> Group<u64, u64> {
    let gate = gate.clone();
    local()
        .queue(queue.clone())
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            gate.pass().await;
            Ok(*delivery.job())
        })
        .start()
        .unwrap()
}

#[test]
fn the_link_of_a_queue_is_told_when_it_changes_and_stands_in_the_health() {
    paused(async {
        let queue = ManualQueue::new();
        let group = group_over(&queue, &Gate::shut());
        let mut events = group.events();
        assert_eq!(
            group.health().await.unwrap().queue_state.link,
            LinkState::Connected
        );
        tokio::time::sleep(Duration::from_secs(5)).await;
        let broken = LinkState::Disconnected {
            why: "connection refused".into(),
        };
        for _ in 0..2 {
            queue.set_link(broken.clone());
        }
        let mut next = async |what: &str| {
            let told = event(&mut events, what, |kind| match kind {
                EventKind::QueueStateChanged { state } => Some(state.clone()),
                _ => None,
            });
            told.await
        };
        let state = next("the word that it broke").await;
        assert_eq!(state.link, broken);
        let health = group.health().await.unwrap();
        assert_eq!(health.queue_state, state);
        assert!(health.at >= state.since);
        let blocked = LinkState::Blocked {
            why: "low on disk".into(),
        };
        queue.set_link(blocked.clone());
        assert_eq!(next("one word for each change").await.link, blocked);
    });
}

#[test]
fn a_queue_inside_of_the_process_is_always_connected() {
    paused(async {
        let group = local()
            .queue(MemoryQueue::bounded(10))
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .start()
            .unwrap();
        let health = group.health().await.unwrap();
        assert_eq!(health.queue_state.link, LinkState::Connected);
        assert_eq!(health.queue_counted, Some(health.at));
    });
}

#[test]
fn the_health_of_a_group_waits_a_second_for_the_queue_and_then_says_what_it_said_last() {
    paused(async {
        let queue = ManualQueue::new();
        let group = group_over(&queue, &Gate::shut());
        queue.be_silent(true);
        let before = Instant::now();
        let health = within("the health", group.health()).await.unwrap();
        assert_eq!((health.queue, health.queue_counted), (None, None));
        assert_eq!(before.elapsed(), Duration::from_secs(1));
        queue.be_silent(false);
        group.producer().send_batch([1, 2, 3]).await.unwrap();
        let counts = QueueCounts {
            ready: 3,
            ..QueueCounts::default()
        };
        let health = group.health().await.unwrap();
        assert_eq!(
            (health.queue, health.queue_counted),
            (Some(counts), Some(health.at))
        );
        queue.be_silent(true);
        queue.until_demanded(1).await;
        assert_eq!(queue.lease(1), 1);
        let later = within("the health", group.health()).await.unwrap();
        assert_eq!(
            (later.queue, later.queue_counted),
            (Some(counts), Some(health.at))
        );
        assert_eq!(later.leased, 1, "the group itself is seen as it is");
    });
}

#[test]
fn a_queue_is_told_goodbye_and_gets_back_what_was_leased() {
    paused(async {
        let (queue, gate) = (ManualQueue::new(), Gate::shut());
        let group = group_over(&queue, &gate);
        queue.until_demanded(2).await;
        group.producer().send_batch([1, 2]).await.unwrap();
        assert_eq!(queue.lease(2), 2);
        settle_down().await;
        assert_eq!(queue.said_goodbye(), None);
        assert!(group.stop().await.unfinished.is_empty(), "its jobs stay with it");
        assert_eq!(queue.said_goodbye(), Some(Duration::from_secs(10)));
        assert_eq!((queue.ready(), queue.leased()), (2, 0));
    });
}

#[test]
fn a_group_waits_no_longer_for_the_goodbye_of_a_queue_than_it_said() {
    paused(async {
        let queue = ManualQueue::new();
        let group = group_over(&queue, &Gate::shut());
        settle_down().await;
        queue.be_silent(true);
        let before = Instant::now();
        within("the end", group.stop()).await;
        assert_eq!(before.elapsed(), Duration::from_secs(10));
    });
}
