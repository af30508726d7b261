//! A fresh instance follows after every kind of death, and the sender learns the cause.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::prelude::*;
use consumer_group::Cause;
use consumer_group::supervision::{Child, Restart, SendError, SupervisorSpec, TreeEvent};

use crate::common::{paused, system, within};
use crate::patient::*;

fn lenient(name: &'static str) -> SupervisorSpec {
    SupervisorSpec::new(name).intensity(100, Duration::from_secs(60))
}

#[test]
fn every_death_by_message_is_followed_by_a_fresh_life_and_told_with_its_cause() {
    for (how, words, in_hand) in [
        (Die::InTheHandler, "in the handler", true),
        (Die::InASpawnedFuture, "in a spawned future", false),
        (Die::InATimer, "in a timer", false),
        (Die::ByErrorStop, "no more paper", false),
        (Die::BySelfStop, "stopped by itself", false),
    ] {
        paused(async move {
            let (child, handle, _notes) = patient("patient");
            let supervisor = lenient("ward").child(child).start().await.unwrap();
            let mut monitor = handle.monitor();
            assert_eq!(handle.send(WhichLife).await.unwrap(), 1);
            let answer = handle.send(how).await;
            let down = within("the life ends", monitor.next()).await.unwrap();
            assert!(down.to_string().contains(words), "{how:?}: {down}");
            assert_eq!(&*down.child, "ward/patient");
            assert_eq!(down.life, 1);
            assert!(down.actor.ends_with("Patient"), "{down}");
            if in_hand {
                assert!(down.in_hand.as_ref().unwrap().ends_with("Die"), "{down}");
                let error = answer.unwrap_err();
                assert_eq!(error.down(), Some(&down), "{error}");
                let Cause::Panicked(report) = &down.cause else {
                    panic!("{down}")
                };
                assert!(report.place.as_ref().unwrap().contains("patient.rs"), "{report}");
            }
            assert_eq!(handle.send(WhichLife).await.unwrap(), 2, "{how:?}");
            supervisor.stop().await;
        });
    }
}

#[test]
fn a_panic_in_every_kind_of_asynchronous_answer_is_told_to_its_sender_and_followed_by_a_fresh_life() {
    fn check<M: std::fmt::Debug>(answer: Result<u32, SendError<M>>, message: &str, words: &str) {
        let Err(SendError::Died { down, .. }) = answer else {
            panic!("{message}: {answer:?}")
        };
        assert!(down.cause.to_string().contains(words), "{down}");
        assert!(down.in_hand.as_ref().unwrap().ends_with(message), "{down}");
    }
    paused(async {
        let (child, handle, _notes) = patient("patient");
        let supervisor = lenient("ward").child(child).start().await.unwrap();
        check(
            handle.send(InAnActorFuture).await,
            "InAnActorFuture",
            "in an actor future",
        );
        assert_eq!(handle.send(WhichLife).await.unwrap(), 2);
        check(
            handle.send(InAnAtomicResponse).await,
            "InAnAtomicResponse",
            "in an atomic response",
        );
        assert_eq!(handle.send(WhichLife).await.unwrap(), 3);
        check(
            handle.send(InAResponseFuture).await,
            "InAResponseFuture",
            "in a response future",
        );
        assert_eq!(handle.send(WhichLife).await.unwrap(), 4);
        supervisor.stop().await;
    });
}

#[test]
fn a_response_future_that_nobody_waits_for_ends_the_life_as_well() {
    paused(async {
        let (child, handle, _notes) = patient("patient");
        let supervisor = lenient("ward").child(child).start().await.unwrap();
        let mut monitor = handle.monitor();
        handle.do_send(InAResponseFuture).unwrap();
        let down = within("the life ends", monitor.next()).await.unwrap();
        assert!(down.to_string().contains("in a response future"), "{down}");
        assert_eq!(handle.send(WhichLife).await.unwrap(), 2);
        supervisor.stop().await;
    });
}

/// Panics in `started` in the lives that the counter names.
struct StartsBadly(u32, &'static [u32]);

impl Actor for StartsBadly {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        assert!(!self.1.contains(&self.0), "life {} does not start", self.0);
    }
}

impl Handler<WhichLife> for StartsBadly {
    type Result = u32;

    fn handle(&mut self, _: WhichLife, context: &mut Context<Self>) -> u32 {
        if self.0 == 1 {
            context.stop();
        }
        self.0
    }
}

#[test]
fn a_panic_in_started_spends_the_budget_and_is_tried_again() {
    paused(async {
        let lives = AtomicU32::new(0);
        let mut child = Child::new("starter", move || {
            StartsBadly(lives.fetch_add(1, Ordering::Relaxed) + 1, &[2, 3])
        })
        .quiet_panics();
        let handle = child.handle();
        let supervisor = lenient("ward").child(child).start().await.unwrap();
        assert_eq!(handle.send(WhichLife).await.unwrap(), 1);
        // Waits in the stash over both failed starts.
        assert_eq!(within("an answer", handle.send(WhichLife)).await.unwrap(), 4);
        supervisor.stop().await;
    });
}

#[test]
fn an_actor_that_waits_in_started_is_up_when_the_wait_is_over() {
    struct Slow;
    impl Actor for Slow {
        type Context = Context<Self>;

        fn started(&mut self, context: &mut Context<Self>) {
            context.wait(tokio::time::sleep(Duration::from_secs(3)).into_actor(self));
        }
    }
    paused(async {
        let began = tokio::time::Instant::now();
        let supervisor = SupervisorSpec::new("ward")
            .child(Child::new("slow", || Slow))
            .start()
            .await
            .unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        supervisor.stop().await;
    });
}

#[test]
fn a_transient_child_that_stops_stays_ended_and_one_that_stops_with_an_error_is_started_again() {
    paused(async {
        let (child, handle, _notes) = patient("patient");
        let supervisor = lenient("ward")
            .child(child.restart(Restart::Transient))
            .start()
            .await
            .unwrap();
        let mut events = supervisor.events();
        handle.do_send(Die::ByErrorStop).unwrap();
        assert_eq!(handle.send(WhichLife).await.unwrap(), 2);
        handle.do_send(Die::BySelfStop).unwrap();
        tree_event(&mut events, "the second end", |event| match event {
            TreeEvent::Down(down) if down.cause == Cause::Stopped => Some(()),
            _ => None,
        })
        .await;
        let error = handle.send(WhichLife).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("not delivered: the actor has ended: {}", error.down().unwrap())
        );
        assert!(handle.is_over());
        supervisor.restart("patient").await.unwrap();
        assert_eq!(handle.send(WhichLife).await.unwrap(), 3);
        supervisor.stop().await;
    });
}

#[test]
fn an_actor_whose_arbiter_ends_lives_on_elsewhere() {
    #[derive(Message)]
    #[rtype(result = "()")]
    struct EndYourArbiter;
    struct Guest;
    impl Actor for Guest {
        type Context = Context<Self>;
    }
    impl Handler<EndYourArbiter> for Guest {
        type Result = ();

        fn handle(&mut self, _: EndYourArbiter, _: &mut Context<Self>) {
            Arbiter::current().stop();
        }
    }
    impl Handler<WhichLife> for Guest {
        type Result = u32;

        fn handle(&mut self, _: WhichLife, _: &mut Context<Self>) -> u32 {
            0
        }
    }
    system(async {
        let mut child = Child::new("guest", || Guest);
        let handle = child.handle();
        let supervisor = lenient("house")
            .placement(consumer_group::Placement::Dedicated)
            .child(child)
            .start()
            .await
            .unwrap();
        let mut monitor = handle.monitor();
        handle.do_send(EndYourArbiter).unwrap();
        let down = within("the life ends", monitor.next()).await.unwrap();
        assert_eq!(down.cause, Cause::ArbiterEnded);
        assert_eq!(within("an answer", handle.send(WhichLife)).await.unwrap(), 0);
        supervisor.stop().await;
    });
}

#[test]
fn the_process_lives_whatever_stopping_does_after_a_panic() {
    for stopping in [Stopping::Panics, Stopping::Continues] {
        for how in [Die::InTheHandler, Die::InATimer, Die::InASpawnedFuture] {
            paused(async move {
                let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
                let mut child = patient_of("patient", &sender, stopping);
                let handle = child.handle();
                let supervisor = lenient("ward").child(child).start().await.unwrap();
                handle.do_send(how).unwrap();
                let life = async { while handle.send(WhichLife).await.ok() != Some(2) {} };
                within("the second life", life).await;
                within("the end", supervisor.stop()).await;
            });
        }
    }
}
