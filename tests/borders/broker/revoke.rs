//! A queue takes leases back: what waits is forgotten, what is at work is void or may be finished.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::queue::{
    Arrival, Capabilities, Lane, LeaseId, Origin, Released, RevokeKind, Revoked, Verdict,
};
use consumer_group::testing::{ManualQueue, SettleAnswers};
use consumer_group::{Deliver, Delivery, EventKind, Failure, Group, Job, JobId, Placement};
use tokio::time::Instant;

use crate::common::{Gate, Log, event, local, paused, probe, settle_down, window, within};

const LOST: RevokeKind = RevokeKind::Lost;
const MINUTE: Duration = Duration::from_secs(60);

fn drain(within: Duration) -> RevokeKind {
    RevokeKind::Drain { within }
}

fn released(waiting: usize, fenced: usize) -> Option<Released> {
    let mut released = Released::default();
    (released.waiting, released.fenced) = (waiting, fenced);
    Some(released)
}

/// One consumer that notes what it begins, waits at the gate, and notes then whether its delivery is revoked.
struct Rig {
    queue: ManualQueue<u64>,
    gate: Gate,
    began: Log<u64>,
    revoked: Log<(u64, bool)>,
    group: Group<u64, u64>,
}

impl Rig {
    fn new(consumers: usize, order_by_key: bool) -> Self {
        let capabilities = Capabilities {
            order_by_key: true,
            ..Capabilities::LEAST
        };
        Self::over(ManualQueue::with(capabilities), consumers, order_by_key)
    }

    fn over(queue: ManualQueue<u64>, consumers: usize, order_by_key: bool) -> Self {
        let (gate, began, revoked) = (Gate::shut(), Log::new(), Log::new());
        let mut builder = local().queue(queue.clone()).configure(|config| {
            config.retry.backoff.min = MINUTE;
            config.retry.backoff.max = MINUTE;
            window(config, 4);
        });
        if order_by_key {
            builder = builder.order_by_key();
        }
        let (pass, note, ends) = (gate.clone(), began.clone(), revoked.clone());
        let group = builder
            .consume_with(consumers, async move |delivery: &Delivery<u64>| {
                note.note(*delivery.job());
                pass.pass().await;
                ends.note((*delivery.job(), delivery.is_revoked()));
                match *delivery.job() {
                    job if job >= 1_000 => Err(Failure::retry("again")),
                    job => Ok(job),
                }
            })
            .start()
            .unwrap();
        Self {
            queue,
            gate,
            began,
            revoked,
            group,
        }
    }

    /// Sends jobs of these keys (none: no key) and leases them all.
    async fn lease(&self, jobs: impl IntoIterator<Item = (u64, Option<u64>)>) {
        let jobs: Vec<Job<u64>> = jobs
            .into_iter()
            .map(|(job, key)| match key {
                Some(key) => Job::new(job).key(key),
                None => Job::new(job),
            })
            .collect();
        let count = jobs.len();
        self.group.producer().send_batch(jobs).await.unwrap();
        self.queue.until_demanded(count).await;
        assert_eq!(self.queue.lease(count), count);
        settle_down().await;
    }

    fn acked(&self) -> usize {
        let settles = self.queue.settles().into_iter();
        settles
            .filter(|settle| settle.applied && settle.item.verdict == Verdict::Ack)
            .count()
    }

    async fn stale_settles(&self) -> u64 {
        self.group.health().await.unwrap().stale_settles
    }
}

fn plain(jobs: impl IntoIterator<Item = u64>) -> Vec<(u64, Option<u64>)> {
    jobs.into_iter().map(|job| (job, None)).collect()
}

#[test]
fn what_waits_is_forgotten_and_what_is_at_work_is_void() {
    paused(async {
        let rig = Rig::new(1, false);
        let mut events = rig.group.events();
        rig.lease(plain(1..=4)).await;
        assert_eq!(rig.began.all(), [1]);
        assert_eq!(rig.queue.revoke(Revoked::All, LOST).await, released(3, 1));
        let told = event(&mut events, "the revoke", |kind| match kind {
            EventKind::Revoked {
                waiting,
                at_work,
                lost,
            } => Some((*waiting, *at_work, *lost)),
            _ => None,
        });
        assert_eq!(told.await, (3, 1, true));
        rig.gate.open();
        settle_down().await;
        assert_eq!(
            rig.revoked.all(),
            [(1, true)],
            "nothing that was revoked began afterwards"
        );
        assert_eq!(rig.queue.settles().len(), 0, "the queue hears nothing of it");
        assert_eq!(rig.stale_settles().await, 1, "the late word is told");
        // All four come again, and count.
        for jobs in [3, 1] {
            rig.queue.until_demanded(jobs).await;
            assert_eq!(rig.queue.lease(jobs), jobs);
            settle_down().await;
        }
        assert_eq!((rig.acked(), rig.queue.leased(), rig.queue.ready()), (4, 0, 0));
        assert_eq!(rig.began.all(), [1, 1, 2, 3, 4]);
        assert_eq!(rig.group.health().await.unwrap().leased, 0);
    });
}

#[test]
fn a_revoked_job_keeps_its_key_until_its_consumer_is_done_and_then_the_key_goes_on_in_order() {
    paused(async {
        let rig = Rig::new(2, true);
        rig.lease([(1, Some(7)), (2, Some(7)), (3, Some(7)), (4, Some(8))])
            .await;
        let at_work = rig.began.all();
        assert_eq!(
            (at_work.len(), at_work.contains(&1), at_work.contains(&4)),
            (2, true, true)
        );
        let void = Revoked::Leases(vec![LeaseId(0), LeaseId(1)]);
        assert_eq!(rig.queue.revoke(void, LOST).await, released(1, 1));
        settle_down().await;
        assert_eq!(rig.began.len(), 2, "the key is held by what is at work");
        rig.gate.let_through(2);
        settle_down().await;
        assert_eq!(rig.began.all()[2..], [3], "the second one is not ours any more");
        rig.gate.open();
        rig.queue.until_demanded(2).await;
        assert_eq!(rig.queue.lease(2), 2);
        settle_down().await;
        assert_eq!(rig.began.all()[2..], [3, 1, 2]);
        assert_eq!((rig.acked(), rig.queue.leased()), (4, 0));
    });
}

#[test]
fn a_lane_is_revoked_and_the_others_go_on() {
    paused(async {
        let rig = Rig::new(1, false);
        let (mine, other) = (Lane::new("mine", 0), Lane::new("mine", 1));
        for position in 0..2 {
            let jobs = [(&mine, position), (&other, 10 + position)];
            rig.queue.arrive(jobs.map(|(lane, job)| {
                let id = JobId::of_place(lane, position);
                let origin = Origin::new(lane.clone(), position);
                (Arrival { id, origin }, Job::new(job))
            }));
        }
        rig.queue.until_demanded(4).await;
        assert_eq!(rig.queue.lease(4), 4);
        settle_down().await;
        assert_eq!(rig.began.all(), [0]);
        assert_eq!(rig.queue.revoke(Revoked::Lane(mine), LOST).await, released(1, 1));
        rig.gate.open();
        settle_down().await;
        assert_eq!(rig.began.all(), [0, 10, 11]);
        assert_eq!(rig.acked(), 2);
    });
}

#[test]
fn what_has_to_be_given_back_may_be_finished_and_is_answered_when_the_queue_knows() {
    paused(async {
        let rig = Rig::new(2, false);
        rig.lease(plain(1..=6)).await;
        assert_eq!(rig.began.len(), 2);
        let queue = rig.queue.clone();
        let answer = actix_rt::spawn(async move { queue.revoke(Revoked::All, drain(MINUTE)).await });
        settle_down().await;
        assert!(!answer.is_finished(), "two are at work");
        rig.gate.let_through(1);
        settle_down().await;
        assert!(!answer.is_finished(), "one is at work");
        rig.queue.answer_settles(SettleAnswers::Never);
        rig.gate.open();
        settle_down().await;
        assert!(
            !answer.is_finished(),
            "the queue has not answered the last verdict"
        );
        let answer = within("the answer", answer).await.unwrap();
        assert_eq!(answer, released(4, 0));
        assert!(rig.revoked.all().iter().all(|(_, revoked)| !revoked));
        assert_eq!(rig.began.len(), 2);
    });
}

#[test]
fn what_is_not_finished_in_time_is_void() {
    paused(async {
        let rig = Rig::new(1, false);
        rig.lease(plain(1..=2)).await;
        let before = Instant::now();
        let answer = within(
            "the answer",
            rig.queue.revoke(Revoked::All, drain(Duration::from_secs(3))),
        )
        .await;
        assert_eq!(
            (answer, before.elapsed()),
            (released(1, 1), Duration::from_secs(3))
        );
        rig.gate.open();
        settle_down().await;
        assert_eq!(rig.revoked.all(), [(1, true)]);
        assert_eq!((rig.acked(), rig.stale_settles().await), (0, 1));
    });
}

#[test]
fn a_job_that_fails_while_it_has_to_be_given_back_is_not_tried_again_here() {
    paused(async {
        let rig = Rig::new(1, false);
        rig.lease(plain([1_000])).await;
        let queue = rig.queue.clone();
        let answer = actix_rt::spawn(async move { queue.revoke(Revoked::All, drain(MINUTE * 60)).await });
        settle_down().await;
        rig.gate.open();
        let answer = within("the answer", answer).await.unwrap();
        assert_eq!(answer, released(0, 0));
        let verdicts: Vec<_> = rig
            .queue
            .settles()
            .into_iter()
            .map(|settle| settle.item.verdict)
            .collect();
        assert!(
            matches!(verdicts[..], [Verdict::Renew(_)]),
            "its attempt is told: {verdicts:?}"
        );
        let health = rig.group.health().await.unwrap();
        assert_eq!((health.leased, rig.queue.ready()), (0, 1));
    });
}

#[test]
fn a_consumer_that_dies_with_a_revoked_job_gives_it_to_nobody() {
    paused(async {
        let queue = ManualQueue::new();
        let (gate, began) = (Gate::shut(), Log::new());
        let (pass, note) = (gate.clone(), began.clone());
        let group: Group<u64, ()> = local()
            .queue(queue.clone())
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                note.note(*delivery.job());
                pass.pass().await;
                assert!(!delivery.is_revoked(), "void");
                Ok(())
            })
            .start()
            .unwrap();
        queue.until_demanded(2).await;
        group.producer().send_batch([1, 2]).await.unwrap();
        assert_eq!(queue.lease(1), 1);
        settle_down().await;
        assert_eq!(queue.revoke(Revoked::All, LOST).await, released(0, 1));
        assert_eq!(queue.ready(), 2);
        gate.open();
        settle_down().await;
        assert_eq!(began.all(), [1], "nobody else gets it from here");
        assert_eq!(queue.settles().len(), 0);
        within("credit", queue.until_demanded(2)).await;
        assert_eq!(queue.lease(2), 2);
        settle_down().await;
        assert_eq!((began.all(), queue.leased()), (vec![1, 1, 2], 0));
    });
}

/// Keeps every delivery until it is told to settle.
struct Keeper {
    held: Vec<Deliver<u64, u64>>,
    came: tokio::sync::mpsc::UnboundedSender<(u64, bool)>,
}

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<Deliver<u64, u64>> for Keeper {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, u64>, _: &mut Context<Self>) {
        let _ = self.came.send((*delivery.job(), delivery.is_revoked()));
        self.held.push(delivery);
        if self.held.len() == 3 {
            for delivery in self.held.drain(..) {
                let _ = self.came.send((*delivery.job(), delivery.is_revoked()));
                let job = *delivery.job();
                delivery.ack(job);
            }
        }
    }
}

#[test]
fn an_actor_sees_that_a_delivery_is_void_and_what_it_says_of_it_counts_for_nothing() {
    paused(async {
        let queue = ManualQueue::new();
        let (came, mut seen) = probe();
        let group: Group<u64, u64> = local()
            .queue(queue.clone())
            .actor_consumers(1, move |_| Keeper {
                held: Vec::new(),
                came: came.clone(),
            })
            .start()
            .unwrap();
        queue.until_demanded(3).await;
        group.producer().send_batch([1, 2, 3]).await.unwrap();
        assert_eq!(queue.lease(2), 2);
        settle_down().await;
        assert_eq!(seen.so_far(), [(1, false), (2, false)]);
        assert_eq!(queue.revoke(Revoked::All, LOST).await, released(0, 2));
        queue.until_demanded(1).await;
        // The first one comes again, as the third delivery.
        assert_eq!(queue.lease(1), 1);
        settle_down().await;
        assert_eq!(seen.so_far(), [(1, false), (1, true), (2, true), (1, false)]);
        let acks: Vec<_> = queue
            .settles()
            .into_iter()
            .map(|settle| (settle.job, settle.applied))
            .collect();
        assert_eq!(acks.len(), 1, "{acks:?}");
        assert_eq!(group.health().await.unwrap().stale_settles, 2);
    });
}

#[test]
fn a_renewal_that_the_queue_refuses_ends_the_lease_here_too() {
    paused(async {
        let rig = Rig::over(ManualQueue::with(Capabilities::LEAST), 1, false);
        rig.lease(plain([1_000])).await;
        rig.queue.answer_settles(SettleAnswers::Refuse);
        rig.gate.open();
        settle_down().await;
        let health = rig.group.health().await.unwrap();
        assert_eq!((health.leased, health.refused_settles), (0, 1));
        assert_eq!(rig.began.len(), 1);
    });
}

#[test]
fn a_revoke_of_everything_leaves_a_group_on_arbiters_of_its_own_whole() {
    crate::common::system(async {
        let queue = ManualQueue::new().automatic();
        let group: Group<u64, u64> = local()
            .placement(Placement::Arbiters(2))
            .queue(queue.clone())
            .consume_with(4, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .start()
            .unwrap();
        group.producer().send_batch(0..2_000).await.unwrap();
        for _ in 0..50 {
            queue.revoke(Revoked::All, LOST).await.unwrap();
            queue.revoke(Revoked::All, drain(MINUTE)).await.unwrap();
        }
        while queue.ready() + queue.leased() > 0 {
            queue.next_settle().await;
        }
        let drained = within("the drain", group.drain(MINUTE)).await;
        assert!(drained.unfinished.is_empty());
    });
}
