//! No span of time, from zero to `Duration::MAX`, is more than a setting or a call can take.

use std::error::Error;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use consumer_group::supervision::{Child, Shutdown, SupervisorConfig, SupervisorSpec};
use consumer_group::{
    BatchConsumer, BatchSize, Deliver, Delivery, Failure, Group, GroupConfig, Job, Outcome,
};
use futures_util::FutureExt;

use crate::common::{local, paused, within, within_a_year};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// From nothing to for ever.
const EXTREMES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    YEAR,
    Duration::from_millis(u64::MAX),
    Duration::MAX,
];

/// The same for settings in milliseconds.
const EXTREMES_MS: [u64; 6] = [0, 1, 31_536_000_000, u64::MAX / 1_000_000, u64::MAX - 1, u64::MAX];

/// Spans so long that nobody lives to see their end.
fn is_for_ever(span: Duration) -> bool {
    span > YEAR
}

#[test]
fn a_job_can_be_delayed_by_anything_and_one_that_is_delayed_for_ever_stands_in_nobodys_way() {
    for delay in EXTREMES {
        paused(async move {
            let group: Group<u64, u64> = local()
                .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
                .start()
                .unwrap();
            let producer = group.producer();
            let mut delayed = Box::pin(producer.call(Job::new(1).delay(delay)));
            assert_eq!(delayed.as_mut().now_or_never().map(Result::ok), None);
            if delay < YEAR {
                assert_eq!(within("the delayed job", delayed).await.unwrap(), 1, "{delay:?}");
            } else {
                assert_eq!(
                    within("another job", producer.call(2)).await.unwrap(),
                    2,
                    "{delay:?}"
                );
                assert_eq!(
                    group.health().await.unwrap().queue.unwrap().delayed,
                    1,
                    "{delay:?}"
                );
                drop(delayed);
            }
            within("the end", group.stop()).await;
        });
    }
}

#[test]
fn a_job_can_expire_after_anything_and_one_that_never_does_is_done() {
    for age in EXTREMES {
        paused(async move {
            let group: Group<u64, u64> = local()
                .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
                .start()
                .unwrap();
            let called = within(
                "the job ends",
                group.producer().call(Job::new(1).expires_after(age)),
            )
            .await;
            if age >= Duration::from_millis(1) {
                assert_eq!(called.unwrap(), 1, "{age:?}");
            }
            within("the end", group.stop()).await;
        });
    }
}

#[test]
fn a_retry_can_wait_for_anything_with_and_without_order() {
    for (after, keyed) in EXTREMES
        .into_iter()
        .flat_map(|after| [(after, false), (after, true)])
    {
        paused(async move {
            let group: Group<u64, u64> = local()
                .configure(|config| config.order_by_key = keyed)
                .consume_with(1, async move |delivery: &Delivery<u64>| {
                    if *delivery.job() == 1 && delivery.attempt() == 1 {
                        return Err(Failure::retry_after(after, "later"));
                    }
                    Ok(u64::from(delivery.attempt()))
                })
                .start()
                .unwrap();
            let producer = group.producer();
            let mut retried = Box::pin(producer.call(Job::new(1).key("a")));
            if after < YEAR {
                assert_eq!(within("the retried job", retried).await.unwrap(), 2, "{after:?}");
            } else {
                assert!(retried.as_mut().now_or_never().is_none());
                let other = producer.call(Job::new(2).key("b"));
                assert_eq!(within("another job", other).await.unwrap(), 1, "{after:?}");
                drop(retried);
            }
            let left = within("the end", group.stop()).await.unfinished.len();
            assert_eq!(left, usize::from(after >= YEAR), "{after:?}");
        });
    }
}

#[test]
fn a_drain_can_have_any_deadline() {
    for deadline in EXTREMES {
        paused(async move {
            let group: Group<u64, u64> = local()
                .consume_with(1, async |delivery: &Delivery<u64>| {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(*delivery.job())
                })
                .start()
                .unwrap();
            group.producer().send(1).await.unwrap();
            let left = within("the drain", group.drain(deadline)).await.unfinished.len();
            assert_eq!(left, usize::from(deadline < YEAR), "{deadline:?}");
        });
    }
}

struct Pairs;

impl BatchConsumer for Pairs {
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

#[test]
fn a_batch_can_wait_for_anything() {
    for wait in EXTREMES {
        paused(async move {
            let group: Group<u64, u64> = local()
                .batch_consumers(1, BatchSize { most: 2, wait }, || Pairs)
                .start()
                .unwrap();
            let producer = group.producer();
            let first = producer.call(1);
            let second = async {
                if is_for_ever(wait) {
                    // The first one is in the batch and waits for it.
                    tokio::time::sleep(YEAR / 365).await;
                }
                producer.call(2).await
            };
            let (first, second) = within_a_year("both", async { tokio::join!(first, second) }).await;
            assert_eq!((first.unwrap(), second.unwrap()), (1, 2), "{wait:?}");
            within("the end", group.stop()).await;
        });
    }
}

/// A setting by its name, and how it is set.
type Setting<C> = (&'static str, fn(&mut C, Duration));

/// Every number of the configuration that is a span of time.
const SETTINGS: [Setting<GroupConfig>; 13] = [
    ("queue.dedup_window_ms", |config, time| {
        config.queue.dedup_window = time
    }),
    ("window.target_us", |config, time| config.window.target = time),
    ("retry.backoff.min_ms", |config, time| {
        config.retry.backoff.min = time
    }),
    ("retry.backoff.max_ms", |config, time| {
        config.retry.backoff.max = time
    }),
    ("restart.period_ms", |config, time| config.restart.period = time),
    ("restart.backoff.min_ms", |config, time| {
        config.restart.backoff.min = time
    }),
    ("restart.backoff.max_ms", |config, time| {
        config.restart.backoff.max = time
    }),
    ("restart.cool_down_ms", |config, time| {
        config.restart.cool_down = time
    }),
    ("restart.start_deadline_ms", |config, time| {
        config.restart.start_deadline = time
    }),
    ("restart.stop_deadline_ms", |config, time| {
        config.restart.stop_deadline = time
    }),
    ("deadline_ms", |config, time| config.deadline = time),
    ("restart.kill_grace_ms", |config, time| {
        config.restart.kill_grace = time
    }),
    // Both ends of the waits at once, so that the least of them may be large.
    ("retry.backoff", |config, time| {
        (config.retry.backoff.min, config.retry.backoff.max) = (time, time);
        (config.restart.backoff.min, config.restart.backoff.max) = (time, time);
    }),
];

#[test]
fn every_setting_takes_any_span_or_says_by_its_name_what_it_takes() {
    for (key, set) in SETTINGS {
        for value in EXTREMES_MS {
            paused(async move {
                let started = local()
                    .configure(|config| set(config, Duration::from_millis(value)))
                    .consume_with(2, async |delivery: &Delivery<u64>| {
                        if *delivery.job() == 1 && delivery.attempt() == 1 {
                            return Err(Failure::retry("once"));
                        }
                        assert!(*delivery.job() != 2 || delivery.attempt() > 1, "once");
                        Ok(*delivery.job())
                    })
                    .start();
                let group: Group<u64, u64> = match started {
                    Ok(group) => group,
                    Err(error) => {
                        let text = format!(
                            "{error}: {}",
                            error.source().map(ToString::to_string).unwrap_or_default()
                        );
                        assert!(
                            text.contains(key) && text.contains("use "),
                            "{key} = {value}: {text}"
                        );
                        return;
                    }
                };
                // One job fails once, and one ends its consumer once; both may have to wait for their second attempt.
                let (producers, mut results) = group.producer_group();
                let job = |job: u64| Job::new(job).dedup(job.to_string());
                producers.send_batch([1, 2, 3].map(job)).await.unwrap();
                let most = if key.contains("backoff") && value > 1 {
                    1
                } else {
                    3
                };
                for _ in 0..most {
                    let outcome = within_a_year("a job ends", results.next()).await;
                    let Outcome { result, .. } = outcome.unwrap();
                    result.unwrap_or_else(|letter| panic!("{key} = {value}: {letter}"));
                }
                within_a_year("the end", group.stop()).await;
            });
        }
    }
}

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Say(u64);

impl Handler<Say> for Echo {
    type Result = u64;

    fn handle(&mut self, Say(what): Say, _: &mut Context<Self>) -> u64 {
        assert!(what != 13, "unlucky");
        what
    }
}

/// Every span that a supervision tree is told.
const TREE_SETTINGS: [Setting<SupervisorConfig>; 5] = [
    ("period_ms", |config, time| config.period = time),
    ("start_deadline_ms", |config, time| config.start_deadline = time),
    ("kill_grace_ms", |config, time| config.kill_grace = time),
    ("backoff.min_ms", |config, time| config.backoff.min = time),
    ("backoff.max_ms", |config, time| config.backoff.max = time),
];

#[test]
fn every_setting_of_a_tree_takes_any_span_or_says_by_its_name_what_it_takes() {
    for (key, set) in TREE_SETTINGS {
        for value in EXTREMES_MS {
            paused(async move {
                let mut config = SupervisorConfig::default();
                set(&mut config, Duration::from_millis(value));
                let mut child = Child::new("echo", || Echo).quiet_panics();
                let echo = child.handle();
                let spec = SupervisorSpec::new("tree").config(config).child(child);
                match spec.start().await {
                    Ok(tree) => {
                        assert_eq!(within("an answer", echo.send(Say(1))).await.unwrap(), 1);
                        let _ = echo.send(Say(13)).await;
                        within_a_year("the end", tree.stop()).await;
                    }
                    Err(error) => {
                        let text = format!("{error}");
                        assert!(text.contains(key), "{key} = {value}: {text}");
                    }
                }
            });
        }
    }
}

#[test]
fn a_child_can_have_any_deadline_and_any_shutdown_and_a_tree_any_period() {
    for span in EXTREMES {
        paused(async move {
            let child = Child::new("echo", || Echo)
                .quiet_panics()
                .shutdown(Shutdown::Within(span));
            let mut child = if span.is_zero() {
                child
            } else {
                child.deadline(span)
            };
            let echo = child.handle();
            let spec = SupervisorSpec::new("tree").intensity(3, span).child(child);
            match spec.start().await {
                Ok(tree) => {
                    assert_eq!(
                        within("an answer", echo.send(Say(1))).await.unwrap(),
                        1,
                        "{span:?}"
                    );
                    let _ = echo.send(Say(13)).await;
                    within_a_year("the end", tree.stop()).await;
                }
                Err(error) => assert!(span < Duration::from_millis(1), "{span:?}: {error}"),
            }
        });
    }
}

#[cfg(feature = "durable")]
mod on_disk {
    use consumer_group::codec::Json;
    use consumer_group::durable::{Durability, DurableQueue};

    use super::*;
    use crate::common::system;

    #[test]
    fn a_durable_queue_can_lose_what_is_as_old_as_anything_and_keep_dead_letters_as_long() {
        for span in EXTREMES {
            system(async move {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("jobs.redb");
                for jobs in 1..3 {
                    let queue = DurableQueue::<u64>::at(&path, Json)
                        .durability(Durability::LoseUpTo(span))
                        .keep_dead_letters_for(span)
                        .open()
                        .unwrap();
                    let group: Group<u64, u64> = local()
                        .queue(queue)
                        .consume_with(1, async |delivery: &Delivery<u64>| match delivery.job() {
                            0 => Err(Failure::reject("dead")),
                            job => Ok(*job),
                        })
                        .start()
                        .unwrap();
                    let producer = group.producer();
                    producer.send(Job::new(9).delay(span)).await.unwrap();
                    producer
                        .send(Job::new(8).delay(YEAR).expires_after(span))
                        .await
                        .unwrap();
                    producer.call(0).await.unwrap_err();
                    assert_eq!(producer.call(7).await.unwrap(), 7);
                    let delayed = group.health().await.unwrap().queue.unwrap().delayed;
                    assert!(delayed <= 2 * jobs, "{span:?}: {delayed}");
                    within("the end", group.drain(Duration::ZERO)).await;
                }
            });
        }
    }
}
