//! Simulated runs over a queue outside of the process: its link breaks, its lanes go to others, and its broker outlives everyone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use consumer_group::sim::{Plan, PlanShape, RemoteQueue, Report, Simulation, check, stock};

fn remote() -> Simulation<u64, u64> {
    stock().over(|plan: &Plan| RemoteQueue::of(plan))
}

#[test]
fn plans_of_every_kind_hold_over_a_remote_queue_and_its_runs_repeat_themselves() {
    let shape = PlanShape {
        remote: true,
        ..PlanShape::default()
    };
    let from: u64 = std::env::var("FROM").map_or(0, |n| n.parse().unwrap());
    let seeds: u64 = std::env::var("SEEDS").map_or(200, |n| n.parse().unwrap());
    let mut bad = 0;
    for seed in from..from + seeds {
        let plan = shape.plan(seed);
        let history = remote().run(&plan).unwrap();
        let violations = check(&history);
        if !violations.is_empty() {
            bad += 1;
            println!("seed {seed}: {violations:?}");
            if bad == 1 {
                println!("{}", Report::new(&history));
            }
            if bad > 12 {
                break;
            }
        }
    }
    assert_eq!(bad, 0);
}

#[test]
#[ignore]
fn trace() {
    let seed: u64 = std::env::var("SEED").unwrap().parse().unwrap();
    let job: usize = std::env::var("JOB").unwrap().parse().unwrap();
    let shape = PlanShape {
        remote: true,
        ..PlanShape::default()
    };
    let history = remote().run(&shape.plan(seed)).unwrap();
    let id = history.jobs[job].id.unwrap();
    for entry in &history.entries {
        let text = format!("{:?} {:?}", entry.at, entry.what);
        if text.contains(&id.to_string())
            || text.contains(&format!("job: {job},"))
            || text.contains(&format!("{:?}", id))
            || text.contains("Lost")
            || text.contains("Revoked")
            || text.contains("Role")
            || text.contains("Fired")
            || text.contains("Attached")
            || text.contains("Ended")
        {
            println!("{}", &text[..text.len().min(260)]);
        }
        if let consumer_group::sim::Occurrence::Fired { fault } = &entry.what {
            println!("    = {:?}", history.faults[*fault].fault);
        }
    }
}
