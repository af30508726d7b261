//! The supervisor of a tree: an actor around the rules.
//!
//! | file | what it does |
//! |---|---|
//! | `orders.rs` | carries out what the rules decided |
//! | `watching.rs` | the one timer: waits, limits, deadlines, blocked threads |
//! | `asking.rs` | children added, ended and listed at run time |
//! | `handle.rs` | what others hold |

mod decisions;
mod handle;
mod requests;
mod watching;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};

use actix::{Actor, Context, Handler, Running};
use tokio::sync::oneshot;

use super::bus::TreeBus;
use super::errors::ChildError;
use super::mailbox::PersistentMailbox;
use super::messages::{ChildDown, ChildUp, LifeFault, Reports};
use super::ready_child::AnyChild;
use super::shared::{Lives, TreeShared};
use crate::actors::Clock;
use crate::actors::arbiter_pool::{ArbiterId, ArbiterPool, ArbiterSlot};
use crate::actors::cell::CellHandle;
use crate::rules::hang_detector::HangDetector;
use crate::rules::supervision::{ChildNumber, ChildSet, Exit, Member, Order, SupervisionRules};
use crate::types::{Cause, ChildState, Down, Ending, Moment, TreeEvent};

pub use handle::SupervisorHandle;
use watching::Looks;

/// One child with its present life.
struct Entry {
    spec: Arc<dyn AnyChild>,
    /// Ends the present life; ends it by itself when it is dropped.
    cell: Option<CellHandle>,
    /// Where it lives. Its next life begins there as well, unless that place was given up.
    arbiter: Option<(ArbiterId, ArbiterSlot)>,
    /// When its present life began.
    since: Moment,
    watch: HangDetector,
    /// Whether its last start found no thread or descriptor left. Set by that start, taken when its end is heard of.
    is_starved: bool,
    /// How its last life ended.
    last: Option<Arc<Down>>,
    /// Since when its future is told to drop; if it does not, its thread is blocked.
    told_to_drop: Option<Moment>,
    /// Whether it was added while the supervisor ran: then it ends for good with this life of the supervisor.
    added_later: bool,
}

/// The handle of a child that is a supervisor.
fn supervisor_of(child: &dyn AnyChild) -> Option<SupervisorHandle> {
    child.handle().downcast().ok().map(|handle| *handle)
}

type Answer = oneshot::Sender<Result<(), ChildError>>;

/// Who waits for what becomes of a child.
#[derive(Default)]
struct Awaited {
    /// Who waits for a child to be up for the first time.
    adding: BTreeMap<ChildNumber, Answer>,
    /// Who waits for a child to be up again, as it was wished.
    restarting: BTreeMap<ChildNumber, Answer>,
    /// Who waits for a child to have ended.
    terminating: BTreeMap<ChildNumber, Vec<Answer>>,
}

/// The supervisor actor. Only its handle is for others.
pub(crate) struct TreeSupervisor {
    shared: Arc<TreeShared>,
    /// Its own, which knows how this life ended when the rest of it is dropped.
    mailbox: Weak<PersistentMailbox<Self>>,
    bus: TreeBus,
    /// Made at the first start of a child, because it needs this actor's address.
    reports: Option<Arc<Reports>>,
    child_set: ChildSet,
    /// What the child set decided and nobody has carried out yet; empty between two messages.
    orders: Vec<Order>,
    entries: BTreeMap<ChildNumber, Entry>,
    numbers: BTreeMap<Arc<str>, ChildNumber>,
    arbiters: ArbiterPool,
    clock: Clock,
    /// For the spread of waits.
    random: fastrand::Rng,
    awaited: Awaited,
    looks: Looks,
    /// All children have ended, for good.
    ended: bool,
}

impl std::fmt::Debug for TreeSupervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Supervisor({})", self.shared.path())
    }
}

impl TreeSupervisor {
    pub(super) fn new(shared: Arc<TreeShared>, mailbox: Weak<PersistentMailbox<Self>>) -> Self {
        let bus = shared.bus();
        Self {
            bus,
            child_set: ChildSet::new(SupervisionRules::of_supervisor(&shared.config)),
            reports: None,
            orders: Vec::new(),
            entries: BTreeMap::new(),
            numbers: BTreeMap::new(),
            arbiters: ArbiterPool::new(shared.placement),
            clock: Clock::start(),
            random: fastrand::Rng::new(),
            awaited: Awaited::default(),
            looks: Looks::default(),
            ended: false,
            mailbox,
            shared,
        }
    }

    /// Lists a child; it is not started by this.
    fn list(&mut self, spec: Arc<dyn AnyChild>, added_later: bool) -> ChildNumber {
        let policy = spec.policy();
        let child = self.child_set.add(policy.restart, policy.significant);
        let name = Arc::clone(spec.name());
        spec.added_to(&self.shared.path(), &self.bus);
        self.numbers.insert(Arc::clone(&name), child);
        let mut listed = self.shared.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.insert(name, Arc::clone(&spec));
        drop(listed);
        let entry = Entry {
            spec,
            cell: None,
            arbiter: None,
            since: Moment::START,
            watch: HangDetector::default(),
            is_starved: false,
            last: None,
            told_to_drop: None,
            added_later,
        };
        self.entries.insert(child, entry);
        child
    }

    fn life(&self, child: ChildNumber) -> u64 {
        self.child_set.member(child).map_or(0, Member::life)
    }

    fn state(&self, child: ChildNumber) -> ChildState {
        self.child_set
            .member(child)
            .map_or(ChildState::Ended, Member::state)
    }
}

impl Actor for TreeSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        for spec in self.shared.first.clone() {
            self.list(spec, false);
        }
        self.child_set.open(&mut self.orders);
        self.carry_out(context);
    }

    /// Whoever stops it, it first ends its children in order; `Continue` keeps it alive for that.
    fn stopping(&mut self, context: &mut Context<Self>) -> Running {
        self.child_set.stop(&mut self.orders);
        self.carry_out(context);
        if self.ended {
            Running::Stop
        } else {
            Running::Continue
        }
    }
}

impl Drop for TreeSupervisor {
    fn drop(&mut self) {
        let cause = self.mailbox.upgrade().and_then(|mailbox| mailbox.last_cause());
        let cause = cause.filter(|_| !self.ended).unwrap_or(Cause::Killed);
        let of_children = match cause {
            Cause::ArbiterEnded => Cause::ArbiterEnded,
            _ => Cause::Killed,
        };
        // Children that were there from the beginning are made again by the next life, if one follows; whether it does is
        // for the parent to say.
        for entry in self.entries.values().filter(|entry| entry.added_later) {
            entry.spec.close(&of_children, &self.bus);
        }
        self.shared
            .listed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        // A life that ended by its rules has said so. Any other is told here, before the next one can begin. At the end of the
        // tree, and of its arbiter, no next one begins: that is told by the root, when all actors of the tree are over.
        if self.shared.is_root() || cause == Cause::ArbiterEnded {
            return;
        }
        let ending = Ending::of_supervisor(&cause);
        let is_new = |lives: &mut Lives| lives.end_if_running(ending.clone());
        if self.shared.lives.send_if_modified(is_new) {
            self.bus.tell(TreeEvent::Ended {
                supervisor: self.shared.path(),
                ending,
            });
        }
    }
}

impl Handler<ChildUp> for TreeSupervisor {
    type Result = ();

    fn handle(&mut self, ChildUp { child, life }: ChildUp, context: &mut Context<Self>) {
        if self.life(child) != life || self.state(child) != ChildState::Starting {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&child) {
            self.bus.tell(TreeEvent::Up {
                child: entry.spec.path(),
                life,
            });
            if entry.spec.policy().deadline.is_none() {
                self.looks.watched.remove(&child);
            }
        }
        let waiting = self
            .awaited
            .adding
            .remove(&child)
            .or_else(|| self.awaited.restarting.remove(&child));
        if let Some(answer) = waiting {
            // An error means that nobody waits any more.
            let _ = answer.send(Ok(()));
        }
        self.child_set.up(child, life, self.clock.now(), &mut self.orders);
        self.carry_out(context);
    }
}

impl Handler<LifeFault> for TreeSupervisor {
    type Result = ();

    fn handle(&mut self, LifeFault { child, life, cause }: LifeFault, context: &mut Context<Self>) {
        if self.life(child) == life {
            self.end_hard(child, cause);
            self.set_timer(context);
        }
    }
}

impl Handler<ChildDown> for TreeSupervisor {
    type Result = ();

    fn handle(&mut self, ChildDown { child, down }: ChildDown, context: &mut Context<Self>) {
        self.child_down(child, down);
        self.carry_out(context);
    }
}

impl TreeSupervisor {
    fn child_down(&mut self, child: ChildNumber, down: Arc<Down>) {
        let is_present = self.life(child) == down.life;
        let Some(entry) = self.entries.get_mut(&child).filter(|_| is_present) else {
            return;
        };
        entry.cell = None;
        entry.watch = HangDetector::default();
        entry.told_to_drop = None;
        let is_starved = std::mem::take(&mut entry.is_starved);
        self.looks.watched.remove(&child);
        if down.cause == Cause::ArbiterEnded
            && let Some((id, _)) = entry.arbiter.take()
        {
            self.arbiters.abandon(id);
        }
        entry.last = Some(Arc::clone(&down));
        self.bus.tell(TreeEvent::Down(Arc::clone(&down)));
        if let Some(answer) = self.awaited.adding.remove(&child) {
            // As in OTP: a child that was added and did not start is not listed.
            self.child_set.remove(child, &mut self.orders);
            let _ = answer.send(Err(ChildError::StartFailed(down)));
            return;
        }
        if let Some(answer) = self.awaited.restarting.remove(&child) {
            let _ = answer.send(Err(ChildError::StartFailed(Arc::clone(&down))));
        }
        // `Killed` without the child set's order is a stop that somebody asked for by the child's own handle.
        let exit = if is_starved {
            Exit::Starved
        } else if matches!(down.cause, Cause::Stopped | Cause::Killed) {
            Exit::Normal
        } else {
            Exit::Fault
        };
        let (now, unit) = (self.clock.now(), self.random.f64());
        self.child_set
            .down(child, down.life, exit, now, unit, &mut self.orders);
    }
}
