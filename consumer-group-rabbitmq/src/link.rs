//! The state of a connection, for whoever wants to know.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::LinkError;

/// How a connection to the server stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// Nobody has needed it yet.
    #[default]
    Idle,
    /// It works.
    Connected,
    /// The server takes nothing over it at present: its memory or its disk is full.
    Blocked {
        /// What the server says.
        why: String,
    },
    /// It is down, and is made again.
    Down {
        /// Why.
        why: Arc<str>,
    },
    /// It was closed for good.
    Closed,
}

impl Link {
    pub(crate) fn down(error: &LinkError) -> Self {
        Self::Down {
            why: error.to_string().into(),
        }
    }
}

/// Tells the state of one connection.
#[derive(Debug, Clone)]
pub(crate) struct LinkSender(watch::Sender<Link>);

impl LinkSender {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::default())
    }

    pub(crate) fn set(&self, link: Link) {
        self.0.send_if_modified(|known| {
            let is_new = *known != link;
            *known = link;
            is_new
        });
    }

    pub(crate) fn get(&self) -> Link {
        self.0.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Link> {
        self.0.subscribe()
    }
}
