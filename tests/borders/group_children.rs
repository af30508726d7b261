//! A group as a child of a supervisor: made again by its policies, and nothing of it lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use std::time::Duration;

use actix::prelude::*;
use consumer_group::queue::MemoryQueue;
use consumer_group::supervision::{
    Child, Ending, GroupChild, GroupHandle, RestartReach, Shutdown, SupervisorHandle, SupervisorSpec,
    SupervisorStartError,
};
use consumer_group::{
    CallError, Cause, Delivery, Group, GroupBuilder, Host, Job, JobId, Placement, Role, SendErrorKind,
};

use crate::common::{Gate, Log, calm, paused, within};

type Jobs = Log<(JobId, u64)>;

/// A group whose consumers note the jobs that they have done, each after the gate. Any role that ends ends the group.
fn noting(done: &Jobs, gate: &Gate) -> GroupBuilder<u64, u64> {
    let (done, gate) = (done.clone(), gate.clone());
    Group::builder()
        .placement(Placement::Local)
        .configure(calm)
        .configure(|config| config.restart.intensity = 0)
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            gate.pass().await;
            done.note((delivery.id(), *delivery.job()));
            Ok(delivery.job() * 2)
        })
}

fn child(done: &Jobs, gate: &Gate) -> GroupChild<u64, u64> {
    let (done, gate) = (done.clone(), gate.clone());
    GroupChild::new("group", async move || Ok(noting(&done, &gate)))
}

async fn tree_of(mut child: GroupChild<u64, u64>) -> (SupervisorHandle, GroupHandle<u64, u64>) {
    let handle = child.handle();
    let tree = SupervisorSpec::new("root")
        .intensity(3, Duration::from_secs(60))
        .child(child.into_child())
        .start()
        .await
        .unwrap();
    (tree, handle)
}

/// Ends a role of the group there is now, which is one too many, and waits until the group has gone.
async fn fails(handle: &GroupHandle<u64, u64>) -> String {
    let group = handle.group().await.unwrap();
    group.end_role(Role::Strategy);
    within("the end of the group", group.stopped()).await.unwrap()
}

#[test]
fn a_group_that_fails_is_made_again_and_its_handle_stays_valid() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        gate.open();
        let (tree, handle) = tree_of(child(&done, &gate)).await;
        let mut monitor = handle.runner().monitor();
        let before = handle.producer().await.unwrap();
        assert_eq!(before.call(1).await.unwrap(), 2);
        let reason = fails(&handle).await;
        let after = within("the next group", handle.producer()).await.unwrap();
        assert_eq!(after.call(2).await.unwrap(), 4);
        let down = within("the end of its life", monitor.next()).await.unwrap();
        assert_eq!(down.cause, Cause::Failed(reason.into()));
        // A producer belongs to its group, and gives the job back.
        let error = before.send(3).await.unwrap_err();
        assert_eq!(
            (error.job, error.kind),
            (Some(Job::new(3)), SendErrorKind::Closed)
        );
        assert!(!handle.is_over());
        tree.stop().await;
        assert!(handle.is_over());
        within("no group", handle.group()).await.unwrap_err();
    });
}

#[test]
fn jobs_that_a_failed_group_did_not_finish_are_done_by_the_next_one_under_their_names() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        let (tree, handle) = tree_of(child(&done, &gate)).await;
        let producer = handle.producer().await.unwrap();
        let mut sent = Vec::new();
        for job in 0..200 {
            let wishes = Job::new(job).key(format!("key {}", job % 3));
            sent.push((producer.send(wishes).await.unwrap(), job));
        }
        gate.let_through(5);
        crate::common::settle_down().await;
        let first = done.len();
        assert!((1..=5).contains(&first));
        fails(&handle).await;
        gate.open();
        let drained = within("the next group", handle.group()).await.unwrap();
        let drained = within("its drain", drained.drain(Duration::from_secs(60))).await;
        assert!(drained.unfinished.is_empty());
        let mut all = done.all();
        all.sort();
        sent.sort();
        assert_eq!(all, sent);
        tree.stop().await;
    });
}

#[test]
fn a_delay_goes_on_over_the_restart_of_its_group() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        gate.open();
        let (tree, handle) = tree_of(child(&done, &gate)).await;
        let began = tokio::time::Instant::now();
        let delayed = Job::new(1).delay(Duration::from_secs(60));
        handle.producer().await.unwrap().send(delayed).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        fails(&handle).await;
        while done.len() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let waited = began.elapsed();
        let about = Duration::from_secs(60)..Duration::from_secs(61);
        assert!(about.contains(&waited), "{waited:?}");
        tree.stop().await;
    });
}

#[test]
fn the_job_of_a_call_goes_back_to_its_caller_and_to_nobody_else() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        let (tree, handle) = tree_of(child(&done, &gate)).await;
        let producer = handle.producer().await.unwrap();
        let called = actix::spawn(async move { producer.call(7).await });
        crate::common::settle_down().await;
        fails(&handle).await;
        let error = within("the call", called).await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::Stopped(Some(_))), "{error:?}");
        gate.open();
        let next = within("the next group", handle.producer()).await.unwrap();
        assert_eq!(next.call(8).await.unwrap(), 16);
        let jobs: Vec<u64> = done.all().into_iter().map(|(_, job)| job).collect();
        assert_eq!(jobs, [8]);
        tree.stop().await;
    });
}

#[test]
fn a_group_that_its_supervisor_ends_is_drained_and_what_is_left_can_be_had() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        let (tree, handle) = tree_of(child(&done, &gate).drain_within(Duration::from_secs(9))).await;
        let producer = handle.producer().await.unwrap();
        for job in 0..10 {
            producer.send(job).await.unwrap();
        }
        gate.let_through(7);
        let began = tokio::time::Instant::now();
        assert_eq!(within("the end", tree.stop()).await, Ending::Stopped);
        assert!(began.elapsed() >= Duration::from_secs(9));
        assert_eq!(done.len(), 7);
        let left: Vec<u64> = handle
            .take_unfinished()
            .iter()
            .map(|left| *left.payload())
            .collect();
        assert_eq!(left, [7, 8, 9]);
        assert!(handle.take_unfinished().is_empty());
    });
}

#[test]
fn a_group_that_is_dropped_hard_leaves_its_jobs_to_the_next_one() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        let mut child = child(&done, &gate);
        let handle = child.handle();
        let tree = SupervisorSpec::new("root")
            .reach(RestartReach::OneForAll)
            .intensity(3, Duration::from_secs(60))
            .child(Child::new("sibling", || Sibling).quiet_panics())
            .child(child.into_child().shutdown(Shutdown::AtOnce))
            .start()
            .await
            .unwrap();
        let producer = handle.producer().await.unwrap();
        for job in 0..20 {
            producer.send(job).await.unwrap();
        }
        let sibling = tree.actor::<Sibling>("sibling").unwrap();
        sibling.send(Panic).await.unwrap_err();
        assert_eq!(handle.runner().monitor().try_next(), None);
        gate.open();
        while done.len() < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut jobs: Vec<u64> = done.all().into_iter().map(|(_, job)| job).collect();
        jobs.sort_unstable();
        assert_eq!(jobs, (0..20).collect::<Vec<u64>>());
        tree.stop().await;
    });
}

struct Sibling;

impl Actor for Sibling {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for Sibling {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("it takes the group along");
    }
}

#[test]
fn a_group_that_cannot_be_made_is_a_failed_start_with_its_reason() {
    paused(async {
        let mut broken: GroupChild<u64, u64> =
            GroupChild::new("broken", async || Err("no such queue".into()));
        let handle = broken.handle();
        let tree = SupervisorSpec::new("root")
            .child(broken.into_child())
            .start()
            .await;
        let error = tree.unwrap_err();
        assert!(error.to_string().contains("no such queue"), "{error}");
        assert!(matches!(
            error,
            SupervisorStartError::Ended {
                ending: Ending::StartFailed(_),
                ..
            }
        ));
        within("no group", handle.group()).await.unwrap_err();
        // The same for one that is made and does not start.
        let without = GroupChild::<u64, u64>::new("without", async || Ok(Group::builder()));
        let tree = SupervisorSpec::new("root")
            .child(without.into_child())
            .start()
            .await;
        let error = tree.unwrap_err();
        assert!(error.to_string().contains("no consumers"), "{error}");
    });
}

#[test]
fn a_group_that_fails_again_and_again_spends_the_budget_of_its_supervisor() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        let (tree, handle) = tree_of(child(&done, &gate)).await;
        handle.producer().await.unwrap().send(1).await.unwrap();
        for _ in 0..4 {
            fails(&handle).await;
        }
        let ending = within("the end", tree.ended()).await;
        assert!(matches!(ending, Ending::BudgetSpent(_)), "{ending}");
        within("no group", handle.group()).await.unwrap_err();
        // Its job was in all four of them, and is still there.
        let left: Vec<u64> = handle
            .take_unfinished()
            .iter()
            .map(|left| *left.payload())
            .collect();
        assert_eq!(left, [1]);
    });
}

#[test]
fn dead_letters_stay_with_a_queue_that_the_groups_share() {
    paused(async {
        let queue = MemoryQueue::bounded(100);
        let shared = queue.clone();
        let child = GroupChild::new("group", async move || {
            Ok(Group::builder()
                .placement(Placement::Local)
                .configure(calm)
                .configure(|config| {
                    config.restart.intensity = 0;
                    config.retry.attempts = 1;
                })
                .queue(shared.clone())
                .consume_with(1, async |_: &Delivery<u64>| -> Result<u64, _> {
                    Err(consumer_group::Failure::reject("not today"))
                }))
        });
        let (tree, handle) = tree_of(child).await;
        handle.producer().await.unwrap().call(1).await.unwrap_err();
        fails(&handle).await;
        let next = within("the next group", handle.group()).await.unwrap();
        let letters = next.dead_letters().list(10).await.unwrap();
        assert_eq!(letters.len(), 1);
        tree.stop().await;
    });
}

#[test]
fn a_group_that_somebody_stops_has_ended_of_its_own_will() {
    paused(async {
        let (done, gate) = (Log::new(), Gate::shut());
        let mut child = child(&done, &gate);
        let handle = child.handle();
        let tree = SupervisorSpec::new("root")
            .child(
                child
                    .into_child()
                    .restart(consumer_group::supervision::Restart::Transient),
            )
            .start()
            .await
            .unwrap();
        let group = handle.group().await.unwrap();
        group.producer().send(1).await.unwrap();
        let drained = group.stop().await;
        assert_eq!(drained.unfinished.len(), 1);
        within("no group", handle.group()).await.unwrap_err();
        assert!(
            handle.take_unfinished().is_empty(),
            "whoever stopped it has its jobs"
        );
        assert_eq!(tree.count().await.unwrap().active, 0);
        tree.stop().await;
    });
}

#[test]
fn a_supervised_group_lives_on_a_host_and_on_arbiters() {
    let host = Host::start().unwrap();
    let (done, gate) = (Log::new(), Gate::shut());
    gate.open();
    host.block_on(async {
        let mut child = child(&done, &gate);
        let handle = child.handle();
        let tree = SupervisorSpec::new("root")
            .placement(Placement::Arbiters(1))
            .child(child.into_child())
            .start_on(&host)
            .await
            .unwrap();
        let producer = within("the group", handle.producer()).await.unwrap();
        assert_eq!(within("an answer", producer.call(1)).await.unwrap(), 2);
        fails(&handle).await;
        let producer = within("the next group", handle.producer()).await.unwrap();
        assert_eq!(within("an answer", producer.call(2)).await.unwrap(), 4);
        let report = host.shutdown(Duration::from_secs(60)).await;
        assert!(report.is_clean(), "{report}");
        assert!(tree.is_over() && handle.is_over());
    });
}

#[cfg(feature = "durable")]
#[test]
fn a_group_over_a_file_comes_back_with_its_jobs() {
    use consumer_group::codec::Json;
    use consumer_group::durable::DurableQueue;

    crate::common::system(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.queue");
        let (done, gate) = (Log::new(), Gate::shut());
        let (noted, passed) = (done.clone(), gate.clone());
        let child = GroupChild::new("group", async move || {
            let queue = DurableQueue::at(&path, Json)
                .open_when_free(Duration::from_secs(60))
                .await?;
            Ok(noting(&noted, &passed).queue(queue))
        });
        let (tree, handle) = tree_of(child).await;
        let producer = handle.producer().await.unwrap();
        for job in 0..10 {
            producer.send(job).await.unwrap();
        }
        fails(&handle).await;
        gate.open();
        let next = within("the next group", handle.group()).await.unwrap();
        let mut events = next.all_events();
        while done.len() < 10 {
            within("a job", events.next()).await.unwrap();
        }
        let mut jobs: Vec<u64> = done.all().into_iter().map(|(_, job)| job).collect();
        jobs.sort_unstable();
        assert_eq!(jobs, (0..10).collect::<Vec<u64>>());
        drop(next);
        assert_eq!(within("the end", tree.stop()).await, Ending::Stopped);
        // The file is free again.
        let queue: DurableQueue<u64> = DurableQueue::at(folder.path().join("jobs.queue"), Json)
            .open_when_free(Duration::from_secs(60))
            .await
            .unwrap();
        drop(queue);
    });
}
