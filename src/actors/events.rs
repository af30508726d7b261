//! The event bus: one bounded channel from the actors to whoever subscribed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::broadcast;

use super::Clock;
use crate::protocol::faults;
use crate::types::{Event, EventKind};

/// How many events may wait for the slowest subscriber before it misses some.
const KEPT: usize = 8_192;

/// Where actors tell what happens. Clones share the channel.
#[derive(Debug, Clone)]
pub struct EventBus {
    /// Made for the first subscriber: its buffer is larger than the rest of a small group.
    channel: Arc<OnceLock<broadcast::Sender<Event>>>,
    /// How many subscribers want to hear of single jobs.
    of_jobs: Arc<AtomicUsize>,
    /// Set before the last event is told: who subscribes after that hears nothing.
    ended: Arc<AtomicBool>,
    clock: Clock,
}

impl EventBus {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            channel: Arc::default(),
            of_jobs: Arc::default(),
            ended: Arc::default(),
            clock,
        }
    }

    /// Tells everyone. Costs next to nothing while nobody listens.
    pub(crate) fn tell(&self, kind: EventKind) {
        trace(&kind);
        faults::ask(|world| world.told(&kind));
        if let Some(channel) = self.channel.get()
            && channel.receiver_count() > 0
        {
            // An error means that the last subscriber left just now.
            let _ = channel.send(Event {
                at: self.clock.now(),
                kind,
            });
        }
    }

    /// Tells the last event.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.tell(EventKind::Stopped);
    }

    /// Whether anybody wants to hear of single jobs.
    pub(crate) fn wants_jobs(&self) -> bool {
        self.of_jobs.load(Ordering::Relaxed) > 0 || faults::is_simulated()
    }

    pub(crate) fn subscribe(&self, of_jobs: bool) -> Events {
        if of_jobs {
            self.of_jobs.fetch_add(1, Ordering::Relaxed);
        }
        let channel = self.channel.get_or_init(|| broadcast::channel(KEPT).0);
        Events {
            ended: self.ended.load(Ordering::Acquire),
            channel: channel.subscribe(),
            count: of_jobs.then(|| Arc::clone(&self.of_jobs)),
            clock: self.clock,
        }
    }
}

/// The life of the group in tracing; the lives of single jobs are spans of their own. An end that was ordered is no warning.
fn trace(kind: &EventKind) {
    match kind {
        EventKind::ConsumerDown { cause, .. } | EventKind::RoleDown { cause, .. } if cause.was_ordered() => {
            tracing::debug!(event = ?kind);
        }
        EventKind::GroupFailed { reason } => tracing::error!(%reason, "the group gave up"),
        EventKind::ConsumerDown {
            slot,
            incarnation,
            cause,
            held,
        } => {
            tracing::warn!(%slot, %incarnation, %cause, held, "a consumer ended");
        }
        EventKind::RoleDown { role, life, cause } => {
            tracing::warn!(%role, life, %cause, "an actor of the group ended")
        }
        EventKind::Quarantined { slot, cool_down } => {
            tracing::warn!(%slot, ?cool_down, "a slot is quarantined")
        }
        EventKind::ArbiterAbandoned { slot, moved } => tracing::warn!(%slot, moved, "an arbiter is given up"),
        EventKind::DeadLettered { job, reason } => {
            tracing::warn!(%job, %reason, "a job became a dead letter")
        }
        EventKind::Retried { job, record, after } => {
            tracing::debug!(%job, %record, ?after, "a job is tried again")
        }
        kind if kind.is_of_a_job() => {}
        kind => tracing::debug!(event = ?kind),
    }
}

/// A subscription to a group's events, in the order in which they happened.
///
/// Bounded: a subscriber that is too slow misses the oldest ones and is told how many, with [`EventKind::Missed`].
/// Observers never hold the group up.
#[derive(Debug)]
#[must_use = "events are told only while somebody listens"]
pub struct Events {
    channel: broadcast::Receiver<Event>,
    /// Whether the last event has been read, or came before this subscription.
    ended: bool,
    /// Counted down at the end, if this subscription hears of single jobs.
    count: Option<Arc<AtomicUsize>>,
    clock: Clock,
}

impl Events {
    /// The next event. `None` after the group has ended and its last handle was dropped: while somebody holds a
    /// [`Group`](crate::Group) this waits, so a loop that shall end with the group ends itself at
    /// [`EventKind::Drained`] or [`EventKind::Stopped`]. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if self.ended {
                return self.try_next();
            }
            match self.channel.recv().await {
                Ok(event) if self.count.is_none() && event.kind.is_of_a_job() => {}
                Ok(event) => return Some(self.read(event)),
                Err(broadcast::error::RecvError::Lagged(events)) => return Some(self.missed(events)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if one is there already; `None` otherwise, whether or not the group has ended.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.channel.try_recv() {
                Ok(event) if self.count.is_none() && event.kind.is_of_a_job() => {}
                Ok(event) => return Some(self.read(event)),
                Err(broadcast::error::TryRecvError::Lagged(events)) => return Some(self.missed(events)),
                Err(_) => return None,
            }
        }
    }

    fn read(&mut self, event: Event) -> Event {
        self.ended |= event.kind == EventKind::Stopped;
        event
    }

    fn missed(&self, events: u64) -> Event {
        Event {
            at: self.clock.now(),
            kind: EventKind::Missed { events },
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(count) = &self.count {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
