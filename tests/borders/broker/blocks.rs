//! Leases die of jobs that were leased together, in one block.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::events::Moment;
use consumer_group::queue::{
    ActorQueue, Arrival, Attach, AttachError, Attached, Capabilities, Command, Demand, Lane, LeaseId, Leased,
    Origin, Push, Pushed, QueueReply, QueueShell, Released, RevokeKind, Revoked, Run, Settle, SettleReply,
};
use consumer_group::{Delivery, Group, Job, JobId};

use crate::common::{Gate, Log, local, paused, settle_down, window, within};

/// What outlives the actor: one run of eight jobs, which is leased once, and every lease on which a verdict came.
struct Held {
    shell: QueueShell<u64>,
    run: Option<Run<u64>>,
    settled: Vec<LeaseId>,
}

const LEASE: LeaseId = LeaseId(1 << 6);

#[derive(Clone)]
struct OneRun(Arc<Mutex<Held>>);

impl OneRun {
    fn new(key: Option<u64>) -> Self {
        let lane = Lane::new("topic", 0);
        let jobs = (0..8).map(|position| {
            let id = JobId::of_place(&lane, position);
            let origin = Origin::new(lane.clone(), position);
            let job = match key {
                Some(key) => Job::new(position).key(key),
                None => Job::new(position),
            };
            (Arrival { id, origin }, job)
        });
        let run = Run::of_arrivals(jobs, Moment::START).pop();
        Self(Arc::new(Mutex::new(Held {
            shell: QueueShell::new(),
            run,
            settled: Vec::new(),
        })))
    }

    fn operate<R>(&self, work: impl FnOnce(&mut Held) -> R) -> R {
        let mut held = self.0.lock().unwrap();
        let answer = work(&mut held);
        if held.shell.credit() >= 8
            && let Some(run) = held.run.take()
        {
            held.shell.hand_out(vec![Leased::new(LEASE, 1, run)]);
        }
        answer
    }

    async fn revoke(&self, what: Revoked, kind: RevokeKind) -> Option<Released> {
        let answer = self.0.lock().unwrap().shell.revoke(what, kind);
        answer.await
    }

    /// The places on which a verdict came.
    fn settled(&self) -> Vec<u64> {
        self.0
            .lock()
            .unwrap()
            .settled
            .iter()
            .map(|lease| lease.0 - LEASE.0)
            .collect()
    }
}

impl Actor for OneRun {
    type Context = Context<Self>;
}

impl Handler<Attach<u64>> for OneRun {
    type Result = Result<Attached, AttachError>;
    fn handle(&mut self, attach: Attach<u64>, _: &mut Context<Self>) -> Self::Result {
        self.operate(|held| held.shell.attach(attach, || 0))
    }
}

impl Handler<Push<u64>> for OneRun {
    type Result = Pushed<u64>;
    fn handle(&mut self, push: Push<u64>, _: &mut Context<Self>) -> Pushed<u64> {
        self.operate(|held| held.shell.push(push, |_| Ok(())))
    }
}

impl Handler<Demand> for OneRun {
    type Result = ();
    fn handle(&mut self, demand: Demand, _: &mut Context<Self>) {
        self.operate(|held| held.shell.demand(demand));
    }
}

impl Handler<Settle> for OneRun {
    type Result = SettleReply;
    fn handle(&mut self, settle: Settle, _: &mut Context<Self>) -> SettleReply {
        self.operate(|held| held.settled.extend(settle.leases().map(|(lease, _)| lease)));
        SettleReply::APPLIED
    }
}

impl Handler<Command<u64>> for OneRun {
    type Result = QueueReply<u64>;
    fn handle(&mut self, _: Command<u64>, _: &mut Context<Self>) -> QueueReply<u64> {
        QueueReply::Done
    }
}

/// A group over one run, whose consumers note what they begin and what was void when they ended.
fn group_over(queue: &OneRun, gate: &Gate, began: &Log<u64>, void: &Log<u64>) -> Group<u64, u64> {
    let (queue, gate, began, void) = (queue.clone(), gate.clone(), began.clone(), void.clone());
    let capabilities = Capabilities {
        order_by_key: true,
        ..Capabilities::LEAST
    };
    local()
        .queue(ActorQueue::new(capabilities, move || queue.clone()))
        .order_by_key()
        .configure(|config| window(config, 4))
        .consume_with(2, async move |delivery: &Delivery<u64>| {
            began.note(*delivery.job());
            gate.pass().await;
            if delivery.is_revoked() {
                void.note(*delivery.job());
            }
            Ok(*delivery.job())
        })
        .start()
        .unwrap()
}

fn sorted(mut jobs: Vec<u64>) -> Vec<u64> {
    jobs.sort_unstable();
    jobs
}

#[test]
fn of_a_run_that_is_lost_what_is_at_work_is_void_and_the_rest_forgotten() {
    paused(async {
        let (queue, gate, began, void) = (OneRun::new(None), Gate::shut(), Log::new(), Log::new());
        let group = group_over(&queue, &gate, &began, &void);
        settle_down().await;
        assert_eq!(began.len(), 2);
        let released = queue.revoke(Revoked::All, RevokeKind::Lost).await.unwrap();
        assert_eq!((released.waiting, released.fenced), (6, 2));
        gate.open();
        settle_down().await;
        assert_eq!((began.len(), void.len(), queue.settled().len()), (2, 2, 0));
        let health = group.health().await.unwrap();
        assert_eq!((health.leased, health.in_flight, health.stale_settles), (0, 0, 2));
    });
}

#[test]
fn of_a_run_some_leases_are_lost_and_the_others_are_done_and_acked() {
    paused(async {
        let (queue, gate, began, void) = (OneRun::new(None), Gate::shut(), Log::new(), Log::new());
        let group = group_over(&queue, &gate, &began, &void);
        settle_down().await;
        let at_work = sorted(began.all());
        let lost: Vec<u64> = at_work.iter().copied().take(1).chain([3, 7]).collect();
        let leases = lost.iter().map(|place| LeaseId(LEASE.0 + place)).collect();
        let released = queue
            .revoke(Revoked::Leases(leases), RevokeKind::Lost)
            .await
            .unwrap();
        assert_eq!((released.waiting, released.fenced), (2, 1));
        gate.open();
        settle_down().await;
        let kept: Vec<u64> = (0..8).filter(|job| !lost.contains(job)).collect();
        assert_eq!(sorted(queue.settled()), kept);
        assert_eq!(void.all(), at_work[..1]);
        assert_eq!(group.health().await.unwrap().leased, 0);
    });
}

#[test]
fn of_a_run_that_has_to_be_given_back_what_is_at_work_is_finished_and_acked() {
    paused(async {
        let (queue, gate, began, void) = (OneRun::new(None), Gate::shut(), Log::new(), Log::new());
        let _group = group_over(&queue, &gate, &began, &void);
        settle_down().await;
        let at_work = sorted(began.all());
        let asked = queue.clone();
        let within_a_minute = RevokeKind::Drain {
            within: Duration::from_secs(60),
        };
        let answer = actix_rt::spawn(async move { asked.revoke(Revoked::All, within_a_minute).await });
        settle_down().await;
        gate.open();
        let released = within("the answer", answer).await.unwrap().unwrap();
        assert_eq!((released.waiting, released.fenced), (6, 0));
        assert_eq!((sorted(queue.settled()), void.len()), (at_work, 0));
    });
}

#[test]
fn of_a_run_of_one_key_the_lost_ones_leave_the_line() {
    paused(async {
        let (queue, gate, began, void) = (OneRun::new(Some(7)), Gate::shut(), Log::new(), Log::new());
        let group = group_over(&queue, &gate, &began, &void);
        settle_down().await;
        assert_eq!(began.all(), [0]);
        let leases = [0, 1, 2, 5].map(|place| LeaseId(LEASE.0 + place)).to_vec();
        let released = queue
            .revoke(Revoked::Leases(leases), RevokeKind::Lost)
            .await
            .unwrap();
        assert_eq!((released.waiting, released.fenced), (3, 1));
        settle_down().await;
        assert_eq!(began.all(), [0], "the key is held by what is at work");
        gate.open();
        settle_down().await;
        assert_eq!(
            (began.all(), queue.settled()),
            (vec![0, 3, 4, 6, 7], vec![3, 4, 6, 7])
        );
        assert_eq!(group.health().await.unwrap().leased, 0);
    });
}
