//! The border of a supervision tree: its host ends, the code of the user around its actors panics, its budget is spent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use consumer_group::config::BackoffConfig;
use consumer_group::supervision::{
    Child, Down, Ending, Handle as ActorHandle, NotDelivered, Registry, Restart, SendError, SupervisorHandle,
    SupervisorSpec, TreeEvent, TreeEvents, UndeliveredMessage, stop_with_error,
};
use consumer_group::{Cause, Placement};

use crate::common::{paused, within};

/// An actor that counts, dies or waits as it is told.
struct Worker;

impl Actor for Worker {
    type Context = Context<Self>;
}

#[derive(Debug, PartialEq, Message)]
#[rtype(result = "u32")]
struct Add(u32);

/// Awaits for ever.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Wait;

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Panic;

/// Ends the arbiter on which the actor lives.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct EndArbiter;

/// A message whose drop panics.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the drop of a message");
    }
}

impl Handler<Add> for Worker {
    type Result = u32;

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) -> u32 {
        number + 1
    }
}

impl Handler<Wait> for Worker {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Wait, _: &mut Context<Self>) -> Self::Result {
        Box::pin(std::future::pending().into_actor(self))
    }
}

impl Handler<Panic> for Worker {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("as it was told");
    }
}

impl Handler<EndArbiter> for Worker {
    type Result = ();

    fn handle(&mut self, _: EndArbiter, _: &mut Context<Self>) {
        Arbiter::current().stop();
    }
}

impl Handler<Bomb> for Worker {
    type Result = ();

    fn handle(&mut self, bomb: Bomb, _: &mut Context<Self>) {
        std::mem::forget(bomb);
    }
}

fn worker(name: &str) -> Child<Worker> {
    Child::new(name, || Worker).quiet_panics()
}

/// Every event until the tree has ended.
async fn all_events(events: &mut TreeEvents) -> Vec<TreeEvent> {
    let mut all = Vec::new();
    while let Some(event) = within("the last event", events.next()).await {
        all.push(event);
    }
    all
}

// The host ends.

/// A tree on an arbiter that the test can end:
///
/// ```text
/// root ─┬─ near                     added before the start
///       ├─ below ── far             in a supervisor of its own
///       └─ late                     added while the tree ran
/// ```
struct OnAnArbiter {
    arbiter: Arbiter,
    tree: SupervisorHandle,
    near: ActorHandle<Worker>,
    far: ActorHandle<Worker>,
    late: ActorHandle<Worker>,
}

async fn on_an_arbiter(placement: Placement) -> OnAnArbiter {
    let arbiter = Arbiter::new();
    let (near, far) = (worker("near"), worker("far"));
    let spec = SupervisorSpec::new("root")
        .placement(placement)
        .child(near)
        .supervisor(SupervisorSpec::new("below").placement(placement).child(far));
    let (give, given) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || {
        actix::spawn(async move {
            let _ = give.send(spec.start().await);
        });
    });
    let tree = within("the tree", given).await.unwrap().unwrap();
    let late = tree.add(worker("late")).await.unwrap();
    OnAnArbiter {
        arbiter,
        near: tree.actor("near").unwrap(),
        far: tree.actor("below/far").unwrap(),
        late,
        tree,
    }
}

/// Whatever was asked before the end has its answer, and whatever is asked after it at once.
async fn nobody_is_left_waiting(placement: Placement) {
    let host = on_an_arbiter(placement).await;
    let below = host.tree.supervisor("below").unwrap();
    let mut events = host.tree.events();
    let actors = [&host.near, &host.far, &host.late];
    let asked: Vec<_> = actors.iter().map(|actor| actor.send(Wait)).collect();
    let mut monitors: Vec<_> = actors.iter().map(|actor| actor.monitor()).collect();
    // In hand, so that what comes now is behind it or handled beside it.
    for actor in actors {
        assert_eq!(within("an answer", actor.send(Add(1))).await.unwrap(), 2);
    }
    let (ended, stopped) = (host.tree.clone(), below.clone());
    let ended = actix::spawn(async move { ended.ended().await });
    let stopped = actix::spawn(async move { stopped.ended().await });
    tokio::task::yield_now().await;

    host.arbiter.stop();

    for asked in asked {
        let error = within("the end of what is in hand", asked).await.unwrap_err();
        let down = error.down().expect("it says how the life ended");
        assert!(is_of_the_host(down), "{down}");
    }
    let gone = Ending::Down(Cause::ArbiterEnded);
    assert_eq!(within("the end", ended).await.unwrap(), gone);
    let below_ended = within("the end below", stopped).await.unwrap();
    assert!(matches!(below_ended, Ending::Down(_)), "{below_ended}");
    for monitor in &mut monitors {
        let down = within("a monitor", monitor.next())
            .await
            .expect("the end of the life");
        assert!(is_of_the_host(&down), "{down}");
        assert_eq!(within("the end of a monitor", monitor.next()).await, None);
    }
    let told = all_events(&mut events).await;
    let root_ended = |event: &TreeEvent| matches!(event, TreeEvent::Ended { supervisor, ending } if &**supervisor == "root" && *ending == gone);
    assert!(told.iter().any(root_ended), "{told:?}");

    // From any thread, and as often as one likes.
    let elsewhere = std::thread::spawn(move || {
        for actor in [&host.near, &host.far, &host.late] {
            assert!(actor.is_over());
            assert_eq!(actor.waiting(), 0);
            let error = actor.do_send(Add(7)).unwrap_err();
            let SendError::NotDelivered { message, reason } = error else {
                panic!("{error:?}");
            };
            assert_eq!(message, Add(7));
            assert!(
                matches!(&reason, NotDelivered::Ended(down) if is_of_the_host(down)),
                "{reason}"
            );
            assert_eq!(actor.try_send(Add(8)).unwrap_err().into_message(), Some(Add(8)));
        }
        (host.tree, host.near)
    });
    let (tree, near) = elsewhere.join().unwrap();
    let back = within("a message", near.send(Add(9))).await.unwrap_err();
    assert_eq!(back.into_message(), Some(Add(9)));
    assert_eq!(within("stop", tree.stop()).await, gone);
    assert_eq!(within("ended", tree.ended()).await, gone);
    within("an order", tree.add(worker("more"))).await.unwrap_err();
    within("a question", tree.count()).await.unwrap_err();
    let mut after = tree.events();
    assert_eq!(within("events after the end", after.next()).await, None);
    assert_eq!(
        within("a monitor after the end", near.monitor().next()).await,
        None
    );
}

/// An actor is dropped by its arbiter, or by its supervisor that is dropped by its own.
fn is_of_the_host(down: &Down) -> bool {
    matches!(down.cause, Cause::ArbiterEnded | Cause::Killed)
}

#[test]
fn when_the_arbiter_of_a_tree_ends_nobody_is_left_waiting_and_messages_come_back() {
    crate::common::system(nobody_is_left_waiting(Placement::Local));
}

#[test]
fn when_the_arbiter_of_a_tree_ends_so_do_its_actors_on_other_arbiters() {
    crate::common::system(nobody_is_left_waiting(Placement::Arbiters(2)));
}

#[test]
fn messages_that_waited_when_the_arbiter_ended_come_back_with_the_reason() {
    crate::common::system(async {
        let undelivered = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&undelivered);
        let mut child = worker("shut").on_undelivered(move |message: UndeliveredMessage| {
            kept.lock()
                .unwrap()
                .push(*message.message.downcast::<Add>().unwrap());
        });
        let handle = child.handle();
        let arbiter = Arbiter::new();
        // Its elder sibling never comes up, so it is never started: what was sent to its handle waits in vain.
        let waits = handle.send(Add(1));
        handle.do_send(Add(2)).unwrap();
        let never_up = Child::with_context("never_up", |context: &mut Context<Worker>| {
            context.wait(std::future::pending().into_actor(&Worker));
            Worker
        });
        let spec = SupervisorSpec::new("root").child(never_up).child(child);
        arbiter.spawn_fn(move || {
            actix::spawn(spec.start());
        });
        arbiter.stop();
        let error = within("the message", waits).await.unwrap_err();
        assert_eq!(error.into_message(), Some(Add(1)));
        assert!(handle.is_over());
        arbiter.join().unwrap();
        assert_eq!(*undelivered.lock().unwrap(), [Add(2)]);
    });
}

#[test]
fn a_system_that_is_stopped_by_an_actor_of_the_tree_ends_the_tree() {
    let (give, given) = std::sync::mpsc::channel();
    let host = std::thread::spawn(move || {
        let runner = System::new();
        runner.block_on(async {
            let tree = SupervisorSpec::new("root")
                .child(worker("one"))
                .start()
                .await
                .unwrap();
            let one: ActorHandle<Worker> = tree.actor("one").unwrap();
            give.send((tree, one)).unwrap();
        });
        runner.run().unwrap();
    });
    let (tree, one) = given.recv().unwrap();
    one.do_send(EndArbiter).unwrap();
    // The arbiter of the system has ended; the system itself waits for its own stop.
    crate::common::system(async move {
        assert_eq!(within("an answer before", one.send(Add(1))).await.unwrap(), 2);
        let (asked, ended) = (one.send(Wait), tree.ended());
        one.do_send(StopSystem).unwrap();
        within("the end of what is in hand", asked).await.unwrap_err();
        assert_eq!(within("the end", ended).await, Ending::Down(Cause::ArbiterEnded));
        assert!(one.is_over());
    });
    host.join().unwrap();
}

/// Stops the system in which the actor lives.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct StopSystem;

impl Handler<StopSystem> for Worker {
    type Result = ();

    fn handle(&mut self, _: StopSystem, _: &mut Context<Self>) {
        System::current().stop();
    }
}

#[test]
fn a_host_thread_that_panics_ends_the_tree() {
    let (give, given) = std::sync::mpsc::channel();
    let host = std::thread::spawn(move || {
        let caught = std::panic::catch_unwind(AssertUnwindSafe(|| {
            System::new().block_on(async {
                let tree = SupervisorSpec::new("root")
                    .child(worker("one"))
                    .start()
                    .await
                    .unwrap();
                let one: ActorHandle<Worker> = tree.actor("one").unwrap();
                give.send((tree, one)).unwrap();
                std::panic::resume_unwind(Box::new("the host thread"));
            });
        }));
        caught.unwrap_err();
    });
    let (tree, one) = given.recv().unwrap();
    crate::common::system(async move {
        assert_eq!(
            within("the end", tree.ended()).await,
            Ending::Down(Cause::ArbiterEnded)
        );
        assert!(one.is_over());
    });
    host.join().unwrap();
}

#[test]
fn a_name_whose_tree_lost_its_host_is_free_again() {
    crate::common::system(async {
        let host = on_an_arbiter(Placement::Local).await;
        let registry = Registry::new();
        registry.register("near", &host.near).unwrap();
        host.arbiter.stop();
        within("the end", host.tree.ended()).await;
        registry.find::<Worker>("near").unwrap_err();
        host.arbiter.join().unwrap();
    });
}

#[test]
fn a_supervisor_that_is_dropped_hard_tells_those_who_wait_for_its_end() {
    paused(async {
        let below = SupervisorSpec::new("below")
            .shutdown(consumer_group::supervision::Shutdown::AtOnce)
            .child(worker("one"));
        let root = SupervisorSpec::new("root")
            .supervisor(below)
            .start()
            .await
            .unwrap();
        let below = root.supervisor("below").unwrap();
        let waiting = below.clone();
        let waiting = actix::spawn(async move { waiting.ended().await });
        tokio::task::yield_now().await;
        root.terminate("below").await.unwrap();
        let ending = within("the end", waiting).await.unwrap();
        assert_eq!(ending, Ending::Down(Cause::Killed));
        root.stop().await;
    });
}

#[test]
fn messages_for_an_actor_that_no_supervisor_ever_starts_come_back() {
    paused(async {
        let mut child = worker("forgotten");
        let handle = child.handle();
        let waits = handle.send(Add(1));
        drop(child);
        let error = within("the message", waits).await.unwrap_err();
        assert!(matches!(
            error,
            SendError::NotDelivered {
                reason: NotDelivered::NeverStarted,
                ..
            }
        ));
        assert!(handle.is_over());
        assert_eq!(handle.do_send(Add(2)).unwrap_err().into_message(), Some(Add(2)));

        // The same for those of a tree that cannot be.
        let mut child = worker("refused");
        let handle = child.handle();
        let waits = handle.send(Add(3));
        let spec = SupervisorSpec::new("root")
            .intensity(1, Duration::ZERO)
            .child(child);
        spec.start().await.unwrap_err();
        let error = within("the message", waits).await.unwrap_err();
        assert_eq!(error.into_message(), Some(Add(3)));
    });
}

// Code of the user around the actors.

#[test]
fn a_hook_that_panics_over_an_undelivered_message_costs_neither_the_supervisor_nor_the_messages_behind() {
    paused(async {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let hook = Arc::clone(&kept);
        let mut child =
            worker("ends")
                .restart(Restart::Temporary)
                .on_undelivered(move |message: UndeliveredMessage| {
                    let Add(number) = *message.message.downcast::<Add>().unwrap();
                    assert_ne!(number, 2, "the hook cannot stand a two");
                    hook.lock().unwrap().push(number);
                });
        let handle = child.handle();
        let tree = SupervisorSpec::new("root")
            .child(child)
            .child(worker("neighbour"))
            .start()
            .await
            .unwrap();
        let neighbour: ActorHandle<Worker> = tree.actor("neighbour").unwrap();
        let mut events = tree.events();
        handle.do_send(Panic).unwrap();
        for number in 1..=4 {
            handle.do_send(Add(number)).unwrap();
        }
        let waits = handle.send(Add(5));
        let error = within("the message behind them", waits).await.unwrap_err();
        assert_eq!(error.into_message(), Some(Add(5)));
        assert_eq!(*kept.lock().unwrap(), [1, 3, 4]);
        assert_eq!(within("the neighbour", neighbour.send(Add(1))).await.unwrap(), 2);
        assert_eq!(within("the supervisor", tree.count()).await.unwrap().active, 1);
        tree.stop().await;
        let told = all_events(&mut events).await;
        let undelivered = |event: &TreeEvent| matches!(event, TreeEvent::Undelivered { child, messages: 5 } if &**child == "root/ends");
        assert!(told.iter().any(undelivered), "{told:?}");
    });
}

#[test]
fn an_undelivered_message_whose_drop_panics_costs_neither_the_supervisor_nor_the_messages_behind() {
    paused(async {
        let mut child = worker("ends").restart(Restart::Temporary);
        let handle = child.handle();
        let tree = SupervisorSpec::new("root").child(child).start().await.unwrap();
        handle.do_send(Panic).unwrap();
        handle.do_send(Bomb).unwrap();
        let waits = handle.send(Add(1));
        let error = within("the message behind it", waits).await.unwrap_err();
        assert_eq!(error.into_message(), Some(Add(1)));
        assert_eq!(within("the supervisor", tree.count()).await.unwrap().specs, 0);
        assert_eq!(within("the end", tree.stop()).await, Ending::Stopped);
    });
}

#[test]
fn a_factory_whose_drop_panics_does_not_cost_the_supervisor() {
    struct Captured;
    impl Drop for Captured {
        fn drop(&mut self) {
            panic!("the drop of what a factory captured");
        }
    }
    paused(async {
        let tree = SupervisorSpec::new("root")
            .child(worker("neighbour"))
            .start()
            .await
            .unwrap();
        let captured = Captured;
        let child = Child::new("ends", move || {
            let _ = &captured;
            Worker
        });
        let handle = tree
            .add(child.restart(Restart::Temporary).quiet_panics())
            .await
            .unwrap();
        handle.send(Panic).await.unwrap_err();
        let neighbour: ActorHandle<Worker> = tree.actor("neighbour").unwrap();
        assert_eq!(within("the neighbour", neighbour.send(Add(1))).await.unwrap(), 2);
        assert_eq!(within("the supervisor", tree.count()).await.unwrap().specs, 1);
        assert_eq!(within("the end", tree.stop()).await, Ending::Stopped);
    });
}

// Backoff.

/// The waits of a child that dies at each start.
async fn waits_of(backoff: BackoffConfig, period: Duration, count: usize) -> Vec<u64> {
    let lives = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&lives);
    let child = Child::with_context("dies", move |context: &mut Context<Worker>| {
        // The first start succeeds, so that the tree is up.
        if counted.fetch_add(1, Ordering::Relaxed) > 0 {
            stop_with_error(context, "not today");
        }
        Worker
    });
    let tree = SupervisorSpec::new("root")
        .intensity(1_000, period)
        .backoff(backoff)
        .child(child.quiet_panics())
        .start()
        .await
        .unwrap();
    let mut events = tree.events();
    let handle: ActorHandle<Worker> = tree.actor("dies").unwrap();
    handle.do_send(Panic).unwrap();
    let mut waits = Vec::new();
    while waits.len() < count {
        if let Some(TreeEvent::BackingOff { wait, .. }) = events.next().await {
            waits.push(wait.as_secs());
        }
    }
    tree.stop().await;
    waits
}

#[test]
fn a_backoff_reaches_its_maximum_though_that_is_above_the_period() {
    paused(async {
        let backoff = BackoffConfig {
            min: Duration::from_millis(1_000),
            max: Duration::from_millis(30_000),
            factor: 2.0,
            jitter: 0.0,
        };
        let waits = waits_of(backoff, Duration::from_secs(5), 8).await;
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    });
}

#[test]
fn the_backoff_of_a_slot_of_a_group_reaches_its_maximum_though_that_is_above_the_period() {
    struct NeverMade;
    impl consumer_group::Consumer for NeverMade {
        type Job = u64;
        type Output = ();

        async fn consume(
            &mut self,
            _: &consumer_group::Delivery<'_, u64>,
        ) -> Result<(), consumer_group::Failure> {
            Ok(())
        }
    }
    paused(async {
        let group = crate::common::local()
            .configure(|config| {
                config.restart.period = Duration::from_millis(5_000);
                config.restart.backoff = BackoffConfig {
                    min: Duration::from_millis(1_000),
                    max: Duration::from_millis(30_000),
                    factor: 2.0,
                    jitter: 0.0,
                };
            })
            .consumers(1, || -> NeverMade { panic!("not today") })
            .start()
            .unwrap();
        let mut events = group.events();
        let mut downs = Vec::new();
        while downs.len() < 9 {
            let event = within("a failed start", events.next()).await.unwrap();
            if matches!(event.kind, consumer_group::EventKind::ConsumerDown { .. }) {
                downs.push(event.at);
            }
        }
        let waits: Vec<u64> = downs
            .windows(2)
            .map(|pair| pair[1].since(pair[0]).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        group.stop().await;
    });
}

#[test]
fn a_life_that_was_up_for_more_than_the_period_makes_the_next_wait_the_first_again() {
    paused(async {
        let tree = SupervisorSpec::new("root")
            .intensity(1_000, Duration::from_secs(5))
            .backoff(BackoffConfig {
                min: Duration::from_millis(1_000),
                max: Duration::from_millis(30_000),
                factor: 2.0,
                jitter: 0.0,
            })
            .child(worker("dies"))
            .start()
            .await
            .unwrap();
        let mut events = tree.events();
        let handle: ActorHandle<Worker> = tree.actor("dies").unwrap();
        let mut waits = Vec::new();
        for up_for in [0, 1, 2, 6, 0] {
            // Whatever waits is handled when it is up again.
            assert_eq!(handle.send(Add(1)).await.unwrap(), 2);
            tokio::time::sleep(Duration::from_secs(up_for)).await;
            handle.send(Panic).await.unwrap_err();
            while let Some(event) = events.next().await {
                if let TreeEvent::BackingOff { wait, .. } = event {
                    waits.push(wait.as_secs());
                    break;
                }
            }
        }
        assert_eq!(waits, [1, 2, 4, 1, 2]);
        tree.stop().await;
    });
}

// A budget that ends the tree.

#[test]
fn a_budget_that_ends_the_tree_tells_of_the_messages_that_were_not_delivered() {
    paused(async {
        let tree = SupervisorSpec::new("root")
            .intensity(0, Duration::from_secs(5))
            .child(worker("one_too_many"))
            .start()
            .await
            .unwrap();
        let mut events = tree.events();
        let handle: ActorHandle<Worker> = tree.actor("one_too_many").unwrap();
        handle.do_send(Panic).unwrap();
        handle.do_send(Add(1)).unwrap();
        let waits = handle.send(Add(2));
        let ending = within("the end", tree.ended()).await;
        assert!(matches!(ending, Ending::BudgetSpent(_)), "{ending}");
        let back = within("the message", waits).await.unwrap_err();
        assert_eq!(back.into_message(), Some(Add(2)));
        let told = all_events(&mut events).await;
        let undelivered = told.iter().position(|event| {
            matches!(event, TreeEvent::Undelivered { child, messages: 2 } if &**child == "root/one_too_many")
        });
        let ended = told
            .iter()
            .position(|event| matches!(event, TreeEvent::Ended { .. }));
        assert!(undelivered.is_some() && undelivered < ended, "{told:?}");
        assert_eq!(
            told.iter()
                .filter(|event| matches!(event, TreeEvent::Undelivered { .. }))
                .count(),
            1
        );
    });
}

#[test]
fn a_parent_sees_that_a_supervisor_below_it_escalated() {
    paused(async {
        let below = SupervisorSpec::new("below")
            .intensity(0, Duration::from_secs(5))
            .child(worker("one"));
        let tree = SupervisorSpec::new("root")
            .supervisor(below)
            .start()
            .await
            .unwrap();
        let mut events = tree.events();
        let one: ActorHandle<Worker> = tree.actor("below/one").unwrap();
        one.send(Panic).await.unwrap_err();
        let seen = loop {
            match within("the end of the supervisor", events.next()).await {
                Some(TreeEvent::Down(down)) if &*down.child == "root/below" => break down,
                Some(_) => {}
                None => panic!("the tree has ended"),
            }
        };
        let Cause::Escalated(reason) = &seen.cause else {
            panic!("{seen}");
        };
        assert!(reason.contains("as it was told"), "{reason}");
        // The parent starts it again, and the handle is the same.
        assert_eq!(within("the next life", one.send(Add(1))).await.unwrap(), 2);
        tree.stop().await;
    });
}
