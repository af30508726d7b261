//! Guarantee 5: jobs of one key are handled in order and never by two consumers at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_group::{Delivery, EventKind, Failure, Group, GroupConfig, Job, Placement, Role, StrategyKind};

use crate::common::{calm, event, local, next_outcome, paused, system};

const KEYS: u64 = 7;
const EACH: u64 = 40;

/// A job of a key with its place in the key's order.
#[derive(Clone, Copy, Debug)]
struct Step {
    key: u64,
    seq: u64,
}

/// What is known of one key.
#[derive(Default)]
struct Line {
    /// The step that was begun last.
    latest: Option<u64>,
    /// Whether it came to its end (any end that settles it, for good or for a retry).
    done: bool,
    running: bool,
}

/// Writes down what is against the order.
#[derive(Clone, Default)]
struct Witness {
    lines: Arc<Mutex<BTreeMap<u64, Line>>>,
    wrong: Arc<Mutex<Vec<String>>>,
}

/// A step in progress; it ends, in whatever way, when this is dropped.
struct Running {
    witness: Witness,
    key: u64,
}

impl Witness {
    fn begins(&self, step: Step, delivery: &Delivery<'_, Step>) -> Running {
        let mut lines = self.lines.lock().unwrap();
        let line = lines.entry(step.key).or_default();
        let next = line.latest.map_or(0, |latest| latest + 1);
        // At least once: the latest step may come again. The next one may come only when the latest was done.
        let again = line.latest == Some(step.seq);
        if !(again || (step.seq == next && (line.done || next == 0))) {
            self.wrong.lock().unwrap().push(format!(
                "{step:?} after {:?} (done: {}), {delivery:?}",
                line.latest, line.done
            ));
        }
        if line.running {
            self.wrong
                .lock()
                .unwrap()
                .push(format!("{step:?} while another of its key runs, {delivery:?}"));
        }
        line.latest = Some(step.seq);
        line.done = false;
        line.running = true;
        Running {
            witness: self.clone(),
            key: step.key,
        }
    }
}

impl Running {
    fn done(&self) {
        if let Some(line) = self.witness.lines.lock().unwrap().get_mut(&self.key) {
            line.done = true;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(line) = self.witness.lines.lock().unwrap().get_mut(&self.key) {
            line.running = false;
        }
    }
}

async fn keys_stay_in_order(placement: Placement, strategy: StrategyKind) {
    let witness = Witness::default();
    let seen = witness.clone();
    let group = Group::builder()
        .config(GroupConfig {
            placement,
            strategy,
            order_by_key: true,
            ..GroupConfig::default()
        })
        .configure(calm)
        .configure(|config| config.retry.attempts = 1_000)
        .consume_with(4, async move |delivery: &Delivery<Step>| {
            let step = *delivery.job();
            let running = seen.begins(step, delivery);
            let (number, attempt) = (step.key * EACH + step.seq, delivery.attempt());
            match number % 5 {
                0 => tokio::task::yield_now().await,
                1 => tokio::time::sleep(Duration::from_millis(1)).await,
                _ => {}
            }
            assert!(number % 23 != 9 || attempt > 1, "dies at first");
            if number % 11 == 4 && attempt <= 2 {
                return Err(Failure::retry_after(Duration::from_millis(3), "later"));
            }
            if number % 29 == 1 {
                running.done();
                return Err(Failure::reject("never"));
            }
            running.done();
            drop(running);
            Ok(())
        })
        .start()
        .unwrap();
    let mut events = group.events();
    let (producers, mut results) = group.producer_group();
    let steps = (0..EACH).flat_map(|seq| (0..KEYS).map(move |key| Step { key, seq }));
    let jobs: Vec<_> = steps.map(|step| Job::new(step).key(step.key)).collect();
    let count = jobs.len();
    producers.send_batch(jobs).await.unwrap();
    let disturb = [
        "scale 7",
        "supervisor",
        "scale 2",
        "queue",
        "scale 1",
        "strategy",
        "scale 5",
        "supervisor",
        "scale 3",
        "weigh",
        "results",
    ];
    let mut disturb = disturb.iter().cycle();
    for nth in 0..count {
        let what = format!(
            "step {nth} of {count} ends; wrong so far: {:?}",
            witness.wrong.lock().unwrap()
        );
        next_outcome(&mut results, &what).await;
        if nth % 17 != 16 {
            continue;
        }
        let role = match disturb.next().copied() {
            Some("supervisor") => Role::Supervisor,
            Some("queue") => Role::Queue,
            Some("strategy") => Role::Strategy,
            Some("results") => Role::Results,
            Some("weigh") => {
                group.set_weight(consumer_group::SlotId(0), 3);
                continue;
            }
            Some(scale) => {
                group.scale(scale.trim_start_matches("scale ").parse().unwrap());
                continue;
            }
            None => continue,
        };
        group.end_role(role);
        event(&mut events, "the role is back", |kind| {
            matches!(kind, EventKind::RoleUp { role: up, .. } if *up == role).then_some(())
        })
        .await;
    }
    let wrong = witness.wrong.lock().unwrap().clone();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let lines = witness.lines.lock().unwrap();
    assert!(lines.values().all(|line| line.latest == Some(EACH - 1)));
}

macro_rules! in_order {
    ($($name:ident: $placement:expr, $strategy:ident, $run:ident;)*) => {$(
        #[test]
        fn $name() {
            $run(keys_stay_in_order($placement, StrategyKind::$strategy));
        }
    )*};
}

in_order! {
    keys_stay_in_order_with_round_robin: Placement::Local, RoundRobin, paused;
    keys_stay_in_order_with_weights: Placement::Local, Weighted, paused;
    keys_stay_in_order_with_a_consistent_hash: Placement::Local, ConsistentHash, paused;
    keys_stay_in_order_with_the_least_loaded: Placement::Local, LeastLoaded, paused;
    keys_stay_in_order_with_two_choices: Placement::Local, TwoChoices, paused;
    keys_stay_in_order_with_sticky_keys: Placement::Local, Sticky, paused;
    keys_stay_in_order_over_threads_with_round_robin: Placement::Arbiters(3), RoundRobin, system;
    keys_stay_in_order_over_threads_with_a_consistent_hash: Placement::Dedicated, ConsistentHash, system;
    keys_stay_in_order_over_threads_with_sticky_keys: Placement::Arbiters(2), Sticky, system;
}

/// The key waits while its job waits for a retry; other keys go on.
#[test]
fn a_key_waits_while_its_job_waits_for_a_retry_and_other_keys_do_not() {
    paused(async {
        let seen = crate::common::Log::new();
        let noted = seen.clone();
        let group = local()
            .order_by_key()
            .consume_with(2, async move |delivery: &Delivery<&'static str>| {
                noted.note((*delivery.job(), delivery.attempt()));
                if *delivery.job() == "a1" && delivery.attempt() == 1 {
                    return Err(Failure::retry_after(Duration::from_secs(10), "later"));
                }
                Ok(())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let jobs = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")];
        let before = tokio::time::Instant::now();
        producers
            .send_batch(jobs.map(|(job, key)| Job::new(job).key(key)))
            .await
            .unwrap();
        for _ in 0..2 {
            next_outcome(&mut results, "b1 and b2 end").await;
        }
        assert_eq!(before.elapsed(), Duration::ZERO, "the other key waited");
        assert_eq!(seen.all().len(), 3, "a2 overtook a1: {:?}", seen.all());
        for _ in 0..2 {
            next_outcome(&mut results, "a1 and a2 end").await;
        }
        assert_eq!(before.elapsed(), Duration::from_secs(10));
        let of_a: Vec<_> = seen
            .all()
            .into_iter()
            .filter(|(job, _)| job.starts_with('a'))
            .collect();
        assert_eq!(of_a, [("a1", 1), ("a1", 2), ("a2", 1)]);
    });
}

/// The contrast: this is what the promise of order is paid with.
#[test]
fn without_the_order_by_key_jobs_of_one_key_run_side_by_side() {
    paused(async {
        let gate = crate::common::Gate::shut();
        let passed = gate.clone();
        let (note, mut noted) = crate::common::probe();
        let group = local()
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                note.send(*delivery.job()).unwrap();
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        group
            .producer()
            .send_batch([1, 2].map(|job| Job::new(job).key("same")))
            .await
            .unwrap();
        noted.next("one runs").await;
        noted.next("and the other at the same time").await;
        gate.open();
    });
}
