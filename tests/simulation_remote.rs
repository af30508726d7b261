//! Simulated runs over a queue outside of the process: its link breaks, its lanes go to others, and its broker outlives everyone.

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
use consumer_group::sim::{
    FaultKind, History, Occurrence, Plan, PlanShape, RemoteQueue, Simulation, When, stock,
};
use simulated::{at, steady};

/// The stock group over a queue outside of the process.
fn remote() -> Simulation<u64, u64> {
    stock().over(RemoteQueue::of)
}

fn assert_holds(plan: &Plan) -> History {
    simulated::assert_holds(&remote(), plan)
}

fn revoked(history: &History) -> Vec<(usize, usize, bool)> {
    let of = |kind: &EventKind| match kind {
        EventKind::Revoked {
            waiting,
            at_work,
            lost,
        } => Some((*waiting, *at_work, *lost)),
        _ => None,
    };
    history.events().filter_map(|(_, kind)| of(kind)).collect()
}

#[test]
fn without_faults_each_job_over_a_broker_is_done_once() {
    for seed in 0..8 {
        let history = assert_holds(&steady(seed));
        let acked = history
            .events()
            .filter(|(_, kind)| matches!(kind, EventKind::Acked { .. }));
        assert_eq!(acked.count(), 24);
    }
}

#[test]
fn a_link_that_breaks_loses_no_job_and_ends_every_lease() {
    let mut at_work = 0;
    for seed in 0..12 {
        let history = assert_holds(&steady(seed).fault(at(10 + seed * 5), FaultKind::LinkLost { ms: 30 }));
        let revoked = revoked(&history);
        assert!(revoked.iter().all(|(.., lost)| *lost), "{revoked:?}");
        at_work += revoked.iter().map(|(_, at_work, _)| at_work).sum::<usize>();
    }
    assert!(at_work > 0, "the link broke under work");
}

#[test]
fn a_lane_that_is_given_back_in_time_repeats_nothing() {
    let mut at_work = 0;
    for seed in 0..12 {
        let kind = FaultKind::LaneRevoked {
            lane: 1,
            within_ms: 60,
            ms: 20,
        };
        let history = assert_holds(&steady(seed).fault(at(10 + seed * 5), kind));
        at_work += revoked(&history)
            .iter()
            .map(|(_, at_work, _)| at_work)
            .sum::<usize>();
        let acked = history
            .events()
            .filter(|(_, kind)| matches!(kind, EventKind::Acked { .. }));
        assert_eq!(acked.count(), 24, "seed {seed}");
    }
    assert!(at_work > 0, "the lane was taken under work");
}

#[test]
fn a_job_that_ends_its_process_becomes_a_dead_letter_alone() {
    // A broker that keeps attempts has an even seed.
    for seed in [0, 2, 4, 6] {
        let mut plan = steady(seed);
        for attempt in [1, 1, 2, 3] {
            plan = plan.fault(When::Attempt { job: 5, attempt }, FaultKind::ProcessEnd);
        }
        let history = assert_holds(&plan);
        let places = history.places();
        let dead: Vec<_> = history
            .events()
            .filter_map(|(_, kind)| match kind {
                EventKind::DeadLettered { job, .. } => places.get(job).copied(),
                _ => None,
            })
            .collect();
        assert_eq!(dead, [5], "seed {seed}");
        let ends = history
            .entries
            .iter()
            .filter(|entry| entry.what == Occurrence::ProcessEnded);
        assert_eq!(ends.count(), 4);
    }
}

#[test]
fn what_is_handed_out_in_the_turn_of_a_revoke_is_told_before_it_is_taken_back() {
    let plan = Plan::new(0)
        .job(0, Some(1), 6)
        .job(0, Some(1), 7)
        .job(0, None, 0)
        .job(0, None, 0)
        .job(0, None, 0)
        .job(0, None, 0)
        .job(0, Some(1), 4)
        .priority(1)
        .job(0, None, 0)
        .job(0, Some(4), 6)
        .job(0, Some(4), 0)
        .priority(1)
        .job(20, None, 2)
        .priority(2)
        .job(20, None, 0)
        .priority(2)
        .job(20, None, 0)
        .priority(2)
        .fault(When::Attempt { job: 7, attempt: 1 }, FaultKind::Slow { ms: 158 })
        .fault(When::Attempt { job: 5, attempt: 1 }, FaultKind::Block { ms: 259 })
        .fault(
            When::Attempt { job: 11, attempt: 1 },
            FaultKind::LinkLost { ms: 76 },
        );
    assert_holds(&plan);
}

#[test]
fn plans_of_every_kind_hold_over_a_broker_and_their_runs_repeat_themselves() {
    let shape = PlanShape {
        remote: true,
        ..PlanShape::default()
    };
    for seed in 0..24 {
        assert_holds(&shape.plan(seed));
    }
}
