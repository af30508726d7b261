//! Simulated runs: what a plan can be, that runs repeat themselves, that the checker bites, and what the sweep found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::sim::{
    Answer, Checker, Entry, FaultKind, History, Occurrence, Plan, PlanShape, PlannedJob, Plant, PlantedIn,
    Report, RunError, Simulation, Sweep, When, check, draw, note, stock,
};
use consumer_group::{
    BatchConsumer, BatchSize, Cause, Deliver, Delivery, EventKind, Failure, Group, Job, Placement, Role,
};

fn attempt(job: usize, attempt: u32) -> When {
    When::Attempt { job, attempt }
}

fn twelve_jobs() -> Plan {
    let mut plan = Plan::new(3);
    for job in 0..12 {
        plan = plan.job(job * 2, Some((job % 3) as u32), 4);
    }
    plan
}

fn assert_holds(plan: &Plan) -> History {
    let history = stock().run_twice(plan).unwrap();
    assert_eq!(check(&history), [], "{}", Report::new(&history));
    history
}

/// Plain jobs that are sent in the same moment travel in blocks. Every fault that can meet a single job meets one of a block,
/// each in many runs, so that it comes to all places of a piece and to whatever its neighbours are just then.
#[test]
fn jobs_in_blocks_meet_every_fault_and_no_promise_is_broken() {
    let kinds = [
        FaultKind::Panic,
        FaultKind::PanicAfterWork,
        FaultKind::Error,
        FaultKind::Hang,
        FaultKind::Block { ms: 300 },
        FaultKind::LoseSettle,
        FaultKind::RepeatSettle,
        FaultKind::DelaySettle { ms: 30 },
        FaultKind::RepeatDelivery,
        FaultKind::CrashArbiter,
    ];
    let roles = [Role::Queue, Role::Strategy, Role::Supervisor, Role::Results];
    let mut in_blocks = 0;
    // In the second half with keys, whose order is kept.
    for seed in 0..120_u64 {
        let mut plan = Plan::new(seed);
        for job in 0..40 {
            let key = (seed >= 60).then_some((job % 13) as u32);
            plan = plan.job(job / 20 * 7, key, job % 3);
        }
        for (nth, kind) in (seed..).zip(&kinds) {
            plan = plan.fault(
                attempt((nth * 7 % 40) as usize, 1 + (nth % 5 == 0) as u32),
                kind.clone(),
            );
        }
        let role = roles[seed as usize % roles.len()];
        plan = plan.fault(When::Time { at_ms: 3 + seed % 9 }, FaultKind::Crash { role });
        let history = assert_holds(&plan);
        in_blocks += usize::from(seed < 60 && has_blocks(&history));
    }
    assert!(in_blocks > 50, "only {in_blocks} runs had jobs in blocks");
}

/// A piece of a block takes 64 delivery numbers, a single job takes one.
fn has_blocks(history: &History) -> bool {
    let numbers = history.entries.iter().filter_map(|entry| match &entry.what {
        Occurrence::Group(EventKind::Delivered { number, .. }) => Some(number.0 & 0xff_ffff),
        _ => None,
    });
    numbers.max().unwrap_or(0) > 4 * 64
}

#[test]
fn the_plans_of_a_sweep_let_jobs_come_one_by_one_in_bursts_and_in_blocks() {
    let shape = PlanShape::default();
    let moments = |seed| {
        let plan = shape.plan(seed);
        plan.jobs
            .iter()
            .map(|job| job.at_ms)
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert!(moments(12) > 20);
    assert_eq!((moments(13), moments(14), moments(15)), (3, 3, 3));
    let is_urgent = |seed| shape.plan(seed).jobs.iter().any(|job| job.priority > 0);
    assert!(is_urgent(13) && !is_urgent(14));
    let keys = |seed| {
        shape
            .plan(seed)
            .jobs
            .iter()
            .filter(|job| job.key.is_some())
            .count()
    };
    assert!(keys(14) > 10);
    assert_eq!(keys(15), 0);
    let in_blocks = |seed: &u64| has_blocks(&stock().run(&shape.plan(*seed)).unwrap());
    let seeds = (0..10).map(|nth| nth * 16 + 15);
    assert!(seeds.filter(in_blocks).count() > 8);
}

#[test]
fn a_plan_that_cannot_be_is_refused_with_the_reason() {
    let refused = |plan: Plan| match stock().run(&plan) {
        Err(RunError::Plan(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let plan = twelve_jobs;
    let slot = When::Slot { slot: 9, at_ms: 1 };
    assert_eq!(
        refused(plan().fault(slot, FaultKind::Panic)),
        "faults[0]: there is no slot 9; the group has 4, counted from 0"
    );
    assert_eq!(
        refused(plan().fault(attempt(12, 1), FaultKind::Panic)),
        "faults[0]: there is no job 12; the plan has 12, counted from 0"
    );
    assert_eq!(
        refused(plan().fault(attempt(1, 0), FaultKind::Panic)),
        "faults[0]: attempts are counted from 1"
    );
    assert!(refused(plan().fault(When::Time { at_ms: 1 }, FaultKind::Panic)).contains("needs a consumer"));
    assert!(refused(plan().job(u64::MAX, None, 0)).contains("jobs[12]: `at_ms`"));
    let negative = r#"{"seed":1,"jobs":[{"at_ms":-5}],"faults":[]}"#;
    let error = serde_json::from_str::<Plan>(negative).unwrap_err().to_string();
    assert!(error.contains("invalid value: integer `-5`"), "{error}");
}

#[test]
fn a_panic_at_a_failpoint_names_the_line_of_the_user() {
    let simulation = Simulation::new(
        |_: &Plan| {
            Group::builder().consume_with(1, async |delivery: &Delivery<u64>| {
                consumer_group::failpoint!("charged");
                Ok(*delivery.job())
            })
        },
        |index: usize, _: &PlannedJob| Job::new(index as u64),
    );
    let place = "charged".to_owned();
    let plan = Plan::new(1)
        .job(0, None, 0)
        .fault(attempt(0, 1), FaultKind::Failpoint { place });
    let history = simulation.run_twice(&plan).unwrap();
    let report = history.events().find_map(|(_, kind)| match kind {
        EventKind::ConsumerDown {
            cause: Cause::Panicked(report),
            ..
        } => Some(report.clone()),
        _ => None,
    });
    let report = report.expect("the failpoint ends the consumer");
    assert_eq!(&*report.message, "a planned fault at charged");
    let place = report.place.expect("a panic has a place");
    assert!(place.starts_with("tests/simulation.rs:"), "{place}");
    assert_eq!(check(&history), []);
}

/// A run keeps its world and its clock on its thread.
#[test]
fn a_run_that_ends_by_a_panic_of_its_definitions_gives_the_thread_back() {
    let broken = Simulation::new(
        |_: &Plan| Group::builder().consume_with(1, async |_: &Delivery<u64>| Ok(())),
        |_: usize, _: &PlannedJob| panic!("no such job"),
    );
    let run = std::panic::AssertUnwindSafe(|| broken.run(&Plan::new(1).job(3, None, 0)));
    assert!(std::panic::catch_unwind(run).is_err());
    let (began, ended) = actix::System::new().block_on(async {
        let group = Group::<u64, ()>::builder()
            .consume_with(1, async |_: &Delivery<u64>| {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            })
            .start()
            .unwrap();
        let mut events = group.all_events();
        group.producer().send(7).await.unwrap();
        let (mut began, mut ended) = (None, None);
        while ended.is_none() {
            let event = events.next().await.unwrap();
            match event.kind {
                EventKind::Delivered { .. } => began = Some(event.at),
                EventKind::Acked { .. } => ended = Some(event.at),
                _ => {}
            }
        }
        group.stop().await;
        (began.unwrap(), ended.unwrap())
    });
    assert!(ended.since(began) >= Duration::from_millis(20));
}

#[test]
fn a_plan_survives_its_way_through_json() {
    for seed in 0..50 {
        let plan = PlanShape::default().plan(seed);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

/// `scripts/planted-bugs` compares builds and processes.
#[test]
fn the_same_seed_gives_the_same_trace_also_on_another_thread() {
    let trace = || stock().run(&PlanShape::default().plan(7)).unwrap().trace();
    let here = trace();
    assert_eq!(here, trace());
    assert_eq!(here, std::thread::spawn(trace).join().unwrap());
}

#[test]
fn different_seeds_give_different_traces() {
    let trace = |seed| stock().run(&PlanShape::default().plan(seed)).unwrap().trace();
    assert_eq!((0..20).map(trace).collect::<BTreeSet<_>>().len(), 20);
}

#[test]
fn a_run_that_is_woken_from_a_foreign_thread_says_so() {
    let simulation = Simulation::new(
        |_: &Plan| {
            Group::builder().consume_with(1, async |_: &Delivery<u64>| {
                let mut woken = false;
                let woken_from_elsewhere = std::future::poll_fn(|task| {
                    if std::mem::replace(&mut woken, true) {
                        return std::task::Poll::Ready(());
                    }
                    let waker = task.waker().clone();
                    // Waited for, so that the word is there in time whatever else the machine does.
                    std::thread::spawn(move || waker.wake()).join().unwrap();
                    std::task::Poll::Pending
                });
                woken_from_elsewhere.await;
                Ok(())
            })
        },
        |index: usize, _: &PlannedJob| Job::new(index as u64),
    );
    match simulation.run_twice(&Plan::new(1).job(0, None, 0)) {
        Err(RunError::ForeignThread { actor, .. }) => assert!(actor.contains("slot 0"), "{actor}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the run does not say so"),
    }
}

#[test]
fn a_run_that_differs_from_its_second_run_shows_where() {
    let runs = std::sync::atomic::AtomicU64::new(0);
    let simulation = Simulation::new(
        move |_: &Plan| {
            let run = runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Group::builder().consume_with(1, async move |_: &Delivery<u64>| {
                note(|| format!("run {run}"));
                Ok(())
            })
        },
        |index: usize, _: &PlannedJob| Job::new(index as u64),
    );
    match simulation.run_twice(&Plan::new(1).job(0, None, 0)) {
        Err(RunError::Differs { first, second, .. }) => {
            assert!(
                first.contains("run 0") && second.contains("run 1"),
                "{first} {second}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_fault_happens_and_the_group_gets_over_it() {
    let kinds = [
        FaultKind::Panic,
        FaultKind::PanicAfterWork,
        FaultKind::Failpoint {
            place: "half done".into(),
        },
        FaultKind::Error,
        FaultKind::Hang,
        FaultKind::Block { ms: 300 },
        FaultKind::Slow { ms: 20 },
        FaultKind::CrashArbiter,
        FaultKind::Crash { role: Role::Queue },
        FaultKind::Crash { role: Role::Strategy },
        FaultKind::Crash {
            role: Role::Supervisor,
        },
        FaultKind::Crash { role: Role::Results },
        FaultKind::LoseSettle,
        FaultKind::RepeatSettle,
        FaultKind::DelaySettle { ms: 30 },
        FaultKind::EchoSettle { ms: 10 },
        FaultKind::RepeatDelivery,
        FaultKind::Disconnect { ms: 30 },
        FaultKind::ClockJump { ms: 500 },
    ];
    for kind in kinds {
        let history = assert_holds(&twelve_jobs().fault(attempt(5, 1), kind.clone()));
        assert!(history.faults[0].fired.is_some(), "{kind} never happened");
    }
}

#[test]
fn a_fault_that_never_meets_its_delivery_is_told() {
    let history = assert_holds(&twelve_jobs().fault(attempt(3, 3), FaultKind::Panic));
    assert_eq!(history.faults[0].fired, None);
    assert!(
        Report::new(&history)
            .to_string()
            .contains("never  panic (job 3, attempt 3)")
    );
}

#[test]
fn a_blocked_thread_comes_back_as_a_zombie_whose_word_does_not_count() {
    let mut plan = Plan::new(3);
    for job in 0..12 {
        plan = plan.job(job * 2, None, 0);
    }
    let history = assert_holds(&plan.fault(attempt(5, 1), FaultKind::Block { ms: 300 }));
    let worked =
        |happening: &Occurrence| matches!(happening, Occurrence::Worked(attempt) if attempt.job == 5);
    assert_eq!(
        history.entries.iter().filter(|entry| worked(&entry.what)).count(),
        2
    );
    assert!(
        history
            .events()
            .any(|(_, kind)| matches!(kind, EventKind::StaleSettle { .. }))
    );
    assert!(
        history
            .events()
            .any(|(_, kind)| matches!(kind, EventKind::ArbiterAbandoned { .. }))
    );
}

struct Plain;

impl Actor for Plain {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, u64>> for Plain {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, u64>, _: &mut Context<Self>) {
        let job = *delivery.job();
        delivery.ack(job);
    }
}

struct Rows;

impl BatchConsumer for Rows {
    type Job = u64;
    type Output = u64;

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            let job = *delivery.job();
            delivery.ack(job);
        }
        Ok(())
    }
}

fn other_doors() -> [Simulation<u64, u64>; 2] {
    let job = |index: usize, _: &PlannedJob| Job::new(index as u64);
    let short = |config: &mut consumer_group::GroupConfig| {
        config.deadline = Duration::from_millis(100);
        config.restart.kill_grace = Duration::from_millis(20);
    };
    [
        Simulation::new(
            move |_: &Plan| {
                Group::builder()
                    .actor_consumers(3, |_| Plain)
                    .placement(Placement::Dedicated)
                    .configure(short)
            },
            job,
        ),
        Simulation::new(
            move |_: &Plan| {
                let size = BatchSize {
                    most: 4,
                    wait: Duration::from_millis(5),
                };
                Group::builder()
                    .batch_consumers(3, size, || Rows)
                    .placement(Placement::Dedicated)
                    .configure(short)
            },
            job,
        ),
    ]
}

#[test]
fn actors_of_the_user_and_batch_consumers_meet_faults_without_a_change() {
    for simulation in other_doors() {
        for kind in [
            FaultKind::Panic,
            FaultKind::PanicAfterWork,
            FaultKind::Error,
            FaultKind::Hang,
            FaultKind::Block { ms: 300 },
            FaultKind::CrashArbiter,
            FaultKind::RepeatSettle,
            FaultKind::LoseSettle,
            FaultKind::DelaySettle { ms: 30 },
        ] {
            let plan = twelve_jobs().fault(attempt(5, 1), kind.clone());
            let history = simulation.run_twice(&plan).unwrap();
            assert!(history.faults[0].fired.is_some(), "{kind} never happened");
            assert_eq!(check(&history), [], "{kind}\n{}", Report::new(&history));
        }
    }
}

/// The stock group has but one of the three doors.
#[test]
fn a_hundred_seeds_hold_at_the_other_doors_too() {
    let shape = PlanShape {
        consumers: 3,
        failpoints: Vec::new(),
        ..PlanShape::default()
    };
    for simulation in other_doors() {
        let sweep = Sweep::new(&simulation, |seed| shape.plan(seed))
            .checker(Checker::strict())
            .seeds(0..100);
        let swept = sweep.run().unwrap();
        let small = |failure| sweep.shrink(failure).unwrap().plan.to_rust();
        let failure = swept.failures.first().map(|failure| (failure, small(failure)));
        assert!(failure.is_none(), "{failure:#?}");
    }
}

/// A shell that holds deliveries back to make a larger batch rests, which is no hang; but only for as long as it may.
#[test]
fn a_batch_consumer_that_hangs_while_it_waits_for_more_is_found() {
    let plan = Plan::new(0)
        .job(0, None, 0)
        .job(120, None, 0)
        .job(0, None, 0)
        .fault(When::Slot { slot: 0, at_ms: 128 }, FaultKind::Hang)
        .fault(When::Attempt { job: 1, attempt: 1 }, FaultKind::Panic);
    let [_, batches] = other_doors();
    let history = batches.run_twice(&plan).unwrap();
    assert_eq!(check(&history), [], "{}", Report::new(&history));
}

/// Two of the faults that a plan has for one consumer may overlap: what one of them holds up, the end of the other does not
/// set free, and what neither holds up goes on.
#[test]
fn faults_that_overlap_end_each_for_itself() {
    let at = |at_ms| When::Slot { slot: 0, at_ms };
    let plan = |first, second| {
        let plan = Plan::new(0).job(0, None, 10);
        plan.fault(attempt(0, 1), first).fault(at(5), second)
    };
    let is_death = |kind: &EventKind| matches!(kind, EventKind::ConsumerDown { .. });
    let worked = |plan: &Plan| {
        let history = assert_holds(plan);
        let mut entries = history.entries.iter();
        let worked = entries.find(|entry| matches!(entry.what, Occurrence::Worked(_)));
        (
            worked.unwrap().at.as_millis(),
            history.events().any(|(_, kind)| is_death(kind)),
        )
    };
    let blocked = plan(FaultKind::Block { ms: 20 }, FaultKind::Block { ms: 20 });
    assert_eq!(worked(&blocked), (35, false));
    let slowed = plan(FaultKind::Slow { ms: 40 }, FaultKind::Slow { ms: 3 });
    assert_eq!(worked(&slowed), (50, false));
    // A hang ends with the consumer, whatever else there is for it.
    let hung = plan(FaultKind::Hang, FaultKind::Slow { ms: 10 });
    assert!(worked(&hung).0 > 100);
}

#[test]
fn a_run_lasts_until_the_last_of_what_is_held_up_goes_on() {
    let at = |slot, at_ms| When::Slot { slot, at_ms };
    let plan = Plan::new(0)
        .job(0, None, 0)
        .fault(at(1, 50), FaultKind::Block { ms: 60 })
        .fault(at(0, 70), FaultKind::Block { ms: 60 });
    let history = assert_holds(&plan);
    let is_over = |what: &Occurrence| matches!(what, Occurrence::Over { .. });
    assert_eq!(
        history
            .entries
            .iter()
            .filter(|entry| is_over(&entry.what))
            .count(),
        2
    );
    assert!(history.end.at.as_millis() >= 130);
}

#[test]
fn a_queue_that_stays_full_ends_the_run_with_a_reason() {
    let simulation = Simulation::new(
        |_: &Plan| {
            Group::builder()
                .configure(|config| {
                    config.deadline = Duration::ZERO;
                    config.queue.capacity = 2;
                })
                .consume_with(1, async |_: &Delivery<u64>| {
                    std::future::pending::<()>().await;
                    Ok(0)
                })
        },
        |index: usize, _: &PlannedJob| Job::new(index as u64),
    );
    let plan = (0..20).fold(Plan::new(1), |plan, _| plan.job(0, None, 0));
    let history = simulation.run(&plan).unwrap();
    let refused = history.entries.iter().find_map(|entry| match &entry.what {
        Occurrence::Refused { reason, .. } => Some(reason.as_str()),
        _ => None,
    });
    assert_eq!(
        refused,
        Some("nothing went on any more, and the queue had no room")
    );
    assert_eq!(check(&history)[0].invariant, "nothing is lost");
}

/// Five attempts of half a minute each, and a jump of the clock beyond all patience.
#[test]
fn a_run_is_waited_for_as_long_as_something_goes_on() {
    let simulation = Simulation::new(
        |_: &Plan| Group::builder().consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job())),
        |index: usize, _: &PlannedJob| Job::new(index as u64),
    );
    let hangs = |plan: Plan, attempts| {
        (1..=attempts).fold(plan, |plan, nth| plan.fault(attempt(0, nth), FaultKind::Hang))
    };
    let plan = hangs(Plan::new(1).job(0, None, 0).job(1, None, 0), 5);
    let history = simulation.run_twice(&plan).unwrap();
    // To the millisecond: a deadline is found in the moment in which it passes, the next attempt and the other job begin in it,
    // and of five attempts the last one has no wait behind it.
    assert_eq!(
        history.end.at,
        consumer_group::events::Moment::from_millis(150_000)
    );
    assert_eq!(check(&history), []);
    let jump = FaultKind::ClockJump { ms: 80_000_000 };
    assert_holds(&twelve_jobs().fault(When::Time { at_ms: 5 }, jump.clone()));
    assert_holds(&Plan::new(1).job(0, None, 7).fault(When::Time { at_ms: 5 }, jump));
    // Nothing had to go on before the last fault, and before the last job.
    let crash = FaultKind::Crash { role: Role::Queue };
    assert_holds(&twelve_jobs().fault(When::Time { at_ms: 600_000 }, crash));
    let disconnect = FaultKind::Disconnect { ms: 50 };
    let away = When::Time { at_ms: 7_200_000 };
    assert_holds(&twelve_jobs().job(7_200_000, None, 3).fault(away, disconnect));
}

/// An actor begins a job when it looks at it, in a simulation as in production: what lies in its mailbox when it is replaced
/// costs no attempt.
#[test]
fn a_job_in_the_mailbox_of_an_actor_costs_no_attempt() {
    struct First;
    impl Actor for First {
        type Context = Context<Self>;
    }
    impl Handler<Deliver<u64, u64>> for First {
        type Result = actix::AtomicResponse<Self, ()>;

        fn handle(&mut self, delivery: Deliver<u64, u64>, _: &mut Context<Self>) -> Self::Result {
            let work = async move {
                if *delivery.job() == 0 && delivery.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                let job = *delivery.job();
                delivery.ack(job);
            };
            actix::AtomicResponse::new(Box::pin(actix::fut::wrap_future(work)))
        }
    }
    let simulation = Simulation::new(
        |_: &Plan| {
            Group::builder()
                .actor_consumers(1, |_| First)
                .configure(|config| {
                    config.deadline = Duration::from_millis(100);
                    config.window.min = 3;
                })
        },
        |index: usize, _: &PlannedJob| Job::new(index as u64),
    );
    let plan = (0..3).fold(Plan::new(1), |plan, _| plan.job(0, None, 0));
    let history = simulation.run_twice(&plan).unwrap();
    assert_eq!(check(&history), []);
    let attempts = history.events().filter_map(|(_, kind)| match kind {
        EventKind::Acked { attempt, .. } => Some(*attempt),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn a_failpoint_is_of_its_delivery() {
    let simulation = Simulation::new(
        |_: &Plan| {
            Group::builder().consume_with(1, async |delivery: &Delivery<u64>| {
                if *delivery.job() == 5 {
                    consumer_group::failpoint!("charged");
                }
                Ok(*delivery.job())
            })
        },
        |index: usize, _: &PlannedJob| Job::new(index as u64),
    );
    let place = || "charged".to_owned();
    let fault = |job| twelve_jobs().fault(attempt(job, 1), FaultKind::Failpoint { place: place() });
    let history = simulation.run_twice(&fault(0)).unwrap();
    assert_eq!(history.faults[0].fired, None);
    let history = simulation.run_twice(&fault(5)).unwrap();
    assert_eq!(history.faults[0].job, Some(5));
}

/// The checker reads what happened, not only how the run says that it ended.
#[test]
fn a_history_without_the_ack_of_a_job_shows_a_loss() {
    let mut history = stock().run(&twelve_jobs()).unwrap();
    assert_eq!(check(&history), []);
    let is_ack = |entry: &Entry| matches!(entry.what, Occurrence::Group(EventKind::Acked { .. }));
    let index = history.entries.iter().position(is_ack).unwrap();
    history.entries.remove(index);
    assert_eq!(check(&history)[0].invariant, "nothing is lost");
}

#[test]
fn a_plan_without_jobs_can_be_shrunk() {
    let simulation = stock();
    let sweep = Sweep::new(&simulation, |seed| {
        let role = Role::Queue;
        Plan::new(seed).fault(When::Time { at_ms: 1 }, FaultKind::Crash { role })
    })
    .checker(Checker::default().with("no crash", |history| {
        let mut fired = history.faults.iter().filter_map(|fault| fault.fired);
        fired.next().map_or(Ok(()), |at| Err(format!("a crash at {at}")))
    }))
    .seeds(u64::MAX - 3..u64::MAX);
    let swept = sweep.run().unwrap();
    let shrunk = sweep.shrink(&swept.failures[0]).unwrap();
    assert_eq!((shrunk.plan.jobs.len(), shrunk.plan.faults.len()), (0, 1));
}

#[test]
fn a_sweep_tells_of_runs_that_do_not_repeat_themselves() {
    let turn = std::sync::atomic::AtomicU64::new(0);
    let simulation = Simulation::new(
        |_: &Plan| Group::builder().consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job())),
        move |_: usize, _: &PlannedJob| {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Job::new(turn).key(turn.to_string())
        },
    );
    let sweep = Sweep::new(&simulation, |seed| Plan::new(seed).job(0, None, 0)).seeds(5..6);
    let error = sweep.run().unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("seed 5: two runs of one plan differ"), "{text}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(text, format!("seed 5: {cause}"));
}

#[test]
fn invariants_of_the_user_are_checked_and_reported() {
    let history = stock().run(&twelve_jobs()).unwrap();
    let checker = Checker::default().with("no third job", |history| match history.jobs.len() {
        0..=2 => Ok(()),
        more => Err(format!("{more} jobs")),
    });
    assert_eq!(checker.check(&history)[0].to_string(), "no third job: 12 jobs");
    assert!(
        Report::with(&history, &checker)
            .to_string()
            .contains("BROKEN  12 jobs")
    );
}

#[test]
fn two_hundred_seeds_hold() {
    let shape = PlanShape::default();
    let simulation = stock();
    let swept = Sweep::new(&simulation, |seed| shape.plan(seed))
        .checker(Checker::strict())
        .seeds(0..200)
        .run()
        .unwrap();
    assert_eq!(swept.seeds, 200);
    assert!(swept.failures.is_empty(), "{:?}", swept.failures);
    assert_eq!(swept.reached.missing(), [""; 0]);
}

/// Every planted bug is found by the sweep, and what it finds is small: the model in tests/checks/model.rs finds those of the ledger
/// too.
#[test]
fn the_sweep_finds_every_planted_bug_and_shrinks_its_plans() {
    let shape = PlanShape::default();
    let (mut plans, mut jobs, mut faults) = (0, 0, 0);
    let here = |plant: &Plant| plant.place() != PlantedIn::File;
    for plant in Plant::ALL.into_iter().filter(here) {
        let simulation = stock().planted(plant);
        let sweep = Sweep::new(&simulation, |seed| shape.plan(seed))
            .checker(Checker::strict())
            .seeds(0..2_000);
        let swept = sweep.run().unwrap();
        let failure = swept
            .failures
            .first()
            .unwrap_or_else(|| panic!("{} was not found", plant.name()));
        let small = sweep.shrink(failure).unwrap().plan;
        let check = |simulation: &Simulation<u64, u64>| {
            let history = simulation.run(&small).unwrap();
            Checker::strict().check(&history)
        };
        assert!(!check(&simulation).is_empty(), "{}", plant.name());
        assert_eq!(check(&stock()), [], "it fails without the planted bug too");
        (plans, jobs, faults) = (plans + 1, jobs + small.jobs.len(), faults + small.faults.len());
    }
    assert!(
        jobs <= 5 * plans && faults <= 3 * plans,
        "{plans} plans have {jobs} jobs and {faults} faults"
    );
}

/// Code as `fault_sweep --plant fence-ignores-incarnation` prints it: that it is here shows that such code compiles, and
/// that it fails.
mod as_printed {
    use consumer_group::sim::{Checker, FaultKind, Plan, Plant, When, stock};

    #[should_panic(expected = "fenced")]
    #[test]
    fn seed_74() {
        let plan = Plan::new(0).job(0, None, 20).fault(
            When::Attempt { job: 0, attempt: 1 },
            FaultKind::DelaySettle { ms: 115 },
        );
        let history = stock()
            .planted(Plant::FenceIgnoresIncarnation)
            .run(&plan)
            .unwrap();
        assert_eq!(Checker::default().check(&history), []);
    }
}

#[test]
fn a_printed_plan_compiles_and_fails_again() {
    let plan = Plan::new(0).job(0, None, 20).fault(
        When::Attempt { job: 0, attempt: 1 },
        FaultKind::DelaySettle { ms: 115 },
    );
    assert_eq!(check(&stock().run(&plan).unwrap()), []);
    let planted = "stock().planted(Plant::FenceIgnoresIncarnation)";
    let printed = plan.to_rust_test("seed 74", planted, "Checker::default()");
    // The formatter may have broken lines, and put commas at their ends.
    let bare = |code: &str| {
        code.split_whitespace()
            .collect::<String>()
            .replace(",}", "}")
            .replace(",)", ")")
    };
    let own = bare(include_str!("simulation.rs"));
    for part in printed.split("\n\n") {
        assert!(own.contains(&bare(part)), "{part}");
    }
}

#[test]
fn a_simulation_runs_inside_of_any_runtime_and_gives_the_same_history() {
    type Tokio = tokio::runtime::Builder;
    let simulation = Simulation::new(
        |_: &Plan| Group::builder().consume_with(2, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2)),
        |index, _| Job::new(index as u64),
    );
    let plan = Plan::new(7);
    let plain = simulation.run(&plan).unwrap();
    for mut runtime in [Tokio::new_multi_thread(), Tokio::new_current_thread()] {
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let inside = runtime.block_on(async { simulation.run(&plan).unwrap() });
        assert!(plain.first_difference(&inside).is_none());
    }
    actix::System::new().block_on(async {
        simulation.run(&plan).unwrap();
        simulation.run_live(&plan).unwrap();
    });
}

#[test]
fn the_errors_of_a_run_say_their_causes_in_their_own_text() {
    let wrong = || {
        let started = Group::<u64, u64>::builder()
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .configure(|config| config.queue.capacity = 0)
            .start();
        RunError::from(started.unwrap_err())
    };
    for error in [
        wrong(),
        RunError::Runtime(std::io::Error::other("no threads")),
        RunError::Seed {
            seed: 7,
            error: Box::new(wrong()),
        },
    ] {
        let text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            assert!(text.contains(&next.to_string()), "`{text}` does not say: {next}");
            cause = next.source();
        }
    }
}

/// Found by the sweep, seeds 21, 26, 84 and four hundred others of 5,000: the supervisor died after it had acked a job and
/// before the queue had read the ack. actix drops a message unread once nobody waits for its answer, so the job was done
/// again; and a later job of its key had been done meanwhile.
#[test]
fn an_ack_that_the_queue_has_not_read_survives_the_death_of_its_supervisor() {
    for seed in [21, 26, 84, 87, 89] {
        assert_holds(&PlanShape::default().plan(seed));
    }
}

/// The same as a plan that says what happens: the queue is away, a job is done, and the supervisor dies.
#[test]
fn a_job_that_was_acked_while_the_queue_was_away_is_not_done_again() {
    let plan = Plan::new(0)
        .job(0, Some(1), 10)
        .fault(When::Time { at_ms: 5 }, FaultKind::Disconnect { ms: 40 })
        .fault(
            When::Time { at_ms: 20 },
            FaultKind::Crash {
                role: Role::Supervisor,
            },
        );
    let history = assert_holds(&plan);
    let acks = history
        .events()
        .filter(|(_, kind)| matches!(kind, EventKind::Acked { .. }));
    assert_eq!(acks.count(), 1);
}

/// Found by shrinking: the word that a job had used up its attempts was lost with the queue and the supervisor, so the job came
/// again, behind a later one of its key. That is the one loss of a verdict that the guarantees allow, as for an ack.
#[test]
fn a_verdict_that_queue_and_supervisor_took_along_may_be_asked_for_again() {
    let mut plan = Plan::new(2)
        .job(0, None, 0)
        .job(0, Some(0), 0)
        .job(0, None, 0)
        .job(0, Some(0), 0)
        .fault(attempt(0, 1), FaultKind::Slow { ms: 60 })
        .fault(attempt(2, 1), FaultKind::Disconnect { ms: 69 })
        .fault(
            attempt(3, 1),
            FaultKind::Crash {
                role: Role::Supervisor,
            },
        )
        .fault(When::Time { at_ms: 110 }, FaultKind::Crash { role: Role::Queue });
    for number in 1..=3 {
        plan = plan.fault(attempt(1, number), FaultKind::Error);
    }
    assert_holds(&plan);
}

/// The word on a failure comes once more while the next attempt is at work: it must not cost the job that attempt.
#[test]
fn the_echo_of_a_failure_does_not_count_against_the_next_attempt() {
    let plan = Plan::new(11)
        .job(0, Some(0), 0)
        .fault(attempt(0, 1), FaultKind::EchoSettle { ms: 30 })
        .fault(attempt(0, 1), FaultKind::Error)
        .fault(attempt(0, 2), FaultKind::Slow { ms: 60 });
    let history = assert_holds(&plan);
    let retries = |kind: &EventKind| matches!(kind, EventKind::Retried { .. });
    assert_eq!(history.events().filter(|(_, kind)| retries(kind)).count(), 1);
    let planted = stock().planted(Plant::FenceIgnoresAttempt).run(&plan).unwrap();
    assert_eq!(
        check(&planted)[0].invariant,
        "failures are of attempts that ended"
    );
}

#[test]
fn the_picture_is_well_formed_and_shows_every_lane() {
    let history = stock().run(&PlanShape::default().plan(4)).unwrap();
    let picture = draw(&history, "seed 4 <&>");
    for lane in [
        "slot 3",
        "queue",
        "strategy",
        "supervisor",
        "backlog",
        "seed 4 &lt;&amp;&gt;",
    ] {
        assert!(picture.contains(lane), "{lane}");
    }
    assert_eq!(picture.matches("<g>").count(), picture.matches("</g>").count());
}

#[test]
fn a_plan_holds_on_real_threads_too() {
    let plan = twelve_jobs()
        .fault(attempt(2, 1), FaultKind::Panic)
        .fault(attempt(4, 1), FaultKind::Block { ms: 250 })
        .fault(
            When::Time { at_ms: 30 },
            FaultKind::Crash {
                role: Role::Supervisor,
            },
        );
    let history = stock().run_live(&plan).unwrap();
    assert_eq!(check(&history), [], "{}", Report::new(&history));
    assert!(history.faults[1].fired.is_some());
}

/// Twelve jobs at work and in windows.
fn twelve_long_jobs() -> Plan {
    let mut plan = Plan::new(3);
    for job in 0..12 {
        plan = plan.job(0, Some(job % 5), 40);
    }
    plan
}

fn deaths(history: &History) -> Vec<Cause> {
    let causes = history.events().filter_map(|(_, kind)| match kind {
        EventKind::ConsumerDown { cause, .. } | EventKind::RoleDown { cause, .. } => Some(cause.clone()),
        _ => None,
    });
    causes.collect()
}

#[test]
fn a_process_that_stands_still_for_longer_than_the_deadline_costs_no_attempt() {
    for seed in 0..40 {
        let mut plan = twelve_long_jobs();
        plan.seed = seed;
        for kind in [FaultKind::Freeze { ms: 700 }, FaultKind::ClockJump { ms: 700 }] {
            let plan = plan.clone().fault(When::Time { at_ms: 3 + seed }, kind);
            let history = assert_holds(&plan);
            assert!(history.faults[0].fired.is_some());
            assert_eq!(deaths(&history), []);
        }
    }
}

#[test]
fn a_real_hang_is_found_although_the_process_stood_still_meanwhile() {
    let plan = Plan::new(1)
        .job(0, None, 0)
        .fault(attempt(0, 1), FaultKind::Hang)
        .fault(When::Time { at_ms: 40 }, FaultKind::Freeze { ms: 5_000 });
    let history = assert_holds(&plan);
    assert_eq!(
        deaths(&history),
        [Cause::DeadlinePassed(Duration::from_millis(100))]
    );
    let found = history
        .events()
        .find(|(_, kind)| matches!(kind, EventKind::ConsumerDown { .. }));
    let at = found.unwrap().0.as_millis();
    assert!((5_100..5_250).contains(&at), "it was found at {at} ms");
}

/// With placement `local` a consumer that blocks its thread blocks the supervisor as well, so nobody watches meanwhile.
#[test]
fn a_neighbour_of_a_consumer_that_blocks_the_supervisors_thread_is_no_poison() {
    let simulation = Simulation::new(
        |_: &Plan| {
            Group::builder()
                .consume_with(3, async |delivery: &Delivery<u64>| {
                    tokio::time::sleep(Duration::from_millis(*delivery.job())).await;
                    Ok(*delivery.job())
                })
                .configure(|config| {
                    config.placement = Placement::Local;
                    config.deadline = Duration::from_millis(100);
                    config.retry.attempts = 1;
                })
        },
        |_: usize, planned: &PlannedJob| Job::new(planned.work_ms),
    );
    for seed in 0..20 {
        let plan = Plan::new(seed)
            .job(0, None, 60)
            .job(0, None, 60)
            .job(20, None, 5)
            .fault(attempt(2, 1), FaultKind::Block { ms: 400 });
        let history = simulation.run_twice(&plan).unwrap();
        assert_eq!(check(&history), [], "{}", Report::new(&history));
        assert!(history.faults[0].fired.is_some());
        let report = Report::new(&history);
        assert_eq!((report.acked, report.dead), (3, 0), "{report}");
    }
}

#[test]
fn a_group_whose_host_ends_hands_out_every_job_and_answers_every_caller() {
    let (mut handed_out, mut answered) = (0, 0);
    for seed in 0..60 {
        let mut plan = twelve_long_jobs();
        plan.seed = seed;
        let plan = plan
            .job(90, None, 4)
            .fault(When::Time { at_ms: 1 + seed }, FaultKind::HostEnd);
        let history = assert_holds(&plan);
        assert!(history.end.failed.is_some());
        for entry in &history.entries {
            match entry.what {
                Occurrence::HandedOut { .. } => handed_out += 1,
                Occurrence::Answered {
                    answer: Answer::GivenBack,
                    ..
                } => answered += 1,
                _ => {}
            }
        }
        let late = |entry: &&Entry| matches!(entry.what, Occurrence::Refused { job: 12, .. });
        assert!(
            history.entries.iter().any(|entry| late(&entry)),
            "a job was taken after the end"
        );
    }
    assert!(
        handed_out > 60 && answered > 60,
        "{handed_out} handed out, {answered} answered"
    );
}

#[test]
fn a_group_without_threads_goes_on_with_the_consumers_that_it_has_and_is_whole_again_later() {
    for seed in 0..30 {
        let mut plan = twelve_long_jobs();
        plan.seed = seed;
        let plan = plan
            .fault(When::Time { at_ms: 1 }, FaultKind::NoThreads { ms: 300 })
            .fault(attempt(0, 1), FaultKind::CrashArbiter)
            .job(100, None, 2);
        let history = assert_holds(&plan);
        let others =
            |entry: &Entry| matches!(entry.what, Occurrence::Worked(_)) && entry.at.as_millis() < 250;
        assert!(
            history.entries.iter().any(others),
            "the other consumers worked on"
        );
    }
}

/// What a zombie says late is not taken for a sign of life of its successor.
#[test]
fn the_end_of_a_hung_successor_of_a_zombie_is_no_standstill() {
    let plan = Plan::new(1)
        .job(0, None, 0)
        .job(0, None, 120)
        .fault(When::Time { at_ms: 350 }, FaultKind::ClockJump { ms: 2 })
        .fault(attempt(0, 1), FaultKind::Block { ms: 273 });
    let history = stock().run_twice(&plan).unwrap();
    assert_eq!(Checker::strict().check(&history), [], "{}", Report::new(&history));
}

/// A group may still say that it is whole in the moment in which its host ends.
#[test]
fn a_host_that_ends_while_its_group_answers_is_seen_to_have_ended() {
    let plan = Plan::new(9423)
        .fault(When::Time { at_ms: 171 }, FaultKind::HostEnd)
        .fault(When::Time { at_ms: 128 }, FaultKind::ClockJump { ms: 350 });
    let history = assert_holds(&plan);
    assert!(history.end.failed.is_some());
}

/// Found by a sweep: a late ack is no word of the consumer, which was without one until the supervisor heard of it.
#[test]
fn a_deadline_that_passes_while_a_settle_is_late_is_no_standstill() {
    let plan = Plan::new(4)
        .job(4, None, 7)
        .job(6, None, 0)
        .job(0, None, 0)
        .job(7, None, 7)
        .job(12, None, 0)
        .job(13, None, 7)
        .fault(
            When::Attempt { job: 4, attempt: 1 },
            FaultKind::Crash {
                role: Role::Supervisor,
            },
        )
        .fault(
            When::Attempt { job: 1, attempt: 1 },
            FaultKind::DelaySettle { ms: 160 },
        )
        .fault(When::Slot { slot: 0, at_ms: 87 }, FaultKind::Block { ms: 388 })
        .fault(When::Attempt { job: 1, attempt: 1 }, FaultKind::Block { ms: 151 })
        .fault(When::Time { at_ms: 158 }, FaultKind::Freeze { ms: 346 });
    let history = stock().run(&plan).unwrap();
    assert_eq!(Checker::strict().check(&history), []);
}

/// Found by a sweep: of a job that the source delivered twice one delivery is acked, and the other one is still held.
#[test]
fn a_deadline_that_passes_for_the_other_of_two_deliveries_is_no_standstill() {
    let plan = Plan::new(2)
        .job(0, None, 0)
        .fault(When::Time { at_ms: 113 }, FaultKind::ClockJump { ms: 33 })
        .fault(attempt(0, 1), FaultKind::RepeatDelivery)
        .fault(attempt(0, 1), FaultKind::DelaySettle { ms: 180 });
    let history = stock().run(&plan).unwrap();
    assert_eq!(Checker::strict().check(&history), []);
}

/// Found by a sweep: of a job that the source delivered twice one delivery is given up, and the other one is still held.
#[test]
fn a_deadline_that_passes_after_the_other_of_two_deliveries_is_given_up_is_no_standstill() {
    let plan = Plan::new(0)
        .job(0, Some(0), 350)
        .fault(attempt(0, 1), FaultKind::RepeatDelivery)
        .fault(attempt(0, 1), FaultKind::ClockJump { ms: 350 });
    let history = stock().run(&plan).unwrap();
    assert_eq!(Checker::strict().check(&history), []);
}
