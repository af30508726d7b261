//! Actors under supervision: their hooks, messages, answers and listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, ResponseFuture, Running,
    WrapFuture as _,
};
use consumer_group::Cause;
use consumer_group::supervision::{Child, Handle, SendError, SupervisorHandle, SupervisorSpec};

use super::{Bomb, Bombs, in_a_process};
use crate::common::{Gate, is_pending, paused, settle_down, within};

#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Nothing,
    Started,
    Stopping,
    Stopped,
}

struct Fragile {
    panics: In,
    gate: Gate,
    _bomb: Option<Bomb>,
}

impl Actor for Fragile {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        assert!(self.panics != In::Started, "in started");
    }

    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        assert!(self.panics != In::Stopping, "in stopping");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        assert!(self.panics != In::Stopped, "in stopped");
    }
}

/// Ends the actor by a panic.
#[derive(Clone, Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for Fragile {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("in the handler");
    }
}

/// A message that panics in its `Drop`, and whose clone panics if it says so; answered with a bomb, apart if it says so.
#[derive(Message)]
#[rtype(result = "u32")]
struct Heavy(#[allow(dead_code, reason = "it is dropped")] Option<Bomb>);

impl Clone for Heavy {
    fn clone(&self) -> Self {
        panic!("in clone");
    }
}

impl Handler<Heavy> for Fragile {
    type Result = u32;

    fn handle(&mut self, message: Heavy, _: &mut Context<Self>) -> u32 {
        std::mem::forget(message);
        7
    }
}

#[derive(Message)]
#[rtype(result = "Bomb")]
struct WantsABomb(Bombs);

impl Handler<WantsABomb> for Fragile {
    type Result = actix::MessageResult<WantsABomb>;

    fn handle(&mut self, message: WantsABomb, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(message.0.bomb())
    }
}

/// Answered apart from the actor, after the gate.
#[derive(Message)]
#[rtype(result = "Bomb")]
struct WantsABombLater(Bombs);

impl Handler<WantsABombLater> for Fragile {
    type Result = ResponseFuture<Bomb>;

    fn handle(&mut self, message: WantsABombLater, _: &mut Context<Self>) -> Self::Result {
        let gate = self.gate.clone();
        Box::pin(async move {
            gate.pass().await;
            message.0.bomb()
        })
    }
}

/// A future that panics when it is polled and again when it is dropped.
struct BadFuture(#[allow(dead_code, reason = "it is dropped")] Bomb);

impl Future for BadFuture {
    type Output = u32;

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<u32> {
        panic!("in poll");
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
struct FailsApart(Bombs);

impl Handler<FailsApart> for Fragile {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, message: FailsApart, _: &mut Context<Self>) -> Self::Result {
        Box::pin(BadFuture(message.0.bomb()))
    }
}

/// The actor itself awaits a future that panics, and again when it is dropped.
#[derive(Message)]
#[rtype(result = "()")]
struct FailsInside(Bombs);

impl Handler<FailsInside> for Fragile {
    type Result = ();

    fn handle(&mut self, message: FailsInside, context: &mut Context<Self>) {
        // Not within an async block: what a block of the user drops while it unwinds is beyond everybody else.
        let future = BadFuture(message.0.bomb()).into_actor(self);
        context.spawn(future.map(|_, _, _| ()));
    }
}

fn actor(panics: In, bomb: Option<Bomb>) -> Fragile {
    Fragile {
        panics,
        gate: Gate::shut(),
        _bomb: bomb,
    }
}

/// A tree with the child, and a neighbour that must not notice anything.
async fn tree(child: Child<Fragile>) -> (SupervisorHandle, Handle<Fragile>) {
    let mut neighbour = Child::new("neighbour", || actor(In::Nothing, None));
    let beside = neighbour.handle();
    let tree = SupervisorSpec::new("root")
        .intensity(1_000, std::time::Duration::from_secs(1))
        .child(neighbour)
        .child(child.quiet_panics())
        .start()
        .await
        .unwrap();
    (tree, beside)
}

/// The neighbour lives its first life.
async fn is_unharmed(tree: &SupervisorHandle, neighbour: &Handle<Fragile>) {
    assert_eq!(
        within("the neighbour answers", neighbour.send(Heavy(None)))
            .await
            .unwrap(),
        7
    );
    let children = within("the tree answers", tree.children()).await.unwrap();
    let first = children.iter().find(|child| &*child.name == "neighbour").unwrap();
    assert_eq!(first.life, 1, "{first:?}");
}

#[test]
fn an_actor_that_panics_in_its_hooks_and_its_drop_is_one_dead_child() {
    in_a_process(
        "children::an_actor_that_panics_in_its_hooks_and_its_drop_is_one_dead_child",
        || {
            for panics in [In::Nothing, In::Started, In::Stopping, In::Stopped] {
                paused(async move {
                    let bombs = Bombs::default();
                    let (makes, lives) = (bombs.clone(), Arc::new(AtomicU32::new(0)));
                    let mut child = Child::new("fragile", move || {
                        let second = lives.fetch_add(1, Ordering::SeqCst) == 1;
                        let in_what = if panics == In::Started && !second {
                            In::Nothing
                        } else {
                            panics
                        };
                        actor(in_what, Some(makes.bomb()))
                    });
                    let handle = child.handle();
                    let (tree, neighbour) = tree(child).await;
                    let error = within("it dies", handle.send(Panic)).await.unwrap_err();
                    let SendError::Died { down, .. } = error else {
                        panic!("{error:?}")
                    };
                    assert!(
                        matches!(&down.cause, Cause::Panicked(report) if &*report.message == "in the handler"),
                        "{down}"
                    );
                    if panics != In::Started {
                        assert_eq!(
                            within("the next life answers", handle.send(Heavy(None)))
                                .await
                                .unwrap(),
                            7
                        );
                    }
                    settle_down().await;
                    is_unharmed(&tree, &neighbour).await;
                    within("the tree stops", tree.stop()).await;
                    assert!(bombs.dropped() > 1);
                });
            }
        },
    );
}

#[test]
fn a_message_that_panics_in_its_drop_ends_neither_its_actor_nor_the_supervisor() {
    in_a_process(
        "children::a_message_that_panics_in_its_drop_ends_neither_its_actor_nor_the_supervisor",
        || {
            paused(async {
                let bombs = Bombs::default();
                let mut child = Child::new("fragile", || actor(In::Nothing, None));
                let handle = child.handle();
                // Nobody waits for it any more when it is taken up.
                let mut gone = Box::pin(handle.send(Heavy(Some(bombs.bomb()))));
                assert!(is_pending(&mut gone));
                drop(gone);
                let mut monitor = handle.monitor();
                let (tree, neighbour) = tree(child).await;
                assert_eq!(within("it answers", handle.send(Heavy(None))).await.unwrap(), 7);
                assert_eq!(bombs.dropped(), 1);
                assert!(monitor.try_next().is_none());
                // It is over, with messages that nobody wants back.
                within("it is terminated", tree.terminate("fragile"))
                    .await
                    .unwrap();
                within("it lives again", tree.restart("fragile")).await.unwrap();
                for _ in 0..3 {
                    handle.do_send(Heavy(Some(bombs.bomb()))).unwrap();
                }
                within("it is terminated", tree.terminate("fragile"))
                    .await
                    .unwrap();
                is_unharmed(&tree, &neighbour).await;
                within("the tree stops", tree.stop()).await;
            });
        },
    );
}

#[test]
fn an_answer_that_panics_in_its_drop_ends_nobody_when_nobody_waits_for_it() {
    in_a_process(
        "children::an_answer_that_panics_in_its_drop_ends_nobody_when_nobody_waits_for_it",
        || {
            paused(async {
                let bombs = Bombs::default();
                let gate = Gate::shut();
                let holds = gate.clone();
                let mut child = Child::new("fragile", move || Fragile {
                    panics: In::Nothing,
                    gate: holds.clone(),
                    _bomb: None,
                });
                let handle = child.handle();
                let (tree, neighbour) = tree(child).await;
                let mut later = Box::pin(handle.send(WantsABombLater(bombs.clone())));
                assert!(is_pending(&mut later));
                settle_down().await;
                drop(later);
                gate.open();
                settle_down().await;
                assert_eq!(bombs.dropped(), 1);
                let bomb = within("it answers", handle.send(WantsABomb(bombs.clone())))
                    .await
                    .unwrap();
                std::mem::forget(bomb);
                is_unharmed(&tree, &neighbour).await;
                within("the tree stops", tree.stop()).await;
            });
        },
    );
}

#[test]
fn a_future_that_panics_when_polled_and_when_dropped_is_one_dead_child_and_its_sender_is_told() {
    in_a_process(
        "children::a_future_that_panics_when_polled_and_when_dropped_is_one_dead_child_and_its_sender_is_told",
        || {
            paused(async {
                let bombs = Bombs::default();
                let mut child = Child::new("fragile", || actor(In::Nothing, None));
                let handle = child.handle();
                let (tree, neighbour) = tree(child).await;
                let error = within("it dies", handle.send(FailsApart(bombs.clone())))
                    .await
                    .unwrap_err();
                assert!(error.to_string().contains("in poll"), "{error}");
                assert_eq!(
                    within("the next life answers", handle.send(Heavy(None)))
                        .await
                        .unwrap(),
                    7
                );
                let mut monitor = handle.monitor();
                within("it takes it", handle.send(FailsInside(bombs.clone())))
                    .await
                    .unwrap();
                let down = within("it dies", monitor.next()).await.unwrap();
                assert!(down.to_string().contains("in poll"), "{down}");
                is_unharmed(&tree, &neighbour).await;
                within("the tree stops", tree.stop()).await;
                assert_eq!(bombs.dropped(), 2);
            });
        },
    );
}

#[test]
fn a_message_that_panics_when_it_is_cloned_to_be_kept_is_one_dead_child_and_its_sender_knows_why() {
    paused(async {
        let mut child = Child::new("fragile", || actor(In::Nothing, None));
        let handle = child.handle();
        let (tree, neighbour) = tree(child).await;
        let error = within("it dies", handle.send_kept(Heavy(None)))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("in clone"), "{error}");
        assert_eq!(
            within("the next life answers", handle.send(Heavy(None)))
                .await
                .unwrap(),
            7
        );
        is_unharmed(&tree, &neighbour).await;
        within("the tree stops", tree.stop()).await;
    });
}

#[test]
fn listeners_and_factories_that_panic_also_in_the_drop_of_what_they_hold_harm_nobody() {
    in_a_process(
        "children::listeners_and_factories_that_panic_also_in_the_drop_of_what_they_hold_harm_nobody",
        || {
            paused(async {
                let bombs = Bombs::default();
                let (held, makes) = (bombs.bomb(), Arc::new(AtomicU32::new(0)));
                let mut child = Child::new("fragile", move || {
                    let _ = &held;
                    assert_ne!(makes.fetch_add(1, Ordering::SeqCst), 1, "in the factory");
                    actor(In::Nothing, None)
                });
                let handle = child.handle();
                for panics in [true, false] {
                    let held = bombs.bomb();
                    handle.on_down(move |_| {
                        let _ = &held;
                        assert!(!panics, "in a listener");
                        false
                    });
                }
                let (tree, neighbour) = tree(child).await;
                within("it dies", handle.send(Panic)).await.unwrap_err();
                assert_eq!(
                    within("a later life answers", handle.send(Heavy(None)))
                        .await
                        .unwrap(),
                    7
                );
                assert_eq!(bombs.dropped(), 2);
                is_unharmed(&tree, &neighbour).await;
                within("the tree stops", tree.stop()).await;
                drop((handle, tree));
                settle_down().await;
                assert_eq!(bombs.dropped(), 3);
            });
        },
    );
}
