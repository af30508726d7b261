//! Faults on purpose: one scenario, its report, and its picture.
//!
//! ```text
//! cargo run --features sim --example fault_injection -- faults.svg
//! ```
//!
//! Twenty-four payments out of five accounts meet four consumers, and almost everything that can go wrong does: a panic, a panic half
//! way through the effects, a blocked thread that comes back after it was given up, a hang, the death of an arbiter, of the supervisor
//! and of the queue. The group is the one of production; only the plan is new.

#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::time::Duration;

use consumer_group::sim::{FaultKind, Plan, PlannedJob, Report, Simulation, When, draw};
use consumer_group::{Delivery, Failure, Group, GroupBuilder, Job, Placement, Role, failpoint};

/// A payment out of an account.
struct Payment {
    amount: u64,
}

/// Charges the account, then writes the receipt. A fault may come between.
async fn pay(delivery: &Delivery<'_, Payment>) -> Result<u64, Failure> {
    tokio::time::sleep(Duration::from_millis(4)).await;
    failpoint!("charged");
    tokio::time::sleep(Duration::from_millis(4)).await;
    Ok(delivery.job().amount)
}

/// The group as it would run in production.
fn payments() -> GroupBuilder<Payment, u64> {
    Group::builder()
        .consume_with(4, pay)
        .order_by_key()
        .placement(Placement::Dedicated)
        .configure(|config| {
            config.deadline = Duration::from_millis(60);
            config.restart.kill_grace = Duration::from_millis(15);
            config.quiet_panics = true;
            config.retry.backoff.min = Duration::from_millis(5);
        })
}

fn plan() -> Plan {
    let attempt = |job| When::Attempt { job, attempt: 1 };
    let mut plan = Plan::new(1);
    for job in 0..24 {
        plan = plan.job(u64::from(job) * 8, Some(job % 5), 8);
    }
    plan.fault(attempt(1), FaultKind::Panic)
        .fault(
            attempt(3),
            FaultKind::Failpoint {
                place: "charged".into(),
            },
        )
        .fault(attempt(5), FaultKind::Block { ms: 150 })
        .fault(attempt(8), FaultKind::Hang)
        .fault(attempt(10), FaultKind::PanicAfterWork)
        .fault(attempt(12), FaultKind::Error)
        .fault(When::Slot { slot: 2, at_ms: 120 }, FaultKind::CrashArbiter)
        .fault(attempt(15), FaultKind::LoseSettle)
        .fault(
            When::Time { at_ms: 150 },
            FaultKind::Crash {
                role: Role::Supervisor,
            },
        )
        .fault(When::Time { at_ms: 180 }, FaultKind::Crash { role: Role::Queue })
        .fault(
            When::Time { at_ms: 190 },
            FaultKind::Crash { role: Role::Strategy },
        )
        .fault(attempt(20), FaultKind::Slow { ms: 30 })
        .fault(When::Time { at_ms: 200 }, FaultKind::Disconnect { ms: 20 })
        .fault(attempt(21), FaultKind::RepeatDelivery)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let simulation = Simulation::new(
        |_: &Plan| payments(),
        |index: usize, job: &PlannedJob| {
            let payment = Job::new(Payment { amount: index as u64 });
            match job.key {
                Some(account) => payment.key(format!("account {account}")),
                None => payment,
            }
        },
    );
    let history = simulation.run_twice(&plan())?;
    let report = Report::new(&history);
    print!("{report}");
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(&file, draw(&history, "Twenty-four payments and fourteen faults"))?;
        println!("\nthe picture is in {file}");
    }
    if report.holds() {
        Ok(())
    } else {
        Err("an invariant is broken".into())
    }
}
