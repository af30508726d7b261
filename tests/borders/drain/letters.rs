//! Jobs that become dead letters while a group drains are in its last words, from whatever queue they come.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::time::Duration;

use consumer_group::{DeadLetter, DeadReason, Delivery, Failure, Group, GroupBuilder, Job, Role};

#[cfg(feature = "durable")]
use crate::common::system;
use crate::common::{Gate, given_up, is_pending, local, paused, settle_down, window, within};

const LONG: Duration = Duration::from_secs(3_600);

/// A group that holds everything back until the gate opens, does even numbers, rejects odd ones and fails at zero.
fn group(
    gate: &Gate,
    configure: impl FnOnce(GroupBuilder<u64, ()>) -> GroupBuilder<u64, ()>,
) -> Group<u64, ()> {
    let gate = gate.clone();
    let builder = local()
        .configure(|config| window(config, 1))
        .configure(|config| {
            config.retry.attempts = 2;
            config.deadline = Duration::ZERO;
        })
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            gate.pass().await;
            match delivery.job() {
                0 => Err(Failure::retry("again")),
                odd if odd % 2 == 1 => Err(Failure::reject("odd")),
                _ => Ok(()),
            }
        });
    configure(builder).start().unwrap()
}

/// One job is rejected before the drain; then one uses up its attempts, one is rejected and one expires.
async fn one_of_each(gate: Gate, group: Group<u64, ()>) {
    let producer = group.producer();
    let before = {
        let call = producer.call(1);
        gate.let_through(1);
        given_up(within("it is rejected before", call).await)
    };
    let sent = producer.send_batch([2, 0, 3]).await.unwrap();
    let expires = Job::new(5).delay(LONG).expires_after(Duration::from_millis(20));
    let expired = producer.send(expires).await.unwrap();
    let mut drain = Box::pin(group.drain(LONG));
    assert!(is_pending(&mut drain));
    gate.open();
    let drained = within("the drain", drain).await;
    assert!(drained.unfinished.is_empty(), "{drained:?}");
    let mut letters: Vec<_> = drained.dead_letters.iter().map(DeadLetter::id).collect();
    assert!(!letters.contains(&before.id()), "it arose before");
    letters.sort_unstable();
    assert_eq!(letters, [sent[1], sent[2], expired], "{drained:?}");
    let letter = |id| {
        drained
            .dead_letters
            .iter()
            .find(|letter| letter.id() == id)
            .unwrap()
    };
    assert_eq!(letter(sent[1]).reason, DeadReason::AttemptsUsedUp { attempts: 2 });
    assert_eq!(letter(sent[1]).history.len(), 2);
    assert_eq!(letter(sent[2]).reason, DeadReason::Rejected("odd".into()));
    assert_eq!(letter(expired).reason, DeadReason::Expired);
    assert_eq!(*letter(sent[2]).job.payload(), 3, "the job is in it");
    assert!(
        drained.dead_letters.is_sorted_by_key(|letter| letter.at),
        "oldest first"
    );
    let second = group.drain(LONG).await;
    assert!(second.dead_letters.is_empty(), "they are handed out once");
}

#[test]
fn dead_letters_that_arise_in_a_drain_are_handed_out_with_their_history() {
    paused(async {
        let gate = Gate::shut();
        one_of_each(gate.clone(), group(&gate, |builder| builder)).await;
    });
}

#[test]
fn so_are_those_of_a_queue_without_dead_letters() {
    paused(async {
        let gate = Gate::shut();
        one_of_each(
            gate.clone(),
            group(&gate, |builder| builder.queue(super::without_letters())),
        )
        .await;
    });
}

/// A durable queue finishes in a drain only what the group has leased.
#[cfg(feature = "durable")]
#[test]
fn so_are_those_of_a_durable_queue() {
    system(async {
        let folder = tempfile::tempdir().unwrap();
        let queue = consumer_group::durable::DurableQueue::open(folder.path().join("jobs.queue")).unwrap();
        let gate = Gate::shut();
        let group = group(&gate, |builder| {
            builder
                .configure(|config| {
                    window(config, 8);
                    // What is given back goes to the queue, and stays there in a drain.
                    config.retry.attempts = 1;
                })
                .queue(queue)
        });
        let sent = group.producer().send_batch([2, 0, 3, 4]).await.unwrap();
        within("the jobs are leased", async {
            while group.health().await.unwrap().leased < 4 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut drain = Box::pin(group.drain(LONG));
        assert!(is_pending(&mut drain));
        gate.open();
        let drained = within("the drain", drain).await;
        let letters: Vec<_> = drained.dead_letters.iter().map(DeadLetter::id).collect();
        assert_eq!(letters, sent[1..3]);
        assert_eq!(
            drained
                .dead_letters
                .iter()
                .map(|letter| letter.reason.clone())
                .collect::<Vec<_>>(),
            [
                DeadReason::AttemptsUsedUp { attempts: 1 },
                DeadReason::Rejected("odd".into())
            ]
        );
    });
}

#[test]
fn they_are_handed_out_also_past_the_deadline_and_over_the_death_of_a_role() {
    for role in [Role::Queue, Role::Supervisor, Role::Results] {
        paused(async move {
            let gate = Gate::shut();
            let group = group(&gate, |builder| builder);
            let sent = group.producer().send_batch([1, 3, 2]).await.unwrap();
            let mut drain = Box::pin(group.drain(LONG));
            assert!(is_pending(&mut drain));
            gate.let_through(1);
            settle_down().await;
            group.end_role(role);
            settle_down().await;
            gate.let_through(1);
            let drained = drain.await;
            let letters: Vec<_> = drained.dead_letters.iter().map(DeadLetter::id).collect();
            assert_eq!(letters, sent[..2], "{role}");
            assert_eq!(drained.unfinished.len(), 1, "{role}: the gate is shut again");
        });
    }
}

/// Of many letters the latest ones are handed out, as many and as large as the configuration lets the queue keep.
#[test]
fn they_are_bounded_in_number_and_in_bytes() {
    let many = |configure: fn(&mut consumer_group::GroupConfig)| {
        let (tell, told) = std::sync::mpsc::channel();
        paused(async move {
            let gate = Gate::shut();
            let group = group(&gate, |builder| builder.configure(configure));
            let odd = (0..1_000).map(|job| 2 * job + 1);
            let sent = group.producer().send_batch(odd).await.unwrap();
            let mut drain = Box::pin(group.drain(LONG));
            assert!(is_pending(&mut drain));
            gate.open();
            let drained = within("the drain", drain).await;
            let letters: Vec<_> = drained.dead_letters.iter().map(DeadLetter::id).collect();
            assert_eq!(letters, sent[sent.len() - letters.len()..], "the latest ones");
            tell.send(letters.len()).unwrap();
        });
        told.recv().unwrap()
    };
    assert_eq!(many(|config| config.queue.dead_letters = 7), 7);
    let letters = many(|config| config.queue.dead_letter_bytes = 65_536);
    assert!((50..500).contains(&letters), "{letters} letters in 64 KiB");
}

#[test]
fn a_stop_gives_no_job_up() {
    paused(async {
        let gate = Gate::shut();
        let group = group(&gate, |builder| builder);
        given_up({
            let producer = group.producer();
            let call = producer.call(1);
            gate.let_through(1);
            within("it is rejected", call).await
        });
        group.producer().send_batch([1, 3]).await.unwrap();
        let drained = within("the stop", group.stop()).await;
        assert!(drained.dead_letters.is_empty(), "{drained:?}");
        assert_eq!(drained.unfinished.len(), 2);
    });
}
