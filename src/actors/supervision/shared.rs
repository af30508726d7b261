//! What the lives of one supervisor and its handles share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use super::bus::TreeBus;
use super::ready_child::AnyChild;
use crate::types::{Ending, Placement, RestartReach, SupervisorConfig};

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
    /// The lives that began and ended.
    pub(super) lives: watch::Sender<Lives>,
}

impl TreeShared {
    /// Whether no supervisor stands above this one: a name has no `/`, so the path of the root has none.
    pub(super) fn is_root(&self) -> bool {
        !self.path().contains('/')
    }

    pub(super) fn path(&self) -> Arc<str> {
        Arc::clone(self.path.get().unwrap_or(&self.name))
    }

    /// The bus of the tree; one that tells nobody before it is in a tree.
    pub(super) fn bus(&self) -> TreeBus {
        self.bus.get().cloned().unwrap_or_else(TreeBus::of_no_tree)
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

/// The lives of a supervisor, counted, so that whoever waits for the end of one sees it even if the next has begun by then.
#[derive(Debug, Default)]
pub(super) struct Lives {
    begun: u64,
    ended: u64,
    last: Option<Ending>,
}

impl Lives {
    pub(super) fn begin(&mut self) {
        self.begun += 1;
    }

    /// Counts a life if none was counted.
    pub(super) fn begin_if_none_did(&mut self) {
        self.begun = self.begun.max(1);
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.ended = self.begun;
        self.last = Some(ending);
    }

    /// Ends the present life if nobody has; says whether it did.
    pub(super) fn end_if_running(&mut self, ending: Ending) -> bool {
        let is_running = self.ended < self.begun;
        if is_running {
            self.end(ending);
        }
        is_running
    }

    /// The number of the present life, or of the last one; 1 before the first.
    pub(super) fn present(&self) -> u64 {
        self.begun.max(1)
    }

    /// How this life ended, or a later one; `None` while it runs.
    pub(super) fn ending_of(&self, life: u64) -> Option<&Ending> {
        self.last.as_ref().filter(|_| self.ended >= life)
    }
}
