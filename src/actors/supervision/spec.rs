//! What a supervisor is made of.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix::{Actor, Context};
use tokio::sync::watch;

use super::child::{Child, ChildPolicy};
use super::errors::SupervisorStartError;
use super::nested::SupervisorChild;
use super::ready_child::{AnyChild, ReadyChild};
use super::root;
use super::shared::{Lives, TreeShared};
use super::tree::SupervisorHandle;
use crate::actors::{Host, check_arbiter};
use crate::types::{
    AutoShutdown, BackoffConfig, Placement, Restart, RestartReach, Shutdown, SupervisorConfig,
};

/// A supervisor to be started: its policies and its first children, in the order of their start.
///
/// It is a child like any other for another supervisor ([`supervisor`](Self::supervisor)): then it is ended without a limit
/// and started again always, unless said otherwise. Children that were added while it ran are not there in its next life,
/// as in OTP.
#[must_use = "a description does nothing until it is started or added to a supervisor"]
#[derive(Debug)]
pub struct SupervisorSpec {
    name: Arc<str>,
    config: SupervisorConfig,
    placement: Placement,
    policy: ChildPolicy,
    children: Children,
}

/// Children that were handed over, in order.
#[derive(Default)]
struct Children(Vec<Arc<dyn AnyChild>>);

impl std::fmt::Debug for Children {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|child| child.name()))
            .finish()
    }
}

impl SupervisorSpec {
    /// A supervisor of this name, without children, with OTP's defaults.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            config: SupervisorConfig::default(),
            placement: Placement::Local,
            policy: ChildPolicy {
                restart: Restart::Permanent,
                shutdown: Shutdown::WithoutLimit,
                significant: false,
                deadline: None,
            },
            children: Children::default(),
        }
    }

    /// Adds a child. It is started after those that were added before, when the one before is up.
    pub fn child<A: Actor<Context = Context<A>>>(mut self, child: Child<A>) -> Self {
        self.children.0.push(Arc::new(ReadyChild::from_child(child)));
        self
    }

    /// Adds a supervisor as a child. It is up when its children are.
    pub fn supervisor(mut self, supervisor: Self) -> Self {
        self.children.0.push(Arc::new(supervisor.into_child()));
        self
    }

    /// Which children are started again with one that ended.
    pub fn reach(mut self, reach: RestartReach) -> Self {
        self.config.reach = reach;
        self
    }

    /// How many restarts are allowed within a sliding window of `period` (in whole ms).
    pub fn intensity(mut self, restarts: u32, period: Duration) -> Self {
        self.config.intensity = restarts;
        self.config.period = Duration::from_millis(u64::try_from(period.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// How long to wait before a restart.
    pub fn backoff(mut self, backoff: BackoffConfig) -> Self {
        self.config.backoff = backoff;
        self
    }

    /// Whether it ends by itself.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.config.auto_shutdown = auto_shutdown;
        self
    }

    /// All policies at once.
    pub fn config(mut self, config: SupervisorConfig) -> Self {
        self.config = config;
        self
    }

    /// On which arbiters its children live; its supervisors among them always live on its own. Whoever lives on the
    /// supervisor's own arbiter (`Placement::Local`, the default) can block it: then a hang cannot be seen.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// As a child: whether it is started again after its end.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// As a child: how it is ended. With a limit, what lives below it is ended hard when the limit is over.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.policy.shutdown = shutdown;
        self
    }

    /// As a child: its end counts for the parent's `auto_shutdown`.
    pub fn significant(mut self) -> Self {
        self.policy.significant = true;
        self
    }

    /// Starts the tree on the arbiter of this thread; done when all children are up. It lives until it is stopped, gives up
    /// or its arbiter ends, whether or not handles are held. Where there is no arbiter, in tokio, axum or a plain `main`, a
    /// [`Host`] has one: [`start_on`](Self::start_on).
    ///
    /// # Errors
    /// [`SupervisorStartError`]: a value that cannot be, a child that did not start, or no actor can be started here; the last
    /// one names the cure ([`NoArbiter`](crate::host::NoArbiter)). Nothing is left running then, and what was sent to the
    /// handles of its children comes back.
    pub async fn start(self) -> Result<SupervisorHandle, SupervisorStartError> {
        let kept = self.config.events_kept;
        let child = self.into_child();
        child.check("")?;
        check_arbiter()?;
        root::start(child, kept).await
    }

    /// Starts the tree on a host, from any thread and any runtime; done when all children are up. The host ends it at its own
    /// end.
    ///
    /// **Cancellation**: a tree whose start is not waited for goes on until the host ends.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`SupervisorStartError::Host`] if the host has ended.
    pub async fn start_on(self, host: &Host) -> Result<SupervisorHandle, SupervisorStartError> {
        let tree = host.run(async move || self.start().await).await??;
        if let Err(ended) = host.take_in(tree.resident()) {
            // The end of the host has begun meanwhile, without the tree.
            tree.stop().await;
            return Err(ended.into());
        }
        Ok(tree)
    }

    fn into_child(self) -> SupervisorChild {
        let shared = TreeShared {
            name: self.name,
            config: self.config,
            placement: self.placement,
            first: self.children.0,
            listed: Mutex::default(),
            path: OnceLock::new(),
            bus: OnceLock::new(),
            arrival: Mutex::new(None),
            lives: watch::channel(Lives::default()).0,
        };
        SupervisorChild::new(shared, self.policy)
    }
}
