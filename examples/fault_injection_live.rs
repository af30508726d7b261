//! The same plans on real threads and the real clock: a blocked thread is blocked indeed.
//!
//! ```text
//! cargo run --features sim --example fault_injection_live
//! ```
//!
//! Takes about a second. The history differs a little from run to run, and the checker reads it all the same.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use consumer_group::Role;
use consumer_group::sim::{FaultKind, Plan, Report, When, stock};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let attempt = |job| When::Attempt { job, attempt: 1 };
    let mut plan = Plan::new(5);
    for job in 0..40 {
        plan = plan.job(u64::from(job) * 5, (job % 3 > 0).then_some(job % 4), 6);
    }
    let plan = plan
        .fault(attempt(2), FaultKind::Panic)
        .fault(attempt(5), FaultKind::Block { ms: 400 })
        .fault(attempt(9), FaultKind::Hang)
        .fault(
            attempt(12),
            FaultKind::Failpoint {
                place: "half done".into(),
            },
        )
        .fault(When::Slot { slot: 1, at_ms: 90 }, FaultKind::CrashArbiter)
        .fault(
            When::Time { at_ms: 120 },
            FaultKind::Crash {
                role: Role::Supervisor,
            },
        )
        .fault(When::Time { at_ms: 150 }, FaultKind::Crash { role: Role::Queue })
        .fault(attempt(25), FaultKind::LoseSettle)
        .fault(attempt(27), FaultKind::RepeatSettle)
        .fault(When::Time { at_ms: 180 }, FaultKind::Disconnect { ms: 40 });
    let report = Report::new(&stock().run_live(&plan)?);
    print!("{report}");
    if report.holds() {
        Ok(())
    } else {
        Err("an invariant is broken".into())
    }
}
