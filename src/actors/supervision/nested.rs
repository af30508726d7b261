//! A supervisor as a child: of another supervisor, or of nobody at the root of a tree.

use std::any::Any;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::bus::TreeBus;
use super::child::{ChildPolicy, PostKeeper};
use super::errors::SupervisorStartError;
use super::mailbox::{Bounds, PersistentMailbox};
use super::messages::ChildUp;
use super::ready_child::{AnyChild, Cradle, ReadyChild, problem_of};
use super::shared::{Lives, TreeShared};
use super::tree::{SupervisorHandle, TreeSupervisor};
use crate::types::{Cause, ChildKind, Down, Ending, SupervisorConfig, TreeEvent};

/// A supervisor as a child.
pub(super) struct SupervisorChild {
    pub(super) ready: ReadyChild<TreeSupervisor>,
    pub(super) shared: Arc<TreeShared>,
}

impl SupervisorChild {
    pub(super) fn new(shared: TreeShared, policy: ChildPolicy) -> Self {
        // A supervisor is asked by few; its children do not talk to it through here.
        let bounds = Bounds {
            capacity: 1_024,
            limit: 65_536,
            stash: 1_024,
        };
        let shared = Arc::new(shared);
        let for_lives = Arc::clone(&shared);
        let mailbox = Arc::new(PersistentMailbox::new(Arc::clone(&shared.name), bounds, None));
        // Not held: a mailbox with a keeper that it keeps itself would never close.
        let own_post = Arc::downgrade(&mailbox);
        Self {
            ready: ReadyChild {
                name: Arc::clone(&shared.name),
                make: Arc::new(move |_| TreeSupervisor::new(Arc::clone(&for_lives), Weak::clone(&own_post))),
                policy,
                quiet: false,
                mailbox: PostKeeper(mailbox),
            },
            shared,
        }
    }

    pub(super) fn supervisor_handle(&self) -> SupervisorHandle {
        SupervisorHandle::new(Arc::clone(&self.ready.mailbox), Arc::clone(&self.shared))
    }

    /// All children, each once; none is listed any more.
    fn take_children(&self) -> Vec<Arc<dyn AnyChild>> {
        let mut children = self.shared.first.clone();
        let listed = std::mem::take(&mut *self.shared.listed.lock().unwrap_or_else(PoisonError::into_inner));
        let is_first =
            |child: &Arc<dyn AnyChild>| self.shared.first.iter().any(|first| Arc::ptr_eq(first, child));
        children.extend(listed.into_values().filter(|child| !is_first(child)));
        children
    }

    /// Looks for what cannot be, here and in all supervisors below.
    pub(super) fn check(&self, above: &str) -> Result<(), SupervisorStartError> {
        let path: Arc<str> = join(above, &self.shared.name).into();
        let wrong = |key, problem| {
            let supervisor = Arc::clone(&path);
            Err(SupervisorStartError::Config {
                supervisor,
                key,
                problem,
            })
        };
        if let Some((key, problem)) = problem_of_config(&self.shared.config) {
            return wrong(key, problem);
        }
        if let Some(problem) = problem_of(&self.shared.name, self.ready.policy) {
            return wrong("name", problem);
        }
        let mut names = std::collections::BTreeSet::new();
        for child in &self.shared.first {
            if let Some(problem) = child.problem() {
                return wrong("child", format!("`{}`: {problem}", child.name()));
            }
            if !names.insert(child.name()) {
                return wrong(
                    "child",
                    format!(
                        "`{}` stands there twice; give each a name of its own",
                        child.name()
                    ),
                );
            }
            child.check_below(&path)?;
        }
        Ok(())
    }
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() {
        name.to_owned()
    } else {
        format!("{above}/{name}")
    }
}

/// The events that a tree keeps for its slowest subscriber, at most: their places are made at once.
const MOST_EVENTS_KEPT: usize = 1_048_576;

/// The shortest time of a configuration that is not nothing.
const LEAST: Duration = Duration::from_millis(1);

fn problem_of_config(config: &SupervisorConfig) -> Option<(&'static str, String)> {
    let zero = |what: &str| format!("is zero; {what}");
    if config.period < LEAST {
        return Some((
            "period_ms",
            zero("restarts are counted within a period of at least 1 ms"),
        ));
    }
    if config.start_deadline < LEAST {
        return Some(("start_deadline_ms", zero("a start takes at least 1 ms")));
    }
    if config.kill_grace < LEAST {
        return Some(("kill_grace_ms", zero("an end takes at least 1 ms")));
    }
    if config.events_kept == 0 {
        return Some((
            "events_kept",
            zero("at least one event must be kept for a subscriber"),
        ));
    }
    if config.events_kept > MOST_EVENTS_KEPT {
        let problem = format!(
            "is {}; use at most {MOST_EVENTS_KEPT}, since the memory for all of them is taken at the start",
            config.events_kept
        );
        return Some(("events_kept", problem));
    }
    let backoff = &config.backoff;
    if backoff.min > backoff.max {
        let problem = format!(
            "is {} ms, above `backoff.max_ms`, {} ms",
            backoff.min.as_millis(),
            backoff.max.as_millis()
        );
        return Some(("backoff.min_ms", problem));
    }
    if !(backoff.factor.is_finite() && backoff.factor >= 1.0) {
        return Some((
            "backoff.factor",
            format!("is {}; a wait grows by a factor of at least 1", backoff.factor),
        ));
    }
    if !(0.0..=1.0).contains(&backoff.jitter) {
        return Some((
            "backoff.jitter",
            format!("is {}; it is a part of the wait, from 0 to 1", backoff.jitter),
        ));
    }
    None
}

impl AnyChild for SupervisorChild {
    fn name(&self) -> &Arc<str> {
        self.ready.name()
    }

    fn path(&self) -> Arc<str> {
        self.shared.path()
    }

    fn policy(&self) -> ChildPolicy {
        self.ready.policy()
    }

    fn kind(&self) -> ChildKind {
        ChildKind::Supervisor
    }

    fn about(&self) -> Arc<str> {
        self.shared.about()
    }

    fn added_to(&self, path: &str, bus: &TreeBus) {
        self.ready.mailbox.set_path(join(path, &self.shared.name).into());
        // Both are set once: a supervisor stays in the tree that it was handed to.
        let _ = self.shared.path.set(join(path, &self.shared.name).into());
        let _ = self.shared.bus.set(bus.clone());
    }

    fn make(&self, cradle: Cradle) {
        let (mailbox, reports) = (Arc::clone(&self.ready.mailbox), Arc::clone(&cradle.reports));
        let (child, life) = (cradle.child, cradle.life);
        let arrival = Box::new(move || {
            mailbox.up(life);
            reports.up.do_send(ChildUp { child, life });
        });
        *self.shared.arrival.lock().unwrap_or_else(PoisonError::into_inner) = Some(arrival);
        self.shared.lives.send_modify(Lives::begin);
        // It is up when its children are, not when it has started.
        self.ready.make_life(cradle, false);
    }

    fn give_up(&self, down: &Arc<Down>) {
        self.ready.give_up(down);
    }

    fn ask_to_stop(&self) {
        self.ready.ask_to_stop();
    }

    fn open_again(&self) {
        self.ready.open_again();
    }

    fn over(&self, cause: &Cause, bus: &TreeBus) {
        for child in self.take_children() {
            child.over(cause, bus);
        }
        self.ready.over(cause, bus);
    }

    fn close(&self, cause: &Cause, bus: &TreeBus) {
        for child in self.take_children() {
            child.close(cause, bus);
        }
        self.ready.close(cause, bus);
        // Last, so that whoever waited for the end finds nothing of the tree alive. Most often it is known: a supervisor ends
        // after its children. Only one that was dropped, or whose arbiter ended, leaves something to say.
        let ending = Ending::of_supervisor(cause);
        self.shared.lives.send_if_modified(|lives| {
            // One whose arbiter ended before its first turn has lived as well, for those who wait for its end.
            lives.begin_if_none_did();
            let is_new = lives.end_if_running(ending.clone());
            if is_new {
                bus.tell(TreeEvent::Ended {
                    supervisor: self.shared.path(),
                    ending,
                });
            }
            is_new
        });
    }

    fn pulse(&self) -> (u64, bool) {
        self.ready.pulse()
    }

    fn handle(&self) -> Box<dyn Any + Send> {
        Box::new(self.supervisor_handle())
    }

    fn actor(&self) -> &'static str {
        self.ready.actor()
    }

    fn problem(&self) -> Option<String> {
        self.ready.problem()
    }

    fn check_below(&self, above: &str) -> Result<(), SupervisorStartError> {
        self.check(above)
    }
}
