//! Weights: from a file, from the environment, and while the group runs.
//!
//! With the strategy `weighted`, of every (sum of the weights) jobs each consumer gets exactly its weight. The example sends
//! jobs and counts who did them.
//!
//! Run it: `cargo run --example weights_from_file`, or with weights of your own:
//! `CONSUMER_GROUP_WEIGHTS=1,1,8 cargo run --example weights_from_file`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use consumer_group::events::SlotState;
use consumer_group::strategy::Weight;
use consumer_group::{Delivery, Group, GroupConfig, SlotId};
use tokio::time::{sleep, timeout};

/// How often the weights go round.
const ROUNDS: usize = 20;

/// Every job says which consumer got it.
type Jobs = Group<u32, SlotId>;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A mistake in the file is refused here: with the key, the line, and what would be right.
    let file = GroupConfig::from_file(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/weights.toml"))?;
    let from_file = file.with_environment(std::env::vars_os())?;

    let group = start(from_file.clone())?;
    exact_shares("from the file:", &group, &from_file.weights).await?;

    // At run time: the consumer in slot 1 is moved to a faster machine, so to say.
    group.set_weight(SlotId(1), 6);
    let mut weights = from_file.weights.clone();
    if let Some(weight) = weights.get_mut(1) {
        *weight = 6;
    }
    exact_shares("changed while it runs:", &group, &weights).await?;
    group.stop().await;

    // From the environment; given here by hand, so that you see it without setting a variable.
    let variable = ("CONSUMER_GROUP_WEIGHTS".to_owned(), "1,1,2".to_owned());
    let from_variable = from_file.with_environment([variable])?;
    let group = start(from_variable.clone())?;
    exact_shares("from a variable:", &group, &from_variable.weights).await?;
    group.stop().await;

    // What cannot be is refused.
    let variable = ("CONSUMER_GROUP_WEIGHTS".to_owned(), "1,0,2".to_owned());
    let refused = GroupConfig::default().with_environment([variable]);
    let refused = refused.err().ok_or("a weight of 0 was accepted")?;
    println!("{:<23} {refused}", "a weight of 0:");
    Ok(())
}

fn start(config: GroupConfig) -> Result<Jobs, consumer_group::StartError> {
    let consumers = config.consumers;
    Group::builder()
        .config(config)
        .consume_with(consumers, async |delivery: &Delivery<u32>| Ok(delivery.slot()))
        .start()
}

/// Sends jobs for some rounds and checks that each slot got its weight in each of them.
async fn exact_shares(what: &str, group: &Jobs, weights: &[u32]) -> Result<(), Box<dyn Error>> {
    let wanted: Vec<Weight> = weights.iter().copied().map(Weight).collect();
    until_weights_are(group, &wanted).await?;

    let (producers, mut results) = group.producer_group();
    let sum: u32 = weights.iter().sum();
    let jobs = sum as usize * ROUNDS;
    producers.send_batch(vec![0; jobs]).await?;
    let mut shares: BTreeMap<SlotId, usize> = BTreeMap::new();
    for _ in 0..jobs {
        let outcome = timeout(Duration::from_secs(10), results.next())
            .await?
            .ok_or("the group ended")?;
        *shares
            .entry(outcome.result.map_err(|letter| letter.to_string())?)
            .or_default() += 1;
    }
    println!("{what:<23} weights {weights:?}, {jobs} jobs:");
    for (slot, jobs_done) in &shares {
        println!("{:23}   {slot} did {jobs_done}", "");
    }
    let due = (0..)
        .map(SlotId)
        .zip(weights.iter().map(|weight| *weight as usize * ROUNDS));
    assert_eq!(shares, due.collect(), "the shares are not exact");
    Ok(())
}

/// Waits until every consumer takes jobs and weighs what it should.
async fn until_weights_are(group: &Jobs, wanted: &[Weight]) -> Result<(), Box<dyn Error>> {
    let reached = async {
        loop {
            let slots = group.health().await?.slots;
            let all_live = slots.iter().all(|slot| slot.state == SlotState::Live);
            if all_live && slots.iter().map(|slot| slot.weight).eq(wanted.iter().copied()) {
                return Ok(());
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), reached).await?
}
