//! Limits of rates hold demand back, and a group whose jobs fail pauses by itself. All on the paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consumer_group::config::RateConfig;
use consumer_group::events::CircuitState;
use consumer_group::{Delivery, EventKind, Events, Failure, Group, GroupBuilder, GroupConfig, Job};
use tokio::time::Instant;

use super::common::{Log, event, local, paused, settle_down, within_a_year};

fn rate(jobs: u32, burst: u32) -> RateConfig {
    RateConfig {
        jobs: Some(jobs),
        burst,
        ..Default::default()
    }
}

/// Consumers that note when they did which job, in milliseconds.
fn noting(consumers: usize, log: &Log<(u64, u64)>) -> GroupBuilder<u64, u64> {
    let (log, began) = (log.clone(), Instant::now());
    local().consume_with(consumers, async move |delivery: &Delivery<u64>| {
        log.note((*delivery.job(), began.elapsed().as_millis() as u64));
        Ok(*delivery.job())
    })
}

/// Sends all at once and waits until each is done.
async fn all_done(group: &Group<u64, u64>, jobs: impl IntoIterator<Item = Job<u64>>) {
    let (producers, mut results) = group.producer_group();
    let mut sent = 0;
    for job in jobs {
        producers.send(job).await.unwrap();
        sent += 1;
    }
    for _ in 0..sent {
        let outcome = within_a_year("an outcome", results.next()).await.unwrap();
        outcome.result.unwrap();
    }
}

fn plain(count: u64) -> impl Iterator<Item = Job<u64>> {
    (0..count).map(Job::new)
}

fn times(log: &Log<(u64, u64)>) -> Vec<u64> {
    log.all().into_iter().map(|(_, time)| time).collect()
}

#[test]
fn a_rate_spaces_the_jobs_of_the_whole_group() {
    paused(async {
        let log = Log::new();
        let group = noting(4, &log)
            .configure(|config| config.rate = rate(10, 3))
            .start()
            .unwrap();
        all_done(&group, plain(6)).await;
        let times = times(&log);
        assert_eq!(times[..3], [0, 0, 0], "the burst");
        for (time, expected) in times[3..].iter().zip([100, 200, 300]) {
            assert!((expected..expected + 5).contains(time), "{times:?}");
        }
        group.stop().await;
    });
}

#[test]
fn jobs_beyond_the_rate_wait_in_the_queue_and_not_with_consumers() {
    paused(async {
        let log = Log::new();
        let group = noting(4, &log)
            .configure(|config| config.rate = rate(1, 5))
            .start()
            .unwrap();
        for job in 0..1_000 {
            group.producer().send(job).await.unwrap();
        }
        settle_down().await;
        let health = group.health().await.unwrap();
        assert_eq!((log.len(), health.leased, health.in_flight), (5, 0, 0));
        assert_eq!(health.queue.unwrap().ready, 995);
        group.stop().await;
    });
}

#[test]
fn what_waits_for_the_rate_can_be_overtaken_by_what_is_more_urgent() {
    paused(async {
        let log = Log::new();
        let group = noting(2, &log)
            .configure(|config| config.rate = rate(1, 1))
            .start()
            .unwrap();
        let first = group.producer();
        for job in plain(3) {
            first.send(job).await.unwrap();
        }
        settle_down().await;
        let urgent = Job::new(9).priority(5);
        all_done(&group, [urgent]).await;
        assert_eq!(log.len(), 2, "the others wait behind it");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let order: Vec<u64> = log.all().into_iter().map(|(job, _)| job).collect();
        assert_eq!(order, [0, 9, 1, 2]);
        group.stop().await;
    });
}

#[test]
fn an_attempt_after_a_failure_counts_to_the_rate() {
    paused(async {
        let (log, began) = (Log::new(), Instant::now());
        let noted = log.clone();
        let group = local::<u64, u64>()
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                noted.note((*delivery.job(), began.elapsed().as_secs()));
                match delivery.attempt() {
                    3 => Ok(1),
                    _ => Err(Failure::retry_after(Duration::ZERO, "not yet")),
                }
            })
            .configure(|config| config.rate = rate(1, 1))
            .start()
            .unwrap();
        all_done(&group, plain(2)).await;
        assert_eq!(times(&log), [0, 1, 2, 3, 4, 5]);
        group.stop().await;
    });
}

#[test]
fn a_rate_of_thousands_is_reached() {
    paused(async {
        let log = Log::new();
        let group = noting(4, &log)
            .configure(|config| config.rate = rate(100_000, 1_000))
            .start()
            .unwrap();
        all_done(&group, plain(51_000)).await;
        let last = times(&log).pop().unwrap();
        assert!((500..600).contains(&last), "{last} ms for 51,000");
        group.stop().await;
    });
}

fn with_key(job: u64, key: u64) -> Job<u64> {
    Job::new(job).key(key)
}

#[test]
fn a_key_that_comes_too_often_waits_and_the_others_go_on() {
    for order_by_key in [false, true] {
        paused(async {
            let log = Log::new();
            let group = noting(4, &log)
                .configure(|config: &mut GroupConfig| {
                    config.key_rate = rate(1, 2);
                    config.order_by_key = order_by_key;
                })
                .start()
                .unwrap();
            let often = (0..5).map(|job| with_key(job, 1));
            let others = (10..60).map(|job| with_key(job, job));
            let without = (60..70).map(Job::new);
            all_done(&group, often.chain(others).chain(without)).await;
            // A timer may come a millisecond late.
            let rounded = log.all().into_iter().map(|(job, time)| (job, time / 10 * 10));
            let (mut often, others): (Vec<_>, Vec<_>) = rounded.partition(|(job, _)| *job < 10);
            often.sort_unstable();
            assert_eq!(often, [(0, 0), (1, 0), (2, 1_000), (3, 2_000), (4, 3_000)]);
            assert!(others.iter().all(|(_, time)| *time == 0), "{others:?}");
            group.stop().await;
        });
    }
}

/// Consumers that fail as long as the switch is off.
fn switched(works: &Arc<AtomicBool>, log: &Log<u64>) -> GroupBuilder<u64, u64> {
    let (works, log, began) = (Arc::clone(works), log.clone(), Instant::now());
    local()
        .consume_with(4, async move |delivery: &Delivery<u64>| {
            log.note(began.elapsed().as_secs());
            if *delivery.job() == 13 {
                return Err(Failure::reject("unlucky"));
            }
            if works.load(Ordering::Relaxed) {
                Ok(*delivery.job())
            } else {
                Err(Failure::retry("the remote is away"))
            }
        })
        .configure(|config: &mut GroupConfig| {
            config.retry.attempts = 1_000;
            config.circuit.failures = Some(5);
            config.circuit.pause = Duration::from_secs(30);
            config.window.max = 1;
        })
}

/// Waits until the circuit opens.
async fn it_opens(events: &mut Events) {
    event(events, "it opens", |kind| {
        matches!(kind, EventKind::CircuitOpened { .. }).then_some(())
    })
    .await;
}

#[test]
fn a_group_whose_jobs_fail_pauses_probes_with_one_and_goes_on_when_that_one_is_done() {
    paused(async {
        let (works, log) = (Arc::new(AtomicBool::new(false)), Log::new());
        let group = switched(&works, &log).start().unwrap();
        let mut events = group.events();
        let (producers, mut results) = group.producer_group();
        for job in 100..200 {
            producers.send(job).await.unwrap();
        }
        let pause = event(&mut events, "the circuit opens", |kind| match kind {
            EventKind::CircuitOpened { pause } => Some(*pause),
            _ => None,
        });
        assert_eq!(pause.await, Duration::from_secs(30));
        settle_down().await;
        let (health, tried) = (group.health().await.unwrap(), log.len());
        assert_eq!((health.circuit, health.in_flight), (CircuitState::Open, 0));
        assert!((5..=8).contains(&tried), "{tried}: what was in hand ended");
        event(&mut events, "the first probe", |kind| {
            (*kind == EventKind::CircuitProbing).then_some(())
        })
        .await;
        event(&mut events, "the probe failed", |kind| {
            matches!(kind, EventKind::CircuitOpened { .. }).then_some(())
        })
        .await;
        assert_eq!(log.all()[tried..], [30], "one job was tried");
        works.store(true, Ordering::Relaxed);
        event(&mut events, "the second probe went well", |kind| {
            (*kind == EventKind::CircuitClosed).then_some(())
        })
        .await;
        for _ in 0..100 {
            within_a_year("an outcome", results.next())
                .await
                .unwrap()
                .result
                .unwrap();
        }
        assert_eq!(group.health().await.unwrap().circuit, CircuitState::Closed);
        assert!(log.all()[tried + 1..].iter().all(|time| *time == 60));
        group.stop().await;
    });
}

#[test]
fn jobs_that_are_rejected_open_no_circuit_and_close_one() {
    paused(async {
        let (works, log) = (Arc::new(AtomicBool::new(true)), Log::new());
        let group = switched(&works, &log).start().unwrap();
        let mut events = group.events();
        for _ in 0..50 {
            let _letter = super::common::given_up(group.producer().call(13).await);
        }
        assert_eq!(group.health().await.unwrap().circuit, CircuitState::Closed);
        works.store(false, Ordering::Relaxed);
        group.producer().send(100).await.unwrap();
        it_opens(&mut events).await;
        group.producer().send(Job::new(13).priority(1)).await.unwrap();
        event(&mut events, "it closes", |kind| {
            (*kind == EventKind::CircuitClosed).then_some(())
        })
        .await;
        group.stop().await;
    });
}

#[test]
fn consumers_that_die_open_the_circuit() {
    paused(async {
        let group = local::<u64, ()>()
            .consume_with(2, async |_: &Delivery<u64>| panic!("at once"))
            .configure(|config| {
                config.circuit.failures = Some(3);
                config.retry.attempts = 100;
            })
            .start()
            .unwrap();
        let mut events = group.events();
        group.producer().send(1).await.unwrap();
        it_opens(&mut events).await;
        group.stop().await;
    });
}

#[test]
fn a_pause_by_hand_and_one_by_the_circuit_do_not_end_each_other() {
    paused(async {
        let (works, log) = (Arc::new(AtomicBool::new(false)), Log::new());
        let group = switched(&works, &log).start().unwrap();
        let mut events = group.events();
        group.producer().send(100).await.unwrap();
        it_opens(&mut events).await;
        group.pause();
        group.resume();
        settle_down().await;
        let tried = log.len();
        group.pause();
        event(&mut events, "the pause of the circuit is over", |kind| {
            (*kind == EventKind::CircuitProbing).then_some(())
        })
        .await;
        settle_down().await;
        assert_eq!(log.len(), tried, "it is paused by hand");
        works.store(true, Ordering::Relaxed);
        group.resume();
        event(&mut events, "it closes", |kind| {
            (*kind == EventKind::CircuitClosed).then_some(())
        })
        .await;
        group.stop().await;
    });
}

#[test]
fn a_drain_waits_until_what_the_jobs_need_is_back() {
    paused(async {
        let (works, log) = (Arc::new(AtomicBool::new(false)), Log::new());
        let group = switched(&works, &log).start().unwrap();
        let mut events = group.events();
        group.producer().send(100).await.unwrap();
        it_opens(&mut events).await;
        works.store(true, Ordering::Relaxed);
        let drained = within_a_year("the drain", group.drain(Duration::from_secs(3_600))).await;
        assert!(drained.unfinished.is_empty());
        assert_eq!(log.all().last(), Some(&30));
    });
}
