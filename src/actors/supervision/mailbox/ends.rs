//! What is told of the lives that ended: to those who ask late, to monitors and to listeners.

use std::collections::VecDeque;

use std::sync::Arc;

use actix::{Actor, Context};
use tokio::sync::broadcast;

use crate::actors::cell::guard_of_a_call;

use super::{PersistentMailbox, open};
use crate::types::{Cause, Down, Guarded};

/// How many ends of lives wait for the slowest monitor.
const MONITORED: usize = 64;

/// Called at the end of each life; false when it needs no more calls.
pub(in crate::actors::supervision) type Listener = Guarded<Box<dyn FnMut(&Arc<Down>) -> bool + Send>>;

/// What is told of ended lives.
#[derive(Default)]
pub(super) struct News {
    pub(super) last: VecDeque<Arc<Down>>,
    pub(super) monitors: Option<broadcast::Sender<Arc<Down>>>,
    /// No life will ever follow: there is nothing more to hear.
    pub(super) closed: bool,
    pub(super) listeners: Vec<Listener>,
}

/// Calls a listener; one that panics is called no more.
fn keeps_listening(call: impl FnOnce() -> bool) -> bool {
    guard_of_a_call(call).unwrap_or_else(|report| {
        tracing::warn!(%report, "a listener for ends of lives panicked");
        false
    })
}

impl<A: Actor<Context = Context<A>>> PersistentMailbox<A> {
    /// Tells everybody who asked of the end of a life. Called last, when nothing of that life is left.
    pub(in crate::actors::supervision) fn tell_down(&self, down: &Arc<Down>) {
        let (monitors, listeners) = {
            let mut news = open(&self.news);
            (news.monitors.clone(), std::mem::take(&mut news.listeners))
        };
        if let Some(monitors) = monitors {
            // An error means that nobody listens any more.
            let _ = monitors.send(Arc::clone(down));
        }
        // Called without the lock: a listener may do what it likes with this very actor's handle.
        let mut kept: Vec<Listener> = Vec::new();
        for mut listener in listeners {
            let wants_more = keeps_listening(|| listener(down));
            if wants_more {
                kept.push(listener);
            }
        }
        let mut news = open(&self.news);
        kept.append(&mut news.listeners);
        news.listeners = kept;
    }

    pub(in crate::actors::supervision) fn listen(&self, listener: Listener) {
        open(&self.news).listeners.push(listener);
    }

    pub(in crate::actors::supervision) fn monitor(&self) -> broadcast::Receiver<Arc<Down>> {
        let mut news = open(&self.news);
        if news.closed {
            // Its sender is gone already, so it ends at once.
            return broadcast::channel(1).1;
        }
        news.monitors
            .get_or_insert_with(|| broadcast::channel(MONITORED).0)
            .subscribe()
    }

    /// Why the last life ended, if one did.
    pub(in crate::actors::supervision) fn last_cause(&self) -> Option<Cause> {
        open(&self.news).last.back().map(|down| down.cause.clone())
    }

    /// How this life ended, or the last one if it is remembered no more.
    pub(in crate::actors::supervision) fn down_of(&self, life: u64) -> Option<Arc<Down>> {
        let news = open(&self.news);
        let exact = news.last.iter().find(|down| down.life == life);
        exact.or(news.last.back()).cloned()
    }
}
