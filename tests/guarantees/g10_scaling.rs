//! Guarantee 10: scale and weights change at run time; a key in flight stays where it is until it is settled.

use std::collections::BTreeMap;
use std::time::Duration;

use consumer_group::events::SlotState;
use consumer_group::{Delivery, EventKind, Group, GroupConfig, Job, Placement, SlotId, StrategyKind};

use crate::common::{
    Gate, Log, Probe, calm, event, next_outcome, paused, probe, settle_down, system, window, within,
};

/// A group that notes where its jobs are done. The windows are wide, so only the strategy decides.
fn noting(strategy: StrategyKind, consumers: usize, weights: &[u32]) -> (Group<u64, ()>, Log<SlotId>) {
    let done = Log::new();
    let noted = done.clone();
    let group = Group::builder()
        .config(GroupConfig {
            strategy,
            weights: weights.to_vec(),
            placement: Placement::Local,
            ..GroupConfig::default()
        })
        .configure(calm)
        .configure(|config| window(config, 4_096))
        .consume_with(consumers, async move |delivery: &Delivery<u64>| {
            noted.note(delivery.slot());
            Ok(())
        })
        .start()
        .unwrap();
    (group, done)
}

/// Has jobs done and counts who did them.
async fn shares(group: &Group<u64, ()>, done: &Log<SlotId>, jobs: u64) -> BTreeMap<u32, usize> {
    let before = done.len();
    let (producers, mut results) = group.producer_group();
    producers.send_batch(0..jobs).await.unwrap();
    for _ in 0..jobs {
        next_outcome(&mut results, "a job is done").await;
    }
    let mut shares = BTreeMap::new();
    for slot in &done.all()[before..] {
        *shares.entry(slot.0).or_default() += 1;
    }
    shares
}

/// Waits until the group is as large as it shall be, with everyone up.
async fn grown_to(group: &Group<u64, ()>, live: usize) {
    within("the group has its new size", async {
        loop {
            let health = group.health().await.unwrap();
            let is_live = |state| health.slots.iter().filter(|slot| slot.state == state).count();
            if is_live(SlotState::Live) == live
                && is_live(SlotState::Starting) + is_live(SlotState::Retiring) == 0
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[test]
fn equal_consumers_get_equal_shares_also_after_scaling_up_and_down() {
    paused(async {
        let (group, done) = noting(StrategyKind::RoundRobin, 4, &[]);
        grown_to(&group, 4).await;
        assert_eq!(
            shares(&group, &done, 400).await,
            [(0, 100), (1, 100), (2, 100), (3, 100)].into()
        );
        group.scale(5);
        grown_to(&group, 5).await;
        let five = [(0, 80), (1, 80), (2, 80), (3, 80), (4, 80)];
        assert_eq!(shares(&group, &done, 400).await, five.into());
        group.scale(2);
        grown_to(&group, 2).await;
        assert_eq!(shares(&group, &done, 400).await, [(0, 200), (1, 200)].into());
    });
}

#[test]
fn weights_from_the_start_give_exact_shares() {
    paused(async {
        let (group, done) = noting(StrategyKind::Weighted, 3, &[5, 3, 2]);
        grown_to(&group, 3).await;
        assert_eq!(
            shares(&group, &done, 100).await,
            [(0, 50), (1, 30), (2, 20)].into()
        );
    });
}

#[test]
fn a_weight_that_changes_at_run_time_gives_exact_shares_from_then_on() {
    paused(async {
        let (group, done) = noting(StrategyKind::Weighted, 2, &[]);
        grown_to(&group, 2).await;
        assert_eq!(shares(&group, &done, 100).await, [(0, 50), (1, 50)].into());
        let mut events = group.events();
        group.set_weight(SlotId(1), 4);
        event(&mut events, "the change is told", |kind| {
            matches!(kind, EventKind::Weighted { slot: SlotId(1), weight } if weight.0 == 4).then_some(())
        })
        .await;
        assert_eq!(group.health().await.unwrap().slots[1].weight.0, 4);
        assert_eq!(shares(&group, &done, 100).await, [(0, 20), (1, 80)].into());
    });
}

#[test]
fn weights_and_size_outlive_the_supervisor() {
    paused(async {
        let (group, done) = noting(StrategyKind::Weighted, 2, &[]);
        group.set_weight(SlotId(0), 3);
        group.scale(3);
        grown_to(&group, 3).await;
        group.end_role(consumer_group::Role::Supervisor);
        settle_down().await;
        grown_to(&group, 3).await;
        assert_eq!(
            shares(&group, &done, 100).await,
            [(0, 60), (1, 20), (2, 20)].into()
        );
    });
}

#[test]
fn a_group_scaled_to_nothing_keeps_its_jobs_until_it_is_scaled_up() {
    paused(async {
        let (group, done) = noting(StrategyKind::RoundRobin, 2, &[]);
        grown_to(&group, 2).await;
        group.scale(0);
        grown_to(&group, 0).await;
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..10).await.unwrap();
        settle_down().await;
        assert_eq!(done.len(), 0);
        group.scale(1);
        for _ in 0..10 {
            next_outcome(&mut results, "a job is done").await;
        }
    });
}

#[test]
fn a_consumer_that_is_scaled_away_finishes_what_it_holds() {
    system(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let (note, mut noted) = probe();
        let group = Group::builder()
            .placement(Placement::Arbiters(2))
            .configure(calm)
            .configure(|config| window(config, 4))
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                note.send(delivery.slot()).unwrap();
                passed.pass().await;
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..8).await.unwrap();
        noted.next("one begins").await;
        noted.next("the other begins").await;
        group.scale(1);
        event(&mut events, "the change is told", |kind| {
            (*kind == EventKind::Scaled { from: 2, to: 1 }).then_some(())
        })
        .await;
        gate.open();
        for _ in 0..8 {
            let outcome = next_outcome(&mut results, "a job is done").await;
            assert_eq!(outcome.result.unwrap(), 1, "nobody was interrupted");
        }
        let (slot, held) = event(&mut events, "the consumer goes", |kind| match kind {
            EventKind::ConsumerDown { slot, held, .. } => Some((*slot, *held)),
            _ => None,
        })
        .await;
        assert_eq!((slot, held), (SlotId(1), 0));
    });
}

/// Two consumers by hash, and a job in flight whose key lives on the second one. It stays in flight until the gate opens.
async fn with_a_key_in_flight(
    order_by_key: bool,
) -> (Group<&'static str, ()>, u64, Gate, Probe<(&'static str, SlotId)>) {
    let gate = Gate::shut();
    let passed = gate.clone();
    let (note, mut noted) = probe();
    let group = Group::builder()
        .config(GroupConfig {
            strategy: StrategyKind::ConsistentHash,
            placement: Placement::Local,
            order_by_key,
            ..GroupConfig::default()
        })
        .configure(calm)
        .consume_with(2, async move |delivery: &Delivery<&'static str>| {
            note.send((*delivery.job(), delivery.slot())).unwrap();
            if *delivery.job() == "in flight" {
                passed.pass().await;
            }
            Ok(())
        })
        .start()
        .unwrap();
    let producer = group.producer();
    // A key that lives on the slot that will go.
    let mut keys = 0_u64..;
    let key = loop {
        let key = keys.next().unwrap();
        producer.call(Job::new("seeks").key(key)).await.unwrap();
        if noted.next("a job is done").await.1 == SlotId(1) {
            break key;
        }
    };
    producer.send(Job::new("in flight").key(key)).await.unwrap();
    assert_eq!(noted.next("it begins").await, ("in flight", SlotId(1)));
    (group, key, gate, noted)
}

/// The slot with the key in flight is taken away; the key moves only after its job has ended.
#[test]
fn a_key_in_flight_stays_where_it_is_when_the_group_shrinks() {
    paused(async {
        let (group, key, gate, mut noted) = with_a_key_in_flight(true).await;
        let producer = group.producer();
        group.scale(1);
        producer.send(Job::new("next of the key").key(key)).await.unwrap();
        for other in 0..20 {
            producer
                .call(Job::new("others").key(1_000 + other))
                .await
                .unwrap();
            assert_eq!(noted.next("others go on").await, ("others", SlotId(0)));
        }
        gate.open();
        assert_eq!(noted.next("the key moves").await, ("next of the key", SlotId(0)));
    });
}

/// Nothing keeps a key without order: its next job goes to another consumer while the one before is in flight.
#[test]
fn without_order_a_key_moves_at_once_when_the_group_shrinks() {
    paused(async {
        let (group, key, gate, mut noted) = with_a_key_in_flight(false).await;
        let producer = group.producer();
        group.scale(1);
        producer.call(Job::new("next of the key").key(key)).await.unwrap();
        assert_eq!(noted.next("the key moves").await, ("next of the key", SlotId(0)));
        assert!(!gate.is_open(), "the one before is still in flight");
        gate.open();
    });
}

#[test]
fn when_a_hash_ring_grows_only_keys_of_the_new_consumer_move() {
    paused(async {
        let group = Group::builder()
            .config(GroupConfig {
                strategy: StrategyKind::ConsistentHash,
                placement: Placement::Local,
                ..GroupConfig::default()
            })
            .configure(calm)
            .consume_with(4, async |delivery: &Delivery<u64>| Ok(delivery.slot()))
            .start()
            .unwrap();
        let producer = group.producer();
        let mut homes = Vec::new();
        settle_down().await;
        for key in 0..300 {
            homes.push(producer.call(Job::new(key).key(key)).await.unwrap());
        }
        group.scale(5);
        settle_down().await;
        let mut moved = 0;
        for key in 0..300 {
            let home = producer.call(Job::new(key).key(key)).await.unwrap();
            if home != homes[key as usize] {
                assert_eq!(home, SlotId(4), "a key moved between two that stayed");
                moved += 1;
            }
        }
        assert!((20..=120).contains(&moved), "about a fifth of 300 keys: {moved}");
    });
}
