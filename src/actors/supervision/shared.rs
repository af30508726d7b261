//! What the lives of one supervisor and its handles share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use super::bus::TreeBus;
use super::child::AnyChild;
use crate::words::{Ending, Placement, RestartReach, SupervisorConfig};

/// What the lives of one supervisor and its handles share.
pub(super) struct TreeShared {
    pub(super) name: Arc<str>,
    pub(super) config: SupervisorConfig,
    pub(super) placement: Placement,
    /// The children of each new life, in order.
    pub(super) first: Vec<Arc<dyn AnyChild>>,
    /// The children that are listed now.
    pub(super) listed: Mutex<BTreeMap<Arc<str>, Arc<dyn AnyChild>>>,
    pub(super) path: OnceLock<Arc<str>>,
    pub(super) bus: OnceLock<TreeBus>,
    /// How the present life of the supervisor tells that it is up. Taken by that life.
    pub(super) arrival: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// How the last life ended; `None` while one runs.
    pub(super) ending: watch::Sender<Option<Ending>>,
}

impl TreeShared {
    pub(super) fn path(&self) -> Arc<str> {
        Arc::clone(self.path.get().unwrap_or(&self.name))
    }

    /// What this supervisor does, in words.
    pub(super) fn about(&self) -> Arc<str> {
        match self.config.reach {
            RestartReach::OneForOne => "supervisor, one for one".into(),
            RestartReach::OneForAll => "supervisor, one for all".into(),
            RestartReach::RestForOne => "supervisor, rest for one".into(),
        }
    }

    /// The names of the listed children, at most ten of them.
    pub(super) fn known(&self) -> String {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<&str> = listed.keys().take(10).map(|name| &**name).collect();
        if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<dyn AnyChild>> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.get(name).cloned()
    }
}
