//! Guarantee 4: a settle of an old incarnation or attempt is refused as stale, and the fencing token grows.

use actix::{Actor, Context, Handler};
use consumer_group::{
    ConsumerInfo, Deliver, Delivery, EventKind, FencingToken, Group, GroupConfig, Placement, Role,
};
use std::time::Duration;

use crate::common::{Block, Log, calm, event, local, next_outcome, paused, probe, system, within};

/// Consumers that block are given up on after 100 ms.
fn impatient(config: &mut GroupConfig) {
    calm(config);
    config.deadline = Duration::from_millis(60);
    config.restart.kill_grace = Duration::from_millis(40);
}

#[test]
fn the_settle_of_a_consumer_that_comes_back_after_it_was_given_up_on_is_refused() {
    system(async {
        let block = Block::new();
        let blocked = block.clone();
        let (note, mut noted) = probe();
        let group = Group::builder()
            .placement(Placement::Dedicated)
            .configure(impatient)
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                if delivery.attempt() == 1 {
                    blocked.wait();
                }
                note.send((
                    delivery.attempt(),
                    delivery.token(),
                    delivery.slot(),
                    delivery.incarnation(),
                    delivery.is_fenced(),
                ))
                .unwrap();
                Ok(delivery.attempt())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        let done = within("another does the job", group.producer().call(1)).await;
        assert!(
            done.unwrap() > 1,
            "the caller got the word of a consumer that was given up on"
        );
        let first_done = noted.next("the second attempt").await;
        block.release();
        let late = noted.next("the first one comes back").await;
        assert_eq!(late.0, 1);
        assert!(late.4, "it can see that it was given up on");
        assert!(!first_done.4);
        assert!(
            late.1 < first_done.1,
            "{:?} is not before {:?}",
            late.1,
            first_done.1
        );
        let stale = event(&mut events, "its settle is refused", |kind| match kind {
            EventKind::StaleSettle {
                slot,
                incarnation,
                number,
            } => Some((*slot, *incarnation, *number)),
            _ => None,
        })
        .await;
        assert_eq!(stale, (late.2, late.3, late.1.number));
        let health = group.health().await.unwrap();
        assert_eq!(health.stale_settles, 1);
        assert_eq!(health.slots.iter().map(|slot| slot.acked).sum::<u64>(), 1);
    });
}

/// An actor that blocks its thread in the first attempt and acks all the same when it comes back.
struct Late(Block, tokio::sync::mpsc::UnboundedSender<u32>);

impl Actor for Late {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, u32>> for Late {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, u32>, _: &mut Context<Self>) {
        let attempt = delivery.attempt();
        delivery.job();
        if attempt == 1 {
            self.0.wait();
        }
        delivery.ack(attempt);
        let _ = self.1.send(attempt);
    }
}

#[test]
fn the_ack_of_an_actor_that_comes_back_is_refused_and_the_job_has_one_outcome() {
    system(async {
        let block = Block::new();
        let blocked = block.clone();
        let (note, mut noted) = probe();
        let group = Group::builder()
            .placement(Placement::Dedicated)
            .configure(impatient)
            .actor_consumers(2, move |_: &ConsumerInfo| Late(blocked.clone(), note.clone()))
            .start()
            .unwrap();
        let mut events = group.events();
        let (producers, mut results) = group.producer_group();
        producers.send(1).await.unwrap();
        let outcome = next_outcome(&mut results, "another does the job").await;
        assert!(outcome.result.unwrap() > 1);
        block.release();
        while noted.next("the first one comes back").await != 1 {}
        event(&mut events, "its ack is refused", |kind| {
            matches!(kind, EventKind::StaleSettle { .. }).then_some(())
        })
        .await;
        let rest = group.stop().await;
        assert!(rest.unfinished.is_empty());
        assert!(results.next().await.is_none(), "a job has one outcome");
    });
}

#[test]
fn the_token_of_a_job_grows_with_every_delivery_over_deaths_failures_and_supervisors() {
    paused(async {
        let tokens: Log<FencingToken> = Log::new();
        let noted = tokens.clone();
        let (note, mut begun) = probe();
        let group = local()
            .configure(|config| config.retry.attempts = 10)
            .consume_with(3, async move |delivery: &Delivery<u64>| {
                delivery.job();
                noted.note(delivery.token());
                note.send(noted.len()).unwrap();
                match noted.len() {
                    1 | 2 => panic!("dies"),
                    3 | 4 => Err(consumer_group::Failure::retry("fails")),
                    5 | 6 => std::future::pending().await,
                    _ => Ok(()),
                }
            })
            .start()
            .unwrap();
        let producer = group.producer();
        let call = producer.call(1);
        let steer = async {
            // The fifth and the sixth delivery wait until their supervisor dies.
            for kill_at in [5, 6] {
                while begun.next("the next delivery").await != kill_at {}
                group.end_role(Role::Supervisor);
            }
        };
        let (done, ()) = tokio::join!(call, steer);
        done.unwrap();
        let tokens = tokens.all();
        assert_eq!(tokens.len(), 7);
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
        assert_eq!(tokens[0].epoch, tokens[4].epoch);
        assert!(tokens[4].epoch < tokens[5].epoch && tokens[5].epoch < tokens[6].epoch);
    });
}

/// The supervisor dies while a consumer blocks its thread; its successor does not wait for ever.
#[test]
fn the_word_of_a_consumer_of_an_earlier_supervisor_counts_for_nothing() {
    system(async {
        let block = Block::new();
        let blocked = block.clone();
        let (note, mut noted) = probe();
        let group = Group::builder()
            .placement(Placement::Dedicated)
            .configure(calm)
            .configure(|config| config.restart.kill_grace = Duration::from_millis(40))
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                let token = delivery.token();
                note.send((token, false)).unwrap();
                if blocked.is_first() {
                    blocked.wait();
                    note.send((token, delivery.is_fenced())).unwrap();
                }
                Ok(token)
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send(1).await.unwrap();
        let (first, _) = noted.next("the first attempt").await;
        group.end_role(Role::Supervisor);
        let outcome = next_outcome(&mut results, "the next supervisor has it done").await;
        let done = outcome.result.unwrap();
        assert!(done > first, "{done} does not fence {first}");
        assert_eq!(noted.next("the second attempt").await, (done, false));
        block.release();
        assert_eq!(noted.next("the first one comes back").await, (first, true));
        let rest = within("the group stops", group.stop()).await;
        assert!(rest.unfinished.is_empty());
        assert!(results.next().await.is_none(), "a job has one outcome");
    });
}
