//! Guarantee 2: a consumer's death is seen and its deliveries are redelivered at once; they wait for no timeout.

use actix::{Actor, ActorContext, Context, Handler};
use consumer_group::{Cause, ConsumerInfo, Deliver, Delivery, EventKind, Incarnation, JobId, SlotId};
use std::time::Duration;
use tokio::time::Instant;

use crate::common::{Gate, event, local, paused, probe, told, window, within};

/// On a paused clock time passes only when nothing else can happen, so a job that is done with no time passed has waited
/// for no timer at all.
#[test]
fn a_job_whose_consumer_panics_is_done_by_another_before_any_time_passes() {
    paused(async {
        let group = local()
            .consume_with(2, async |delivery: &Delivery<u64>| {
                assert!(delivery.attempt() > 1, "the first attempt dies");
                Ok((delivery.slot(), delivery.attempt()))
            })
            .start()
            .unwrap();
        let before = Instant::now();
        let (_, attempt) = within("the job is done", group.producer().call(1)).await.unwrap();
        assert_eq!(attempt, 2);
        assert_eq!(before.elapsed().as_nanos(), 0, "it waited for a timer");
    });
}

#[test]
fn a_replacement_in_the_same_slot_takes_over_before_any_time_passes() {
    paused(async {
        let group = local()
            .consume_with(1, async |delivery: &Delivery<u64>| {
                assert!(delivery.attempt() > 1, "the first attempt dies");
                Ok((delivery.slot(), delivery.incarnation()))
            })
            .start()
            .unwrap();
        let before = Instant::now();
        let done = within("the job is done", group.producer().call(1)).await.unwrap();
        assert_eq!(done, (SlotId(0), Incarnation(2)));
        assert_eq!(before.elapsed().as_nanos(), 0, "it waited for a timer");
    });
}

#[test]
fn everything_that_a_dead_consumer_held_goes_on_at_once_and_in_its_order() {
    paused(async {
        let (note, mut noted) = probe();
        let group = local()
            .configure(|config| window(config, 8))
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                assert!(
                    *delivery.job() != 0 || delivery.attempt() > 1,
                    "the first one dies"
                );
                note.send((*delivery.job(), delivery.attempt())).unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        group.pause();
        group.producer().send_batch(0..8).await.unwrap();
        let before = Instant::now();
        group.resume();
        let mut done = Vec::new();
        for _ in 0..8 {
            done.push(noted.next("a job is done").await);
        }
        assert_eq!(before.elapsed().as_nanos(), 0, "they waited for a timer");
        // The first one cost an attempt; those behind it had not begun, so they cost none.
        assert_eq!(
            done,
            [(0, 2), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)]
        );
        let held = event(&mut events, "the death is told", |kind| match kind {
            EventKind::ConsumerDown { held, cause, .. } => Some((*held, cause.clone())),
            _ => None,
        })
        .await;
        assert_eq!(held.0, 8);
        assert!(matches!(held.1, Cause::Panicked(_)), "{held:?}");
    });
}

/// An actor that stops itself with a delivery in its hands.
struct Quits;

impl Actor for Quits {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, u32>> for Quits {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, u32>, context: &mut Context<Self>) {
        delivery.job();
        if delivery.attempt() == 1 {
            context.stop();
        } else {
            let attempt = delivery.attempt();
            delivery.ack(attempt);
        }
    }
}

#[test]
fn an_actor_that_stops_itself_is_replaced_before_any_time_passes() {
    paused(async {
        let group = local()
            .configure(|config| config.retry.backoff.min = Duration::ZERO)
            .configure(|config| config.retry.backoff.max = Duration::ZERO)
            .actor_consumers(1, |_: &ConsumerInfo| Quits)
            .start()
            .unwrap();
        let before = Instant::now();
        assert_eq!(
            within("the job is done", group.producer().call(1)).await.unwrap(),
            2
        );
        assert_eq!(before.elapsed().as_nanos(), 0, "it waited for a timer");
    });
}

#[test]
fn a_dead_supervisor_is_replaced_and_leases_again_before_any_time_passes() {
    paused(async {
        let (gate, (note, mut noted)) = (Gate::shut(), probe());
        let passed = gate.clone();
        let group = local()
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                note.send((*delivery.job(), delivery.attempt())).unwrap();
                passed.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        let ids: Vec<JobId> = group.producer().send_batch([1, 2]).await.unwrap();
        noted.next("the first job begins").await;
        noted.next("the second job begins").await;
        let mut events = group.events();
        let before = Instant::now();
        group.end_role(consumer_group::Role::Supervisor);
        let mut again = [
            noted.next("one begins again").await,
            noted.next("the other begins again").await,
        ];
        again.sort_unstable();
        assert_eq!(
            again,
            [(1, 1), (2, 1)],
            "attempts that a supervisor ends do not count"
        );
        assert_eq!(before.elapsed().as_nanos(), 0, "they waited for a timer");
        let returned = told(&mut events).into_iter().find_map(|kind| match kind {
            EventKind::Attached { returned, .. } => Some(returned),
            _ => None,
        });
        assert_eq!(returned, Some(ids.len()));
        gate.open();
    });
}
