//! Consumers that send jobs to their own group, and groups that would wait for themselves.

use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::{
    BatchConsumer, BatchSize, CallError, Consumer, ConsumerInfo, Deliver, Delivery, Failure, Group,
    GroupBuilder, Producer, SendErrorKind,
};

use crate::common::{Log, given_up, local, paused, settle_down, within};

const LONG: Duration = Duration::from_secs(3_600);

/// Counts down by jobs for its own group, at three doors.
struct Countdown {
    own: Option<Producer<u64, u64>>,
    done: Log<u64>,
}

impl Countdown {
    fn next(&self, number: u64) -> Result<u64, Failure> {
        self.done.note(number);
        let own = self.own.as_ref().ok_or("no producer")?;
        if number > 0 {
            own.try_send(number - 1)?;
        }
        Ok(number)
    }
}

impl Consumer for Countdown {
    type Job = u64;
    type Output = u64;

    async fn started(&mut self, consumer: &ConsumerInfo) -> Result<(), Failure> {
        self.own = consumer.producer();
        assert!(
            consumer.producer::<u64, String>().is_none(),
            "of other types there is none"
        );
        Ok(())
    }

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
        self.next(*delivery.job())
    }
}

impl BatchConsumer for Countdown {
    type Job = u64;
    type Output = u64;

    async fn started(&mut self, consumer: &ConsumerInfo) -> Result<(), Failure> {
        self.own = consumer.producer();
        Ok(())
    }

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, u64>>) -> Result<(), Failure> {
        for delivery in batch.drain(..) {
            let next = self.next(*delivery.job());
            delivery.finish(next);
        }
        Ok(())
    }
}

impl Actor for Countdown {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, u64>> for Countdown {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, u64>, _: &mut Context<Self>) {
        let next = self.next(*delivery.job());
        delivery.finish(next);
    }
}

#[test]
fn a_consumer_of_every_door_sends_jobs_to_its_own_group() {
    for door in 0..4 {
        paused(async move {
            let done = Log::new();
            let noted = done.clone();
            let make = move |own| Countdown {
                own,
                done: noted.clone(),
            };
            let one = BatchSize {
                most: 1,
                wait: Duration::ZERO,
            };
            let builder: GroupBuilder<u64, u64> = match door {
                0 => local().consumers(1, move || make(None)),
                1 => local().batch_consumers(1, one, move || make(None)),
                2 => local().actor_consumers(1, move |info| make(info.producer())),
                _ => local().consume_with(1, async move |delivery: &Delivery<u64>| {
                    make(delivery.producer()).next(*delivery.job())
                }),
            };
            let group = builder.start().unwrap();
            group.producer().send(5).await.unwrap();
            while done.all().len() < 6 {
                settle_down().await;
            }
            assert_eq!(done.all(), [5, 4, 3, 2, 1, 0], "door {door}");
        });
    }
}

/// A group whose jobs above zero wait for the result of the job below.
fn waits_for_itself(consumers: usize) -> Group<u64, u64> {
    let builder = local().configure(|config| config.retry.attempts = 1);
    let builder = builder.consume_with(consumers, async |delivery: &Delivery<u64>| {
        match (*delivery.job(), delivery.producer::<u64>()) {
            (0, _) => Ok(0),
            (number, Some(own)) => Ok(own.call(number - 1).await? + number),
            (_, None) => Err("no producer")?,
        }
    });
    builder.start().unwrap()
}

#[test]
fn a_wait_that_leaves_no_consumer_to_end_it_is_refused_at_once_and_named() {
    for consumers in 1..4 {
        paused(async move {
            let group = waits_for_itself(consumers);
            let before = tokio::time::Instant::now();
            let depth = consumers as u64;
            let letter = given_up(within("it is refused", group.producer().call(depth)).await);
            assert!(
                before.elapsed() < Duration::from_secs(1),
                "no deadline is waited for"
            );
            let told = letter.to_string();
            assert!(told.contains("the group would wait for itself"), "{told}");
            // The waits have ended, so one that can end is let in.
            let sum = within("it is done", group.producer().call(depth - 1))
                .await
                .unwrap();
            assert_eq!(sum, (0..depth).sum::<u64>());
        });
    }
}

#[test]
fn the_job_of_a_refused_wait_comes_back_and_was_not_sent() {
    paused(async {
        let seen = Log::new();
        let (noted, first) = (seen.clone(), seen.clone());
        let group = local()
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                noted.note(*delivery.job());
                let own = delivery.producer::<()>().ok_or("no producer")?;
                match own.call(7).await {
                    Err(CallError::Send(error)) => {
                        assert_eq!(error.kind, SendErrorKind::WaitsForItself);
                        assert_eq!(error.job.map(|job| job.into_payload()), Some(7));
                    }
                    other => panic!("{other:?}"),
                }
                Ok(())
            })
            .start()
            .unwrap();
        within("it is done", group.producer().call(1)).await.unwrap();
        within("the drain", group.drain(LONG)).await;
        assert_eq!(first.all(), [1]);
    });
}

#[test]
fn a_send_that_would_wait_for_room_that_only_its_own_consumer_makes_is_refused() {
    paused(async {
        let group = local()
            .configure(|config| config.queue.capacity = 1)
            .configure(|config| config.retry.attempts = 1)
            .consume_with(1, async |delivery: &Delivery<u64>| {
                let own = delivery.producer::<()>().ok_or("no producer")?;
                own.send(7).await?;
                Ok(())
            })
            .start()
            .unwrap();
        let letter = given_up(within("it is refused", group.producer().call(1)).await);
        assert!(
            letter.to_string().contains("the group would wait for itself"),
            "{letter}"
        );
    });
}

#[test]
fn more_consumers_lift_the_refusal_and_waits_of_others_do_not_count() {
    paused(async {
        let group = waits_for_itself(1);
        let producer = group.producer();
        given_up(within("it is refused", producer.call(1)).await);
        group.scale(2);
        assert_eq!(within("it is done", producer.call(1)).await.unwrap(), 1);
        // From outside as many calls as one likes wait at once.
        let calls = (0..50).map(|_| producer.call(1));
        for sum in within("all are done", futures_util::future::join_all(calls)).await {
            // Two of them at once are two consumers that wait: one is refused then.
            let is_refused = |error: CallError<u64>| error.to_string().contains("would wait for itself");
            assert!(sum.map_or_else(is_refused, |sum| sum == 1));
        }
    });
}
