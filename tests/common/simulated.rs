//! What the tests of simulated runs over a queue that outlives its process share.

use consumer_group::sim::{History, Plan, Report, Simulation, When, check};

/// The run of this plan, which repeats itself and breaks no promise.
pub(crate) fn assert_holds(simulation: &Simulation<u64, u64>, plan: &Plan) -> History {
    let history = simulation.run_twice(plan).unwrap();
    assert_eq!(check(&history), [], "{}", Report::new(&history));
    history
}

pub(crate) fn at(at_ms: u64) -> When {
    When::Time { at_ms }
}

/// Jobs that come all the time, each at work for a while.
pub(crate) fn steady(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    for job in 0..24 {
        plan = plan.job(job * 4, (job % 3 > 0).then_some((job % 5) as u32), 10);
    }
    plan
}
