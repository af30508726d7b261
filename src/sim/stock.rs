//! A group and plans to begin with: what the sweep runs if it is given nothing else.

use std::time::Duration;

use super::plan::{Plan, PlannedJob};
use super::run::Simulation;
use crate::group::Group;
use crate::protocol::Delivery;
use crate::rules::strategies::ConsistentHash;
use crate::types::{BackoffConfig, GroupConfig, Job, Placement, StrategyKind};

/// Points of each slot on the hash ring of the stock group. A ring for four consumers need not be large, and it is made anew
/// in each run.
const POINTS: u32 = 16;

/// The group that is simulated if no other is given: four consumers on arbiters of their own, order by key, short deadlines,
/// the strategy by the seed. A job's payload is its work in ms; half way lies the failpoint `half done`.
pub fn stock() -> Simulation<u64, u64> {
    Simulation::new(
        |plan: &Plan| {
            let config = stock_config(plan.seed);
            let mut builder = Group::builder();
            if config.strategy == StrategyKind::ConsistentHash {
                builder = builder.strategy(|| ConsistentHash::new(POINTS));
            }
            builder
                .config(config)
                .consume_with(4, async |delivery: &Delivery<u64>| {
                    let half = Duration::from_millis(delivery.job() / 2);
                    pause(half).await;
                    crate::protocol::faults::failpoint("half done");
                    pause(half).await;
                    Ok(*delivery.job())
                })
        },
        |_: usize, planned: &PlannedJob| {
            let job = Job::new(planned.work_ms).priority(planned.priority);
            match planned.key {
                Some(key) => job.key(format!("key {key}")),
                None => job,
            }
        },
    )
}

async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn stock_config(seed: u64) -> GroupConfig {
    const STRATEGIES: &[StrategyKind] = StrategyKind::ALL;
    let index = usize::try_from(seed % STRATEGIES.len() as u64).unwrap_or(0);
    let mut config = GroupConfig {
        consumers: 4,
        placement: Placement::Arbiters(3),
        strategy: STRATEGIES.get(index).copied().unwrap_or_default(),
        order_by_key: true,
        deadline: Duration::from_millis(100),
        quiet_panics: true,
        ..GroupConfig::default()
    };
    config.retry.attempts = 3;
    config.retry.backoff = BackoffConfig {
        min: Duration::from_millis(2),
        max: Duration::from_millis(20),
        factor: 2.0,
        jitter: 0.2,
    };
    config.restart.backoff = BackoffConfig {
        min: Duration::ZERO,
        max: Duration::from_millis(20),
        factor: 2.0,
        jitter: 0.2,
    };
    config.restart.kill_grace = Duration::from_millis(20);
    config.window.min = 2;
    config.window.max = 8;
    config
}
