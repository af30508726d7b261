//! An actor for plain actix that dies in every way there is, on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::prelude::*;
use consumer_group::config::BackoffConfig;
use consumer_group::supervision::{Child, Handle, TreeEvent, TreeEvents, stop_with_error};
use tokio::sync::mpsc;

/// How the patient is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) enum Die {
    InTheHandler,
    InASpawnedFuture,
    InATimer,
    BySelfStop,
    ByErrorStop,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "u32")]
pub(crate) struct InAnActorFuture;

#[derive(Clone, Debug, Message)]
#[rtype(result = "u32")]
pub(crate) struct InAnAtomicResponse;

#[derive(Clone, Debug, Message)]
#[rtype(result = "u32")]
pub(crate) struct InAResponseFuture;

/// Awaits for ever in an actor future.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct HangInAFuture;

/// Awaits for ever in an atomic answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct HangAtomically;

/// Awaits for ever beside the actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct HangApart;

/// Answered with the number of the life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "u32")]
pub(crate) struct WhichLife;

/// Noted, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct Note(pub(crate) u32);

pub(crate) struct Patient {
    life: u32,
    notes: mpsc::UnboundedSender<String>,
    name: &'static str,
    stopping: Stopping,
}

/// What the patient does when it is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    Stops,
    Continues,
    Panics,
}

impl Actor for Patient {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let _ = self.notes.send(format!("{} started", self.name));
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        match self.stopping {
            Stopping::Stops => Running::Stop,
            Stopping::Continues => Running::Continue,
            Stopping::Panics => panic!("in stopping"),
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let _ = self.notes.send(format!("{} stopped", self.name));
    }
}

impl Handler<Die> for Patient {
    type Result = ();

    fn handle(&mut self, how: Die, context: &mut Self::Context) {
        match how {
            Die::InTheHandler => panic!("in the handler"),
            Die::InASpawnedFuture => {
                context.spawn(async { panic!("in a spawned future") }.into_actor(self));
            }
            Die::InATimer => {
                context.run_later(Duration::ZERO, |_, _| panic!("in a timer"));
            }
            Die::BySelfStop => context.stop(),
            Die::ByErrorStop => stop_with_error(context, "no more paper"),
        }
    }
}

impl Handler<InAnActorFuture> for Patient {
    type Result = ResponseActFuture<Self, u32>;

    fn handle(&mut self, _: InAnActorFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("in an actor future") }.into_actor(self))
    }
}

impl Handler<InAnAtomicResponse> for Patient {
    type Result = AtomicResponse<Self, u32>;

    fn handle(&mut self, _: InAnAtomicResponse, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(
            async {
                tokio::task::yield_now().await;
                panic!("in an atomic response")
            }
            .into_actor(self),
        ))
    }
}

impl Handler<InAResponseFuture> for Patient {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, _: InAResponseFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(async { panic!("in a response future") })
    }
}

impl Handler<HangInAFuture> for Patient {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: HangInAFuture, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending().into_actor(self))
    }
}

impl Handler<HangAtomically> for Patient {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: HangAtomically, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(std::future::pending().into_actor(self)))
    }
}

impl Handler<HangApart> for Patient {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: HangApart, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

impl Handler<WhichLife> for Patient {
    type Result = u32;

    fn handle(&mut self, _: WhichLife, _: &mut Self::Context) -> u32 {
        self.life
    }
}

impl Handler<Note> for Patient {
    type Result = ();

    fn handle(&mut self, Note(number): Note, _: &mut Self::Context) {
        let _ = self.notes.send(format!("{} {number}", self.name));
    }
}

/// What patients note.
pub(crate) type Notes = mpsc::UnboundedReceiver<String>;

/// Everything noted by now.
pub(crate) fn noted(notes: &mut Notes) -> Vec<String> {
    std::iter::from_fn(|| notes.try_recv().ok()).collect()
}

/// A child that notes into the given channel.
pub(crate) fn patient_of(
    name: &'static str,
    notes: &mpsc::UnboundedSender<String>,
    stopping: Stopping,
) -> Child<Patient> {
    let (lives, notes) = (Arc::new(AtomicU32::new(0)), notes.clone());
    Child::new(name, move || Patient {
        life: lives.fetch_add(1, Ordering::Relaxed) + 1,
        notes: notes.clone(),
        name,
        stopping,
    })
    .quiet_panics()
}

/// A child of this name, its handle and what it notes.
pub(crate) fn patient(name: &'static str) -> (Child<Patient>, Handle<Patient>, Notes) {
    let (sender, notes) = mpsc::unbounded_channel();
    let mut child = patient_of(name, &sender, Stopping::Stops);
    let handle = child.handle();
    (child, handle, notes)
}

/// Waits for an event of the tree, passing over others.
pub(crate) async fn tree_event<T>(
    events: &mut TreeEvents,
    what: &str,
    mut pick: impl FnMut(&TreeEvent) -> Option<T>,
) -> T {
    let found = async {
        loop {
            let event = events
                .next()
                .await
                .unwrap_or_else(|| panic!("{what}: the events ended"));
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    };
    crate::common::within(what, found).await
}

/// A minute of backoff, so that a test can look at what happens meanwhile.
pub(crate) fn a_minute() -> BackoffConfig {
    BackoffConfig {
        min: Duration::from_millis(60_000),
        max: Duration::from_millis(60_000),
        factor: 1.0,
        jitter: 0.0,
    }
}
