//! What the design takes for granted about actix and tokio, with plain actix: when one of these fails after an update, the
//! reasons in docs/architecture.md no longer hold.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::common::{Block, paused, probe, settle_down, system, within};
use actix::prelude::*;
use tokio::time::Instant;

/// Where an actor panics.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[rtype(result = "()")]
enum Panics {
    Handler,
    SpawnedFuture,
    RunLater,
    Notify,
}

#[derive(Message)]
#[rtype(result = "()")]
struct InAnActorFuture;

#[derive(Message)]
#[rtype(result = "()")]
struct InAnAtomicResponse;

#[derive(Message)]
#[rtype(result = "()")]
struct InAResponseFuture;

#[derive(Message)]
#[rtype(result = "u32")]
struct Ping;

#[derive(Message)]
#[rtype(result = "()")]
struct StopYourself;

/// Notes what becomes of it.
struct Patient {
    tell: tokio::sync::mpsc::UnboundedSender<&'static str>,
    pings: u32,
}

impl Actor for Patient {
    type Context = Context<Self>;

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        let _ = self.tell.send("stopping");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let _ = self.tell.send("stopped");
    }
}

impl Supervised for Patient {
    fn restarting(&mut self, _: &mut Self::Context) {
        let _ = self.tell.send("restarting");
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let _ = self.tell.send("dropped");
    }
}

impl Handler<Panics> for Patient {
    type Result = ();

    fn handle(&mut self, place: Panics, context: &mut Self::Context) {
        match place {
            Panics::Handler => panic!("in the handler"),
            Panics::SpawnedFuture => {
                context.spawn(async { panic!("in a spawned future") }.into_actor(self));
            }
            Panics::RunLater => {
                context.run_later(Duration::ZERO, |_, _| panic!("in run_later"));
            }
            Panics::Notify => context.notify(Panics::Handler),
        }
    }
}

impl Handler<InAnActorFuture> for Patient {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: InAnActorFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("in an actor future") }.into_actor(self))
    }
}

impl Handler<InAnAtomicResponse> for Patient {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: InAnAtomicResponse, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(
            async { panic!("in an atomic response") }.into_actor(self),
        ))
    }
}

impl Handler<InAResponseFuture> for Patient {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: InAResponseFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("in a free future") })
    }
}

impl Handler<Ping> for Patient {
    type Result = u32;

    fn handle(&mut self, _: Ping, _: &mut Self::Context) -> u32 {
        self.pings += 1;
        self.pings
    }
}

impl Handler<StopYourself> for Patient {
    type Result = ();

    fn handle(&mut self, _: StopYourself, context: &mut Self::Context) {
        context.stop();
    }
}

fn patient() -> (Patient, crate::common::Probe<&'static str>) {
    let (tell, told) = probe();
    (Patient { tell, pings: 0 }, told)
}

/// The actor dies of it: pending and later sends end with `Closed`, and its hooks have run.
async fn dies(patient: Addr<Patient>, mut told: crate::common::Probe<&'static str>, what: &str) {
    for hook in ["stopping", "stopped", "dropped"] {
        assert_eq!(told.next(what).await, hook, "{what}");
    }
    assert_eq!(patient.send(Ping).await, Err(MailboxError::Closed), "{what}");
    assert!(!patient.connected(), "{what}");
}

#[test]
fn a_panic_in_the_code_of_an_actor_ends_it_without_a_word_to_anyone() {
    system(async {
        for place in [
            Panics::Handler,
            Panics::SpawnedFuture,
            Panics::RunLater,
            Panics::Notify,
        ] {
            let (patient, told) = patient();
            let patient = patient.start();
            let answer = patient.send(place).await;
            if place == Panics::Handler {
                assert_eq!(answer, Err(MailboxError::Closed));
            }
            dies(patient, told, &format!("{place:?}")).await;
        }
    });
}

#[test]
fn a_panic_in_an_actor_future_or_an_atomic_response_ends_the_actor() {
    system(async {
        let (one, told) = patient();
        let one = one.start();
        assert_eq!(one.send(InAnActorFuture).await, Err(MailboxError::Closed));
        dies(one, told, "an actor future").await;
        let (one, told) = patient();
        let one = one.start();
        assert_eq!(one.send(InAnAtomicResponse).await, Err(MailboxError::Closed));
        dies(one, told, "an atomic response").await;
    });
}

#[test]
fn a_panic_in_a_response_future_leaves_the_actor_alive_and_tells_only_the_sender() {
    system(async {
        let (patient, mut told) = patient();
        let patient = patient.start();
        assert_eq!(patient.send(InAResponseFuture).await, Err(MailboxError::Closed));
        assert_eq!(patient.send(Ping).await, Ok(1));
        assert!(patient.connected());
        assert!(told.so_far().is_empty());
    });
}

#[test]
fn messages_that_wait_behind_a_panic_are_lost_and_their_senders_are_told() {
    system(async {
        let (patient, _told) = patient();
        let patient = patient.start();
        patient.do_send(Panics::Handler);
        assert_eq!(patient.send(Ping).await, Err(MailboxError::Closed));
    });
}

#[test]
fn the_arbiter_and_its_other_actors_survive_a_panic() {
    system(async {
        let arbiter = Arbiter::new();
        let ((one, told), (other, _told)) = (patient(), patient());
        let one = Actor::start_in_arbiter(&arbiter.handle(), |_| one);
        let other = Actor::start_in_arbiter(&arbiter.handle(), |_| other);
        one.do_send(Panics::Handler);
        dies(one, told, "the one").await;
        assert_eq!(other.send(Ping).await, Ok(1));
        arbiter.stop();
    });
}

#[test]
fn a_factory_that_panics_leaves_an_address_of_nobody() {
    system(async {
        let arbiter = Arbiter::new();
        let nobody: Addr<Patient> = Actor::start_in_arbiter(&arbiter.handle(), |_| panic!("in the factory"));
        assert_eq!(nobody.send(Ping).await, Err(MailboxError::Closed));
        assert!(arbiter.spawn_fn(|| {}), "the arbiter lives");
        arbiter.stop();
    });
}

#[test]
fn the_supervisor_of_actix_restarts_after_a_stop_and_keeps_the_state() {
    system(async {
        let (patient, mut told) = patient();
        let patient = Supervisor::start(|_| patient);
        assert_eq!(patient.send(Ping).await, Ok(1));
        patient.send(StopYourself).await.unwrap();
        assert_eq!(patient.send(Ping).await, Ok(2));
        assert!(told.so_far().contains(&"restarting"));
    });
}

#[test]
fn the_supervisor_of_actix_does_not_restart_after_a_panic() {
    system(async {
        let (patient, mut told) = patient();
        let patient = Supervisor::start(|_| patient);
        assert_eq!(patient.send(Panics::Handler).await, Err(MailboxError::Closed));
        settle_down().await;
        assert_eq!(patient.send(Ping).await, Err(MailboxError::Closed));
        assert!(!told.so_far().contains(&"restarting"));
    });
}

/// The cell rests on this: a context can be run as a future of our own, and a panic comes out of its poll.
#[test]
fn a_context_runs_as_a_future_and_its_panic_can_be_caught_around_the_poll() {
    system(async {
        let (patient, mut told) = patient();
        let context = Context::new();
        let address = context.address();
        let mut life = Box::pin(context.into_future(patient));
        let ended = actix::spawn(async move {
            std::future::poll_fn(
                |wake| match catch_unwind(AssertUnwindSafe(|| life.as_mut().poll(wake))) {
                    Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
                    Ok(ready) => ready.map(|()| None),
                    Err(panic) => std::task::Poll::Ready(panic.downcast_ref::<&str>().copied()),
                },
            )
            .await
        });
        assert_eq!(address.send(Ping).await, Ok(1));
        address.do_send(Panics::Handler);
        assert_eq!(
            within("the panic is caught", ended).await.unwrap(),
            Some("in the handler")
        );
        assert_eq!(told.next("its hooks ran").await, "stopping");
    });
}

/// Handles nothing before it is let go.
struct Slow(Rc<RefCell<Vec<u32>>>);

impl Actor for Slow {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Number(u32);

impl Handler<Number> for Slow {
    type Result = ();

    fn handle(&mut self, Number(number): Number, _: &mut Self::Context) {
        self.0.borrow_mut().push(number);
    }
}

#[test]
fn do_send_ignores_the_capacity_of_a_mailbox_and_keeps_the_order() {
    system(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let slow = Slow(Rc::clone(&seen)).start();
        // The default capacity is 16.
        for number in 0..10_000 {
            slow.do_send(Number(number));
        }
        slow.send(Number(10_000)).await.unwrap();
        assert_eq!(*seen.borrow(), (0..=10_000).collect::<Vec<_>>());
    });
}

/// `send` puts its message into a full mailbox only when its future is polled. Whoever needs the order of sends and does
/// not poll each at once uses a fresh clone of the recipient: a clone always has one place of its own.
#[test]
fn a_send_to_a_full_mailbox_goes_in_when_it_is_polled_and_one_of_a_fresh_clone_at_once() {
    system(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let slow = Slow(Rc::clone(&seen)).start();
        let recipient: Recipient<Number> = slow.recipient();
        let sends: Vec<_> = (0..100).map(|number| recipient.send(Number(number))).collect();
        let late = recipient.clone().send(Number(1_000));
        late.await.unwrap();
        let first = seen.borrow().clone();
        assert!(first.len() < 100 && first.last() == Some(&1_000), "{first:?}");
        drop(sends);
    });
}

#[test]
fn a_recipient_of_a_dead_actor_says_so_and_hands_nothing_back() {
    system(async {
        let (patient, _told) = patient();
        let patient = patient.start();
        patient.do_send(StopYourself);
        settle_down().await;
        assert!(!patient.connected());
        patient.do_send(Panics::Handler);
        assert!(matches!(patient.try_send(Ping), Err(SendError::Closed(Ping))));
    });
}

#[test]
fn timers_of_actors_fire_exactly_on_a_paused_clock() {
    paused(async {
        struct Timer(
            tokio::sync::mpsc::UnboundedSender<(&'static str, Duration)>,
            Instant,
        );
        impl Actor for Timer {
            type Context = Context<Self>;
            fn started(&mut self, context: &mut Self::Context) {
                context.run_later(Duration::from_secs(24 * 3_600), |timer, _| {
                    let _ = timer.0.send(("day", timer.1.elapsed()));
                });
                context.run_interval(Duration::from_secs(3_600), |timer, _| {
                    let _ = timer.0.send(("hour", timer.1.elapsed()));
                });
            }
        }
        let (tell, mut told) = probe();
        let _timer = Timer(tell, Instant::now()).start();
        tokio::time::sleep(Duration::from_secs(25 * 3_600 - 1)).await;
        let told = told.so_far();
        let hour = |hours: u64| ("hour", Duration::from_secs(hours * 3_600));
        assert_eq!(told.len(), 25);
        assert!((1..=24).all(|hours| told.contains(&hour(hours))), "{told:?}");
        assert!(told.contains(&("day", Duration::from_secs(24 * 3_600))));
    });
}

#[test]
fn the_time_out_of_a_send_fires_exactly_on_a_paused_clock() {
    paused(async {
        struct Silent;
        impl Actor for Silent {
            type Context = Context<Self>;
        }
        impl Handler<Ping> for Silent {
            type Result = ResponseFuture<u32>;
            fn handle(&mut self, _: Ping, _: &mut Self::Context) -> Self::Result {
                Box::pin(std::future::pending())
            }
        }
        let before = Instant::now();
        let answer = Silent.start().send(Ping).timeout(Duration::from_secs(9)).await;
        assert_eq!(answer, Err(MailboxError::Timeout));
        assert_eq!(before.elapsed(), Duration::from_secs(9));
    });
}

#[test]
fn messages_to_one_actor_of_one_thread_arrive_in_the_order_of_sending_also_through_other_addresses() {
    system(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let slow = Slow(Rc::clone(&seen)).start();
        let (one, other) = (slow.clone(), slow.clone().recipient::<Number>());
        for number in 0..100 {
            if number % 2 == 0 {
                one.do_send(Number(number));
            } else {
                other.do_send(Number(number));
            }
        }
        slow.send(Number(100)).await.unwrap();
        assert_eq!(*seen.borrow(), (0..=100).collect::<Vec<_>>());
    });
}

#[test]
fn an_actor_whose_thread_is_blocked_still_counts_as_connected() {
    system(async {
        struct Blocks(Block);
        impl Actor for Blocks {
            type Context = Context<Self>;
        }
        impl Handler<Ping> for Blocks {
            type Result = u32;
            fn handle(&mut self, _: Ping, _: &mut Self::Context) -> u32 {
                self.0.wait();
                7
            }
        }
        let block = Block::new();
        let (arbiter, blocked) = (Arbiter::new(), block.clone());
        let blocks = Actor::start_in_arbiter(&arbiter.handle(), |_| Blocks(blocked));
        let answer = blocks.send(Ping);
        assert!(blocks.connected(), "so this is no sign of life");
        assert!(arbiter.spawn_fn(|| {}), "nor is this");
        block.release();
        assert_eq!(within("it comes back", answer).await, Ok(7));
        arbiter.stop();
    });
}

#[test]
fn an_arbiter_that_stops_runs_the_hooks_of_its_actors() {
    system(async {
        let (patient, mut told) = patient();
        let arbiter = Arbiter::new();
        let patient = Actor::start_in_arbiter(&arbiter.handle(), |_| patient);
        assert_eq!(patient.send(Ping).await, Ok(1));
        arbiter.stop();
        while told.next("the actor is dropped with its arbiter").await != "dropped" {}
        assert_eq!(patient.send(Ping).await, Err(MailboxError::Closed));
    });
}

/// Why every consumer of a group holds what it needs and nothing waits for the mailbox: it is emptied in one poll.
#[test]
fn a_mailbox_is_emptied_in_one_poll() {
    system(async {
        let turns = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&turns);
        let counter = actix::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let seen = Rc::new(RefCell::new(Vec::new()));
        let slow = Slow(Rc::clone(&seen)).start();
        settle_down().await;
        for number in 0..5_000 {
            slow.do_send(Number(number));
        }
        let before = turns.load(Ordering::Relaxed);
        while seen.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(seen.borrow().len(), 5_000);
        assert!(
            turns.load(Ordering::Relaxed) - before <= 4,
            "others had their turn in between"
        );
        counter.abort();
    });
}
