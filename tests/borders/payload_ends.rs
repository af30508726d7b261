//! The end of a payload: it is dropped when its own job ends, whatever the jobs do that travel with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::{Deliver, Delivery, Failure, Group, Placement};

use crate::common::{Block, Gate, calm, local, paused, probe, settle_down, system, window, within};

/// Which payloads were dropped: one bit each.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicU64>);

impl Dropped {
    fn payload(&self, number: u64) -> Noted {
        Noted {
            number,
            dropped: self.clone(),
        }
    }

    fn payloads(&self, count: u64) -> Vec<Noted> {
        (0..count).map(|number| self.payload(number)).collect()
    }

    fn has(&self, number: u64) -> bool {
        self.0.load(Ordering::SeqCst) & 1 << number != 0
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst).count_ones()
    }
}

/// Notes when it is dropped.
struct Noted {
    number: u64,
    dropped: Dropped,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let before = self.dropped.0.fetch_or(1 << self.number, Ordering::SeqCst);
        assert_eq!(before & 1 << self.number, 0, "a payload was dropped twice");
    }
}

#[test]
fn a_payload_is_dropped_when_its_own_job_is_acked_though_a_neighbour_is_not_done() {
    paused(async {
        let (gate, dropped) = (Gate::shut(), Dropped::default());
        let held = gate.clone();
        let group = local()
            .configure(|config| window(config, 64))
            .consume_with(2, async move |delivery: &Delivery<Noted>| {
                if delivery.job().number == 0 {
                    held.pass().await;
                }
                Ok(())
            })
            .start()
            .unwrap();
        let sent = group.producer().send_batch(dropped.payloads(60)).await;
        assert_eq!(sent.unwrap().len(), 60);
        settle_down().await;
        // The first consumer has the first half and is at its first job; the other one has done the rest.
        assert!(
            (20..60).contains(&dropped.count()),
            "{} were dropped",
            dropped.count()
        );
        assert!(!dropped.has(0));
        gate.open();
        settle_down().await;
        assert_eq!(dropped.count(), 60);
        group.stop().await;
    });
}

#[test]
fn a_payload_that_a_blocked_thread_looks_at_is_read_by_its_successor_and_dropped_by_the_thread_that_comes_back()
 {
    system(async {
        let (block, dropped) = (Block::new(), Dropped::default());
        let blocked = block.clone();
        let (note, mut noted) = probe();
        let group = Group::builder()
            .placement(Placement::Dedicated)
            .configure(|config| {
                calm(config);
                config.deadline = Duration::from_millis(60);
                config.restart.kill_grace = Duration::from_millis(40);
            })
            .consume_with(1, async move |delivery: &Delivery<Noted>| {
                let job = delivery.job();
                if delivery.attempt() == 1 && job.number == 0 {
                    blocked.wait();
                }
                note.send((job.number, delivery.attempt())).unwrap();
                Ok(())
            })
            .start()
            .unwrap();
        let sent = group.producer().send_batch(dropped.payloads(3)).await;
        assert_eq!(sent.unwrap().len(), 3);
        let mut done = Vec::new();
        for _ in 0..3 {
            done.push(noted.next("its successor does the jobs").await);
        }
        done.sort_unstable();
        assert_eq!(done, [(0, 2), (1, 1), (2, 1)]);
        within("the others are dropped", async {
            while dropped.count() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let drained = group.drain(Duration::from_secs(10));
        within("the group is drained", drained).await;
        assert!(!dropped.has(0), "dropped under the eyes of the blocked thread");
        block.release();
        assert_eq!(noted.next("the thread comes back").await, (0, 1));
        within("it drops what it looked at", async {
            while !dropped.has(0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    });
}

#[test]
fn jobs_that_were_not_delivered_and_dead_letters_give_their_payloads_back_by_value() {
    paused(async {
        let (gate, dropped) = (Gate::shut(), Dropped::default());
        let held = gate.clone();
        let group = local()
            .configure(|config| window(config, 4))
            .consume_with(1, async move |delivery: &Delivery<Noted>| {
                if delivery.job().number == 0 {
                    return Err(Failure::reject("not today"));
                }
                held.pass().await;
                Ok(())
            })
            .start()
            .unwrap();
        let sent = group.producer().send_batch(dropped.payloads(32)).await;
        assert_eq!(sent.unwrap().len(), 32);
        settle_down().await;
        let mut dead = group.dead_letters().list(10).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!(dead.pop().unwrap().job.payload().number, 0);
        group.dead_letters().purge_all().await.unwrap();
        assert!(dropped.has(0));
        let report = group.stop().await;
        let numbers: Vec<u64> = report
            .unfinished
            .into_iter()
            .map(|undelivered| undelivered.into_job().unwrap().into_payload().number)
            .collect();
        assert_eq!(numbers, (1..32).collect::<Vec<_>>());
        assert_eq!(dropped.count(), 32);
    });
}

#[test]
fn a_job_that_is_kept_longer_than_its_delivery_outlives_its_ack_and_not_its_keeper() {
    paused(async {
        let dropped = Dropped::default();
        let (keep, mut kept) = probe();
        let group = local()
            .consume_with(1, async move |delivery: &Delivery<Noted>| {
                if delivery.job().number == 1 {
                    keep.send(delivery.shared_job()).unwrap();
                }
                Ok(())
            })
            .start()
            .unwrap();
        let sent = group.producer().send_batch(dropped.payloads(8)).await;
        assert_eq!(sent.unwrap().len(), 8);
        settle_down().await;
        let kept = kept.next("a job is kept").await;
        assert_eq!((dropped.count(), kept.payload().number), (7, 1));
        drop(kept);
        assert_eq!(dropped.count(), 8);
        group.stop().await;
    });
}

/// Acks every delivery but the first, which it keeps.
struct Keeper(Option<Deliver<Noted, ()>>);

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<Deliver<Noted, ()>> for Keeper {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<Noted, ()>, _: &mut Context<Self>) {
        if delivery.job().number == 0 {
            self.0 = Some(delivery);
        } else {
            delivery.ack(());
        }
    }
}

#[test]
fn an_actor_that_keeps_a_delivery_keeps_its_payload_alone() {
    paused(async {
        let dropped = Dropped::default();
        let group = local().actor_consumers(1, |_| Keeper(None)).start().unwrap();
        let sent = group.producer().send_batch(dropped.payloads(8)).await;
        assert_eq!(sent.unwrap().len(), 8);
        settle_down().await;
        assert_eq!((dropped.count(), dropped.has(0)), (7, false));
        group.stop().await;
        assert_eq!(dropped.count(), 8);
    });
}
