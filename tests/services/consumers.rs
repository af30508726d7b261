//! The last word of consumers, and how many of them there are.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::{
    AS_CONFIGURED, BatchConsumer, BatchSize, Cause, Consumer, Deliver, Delivery, EventKind, Failure, Group,
    GroupBuilder,
};

use crate::common::{Log, event, is_pending, local, paused, settle_down, system, within};

const LONG: Duration = Duration::from_secs(3_600);

/// How the last word of a consumer goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Flushes,
    Fails,
    Panics,
    Hangs,
}

/// Gathers what it was given, and writes it down at its end.
struct Gatherer {
    way: Way,
    gathered: Vec<u64>,
    written: Log<u64>,
}

impl Gatherer {
    async fn flush(&mut self) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match self.way {
            Way::Flushes => self.gathered.drain(..).for_each(|job| self.written.note(job)),
            Way::Fails => Err("the disk is full")?,
            Way::Panics => panic!("no last word"),
            Way::Hangs => std::future::pending().await,
        }
        Ok(())
    }
}

impl Consumer for Gatherer {
    type Job = u64;
    type Output = ();

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<(), Failure> {
        self.gathered.push(*delivery.job());
        assert_ne!(*delivery.job(), 666, "dies");
        Ok(())
    }

    async fn stopping(&mut self) -> Result<(), Failure> {
        self.flush().await
    }
}

impl BatchConsumer for Gatherer {
    type Job = u64;
    type Output = ();

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, ()>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            self.gathered.push(*delivery.job());
            delivery.ack(());
        }
        Ok(())
    }

    async fn stopping(&mut self) -> Result<(), Failure> {
        self.flush().await
    }
}

fn gatherer(way: Way, written: &Log<u64>) -> impl Fn() -> Gatherer + Send + Sync + 'static + use<> {
    let written = written.clone();
    move || Gatherer {
        way,
        gathered: Vec::new(),
        written: written.clone(),
    }
}

/// Two consumers of each door at which there is a last word.
fn doors(way: Way, written: &Log<u64>) -> [GroupBuilder<u64, ()>; 2] {
    let size = BatchSize {
        most: 4,
        wait: Duration::ZERO,
    };
    [
        local().consumers(2, gatherer(way, written)),
        local().batch_consumers(2, size, gatherer(way, written)),
    ]
}

#[test]
fn a_drain_waits_until_every_consumer_has_flushed_what_it_gathered() {
    for door in 0..2 {
        paused(async move {
            let written = Log::new();
            let [one, batches] = doors(Way::Flushes, &written);
            let group = if door == 0 { one } else { batches }.start().unwrap();
            group.producer().send_batch(0..100).await.unwrap();
            assert!(within("the drain", group.drain(LONG)).await.is_clean());
            let mut all = written.all();
            all.sort_unstable();
            assert_eq!(all, (0..100).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_consumer_that_is_scaled_away_flushes_and_its_end_is_no_fault() {
    paused(async {
        let written = Log::new();
        let [builder, _] = doors(Way::Flushes, &written);
        let group = builder.start().unwrap();
        let mut events = group.events();
        group.producer().send_batch(0..10).await.unwrap();
        settle_down().await;
        group.scale(0);
        for _ in 0..2 {
            let cause = event(&mut events, "a consumer goes", |kind| match kind {
                EventKind::ConsumerDown { cause, .. } => Some(cause.clone()),
                _ => None,
            });
            assert_eq!(cause.await, Cause::Killed);
        }
        assert_eq!(written.all().len(), 10);
    });
}

#[test]
fn a_last_word_that_fails_or_panics_or_hangs_is_told_and_holds_nobody_up_for_longer_than_its_limit() {
    for way in [Way::Fails, Way::Panics, Way::Hangs] {
        paused(async move {
            let [builder, _] = doors(way, &Log::new());
            let group = builder
                .configure(|config| config.restart.stop_deadline = Duration::from_millis(2_000))
                .start()
                .unwrap();
            let mut events = group.events();
            group.producer().send_batch(0..10).await.unwrap();
            let before = tokio::time::Instant::now();
            let drained = within("the drain", group.drain(LONG)).await;
            assert!(drained.is_clean(), "what was done stays done");
            assert!(
                before.elapsed() < Duration::from_millis(4_000),
                "{:?}",
                before.elapsed()
            );
            let cause = event(&mut events, "a consumer goes", |kind| match kind {
                EventKind::ConsumerDown { cause, .. } => Some(cause.to_string()),
                _ => None,
            });
            let cause = cause.await;
            let told = match way {
                Way::Fails => "the disk is full",
                Way::Panics => "no last word",
                _ => "stop_deadline_ms",
            };
            assert!(cause.contains(told), "{cause}");
        });
    }
}

#[test]
fn the_deadline_of_a_drain_ends_last_words_too_and_a_stop_waits_for_none() {
    paused(async {
        let [builder, _] = doors(Way::Hangs, &Log::new());
        let group = builder.start().unwrap();
        group.producer().send_batch(0..10).await.unwrap();
        let before = tokio::time::Instant::now();
        assert!(
            within("the drain", group.drain(Duration::from_millis(1_000)))
                .await
                .is_clean()
        );
        assert!(
            before.elapsed() < Duration::from_millis(1_500),
            "{:?}",
            before.elapsed()
        );

        let written = Log::new();
        let [builder, _] = doors(Way::Flushes, &written);
        let group = builder.start().unwrap();
        group.producer().send_batch(0..10).await.unwrap();
        settle_down().await;
        within("the stop", group.stop()).await;
        assert_eq!(written.all().len(), 0);
    });
}

#[test]
fn a_consumer_that_died_has_no_last_word_and_its_successor_has() {
    paused(async {
        let written = Log::new();
        let [builder, _] = doors(Way::Flushes, &written);
        let group = builder
            .configure(|config| config.retry.attempts = 1)
            .start()
            .unwrap();
        group.scale(1);
        let producer = group.producer();
        within("it is done", producer.call(1)).await.unwrap();
        within("it is given up", producer.call(666)).await.unwrap_err();
        within("it is done", producer.call(2)).await.unwrap();
        within("the drain", group.drain(LONG)).await;
        assert!(!written.all().contains(&666), "{:?}", written.all());
        assert!(written.all().contains(&2), "{:?}", written.all());
    });
}

#[test]
fn a_drain_for_which_nobody_waits_any_more_lets_consumers_flush_all_the_same() {
    paused(async {
        let written = Log::new();
        let [builder, _] = doors(Way::Flushes, &written);
        let group = builder.start().unwrap();
        group.producer().send_batch(0..10).await.unwrap();
        let mut drain = Box::pin(group.drain(LONG));
        assert!(is_pending(&mut drain));
        drop(drain);
        within("the end", group.stopped()).await;
        assert_eq!(written.all().len(), 10);
    });
}

#[test]
fn a_group_that_was_scaled_to_nothing_drains_what_is_nothing_and_names_what_waits() {
    paused(async {
        for jobs in [0, 3] {
            let [builder, _] = doors(Way::Flushes, &Log::new());
            let group = builder.start().unwrap();
            group.scale(0);
            settle_down().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            group.producer().send_batch(0..jobs).await.unwrap();
            let drained = within("the drain", group.drain(Duration::from_secs(2))).await;
            assert_eq!(drained.unfinished.len() as u64, jobs);
        }
    });
}

/// An actor that does everything.
struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, ()>> for Echo {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, ()>, _: &mut Context<Self>) {
        delivery.ack(());
    }
}

#[test]
fn the_number_of_consumers_comes_from_the_configuration_at_every_door() {
    system(async {
        let size = BatchSize {
            most: 4,
            wait: Duration::ZERO,
        };
        let log = Log::new();
        let configured = || Group::builder().configure(|config| config.consumers = 3);
        let doors: [GroupBuilder<u64, ()>; 4] = [
            configured().consumers(AS_CONFIGURED, gatherer(Way::Flushes, &log)),
            configured().consume_with(AS_CONFIGURED, async |_: &Delivery<u64>| Ok(())),
            configured().batch_consumers(AS_CONFIGURED, size, gatherer(Way::Flushes, &log)),
            configured().actor_consumers(AS_CONFIGURED, |_| Echo),
        ];
        for builder in doors {
            let group = builder.start().unwrap();
            assert_eq!(group.health().await.unwrap().slots.len(), 3);
        }
        let told = Group::<u64, ()>::builder()
            .consume_with(2, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        assert_eq!(told.health().await.unwrap().slots.len(), 2);
    });
}

#[test]
fn what_consumers_share_is_one_thing_for_all_of_them() {
    paused(async {
        let shared = Arc::new(std::sync::Mutex::new(0));
        let of_consumers = Arc::clone(&shared);
        let group = local()
            .consume_with(4, async move |delivery: &Delivery<u64>| {
                *of_consumers.lock().unwrap() += *delivery.job();
                Ok(())
            })
            .start()
            .unwrap();
        group.producer().send_batch(1..=100).await.unwrap();
        within("the drain", group.drain(LONG)).await;
        assert_eq!(*shared.lock().unwrap(), 5_050);
    });
}
