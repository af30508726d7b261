//! Children come and go while their supervisor runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::prelude::*;
use consumer_group::Cause;
use consumer_group::supervision::{
    Child, ChildCounts, ChildError, ChildState, Restart, RestartReach, SupervisorHandle, SupervisorSpec,
    TreeEvent,
};

use crate::common::{paused, system, within};
use crate::patient::*;

async fn ward() -> SupervisorHandle {
    let spec = SupervisorSpec::new("ward").intensity(9, Duration::from_secs(60));
    spec.start().await.unwrap()
}

async fn listed(supervisor: &SupervisorHandle) -> Vec<(String, ChildState)> {
    let children = within("the list", supervisor.children()).await.unwrap();
    let named = children
        .into_iter()
        .map(|node| (node.name.to_string(), node.state));
    named.collect()
}

#[test]
fn children_are_added_ended_started_again_removed_counted_and_listed() {
    paused(async {
        let ward = ward().await;
        assert_eq!(ward.count().await.unwrap(), ChildCounts::default());
        let (child, _, mut notes) = patient("p");
        let handle = ward.add(child).await.unwrap();
        assert_eq!(&*handle.path(), "ward/p");
        assert_eq!(noted(&mut notes), ["p started"]);
        let counts = ward.count().await.unwrap();
        assert_eq!((counts.specs, counts.active), (1, 1));
        assert_eq!((counts.supervisors, counts.workers), (0, 1));
        let error = ward.restart("p").await.unwrap_err();
        assert_eq!(error.to_string(), "`p` is up; terminate it first");
        let error = ward.delete("p").await.unwrap_err();
        assert_eq!(error.to_string(), "`p` is up; terminate it first");
        ward.terminate("p").await.unwrap();
        assert_eq!(noted(&mut notes), ["p stopped"]);
        // Ended already is ended.
        ward.terminate("p").await.unwrap();
        assert_eq!(listed(&ward).await, [("p".to_owned(), ChildState::Ended)]);
        handle.send(WhichLife).await.unwrap_err();
        ward.restart("p").await.unwrap();
        assert_eq!(handle.send(WhichLife).await.unwrap(), 2);
        ward.terminate("p").await.unwrap();
        ward.delete("p").await.unwrap();
        assert_eq!(listed(&ward).await, []);
        let error = ward.restart("p").await.unwrap_err();
        assert_eq!(error.to_string(), "ward has no child `p`; it has: none");
        // The name is free again.
        let (child, _, _notes) = patient("p");
        ward.add(child).await.unwrap();
        ward.stop().await;
        assert_eq!(ward.count().await.unwrap_err(), ChildError::SupervisorGone);
        let (child, _, _notes) = patient("late");
        assert_eq!(ward.add(child).await.unwrap_err(), ChildError::SupervisorGone);
    });
}

#[test]
fn a_temporary_child_is_listed_no_more_when_it_has_ended() {
    paused(async {
        let ward = ward().await;
        let (child, _, _notes) = patient("p");
        let handle = ward.add(child.restart(Restart::Temporary)).await.unwrap();
        let mut monitor = handle.monitor();
        handle.do_send(Die::InTheHandler).unwrap();
        within("its end", monitor.next()).await.unwrap();
        assert_eq!(listed(&ward).await, []);
        let (child, _, _notes) = patient("p");
        ward.add(child.restart(Restart::Temporary)).await.unwrap();
        ward.terminate("p").await.unwrap();
        assert_eq!(listed(&ward).await, []);
        ward.stop().await;
    });
}

/// Never gets up.
struct NeverUp;

impl Actor for NeverUp {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        panic!("not today");
    }
}

#[test]
fn a_child_that_is_added_and_does_not_start_is_not_listed() {
    paused(async {
        let ward = ward().await;
        let error = ward
            .add(Child::new("never", || NeverUp).quiet_panics())
            .await
            .unwrap_err();
        let ChildError::StartFailed(down) = &error else {
            panic!("{error}")
        };
        assert!(matches!(down.cause, Cause::Panicked(_)), "{down}");
        assert!(error.to_string().contains("ward/never"), "{error}");
        assert!(error.to_string().contains("not today"), "{error}");
        assert_eq!(listed(&ward).await, []);
        ward.stop().await;
    });
}

/// Gets up once, ends, and then panics in `started` for ever.
struct Looping {
    life: u32,
}

impl Actor for Looping {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        assert_eq!(self.life, 1, "again");
        context.run_later(Duration::ZERO, |_, context| context.stop());
    }
}

#[test]
fn a_supervisor_answers_while_a_child_loops_in_restarts() {
    system(async {
        let lives = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&lives);
        let looping = Child::new("looping", move || Looping {
            life: counted.fetch_add(1, Ordering::Relaxed) + 1,
        });
        let (child, handle, _notes) = patient("p");
        let ward = SupervisorSpec::new("ward")
            .intensity(1_000_000_000, Duration::from_secs(1))
            .child(child)
            .child(looping.quiet_panics())
            .start()
            .await
            .unwrap();
        for _ in 0..3 {
            let before = lives.load(Ordering::Relaxed);
            let loops = async {
                while lives.load(Ordering::Relaxed) < before + 100 {
                    assert_eq!(handle.send(WhichLife).await.unwrap(), 1);
                }
            };
            within("it loops", loops).await;
            assert_eq!(within("an answer", ward.count()).await.unwrap().specs, 2);
        }
        let (guest, _, _more) = patient("guest");
        within("a guest is added", ward.add(guest)).await.unwrap();
        within("the looping one is ended", ward.terminate("looping"))
            .await
            .unwrap();
        let ended = lives.load(Ordering::Relaxed);
        assert_eq!(ward.count().await.unwrap().active, 2);
        assert_eq!(lives.load(Ordering::Relaxed), ended);
        within("the end", ward.stop()).await;
    });
}

#[test]
fn a_child_that_is_restarted_by_wish_while_others_are_being_started_is_started_too() {
    paused(async {
        let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
        let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| patient_of(name, &sender, Stopping::Stops));
        let (elder, handle, _young) = (a.handle(), b.handle(), c.handle());
        let ward = SupervisorSpec::new("ward")
            .reach(RestartReach::RestForOne)
            .intensity(9, Duration::from_secs(60))
            .backoff(a_minute())
            .child(a)
            .child(b)
            .child(c)
            .start()
            .await
            .unwrap();
        let mut events = ward.events();
        ward.terminate("a").await.unwrap();
        handle.do_send(Die::InTheHandler).unwrap();
        tree_event(&mut events, "the others wait", |event| {
            matches!(event, TreeEvent::BackingOff { .. }).then_some(())
        })
        .await;
        within("a is started", ward.restart("a")).await.unwrap();
        assert_eq!(elder.send(WhichLife).await.unwrap(), 2);
        assert_eq!(handle.send(WhichLife).await.unwrap(), 2);
        ward.stop().await;
    });
}

#[test]
fn the_siblings_do_not_wait_for_ever_when_the_child_that_backs_off_is_ended() {
    paused(async {
        let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
        let [mut a, mut b] = ["a", "b"].map(|name| patient_of(name, &sender, Stopping::Stops));
        let (first, sibling) = (a.handle(), b.handle());
        let ward = SupervisorSpec::new("ward")
            .reach(RestartReach::OneForAll)
            .intensity(9, Duration::from_secs(60))
            .backoff(a_minute())
            .child(a)
            .child(b)
            .start()
            .await
            .unwrap();
        let mut events = ward.events();
        first.do_send(Die::InTheHandler).unwrap();
        tree_event(&mut events, "both wait", |event| {
            matches!(event, TreeEvent::BackingOff { .. }).then_some(())
        })
        .await;
        ward.terminate("a").await.unwrap();
        assert_eq!(within("an answer", sibling.send(WhichLife)).await.unwrap(), 2);
        first.send(WhichLife).await.unwrap_err();
        ward.stop().await;
    });
}
