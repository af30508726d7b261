//! Simulated runs over the durable queue: its file is one of the simulation, and fails when the plan says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use consumer_group::durable::DurableQueue;
use consumer_group::sim::{
    FaultKind, Happening, History, Plan, PlanShape, Report, Simulation, When, check, stock,
};

/// The stock group over a queue in a file of the simulation.
fn durable() -> Simulation<u64, u64> {
    stock().over(|_: &Plan| DurableQueue::open("jobs.queue").unwrap())
}

fn assert_holds(plan: &Plan) -> History {
    let history = durable().run_twice(plan).unwrap();
    assert_eq!(check(&history), [], "{}", Report::new(&history));
    history
}

#[test]
fn a_durable_queue_works_on_a_disk_of_the_simulation_and_its_runs_repeat_themselves() {
    let shape = PlanShape {
        host: false,
        ..PlanShape::default()
    };
    for seed in 0..30 {
        assert_holds(&shape.plan(seed));
    }
    assert!(!std::path::Path::new("jobs.queue").exists());
}

fn at(at_ms: u64) -> When {
    When::Time { at_ms }
}

/// Jobs that come all the time, each at work for a while.
fn steady(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    for job in 0..24 {
        plan = plan.job(job * 4, (job % 3 > 0).then_some((job % 5) as u32), 10);
    }
    plan
}

fn count(history: &History, what: &Happening) -> usize {
    history.entries.iter().filter(|entry| entry.what == *what).count()
}

#[test]
fn a_process_that_ends_leaves_every_accepted_job_to_the_next_one() {
    for seed in 0..60 {
        let history = assert_holds(&steady(seed).fault(at(1 + seed * 2), FaultKind::ProcessEnd));
        assert_eq!(count(&history, &Happening::ProcessEnded), 1);
        assert_eq!(count(&history, &Happening::StartedAgain), 1);
    }
}

#[test]
fn a_durable_queue_outlives_the_host_of_its_group() {
    for seed in 0..60 {
        let history = assert_holds(&steady(seed).fault(at(1 + seed * 2), FaultKind::HostEnd));
        assert_eq!(count(&history, &Happening::HostEnded), 1);
        assert_eq!(count(&history, &Happening::StartedAgain), 1);
    }
}

#[test]
fn a_commit_that_fails_loses_nothing_and_lets_no_second_opener_in() {
    let mut failed = 0;
    for seed in 0..60 {
        let plan = steady(seed)
            .fault(at(0), FaultKind::SecondOpener { ms: 1_000 })
            .fault(
                at(5 + seed),
                FaultKind::FailedCommit {
                    times: 1 + seed as u32 % 4,
                },
            );
        let history = assert_holds(&plan);
        failed += count(&history, &Happening::CommitFailed);
        assert_eq!(count(&history, &Happening::TakenByAnother), 0);
    }
    assert!(failed > 60, "{failed} commits failed");
}
