//! Probes, gates and the manual queue, at work in groups.

use std::time::Duration;

use consumer_group::queue::{Arrival, Capabilities, Lane, Origin, Refusal, Verdict};
use consumer_group::testing::{Act, Gate, ManualQueue, Probe, Step, paused};
use consumer_group::{
    CallError, Cause, EventKind, Group, GroupBuilder, Incarnation, Job, JobId, Placement, Role,
    SendErrorKind, SlotId,
};

fn group<O: Send + 'static>(builder: GroupBuilder<u64, O>) -> Group<u64, O> {
    builder
        .placement(Placement::Local)
        .configure(|config| config.quiet_panics = true)
        .start()
        .unwrap()
}

#[test]
fn a_gate_lets_as_many_pass_as_it_is_told() {
    paused(async {
        let gate = Gate::new();
        let passers: Vec<_> = (0..3)
            .map(|_| {
                let gate = gate.clone();
                actix::spawn(async move { gate.pass().await })
            })
            .collect();
        gate.until_waiting(3).await;
        gate.admit(1);
        let mut waiting = gate.waiting();
        while waiting > 2 {
            tokio::task::yield_now().await;
            waiting = gate.waiting();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(gate.waiting(), 2);
        gate.open();
        for passer in passers {
            passer.await.unwrap();
        }
        assert_eq!(gate.waiting(), 0);
        gate.pass().await;
        gate.close();
        assert!(!gate.is_open());
        let late = gate.clone();
        let late = tokio::time::timeout(Duration::from_secs(1), late.pass());
        assert!(late.await.is_err());
        assert_eq!(gate.waiting(), 0, "whoever gives up is not counted");
    });
}

#[test]
fn a_probe_does_what_it_is_told_and_writes_it_down() {
    paused(async {
        let gate = Gate::new();
        let probe = Probe::new()
            .at(1, 1, Act::Fail)
            .at(2, 1, Act::Panic)
            .on(3, Act::Reject)
            .at(4, 1, Act::FailAfter(Duration::from_secs(5)))
            .at(5, 1, Act::Hang)
            .when(|job, _| *job == 6, Act::Ack.behind(&gate));
        let builder = Group::builder().consumers(2, probe.consumers());
        let group = group(builder.configure(|config| config.deadline = Duration::from_millis(1_000)));
        let producer = group.producer();
        assert_eq!(producer.call(1).await.unwrap().attempt, 2);
        let panicked = producer.call(2).await.unwrap();
        assert_eq!(panicked.attempt, 2);
        producer.call(3).await.unwrap_err();
        assert_eq!(producer.call(4).await.unwrap().attempt, 2);
        assert_eq!(producer.call(5).await.unwrap().attempt, 2);
        let waits = producer.send(6).await.unwrap();
        gate.until_waiting(1).await;
        assert!(probe.acked().iter().all(|seen| seen.id != waits));
        gate.open();
        probe.until_acked(5).await;
        assert!(probe.acked().iter().any(|seen| seen.id == waits));

        let of = |job: u64| {
            let log = probe.log();
            log.iter()
                .filter(|entry| entry.seen.job == job)
                .map(|entry| entry.step)
                .collect::<Vec<_>>()
        };
        use Step::{Acked, Began, Dropped, Failed};
        assert_eq!(of(1), [Began, Failed, Began, Acked]);
        assert_eq!(of(2), [Began, Dropped, Began, Acked]);
        assert_eq!(of(3), [Began, Failed]);
        assert_eq!(of(5), [Began, Dropped, Began, Acked]);
        let tokens: Vec<_> = probe.deliveries().iter().map(|seen| seen.token).collect();
        assert!(tokens.is_sorted());
    });
}

#[test]
fn a_consumer_that_fails_its_start_is_tried_again() {
    paused(async {
        let probe = Probe::new();
        probe.fail_starts(2);
        let group = group(Group::builder().consumers(1, probe.consumers()));
        assert_eq!(
            group.producer().call(1).await.unwrap().incarnation,
            Incarnation(3)
        );
        assert_eq!(probe.lives(), [(SlotId(0), Incarnation(3))]);
    });
}

#[test]
fn jobs_come_to_a_manual_queue_as_from_a_broker() {
    paused(async {
        let (queue, probe) = (ManualQueue::new().automatic(), Probe::new());
        let _group = group(
            Group::builder()
                .queue(queue.clone())
                .consumers(1, probe.consumers()),
        );
        let lane = Lane::new("orders", 0);
        let mut origin = Origin::new(lane.clone(), 7);
        origin.fence = 3;
        let id = JobId::of_place(&lane, 7);
        queue.arrive([(Arrival { id, origin }, Job::new(5))]);
        let settle = queue.next_settle().await;
        assert_eq!((settle.job, settle.item.verdict), (Some(id), Verdict::Ack));
        assert_eq!(probe.acked()[0].token.fence, 3);
    });
}

#[test]
fn a_manual_queue_shows_every_verdict_of_a_group() {
    paused(async {
        let queue = ManualQueue::with(Capabilities {
            attempts: true,
            delay: Some(Duration::MAX),
            dead_letter: true,
            ..Capabilities::LEAST
        });
        let probe = Probe::new().at(2, 1, Act::FailAfter(Duration::from_secs(60)));
        let group = group(
            Group::builder()
                .queue(queue.clone())
                .consumers(1, probe.consumers()),
        );
        let producer = group.producer();
        for job in 1..=3 {
            producer.send(job).await.unwrap();
        }
        queue.until_demanded(1).await;
        assert_eq!((queue.ready(), queue.leased()), (3, 0));
        queue.lease(1);
        let first = queue.next_settle().await;
        assert_eq!((first.item.verdict, first.applied), (Verdict::Ack, true));
        queue.until_demanded(1).await;
        queue.lease(1);
        let second = queue.next_settle().await;
        assert!(
            matches!(second.item.verdict, Verdict::Retry(retry) if retry.after == Duration::from_secs(60))
        );
        assert_eq!((queue.ready(), queue.leased()), (1, 0));
        queue.end_delays();
        assert_eq!(queue.ready(), 2);
        queue.until_demanded(2).await;
        queue.lease(2);
        probe.until_acked(3).await;
        assert_eq!(
            probe
                .acked()
                .iter()
                .map(|seen| (seen.job, seen.attempt))
                .collect::<Vec<_>>(),
            [(1, 1), (2, 2), (3, 1)]
        );
    });
}

#[test]
fn a_manual_queue_refuses_when_told_and_breaks_down_when_told() {
    paused(async {
        let queue = ManualQueue::new().automatic();
        queue.break_down(Some("no broker"));
        queue.refuse(Some(Refusal::Full));
        let probe = Probe::new();
        let group = group(
            Group::builder()
                .queue(queue.clone())
                .consumers(1, probe.consumers()),
        );
        queue.refuse(None);
        let call = actix::spawn({
            let producer = group.producer();
            async move { producer.call(7_u64).await.unwrap() }
        });
        queue.until_accepted(1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(probe.deliveries().is_empty());
        queue.break_down(None);
        assert_eq!(call.await.unwrap().job, 7);
        queue.refuse(Some(Refusal::Closed));
        assert_eq!(
            group.producer().send(8).await.unwrap_err().kind,
            SendErrorKind::Closed
        );
    });
}

/// The group on a queue that can do the least: everything that the queue lacks is done by the supervisor.
#[test]
fn retries_and_restarts_work_on_a_queue_that_claims_nothing() {
    paused(async {
        let queue = ManualQueue::new().automatic();
        let probe = Probe::new()
            .at(1, 1, Act::Fail)
            .at(1, 2, Act::FailAfter(Duration::from_secs(3)))
            .at(2, 1, Act::Panic);
        let group = group(
            Group::builder()
                .queue(queue.clone())
                .consumers(2, probe.consumers()),
        );
        let producer = group.producer();
        assert_eq!(producer.call(1).await.unwrap().attempt, 3);
        assert_eq!(producer.call(2).await.unwrap().attempt, 2);
        let mut events = group.events();
        for role in [Role::Queue, Role::Supervisor, Role::Strategy, Role::Results] {
            group.end_role(role);
            loop {
                let event = events.next().await.unwrap();
                if matches!(event.kind, EventKind::RoleDown { role: down, cause: Cause::Killed, .. } if down == role)
                {
                    break;
                }
            }
            assert_eq!(producer.call(10).await.unwrap().attempt, 1);
        }
    });
}

/// `Capabilities::dead_letter` promises it: "the group keeps it on a shelf of its own and acks it at the queue".
#[test]
fn a_job_that_is_rejected_ends_for_its_caller_on_a_queue_without_dead_letters() {
    paused(async {
        let queue = ManualQueue::new().automatic();
        let probe = Probe::new().on(1, Act::Reject);
        let group = group(
            Group::builder()
                .queue(queue.clone())
                .consumers(1, probe.consumers()),
        );
        let producer = group.producer();
        let call = tokio::time::timeout(Duration::from_secs(60), producer.call(1));
        let error = call.await.expect("the caller is told nothing").unwrap_err();
        assert!(matches!(error, CallError::Failed(_)), "{error}");
        assert_eq!(queue.next_settle().await.item.verdict, Verdict::Ack);
        assert_eq!(group.dead_letters().list(10).await.unwrap().len(), 1);
    });
}
