//! Simulated runs over the durable queue: its file is one of the simulation, and fails when the plan says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "common/simulated.rs"]
mod simulated;

use consumer_group::EventKind;
use consumer_group::durable::DurableQueue;
use consumer_group::sim::{
    Entry, FaultKind, History, Occurrence, Plan, PlanShape, Plant, PlantedIn, Report, Simulation, Sweep,
    When, stock,
};
use simulated::{at, steady};

/// The stock group over a queue in a file of the simulation.
fn durable() -> Simulation<u64, u64> {
    stock().over(|_: &Plan| DurableQueue::open("jobs.queue").unwrap())
}

fn assert_holds(plan: &Plan) -> History {
    simulated::assert_holds(&durable(), plan)
}

#[test]
fn a_durable_queue_works_on_a_disk_of_the_simulation_and_its_runs_repeat_themselves() {
    let shape = PlanShape {
        host: false,
        ..PlanShape::default()
    };
    for seed in 0..12 {
        assert_holds(&shape.plan(seed));
    }
    assert!(!std::path::Path::new("jobs.queue").exists());
}

fn count(history: &History, what: &Occurrence) -> usize {
    history.entries.iter().filter(|entry| entry.what == *what).count()
}

#[test]
fn a_process_that_ends_leaves_every_accepted_job_to_the_next_one() {
    for seed in 0..12 {
        let history = assert_holds(&steady(seed).fault(at(1 + seed * 9), FaultKind::ProcessEnd));
        assert_eq!(count(&history, &Occurrence::ProcessEnded), 1);
        assert_eq!(count(&history, &Occurrence::StartedAgain), 1);
    }
}

#[test]
fn a_durable_queue_outlives_the_host_of_its_group() {
    for seed in 0..12 {
        let history = assert_holds(&steady(seed).fault(at(1 + seed * 9), FaultKind::HostEnd));
        assert_eq!(count(&history, &Occurrence::HostEnded), 1);
        assert_eq!(count(&history, &Occurrence::StartedAgain), 1);
    }
}

#[test]
fn a_commit_that_fails_loses_nothing_and_lets_no_second_opener_in() {
    let mut failed = 0;
    for seed in 0..12 {
        let plan = steady(seed)
            .fault(at(0), FaultKind::SecondOpener { ms: 1_000 })
            .fault(
                at(5 + seed * 5),
                FaultKind::FailedCommit {
                    times: 1 + seed as u32 % 4,
                },
            );
        let history = assert_holds(&plan);
        failed += count(&history, &Occurrence::CommitFailed);
        assert_eq!(count(&history, &Occurrence::TakenByAnother), 0);
    }
    assert!(failed > 12, "{failed} commits failed");
}

/// A job that ends the process at each of its attempts.
fn deadly(mut plan: Plan, job: usize) -> Plan {
    for attempt in [1, 1, 2, 3] {
        plan = plan.fault(When::Attempt { job, attempt }, FaultKind::ProcessEnd);
    }
    plan
}

#[test]
fn a_job_that_ends_the_process_is_found_alone_and_its_neighbours_keep_their_attempts() {
    for seed in 0..6 {
        let job = 7 + seed as usize;
        let history = assert_holds(&deadly(steady(seed), job));
        assert_eq!(count(&history, &Occurrence::ProcessEnded), 4);
        let (id, mut dead) = (history.jobs[job].id, Vec::new());
        for (_, kind) in history.events() {
            match kind {
                EventKind::DeadLettered { job, .. } => dead.push(Some(*job)),
                EventKind::Delivered { job, attempt, .. } if Some(*job) != id => assert_eq!(*attempt, 1),
                _ => {}
            }
        }
        assert_eq!(dead, [id], "seed {seed}");
    }
}

/// Another process gets the file when the owner's has ended, and it is still whole, with what that process left in it, when
/// the group begins again.
#[test]
fn what_a_second_opener_writes_between_two_lives_is_kept() {
    let mut visits = 0;
    for seed in 0..12 {
        let end = [FaultKind::HostEnd, FaultKind::ProcessEnd][seed as usize % 2].clone();
        let plan = steady(seed)
            .fault(at(2), FaultKind::SecondOpener { ms: 400 })
            .fault(at(5 + seed * 3), end)
            .fault(at(600), FaultKind::ProcessEnd)
            .job(610, None, 5);
        let history = assert_holds(&plan);
        visits += count(&history, &Occurrence::Visited { before: 0 });
        assert_eq!(
            count(&history, &Occurrence::LookedInto { visits: 1 }),
            1,
            "seed {seed}"
        );
    }
    assert_eq!(visits, 12);
}

/// After a commit that failed the file is opened again; the next commit is on the disk all the same when it is told to be.
#[test]
fn the_first_commit_after_one_that_failed_is_on_the_disk() {
    let plan = Plan::new(1)
        .job(0, None, 20)
        .fault(at(10), FaultKind::FailedCommit { times: 1 })
        .fault(at(900), FaultKind::ProcessEnd)
        .job(1_000, None, 5);
    let history = assert_holds(&plan);
    assert_eq!(count(&history, &Occurrence::CommitFailed), 1);
    let begun = |entry: &&Entry| matches!(&entry.what, Occurrence::Begun(attempt) if attempt.job == 0);
    assert_eq!(
        history.entries.iter().filter(begun).count(),
        1,
        "{}",
        Report::new(&history)
    );
}

fn file_shape() -> PlanShape {
    PlanShape {
        durable: true,
        ..PlanShape::default()
    }
}

#[test]
fn forty_seeds_over_files_hold_and_reach_what_only_files_have() {
    let (simulation, shape) = (durable(), file_shape());
    let sweep = Sweep::new(&simulation, |seed| shape.plan(seed));
    let swept = sweep.seeds(0..40).run().unwrap();
    assert!(swept.failures.is_empty(), "{:?}", swept.failures);
    for (state, count) in swept.reached.counts().skip(17).take(6) {
        assert!(count > 0, "no run in which {state}");
    }
}

#[test]
fn the_sweep_finds_every_bug_planted_in_the_queue_of_a_file() {
    let shape = file_shape();
    for plant in Plant::ALL {
        if plant.place() != PlantedIn::File {
            continue;
        }
        let simulation = durable().planted(plant);
        let sweep = Sweep::new(&simulation, |seed| shape.plan(seed)).seeds(0..400);
        let swept = sweep.run().unwrap();
        assert!(!swept.failures.is_empty(), "{} was not found", plant.name());
    }
}

/// Found by a sweep, and seldom met: a suspect that was cleared and has another attempt before it goes before a later suspect of
/// its key, also if the supervisor dies meanwhile.
#[test]
fn a_cleared_job_is_not_overtaken_by_a_suspect_of_its_key() {
    assert_holds(&file_shape().plan(524));
}
