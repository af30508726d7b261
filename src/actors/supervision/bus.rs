//! The events of one supervision tree.

use tokio::sync::broadcast;

use crate::words::TreeEvent;

/// Where the supervisors of one tree tell what happens. Clones share the channel.
#[derive(Debug, Clone)]
pub(super) struct TreeBus {
    channel: broadcast::Sender<TreeEvent>,
}

impl TreeBus {
    /// A bus that keeps so many events for its slowest subscriber.
    pub(super) fn new(kept: usize) -> Self {
        Self {
            channel: broadcast::channel(kept.max(1)).0,
        }
    }

    pub(super) fn tell(&self, event: TreeEvent) {
        trace(&event);
        // An error means that nobody listens.
        let _ = self.channel.send(event);
    }

    pub(super) fn subscribe(&self) -> TreeEvents {
        TreeEvents {
            channel: self.channel.subscribe(),
        }
    }
}

fn trace(event: &TreeEvent) {
    match event {
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
pub struct TreeEvents {
    channel: broadcast::Receiver<TreeEvent>,
}

impl TreeEvents {
    /// The next event. `None` when the tree and all handles of its supervisors are gone. Cancel safe.
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
