//! A machine that has no descriptor left, and numbers so large that no memory is.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use consumer_group::config::PastBudget;
use consumer_group::events::SlotState;
use consumer_group::supervision::{Child, SupervisorConfig, SupervisorSpec, TreeEvent};
use consumer_group::{
    BatchConsumer, BatchSize, Cause, Deliver, Delivery, EventKind, Failure, Group, GroupState, Job, Placement,
};

use crate::common::{Block, event, local, paused, system, within};

/// Runs a test of this file in a process that may have 64 descriptors.
fn with_few_descriptors(test: &str) {
    let program = std::env::current_exe().unwrap();
    let ended = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(program)
        .args([
            "--exact",
            &format!("resources::nothing_left::{test}"),
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && told.contains("1 passed"),
        "{told}\n{complained}"
    );
}

/// Takes every descriptor that is left.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// A group whose consumers have a thread each, and that fails for good if one of them spends its few restarts.
fn strict(consumers: usize) -> Group<u64, u64> {
    local()
        .placement(Placement::Dedicated)
        .configure(|config| {
            config.restart.intensity = 2;
            config.restart.period = Duration::from_millis(3_600_000);
            config.restart.past_budget = PastBudget::Escalate;
        })
        .consume_with(consumers, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
        .start()
        .unwrap()
}

fn found_nothing(kind: &EventKind) -> Option<()> {
    match kind {
        EventKind::ConsumerDown {
            cause: Cause::StartFailed(text),
            ..
        } => {
            assert!(text.contains("no thread or no descriptor is left"), "{text}");
            Some(())
        }
        _ => None,
    }
}

#[test]
fn a_group_that_is_scaled_past_its_descriptors_works_on_with_those_that_it_has() {
    with_few_descriptors("scales_past_its_descriptors");
}

#[test]
#[ignore = "runs in a process of its own"]
fn scales_past_its_descriptors() {
    system(async {
        let group = strict(2);
        let mut events = group.events();
        let producer = group.producer();
        assert_eq!(within("a job", producer.call(1)).await.unwrap(), 1);
        group.scale(300);
        event(&mut events, "a start that finds nothing", found_nothing).await;
        // More starts than the budget allows find nothing, and the group works on.
        for _ in 0..600 {
            event(&mut events, "a start that finds nothing", found_nothing).await;
        }
        for job in 0..100 {
            assert_eq!(
                within("a job", producer.call(job + 100)).await.unwrap(),
                job + 100
            );
        }
        assert_eq!(group.state(), GroupState::Running);
        let health = within("the health", group.health()).await.unwrap();
        let in_state = |state| health.slots.iter().filter(|slot| slot.state == state).count();
        assert!(in_state(SlotState::Live) >= 2, "{health:?}");
        assert!(in_state(SlotState::BackingOff) > 0);
        // Fewer: the descriptors come back, and nothing stays behind of all the starts that failed.
        group.scale(2);
        loop {
            let health = within("the health", group.health()).await.unwrap();
            let gone = |slot: &&consumer_group::events::SlotHealth| slot.state == SlotState::Gone;
            if health.slots.iter().filter(gone).count() == 298 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        group.scale(5);
        for _ in 0..3 {
            event(&mut events, "another consumer", |kind| {
                matches!(kind, EventKind::ConsumerUp { .. }).then_some(())
            })
            .await;
        }
        assert_eq!(within("a job", producer.call(2)).await.unwrap(), 2);
        within("the end", group.stop()).await;
    });
}

#[test]
fn descriptors_that_are_gone_for_a_while_cost_a_slot_that_while_and_nothing_else() {
    with_few_descriptors("has_none_for_a_while");
}

#[test]
#[ignore = "runs in a process of its own"]
fn has_none_for_a_while() {
    system(async {
        let group = strict(2);
        let mut events = group.events();
        let producer = group.producer();
        for job in 0..10 {
            within("a job", producer.call(job)).await.unwrap();
        }
        let taken = take_all();
        group.scale(3);
        // More often than its budget allows, if it were its fault.
        for _ in 0..4 {
            event(&mut events, "a start that finds nothing", found_nothing).await;
            assert_eq!(
                within("a job of the others", producer.call(50)).await.unwrap(),
                50
            );
        }
        assert_eq!(group.state(), GroupState::Running);
        drop(taken);
        event(&mut events, "the slot is back", |kind| {
            matches!(kind, EventKind::ConsumerUp { .. }).then_some(())
        })
        .await;
        let health = within("the health", group.health()).await.unwrap();
        assert!(
            health.slots.iter().all(|slot| slot.state == SlotState::Live),
            "{health:?}"
        );
        within("the end", group.stop()).await;
    });
}

struct BlocksItsThread(Block);

impl Actor for BlocksItsThread {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Say(u64);

impl Handler<Say> for BlocksItsThread {
    type Result = u64;

    fn handle(&mut self, Say(what): Say, _: &mut Context<Self>) -> u64 {
        if what == 13 {
            self.0.wait();
        }
        what
    }
}

#[test]
fn a_child_of_a_tree_that_finds_no_descriptors_waits_and_its_siblings_work_on() {
    with_few_descriptors("a_tree_has_none_for_a_while");
}

#[test]
#[ignore = "runs in a process of its own"]
fn a_tree_has_none_for_a_while() {
    system(async {
        let block = Block::new();
        let child = |name: &str| {
            let block = block.clone();
            Child::new(name, move || BlocksItsThread(block.clone())).deadline(Duration::from_millis(50))
        };
        let (mut one, mut other) = (child("one"), child("other"));
        let (one_handle, other_handle) = (one.handle(), other.handle());
        let tree = SupervisorSpec::new("tree")
            .placement(Placement::Dedicated)
            .config(SupervisorConfig {
                intensity: 1,
                period: Duration::from_millis(3_600_000),
                kill_grace: Duration::from_millis(50),
                ..SupervisorConfig::default()
            })
            .child(one)
            .child(other)
            .start()
            .await
            .unwrap();
        let mut events = tree.events();
        assert_eq!(within("an answer", one_handle.send(Say(1))).await.unwrap(), 1);
        let taken = take_all();
        // Its arbiter is given up and keeps its descriptors, so its next life needs others.
        one_handle.do_send(Say(13)).unwrap();
        let mut starved = 0;
        while starved < 3 {
            if let TreeEvent::Down(down) = within("an event", events.next()).await.unwrap()
                && let Cause::StartFailed(text) = &down.cause
            {
                assert!(text.contains("no thread or no descriptor is left"), "{text}");
                starved += 1;
            }
        }
        assert_eq!(within("an answer", other_handle.send(Say(2))).await.unwrap(), 2);
        drop(taken);
        block.release();
        // It waits in the stash until the child is back.
        assert_eq!(within("an answer", one_handle.send(Say(3))).await.unwrap(), 3);
        within("the end", tree.stop()).await;
    });
}

struct Pairs;

impl BatchConsumer for Pairs {
    type Job = u64;
    type Output = u64;

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            let job = *delivery.job();
            delivery.ack(job);
        }
        Ok(())
    }
}

#[test]
fn numbers_as_large_as_they_may_be_reserve_no_memory() {
    paused(async {
        const MOST: usize = 1_000_000_000_000;
        let size = BatchSize {
            most: usize::MAX,
            wait: Duration::from_millis(1),
        };
        let group: Group<u64, u64> = local()
            .configure(|config| {
                config.queue.capacity = MOST;
                config.queue.dead_letters = MOST;
                config.queue.dedup_keys = MOST;
                config.queue.history = 1_000_000;
                config.hold = MOST;
                config.results = MOST;
                config.window.max = u32::MAX;
                config.window.min = u32::MAX;
                config.retry.attempts = u32::MAX;
                config.restart.intensity = u32::MAX;
            })
            .batch_consumers(2, size, || Pairs)
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers
            .send(Job::new(1).key("a").dedup("b").priority(255))
            .await
            .unwrap();
        within("the job", results.next()).await.unwrap().result.unwrap();
        within("the end", group.stop()).await;
    });
}

#[test]
fn numbers_of_a_tree_as_large_as_they_may_be_reserve_no_memory_or_are_refused_by_name() {
    paused(async {
        let mut child = Child::new("child", || BlocksItsThread(Block::new()))
            .limit(usize::MAX)
            .stash(usize::MAX)
            .capacity(usize::MAX);
        let handle = child.handle();
        let spec = SupervisorSpec::new("tree")
            .intensity(u32::MAX, Duration::MAX)
            .child(child);
        let tree = spec.start().await.unwrap();
        assert_eq!(within("an answer", handle.send(Say(1))).await.unwrap(), 1);
        within("the end", tree.stop()).await;

        let config = SupervisorConfig {
            events_kept: usize::MAX,
            ..SupervisorConfig::default()
        };
        let refused = SupervisorSpec::new("tree")
            .config(config)
            .start()
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("events_kept"), "{refused}");
    });
}
