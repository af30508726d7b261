//! Jobs by the clock: cron expressions and intervals, with time zones, for the groups of `consumer-group`.
//!
//! ```
//! use std::time::Duration;
//!
//! use consumer_group::{Delivery, Group};
//! use consumer_group_schedules::{Missed, Plan, Schedule, Schedules};
//!
//! # actix::System::new().block_on(async {
//! let group = Group::builder()
//!     .consume_with(2, async |report: &Delivery<String>| Ok(println!("{}", report.job())))
//!     .start()?;
//!
//! let schedules = Schedules::start(group.producer())?;
//! let nightly = Schedule::cron("30 3 * * *")?.in_zone("Europe/Berlin")?;
//! schedules.add(
//!     Plan::new("nightly report", nightly, |run| format!("report of {}", run.planned.as_millis()))
//!         .missed(Missed::Latest { within: Duration::from_secs(6 * 3600) }),
//! )?;
//! for plan in schedules.list() {
//!     println!("{} ({}) comes next at {:?}", plan.name, plan.schedule, plan.next);
//! }
//! # group.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! | you want | use |
//! |---|---|
//! | a time of the day, a day of the week | [`Schedule::cron`], in a zone by [`in_zone`](Schedule::in_zone) |
//! | again and again | [`Schedule::every`] |
//! | to say what becomes of runs that were missed | [`Missed`] |
//! | to look at plans and change them while they run | [`Schedules`] |
//!
//! # Once, whoever runs it
//!
//! Each run is a job with a deduplication key: the name of its plan and the planned moment. So a queue that several processes
//! share, or that outlives a process, takes each run once: whoever comes second is told that it is a duplicate, and that is no
//! error. How long a queue remembers such keys is its own matter (`queue.dedup_window_ms` and `queue.dedup_keys` of the queue in
//! memory and of the durable one): keep it longer than [`Missed`] looks back. A queue that knows no such keys gets each run from
//! each process.
//!
//! # Time
//!
//! Plans go by the clock of the machine, and look at it every ten seconds at least: a machine that slept, or a clock that was
//! set, is noticed then. A clock that is set back makes no run come twice.
//!
//! In the night when clocks go forward, a fixed time that does not exist runs at the first moment that does. When they go back,
//! a fixed time that comes twice runs the first time, and a pattern such as `*/15 * * * *` runs in both hours.

mod plan;
mod runner;
mod schedule;
mod schedules;

pub use plan::{Missed, Plan, PlanView, Run};
pub use schedule::{Schedule, ScheduleError};
pub use schedules::{PlanError, Schedules, StartError};
