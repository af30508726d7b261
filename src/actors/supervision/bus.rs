//! The events of one supervision tree.

use tokio::sync::broadcast;

use crate::types::{Cause, TreeEvent};

/// Where the supervisors of one tree tell what happens. Clones share the channel, and none of them keeps it open.
#[derive(Debug, Clone)]
pub(super) struct TreeBus {
    channel: broadcast::WeakSender<TreeEvent>,
}

/// Keeps the bus of a tree open. The root holds it, so that whoever listens hears of the end with the last event.
#[derive(Debug)]
pub(super) struct OpenBus(broadcast::Sender<TreeEvent>);

impl OpenBus {
    /// A bus that keeps so many events for its slowest subscriber.
    pub(super) fn new(kept: usize) -> Self {
        Self(broadcast::channel(kept.max(1)).0)
    }

    pub(super) fn bus(&self) -> TreeBus {
        TreeBus {
            channel: self.0.downgrade(),
        }
    }
}

impl TreeBus {
    /// A bus whose tree is not there.
    pub(super) fn of_no_tree() -> Self {
        OpenBus::new(1).bus()
    }

    pub(super) fn tell(&self, event: TreeEvent) {
        trace(&event);
        if let Some(channel) = self.channel.upgrade() {
            // An error means that nobody listens.
            let _ = channel.send(event);
        }
    }

    pub(super) fn subscribe(&self) -> TreeEvents {
        let channel = match self.channel.upgrade() {
            Some(channel) => channel.subscribe(),
            // Its sender is gone already, so it ends at once.
            None => broadcast::channel(1).1,
        };
        TreeEvents { channel }
    }
}

fn trace(event: &TreeEvent) {
    match event {
        // An end that was ordered, or of the actor's own will, is no warning. If it comes too often, the budget says so.
        TreeEvent::Down(down) if down.cause.was_ordered() || down.cause == Cause::Stopped => {
            tracing::debug!(event = ?event);
        }
        TreeEvent::Down(down) => tracing::warn!(%down, "a supervised actor ended"),
        TreeEvent::BudgetSpent { supervisor } => tracing::error!(%supervisor, "a supervisor gives up"),
        TreeEvent::Undelivered { child, messages } => {
            tracing::warn!(%child, messages, "messages cannot be delivered")
        }
        TreeEvent::ArbiterAbandoned { child, moved } => {
            tracing::warn!(%child, moved, "an arbiter is given up")
        }
        other => tracing::debug!(event = ?other),
    }
}

/// A subscription to the events of a supervision tree, in the order in which they happened on each thread.
///
/// Bounded: a subscriber that is too slow misses the oldest ones and is told how many, with [`TreeEvent::Missed`].
#[derive(Debug)]
#[must_use = "events are told only while somebody listens"]
pub struct TreeEvents {
    channel: broadcast::Receiver<TreeEvent>,
}

impl TreeEvents {
    /// The next event. `None` when the tree has ended and everything is read. Cancel safe.
    pub async fn next(&mut self) -> Option<TreeEvent> {
        match self.channel.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(events)) => Some(TreeEvent::Missed { events }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next event if one was told already.
    pub fn try_next(&mut self) -> Option<TreeEvent> {
        match self.channel.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(events)) => Some(TreeEvent::Missed { events }),
            Err(_) => None,
        }
    }
}
