//! Our own parts pass the suites, and the suites bite: a part with a planted fault is caught, by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::config::{Overflow, QueueConfig};
use consumer_group::events::{Moment, QueueCounts};
use consumer_group::queue::{
    ActorQueue, Bound, Capabilities, Clock, DeadSelection, JobRef, LeaseId, Leased, MemoryQueue, MemoryStore,
    News, QueueRoom, QueueSource, Refused, Run, SettleRefusal, Settled, Store, StoreQueue, Verdict, queue_of,
};
use consumer_group::strategy::{Assign, Assigned, Choice, RoundRobin, StrategyShell, by_name, strategy_fn};
use consumer_group::testing::conformance::{self, QueueTraits, Report};
use consumer_group::testing::{ManualQueue, Probe};
use consumer_group::{
    BatchConsumer, BatchSize, Consumer, DeadLetter, Deliver, Delivery, Failure, Job, JobId, SlotId,
    StrategyKind,
};

#[path = "../../examples/custom_queue/plain.rs"]
mod plain;

use plain::PlainQueue;

mod queues {
    use super::*;

    #[test]
    fn the_memory_queue_keeps_every_promise() {
        let report = conformance::queue(|| MemoryQueue::bounded(64))
            .claims(QueueTraits::ALL)
            .assert();
        // Its leases do not end by themselves.
        assert_eq!(report.not_claimed(), ["an_extended_lease_goes_on"], "{report}");
    }

    #[test]
    fn the_memory_queue_keeps_its_promises_on_the_real_clock() {
        conformance::queue(|| MemoryQueue::bounded(64))
            .claims(QueueTraits::ALL)
            .real_time()
            .assert();
    }

    #[test]
    fn the_memory_queue_keeps_its_promises_whatever_its_overflow_policy() {
        for overflow in [Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest] {
            let make = move || {
                let config = QueueConfig {
                    capacity: 64,
                    overflow,
                    ..QueueConfig::default()
                };
                MemoryQueue::new(config).unwrap()
            };
            conformance::queue(make).claims(QueueTraits::ALL).assert();
        }
    }

    #[test]
    fn the_manual_queue_keeps_what_it_claims() {
        let every = [
            Capabilities::LEAST,
            Capabilities {
                attempts: true,
                fencing: true,
                order_by_key: true,
                ..Capabilities::LEAST
            },
            Capabilities {
                delay: Some(Duration::MAX),
                lease_lasts: Some(Duration::from_secs(15)),
                dead_letter: true,
                ..Capabilities::LEAST
            },
            Capabilities::MEMORY,
        ];
        for capabilities in every {
            conformance::queue(move || ManualQueue::with(capabilities).automatic()).assert();
        }
    }
}

/// A store that a user might write first: a list, a table of leases, and nothing else.
struct SmallStore {
    ready: BTreeMap<u64, Small>,
    leased: BTreeMap<LeaseId, (u64, Small)>,
    next: u64,
    fault: Option<Fault>,
}

/// What is wrong with a small store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    ForgetsAttempts,
    ForgetsRetries,
    KeepsWhatIsAcked,
    BelievesEveryAttempt,
    NamesLeasesAgain,
    TakesBackToTheEnd,
    TakesNothingBack,
    NamesJobsAgain,
    IgnoresCredit,
    HandsOutTwice,
}

struct Small {
    job: JobRef<u64>,
    attempts: u32,
}

impl SmallStore {
    fn new(fault: Option<Fault>) -> Self {
        Self {
            ready: BTreeMap::new(),
            leased: BTreeMap::new(),
            next: 0,
            fault,
        }
    }
}

impl SmallStore {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

impl Store<u64> for SmallStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            attempts: true,
            fencing: true,
            volatile: true,
            order_by_key: true,
            ..Capabilities::LEAST
        }
    }

    fn bound(&self) -> Option<Bound> {
        None
    }

    fn push(&mut self, _: Moment, runs: Vec<Run<u64>>, _: &mut News<u64>) -> Vec<Refused<u64>> {
        for job in runs.into_iter().flat_map(Run::into_jobs) {
            self.ready.insert(self.next, Small { job, attempts: 0 });
            self.next += 1;
        }
        Vec::new()
    }

    fn lease(&mut self, _: Moment, most: usize, leased: &mut Vec<Leased<u64>>, _: &mut News<u64>) {
        let most = if self.has(Fault::IgnoresCredit) {
            usize::MAX
        } else {
            most
        };
        for _ in 0..most {
            let Some((place, small)) = self.ready.pop_first() else {
                return;
            };
            let lease = LeaseId(if self.has(Fault::NamesLeasesAgain) {
                place
            } else {
                self.next
            });
            self.next += 1;
            leased.push(Leased::one(lease, small.attempts + 1, small.job.clone()));
            self.leased.insert(lease, (place, small));
        }
    }

    fn settle(
        &mut self,
        _: Moment,
        lease: LeaseId,
        attempt: u32,
        verdict: &Verdict,
        _: &mut News<u64>,
    ) -> Settled {
        let Some((place, mut small)) = self.leased.remove(&lease) else {
            return Settled::Refused(SettleRefusal::Unknown);
        };
        if small.attempts + 1 != attempt && !self.has(Fault::BelievesEveryAttempt) {
            self.leased.insert(lease, (place, small));
            return Settled::Refused(SettleRefusal::Stale);
        }
        match verdict {
            Verdict::Ack if self.has(Fault::KeepsWhatIsAcked) => {
                self.leased.insert(lease, (place, small));
            }
            Verdict::Ack | Verdict::Reject(_) => {}
            Verdict::Retry(_) if self.has(Fault::ForgetsRetries) => {}
            Verdict::Retry(retry) => {
                small.attempts += u32::from(retry.counts && !self.has(Fault::ForgetsAttempts));
                self.ready.insert(place, small);
            }
            Verdict::Renew(renewal) => {
                small.attempts += u32::from(renewal.counts);
                self.leased.insert(lease, (place, small));
            }
            Verdict::Extend | Verdict::Begin(_) => drop(self.leased.insert(lease, (place, small))),
        }
        Settled::Applied
    }

    fn take_back(&mut self, _: Moment) -> usize {
        if self.has(Fault::TakesNothingBack) {
            return 0;
        }
        let back = std::mem::take(&mut self.leased);
        let returned = back.len();
        for (place, mut small) in back.into_values() {
            if self.has(Fault::NamesJobsAgain) {
                let (id, job) = (
                    JobId::from_uuid(uuid::Uuid::from_u128(place.into())),
                    *small.job.payload(),
                );
                small.job = JobRef::new(id, Job::new(job), None, Moment::START);
            }
            let late = u64::from(self.has(Fault::TakesBackToTheEnd)) << 32;
            self.ready.insert(place | late, small);
        }
        returned
    }

    fn next_due(&self) -> Option<Moment> {
        None
    }

    fn wake(&mut self, _: Moment, _: &mut News<u64>) {}

    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.ready.len(),
            leased: self.leased.len(),
            ..QueueCounts::default()
        }
    }

    fn dead_letters(&self, _: usize) -> Vec<DeadLetter<u64>> {
        Vec::new()
    }

    fn requeue(&mut self, _: Moment, _: &DeadSelection, _: &mut News<u64>) -> Vec<JobId> {
        Vec::new()
    }

    fn purge(&mut self, _: &DeadSelection) -> usize {
        0
    }

    fn take_unfinished(&mut self) -> Vec<JobRef<u64>> {
        self.take_back(Moment::START);
        let jobs = self
            .ready
            .values()
            .map(|small| JobRef::clone(&small.job))
            .collect();
        if !self.has(Fault::HandsOutTwice) {
            self.ready.clear();
        }
        jobs
    }
}

fn least_queue() -> ActorQueue<u64, impl Fn() -> PlainQueue> {
    let shelf = Arc::default();
    ActorQueue::new(Capabilities::LEAST, move || PlainQueue::new(Arc::clone(&shelf)))
}

mod custom_queues {
    use super::*;

    #[test]
    fn a_small_store_of_a_user_keeps_every_promise_that_it_claims() {
        let report = conformance::queue(|| queue_of(SmallStore::new(None))).assert();
        assert!(
            report.not_claimed().contains(&"a_retry_waits_for_its_delay"),
            "{report}"
        );
    }

    #[test]
    fn a_queue_actor_with_the_least_capabilities_keeps_every_promise_that_it_claims() {
        conformance::queue(least_queue).assert();
    }

    #[test]
    fn a_store_with_one_fault_is_caught_by_the_name_of_the_promise_that_it_breaks() {
        let faults: [(Fault, &[&str]); 10] = [
            (
                Fault::ForgetsAttempts,
                &["attempts_are_counted", "attempts_outlive_the_actor"],
            ),
            (
                Fault::ForgetsRetries,
                &[
                    "a_retried_job_comes_again_at_its_old_place",
                    "a_new_life_has_lost_nothing",
                ],
            ),
            (
                Fault::KeepsWhatIsAcked,
                &[
                    "an_acked_job_is_forgotten",
                    "an_acked_job_stays_forgotten_in_a_new_life",
                ],
            ),
            (Fault::BelievesEveryAttempt, &["stale_settles_are_refused"]),
            (Fault::NamesLeasesAgain, &["leases_are_never_named_twice"]),
            (
                Fault::TakesBackToTheEnd,
                &["a_later_epoch_takes_leases_back_in_order"],
            ),
            (
                Fault::TakesNothingBack,
                &[
                    "a_later_epoch_takes_leases_back_in_order",
                    "a_new_life_has_lost_nothing",
                ],
            ),
            (Fault::NamesJobsAgain, &["a_job_that_comes_again_has_its_name"]),
            (Fault::IgnoresCredit, &["credit_is_never_exceeded"]),
            (Fault::HandsOutTwice, &["unfinished_jobs_are_handed_out_once"]),
        ];
        for (fault, names) in faults {
            let report = conformance::queue(move || queue_of(SmallStore::new(Some(fault)))).run();
            caught(&report, names);
        }
    }

    /// The jobs of this queue live and die with its actor.
    struct Forgetful;

    impl QueueSource<u64> for Forgetful {
        type Actor = StoreQueue<u64, MemoryStore<u64>>;

        fn create(&self, clock: Clock) -> Self::Actor {
            MemoryQueue::bounded(64).create(clock)
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities::MEMORY
        }

        fn room(&self) -> Option<QueueRoom> {
            None
        }
    }

    #[test]
    fn a_queue_that_loses_its_jobs_with_its_actor_is_caught() {
        let report = conformance::queue(|| Forgetful).run();
        caught(
            &report,
            &["a_new_life_has_lost_nothing", "leases_outlive_the_actor"],
        );
        assert!(report.kept().contains(&"jobs_come_out_in_order"), "{report}");
    }

    #[test]
    fn a_queue_that_cannot_even_be_made_is_caught() {
        let make = || ActorQueue::new(Capabilities::LEAST, || -> PlainQueue { panic!("no disk") });
        let error = conformance::queue(make).run().into_result().unwrap_err();
        assert!(error.to_string().contains("no disk"), "{error}");
    }

    #[test]
    fn a_queue_that_claims_what_it_does_not_do_is_caught() {
        let every = QueueTraits::ALL;
        let report = conformance::queue(|| queue_of(SmallStore::new(None)))
            .claims(every)
            .run();
        caught(
            &report,
            &[
                "urgent_jobs_come_first",
                "a_delayed_job_waits",
                "a_duplicate_is_refused",
            ],
        );
    }
}

mod strategy_actors {
    use super::*;

    #[test]
    fn every_built_in_strategy_keeps_its_promises() {
        for &name in StrategyKind::ALL {
            let mut suite = conformance::chooser(move || by_name(name, 7));
            if name.binds_keys() {
                suite = suite.keeps_keys();
            } else if matches!(name, StrategyKind::LeastLoaded | StrategyKind::TwoChoices) {
                suite = suite.never_parks();
            }
            let report = suite.run();
            assert!(report.broken().is_empty(), "{name:?}: {report}");
        }
    }

    #[test]
    fn a_closure_and_the_stock_actor_keep_their_promises() {
        let first_come = || {
            strategy_fn(|_, roster| {
                let first = roster.next_open(0).and_then(|index| roster.seat(index));
                first.map_or(Choice::Hold, |seat| Choice::Slot(seat.slot))
            })
        };
        conformance::chooser(first_come).never_parks().assert();
        conformance::strategy(move || StrategyShell::new(first_come()))
            .never_parks()
            .assert();
    }

    #[test]
    fn a_strategy_that_names_dead_slots_is_caught() {
        let first_slot = || strategy_fn(|_, _| Choice::Slot(SlotId(0)));
        let report = conformance::chooser(first_slot).run();
        caught(
            &report,
            &[
                "only_live_slots_are_named",
                "nobody_alive_holds_every_job",
                "members_come_and_go",
            ],
        );
    }

    #[test]
    fn a_strategy_that_holds_everything_is_caught() {
        let report = conformance::chooser(|| strategy_fn(|_, _| Choice::Hold)).run();
        caught(
            &report,
            &["a_single_slot_gets_the_jobs", "jobs_go_where_there_is_room"],
        );
    }

    #[test]
    fn a_strategy_that_fills_up_one_slot_gets_a_remark_or_is_caught_if_it_claims_otherwise() {
        let first_seat = || {
            strategy_fn(|_, roster| {
                roster
                    .seat(0)
                    .map_or(Choice::Hold, |seat| Choice::Slot(seat.slot))
            })
        };
        let report = conformance::chooser(first_seat).assert();
        assert_eq!(report.remarks().count(), 1, "{report}");
        let report = conformance::chooser(first_seat).never_parks().run();
        caught(
            &report,
            &["jobs_go_where_there_is_room", "no_room_anywhere_is_survived"],
        );
    }

    #[test]
    fn a_strategy_that_claims_to_keep_keys_and_does_not_is_caught() {
        let report = conformance::chooser(RoundRobin::default).keeps_keys().run();
        caught(
            &report,
            &[
                "jobs_of_one_key_meet_one_slot",
                "a_key_whose_slot_is_full_goes_nowhere_else",
            ],
        );
    }

    /// Answers one job of each question.
    struct Lazy;

    impl Actor for Lazy {
        type Context = Context<Self>;
    }

    impl Handler<Assign> for Lazy {
        type Result = Assigned;

        fn handle(&mut self, assign: Assign, _: &mut Context<Self>) -> Assigned {
            Assigned::new(vec![Choice::Hold], assign.roster)
        }
    }

    /// Panics when nobody is there.
    struct Nervous;

    impl Actor for Nervous {
        type Context = Context<Self>;
    }

    impl Handler<Assign> for Nervous {
        type Result = Assigned;

        fn handle(&mut self, assign: Assign, _: &mut Context<Self>) -> Assigned {
            assert!(!assign.roster.is_empty(), "nobody is there");
            assign.answer(|_, roster| Choice::Slot(roster.seats()[0].slot))
        }
    }

    #[test]
    fn a_strategy_actor_that_leaves_jobs_out_is_caught() {
        caught(
            &conformance::strategy(|| Lazy).run(),
            &["every_job_gets_a_choice"],
        );
    }

    #[test]
    fn a_strategy_actor_that_panics_is_caught_with_its_own_words() {
        let report = conformance::strategy(|| Nervous).run();
        caught(&report, &["nobody_alive_holds_every_job"]);
        assert!(report.to_string().contains("nobody is there"), "{report}");
    }
}

mod consumers {
    use super::*;

    struct Doubler;

    impl Consumer for Doubler {
        type Job = u64;
        type Output = u64;

        async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
            if delivery.job().is_multiple_of(5) {
                return Err(Failure::reject("not a multiple of five"));
            }
            tokio::time::sleep(Duration::from_millis(delivery.job() % 3)).await;
            Ok(delivery.job() * 2)
        }
    }

    #[test]
    fn a_closure_a_type_and_a_probe_keep_the_promises_of_a_consumer() {
        conformance::consumer_fn(1_u64..20, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2)).assert();
        let report = conformance::consumer(1..20, || Doubler).assert();
        assert!(
            report.remarks().any(|remark| remark.contains("3 of 19")),
            "{report}"
        );
        conformance::consumer(1..10, || Doubler)
            .large_batch(20)
            .real_time()
            .assert();
        conformance::consumer(1_u64..20, Probe::new().consumers()).assert();
    }

    /// What a plain actor does with its deliveries.
    #[derive(Clone, Copy)]
    enum Manner {
        AtOnce,
        Later,
        Drops,
        DropsTheThird,
        Hoards,
        Leaks,
        Stops,
    }

    struct Plain {
        manner: Manner,
        hoard: Vec<Deliver<u64, u64>>,
    }

    impl Actor for Plain {
        type Context = Context<Self>;
    }

    impl Handler<Deliver<u64, u64>> for Plain {
        type Result = ();

        fn handle(&mut self, delivery: Deliver<u64, u64>, context: &mut Context<Self>) {
            use actix::{ActorContext, AsyncContext};
            let output = delivery.job() * 2;
            match self.manner {
                Manner::AtOnce => delivery.ack(output),
                Manner::Later => {
                    context.run_later(Duration::from_millis(3), move |_, _| delivery.ack(output));
                }
                Manner::Drops => drop(delivery),
                Manner::DropsTheThird if *delivery.job() == 3 => drop(delivery),
                Manner::DropsTheThird => delivery.ack(output),
                Manner::Hoards => self.hoard.push(delivery),
                Manner::Leaks => std::mem::forget(delivery),
                Manner::Stops => context.stop(),
            }
        }
    }

    fn plain(manner: Manner) -> Report {
        conformance::actor_consumer(1_u64..8, move |_| Plain {
            manner,
            hoard: Vec::new(),
        })
        .run()
    }

    #[test]
    fn a_plain_actor_keeps_the_promises_of_a_consumer() {
        plain(Manner::AtOnce).assert();
        plain(Manner::Later).assert();
    }

    #[test]
    fn a_consumer_that_drops_deliveries_is_caught() {
        let report = plain(Manner::Drops);
        caught(&report, &["each_delivery_is_settled_once"]);
        assert!(report.to_string().contains("dropped without a word"), "{report}");
        caught(
            &plain(Manner::DropsTheThird),
            &["each_delivery_is_settled_once", "a_large_batch_is_settled"],
        );
    }

    #[test]
    fn a_consumer_that_never_settles_is_caught() {
        caught(&plain(Manner::Hoards), &["each_delivery_is_settled_once"]);
    }

    #[test]
    fn a_consumer_that_leaks_deliveries_past_its_end_is_caught() {
        let leaky = [
            "each_delivery_is_settled_once",
            "a_consumer_ends_in_the_middle_of_its_work",
        ];
        caught(&plain(Manner::Leaks), &leaky);
    }

    #[test]
    fn a_consumer_that_ends_by_itself_is_caught() {
        let report = plain(Manner::Stops);
        caught(&report, &["each_delivery_is_settled_once"]);
        assert!(report.to_string().contains("stopped by itself"), "{report}");
    }

    struct Sums {
        forgets: bool,
    }

    impl BatchConsumer for Sums {
        type Job = u64;
        type Output = u64;

        async fn consume(&mut self, batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
            let sum = batch.iter().map(|delivery| *delivery.job()).sum();
            let kept = usize::from(self.forgets);
            for delivery in batch.drain(kept..) {
                delivery.ack(sum);
            }
            Ok(())
        }
    }

    #[test]
    fn a_batch_consumer_keeps_the_promises_of_a_consumer() {
        for (most, wait) in [(1, 0), (7, 5), (1_000, 50), (3, 0)] {
            let size = BatchSize {
                most,
                wait: Duration::from_millis(wait),
            };
            conformance::batch_consumer(1..20, size, || Sums { forgets: false }).assert();
        }
    }

    #[test]
    fn a_batch_consumer_that_forgets_one_delivery_is_caught() {
        let size = BatchSize {
            most: 7,
            wait: Duration::from_millis(5),
        };
        let report = conformance::batch_consumer(1..20, size, || Sums { forgets: true }).run();
        caught(&report, &["each_delivery_is_settled_once"]);
    }

    #[test]
    fn a_consumer_that_does_not_start_is_caught() {
        let probe = Probe::<u64>::new();
        probe.fail_starts(1_000);
        let report = conformance::consumer(1..3, probe.consumers()).run();
        caught(&report, &["a_consumer_starts_and_ends_when_told"]);
    }

    #[test]
    fn a_suite_without_samples_says_so() {
        let report = conformance::consumer(Vec::<u64>::new(), || Doubler).run();
        caught(&report, &["the_samples_are_enough"]);
    }
}

#[test]
#[should_panic(expected = "nobody_alive_holds_every_job")]
fn a_broken_promise_fails_the_test_by_name() {
    conformance::chooser(|| strategy_fn(|_, _| Choice::Slot(SlotId(0)))).assert();
}

/// These checks, at least, found a breach.
#[track_caller]
fn caught(report: &Report, names: &[&str]) {
    let broken = report.broken();
    for name in names {
        assert!(broken.contains(name), "{name} found nothing: {report}");
    }
    let error = report.clone().into_result().unwrap_err().to_string();
    assert!(names.iter().all(|name| error.contains(name)), "{error}");
}
