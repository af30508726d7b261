//! What the queue answers to verdicts.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use consumer_group::queue::Verdict;
use consumer_group::testing::{ManualQueue, SettleAnswers};
use consumer_group::{Delivery, EventKind, Group};
use tokio::time::Instant;

use crate::common::{event, local, paused, settle_down, told, within};

fn group_over(queue: &ManualQueue<u64>) -> Group<u64, u64> {
    local()
        .queue(queue.clone())
        .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
        .start()
        .unwrap()
}

#[test]
fn a_verdict_that_the_queue_refuses_is_told_with_the_reason_and_counted() {
    paused(async {
        let queue = ManualQueue::new().automatic();
        let group = group_over(&queue);
        let mut events = group.events();
        group.producer().send(1).await.unwrap();
        assert_eq!(queue.next_settle().await.item.verdict, Verdict::Ack);
        queue.answer_settles(SettleAnswers::Refuse);
        group.producer().send(2).await.unwrap();
        let refused = event(&mut events, "the refusal", |kind| match kind {
            EventKind::SettlesRefused { stale, unknown } => Some((*stale, *unknown)),
            _ => None,
        });
        assert_eq!(refused.await, (0, 1));
        assert_eq!(group.health().await.unwrap().refused_settles, 1);
    });
}

#[test]
fn verdicts_that_a_queue_without_a_link_did_not_get_are_told_and_not_sent_again() {
    paused(async {
        let queue = ManualQueue::new().automatic();
        let group = group_over(&queue);
        let mut events = group.events();
        queue.answer_settles(SettleAnswers::LinkDown);
        group.producer().send(1).await.unwrap();
        let lost = event(&mut events, "the loss", |kind| match kind {
            EventKind::SettlesLost { verdicts } => Some(*verdicts),
            _ => None,
        });
        assert_eq!(lost.await, 1);
        queue.answer_settles(SettleAnswers::Apply);
        settle_down().await;
        assert_eq!(queue.settles().len(), 1);
        let health = group.health().await.unwrap();
        assert_eq!((health.refused_settles, health.leased), (1, 0));
    });
}

#[test]
fn a_settle_that_is_never_answered_does_not_hold_up_a_drain() {
    paused(async {
        let queue = ManualQueue::new().automatic();
        let group = group_over(&queue);
        let mut events = group.events();
        queue.answer_settles(SettleAnswers::Never);
        group.producer().send_batch([1, 2, 3]).await.unwrap();
        settle_down().await;
        let before = Instant::now();
        let drained = within("the drain", group.drain(Duration::from_secs(3_600))).await;
        assert!(drained.unfinished.is_empty());
        let took = before.elapsed();
        assert!(
            took >= Duration::from_secs(5) && took < Duration::from_secs(20),
            "{took:?}"
        );
        let unanswered: usize = told(&mut events)
            .iter()
            .map(|kind| match kind {
                EventKind::SettlesUnanswered { verdicts } => *verdicts,
                _ => 0,
            })
            .sum();
        assert_eq!(unanswered, 3, "each is told once");
    });
}
