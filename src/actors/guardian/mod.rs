//! The guardian: keeps the group's own actors alive.
//!
//! ```text
//! guardian ─┬─ result queue   restarted alone
//!           ├─ queue          restarted alone, over the same store
//!           ├─ strategy       restarted alone
//!           └─ supervisor     restarted after all its consumers have gone, with the next epoch
//!                └─ consumers
//! ```
//!
//! It runs no code of the user. What the group shall be (how many consumers, paused or not) is kept here, so a supervisor
//! that is restarted is told the same again.

mod ending;
mod roles;
mod root;
mod steering;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture};
use tokio::sync::{mpsc, watch};

use crate::actors::cell::{CellHandle, CellHooks, CellSeed, Life};
use crate::actors::intake::Intake;
use crate::actors::results::Mailboxes;
use crate::actors::supervisor::{GroupContext, Supervisor};
use crate::actors::{Clock, EventBus};
use crate::protocol::{
    AskHealth, Assign, DeadLetteredJobs, DeadLetteredRefs, Desired, Handover, Notice, QueueAddr, QueueNews,
    ResultsUp,
};
use crate::rules::supervision::{ChildSet, Order, SupervisionRules};
use crate::types::{
    BackoffConfig, Cause, Epoch, EventKind, GroupState, LinkState, PastBudget, QueueState, Restart,
    RestartConfig, Role,
};

pub(crate) use root::{Leftovers, QueueOfGroup, Root};

/// Makes one life of the strategy actor in a cell.
pub(crate) type StrategyMaker = Box<dyn Fn(CellSeed, CellHooks) -> Option<Recipient<Assign>> + Send>;

/// Makes the group once the guardian's address is known.
pub(crate) type GroupContextMaker<J, O> = Box<
    dyn FnOnce(Recipient<Notice>, Recipient<QueueNews>, Recipient<DeadLetteredJobs<J>>) -> GroupContext<J, O>,
>;

/// What the group's handles can see without asking.
pub(crate) struct Shared<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) intake: Arc<Intake<J>>,
    pub(crate) mailboxes: Arc<Mailboxes<J, O>>,
    pub(crate) bus: EventBus,
    pub(crate) clock: Clock,
    pub(crate) addresses: watch::Receiver<Option<QueueAddr<J>>>,
    pub(crate) status: watch::Receiver<Status>,
    /// What the group hands out when it has ended.
    pub(crate) leftovers: Arc<Mutex<Leftovers<J>>>,
}

/// What the guardian publishes.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) state: GroupState,
    /// Why it failed, if it did.
    pub(crate) reason: Option<String>,
    pub(crate) epoch: Epoch,
    pub(crate) supervisor: Option<Recipient<AskHealth>>,
    /// The link of the queue, as the queue told it last.
    pub(crate) queue: QueueState,
}

impl Status {
    /// Whether the group has ended, for whatever reason.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, GroupState::Stopped | GroupState::Failed)
    }
}

/// The roles in the order of their start, which is the order of their numbers in the child set.
const ROLES: [Role; 4] = [Role::Results, Role::Queue, Role::Strategy, Role::Supervisor];

/// One of the group's own actors.
struct RoleCell {
    life: u64,
    cell: CellHandle,
}

/// The roles are four children, each with a budget of its own; past it the group fails. A role is started again at once:
/// without it nothing goes on.
fn family_of_roles(restart: &RestartConfig) -> ChildSet {
    let at_once = BackoffConfig {
        min: Duration::ZERO,
        max: Duration::ZERO,
        ..restart.backoff
    };
    let mut child_set = ChildSet::new(SupervisionRules {
        past_budget: PastBudget::Escalate,
        backoff: at_once,
        ..SupervisionRules::of_slots(restart)
    });
    for _ in ROLES {
        child_set.add(Restart::Permanent, false);
    }
    child_set
}

/// The guardian actor.
pub(crate) struct Guardian<J: Send + Sync + 'static, O: Send + 'static> {
    /// Taken at the start.
    group_context_maker: Option<GroupContextMaker<J, O>>,
    group: Option<Arc<GroupContext<J, O>>>,
    root: Rc<Root<J, O>>,
    make_strategy: StrategyMaker,
    roles: BTreeMap<Role, RoleCell>,
    /// How the last life of each role ended.
    last_causes: BTreeMap<Role, Cause>,
    /// Which role is started again. Made at the start.
    child_set: Option<ChildSet>,
    strategy: Option<Recipient<Assign>>,
    results: Option<ResultsUp<J, O>>,
    supervisor: Option<Addr<Supervisor<J, O>>>,
    /// Closes when the last consumer of the present supervisor has gone.
    consumers: Option<mpsc::Receiver<Infallible>>,
    desired: Desired,
    /// Whether the end has begun; then nothing is restarted.
    ending: bool,
    /// How many more lives the queue may have after the end has begun.
    last_queues: u32,
    /// Whether the drain waits for the whole queue, or only for what is leased.
    drains_everything: bool,
    /// Whether the drain has come so far that the consumers may go.
    has_dismissed: bool,
}

/// The parts that a guardian is made of.
pub(crate) struct GuardianParts<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) group_context_maker: GroupContextMaker<J, O>,
    pub(crate) queue: Box<dyn QueueOfGroup<J> + Send>,
    pub(crate) is_volatile: bool,
    pub(crate) make_strategy: StrategyMaker,
    pub(crate) intake: Arc<Intake<J>>,
    pub(crate) mailboxes: Arc<Mailboxes<J, O>>,
    pub(crate) desired: Desired,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    /// A guardian, and what the handles share with it.
    pub(crate) fn new(parts: GuardianParts<J, O>, bus: EventBus, clock: Clock) -> (Self, Shared<J, O>) {
        let (addresses, door_receiver) = watch::channel(None);
        let (status, status_receiver) = watch::channel(Status {
            state: GroupState::Running,
            reason: None,
            epoch: Epoch(0),
            supervisor: None,
            queue: QueueState {
                link: LinkState::Connected,
                since: clock.now(),
            },
        });
        let leftovers = Arc::new(Mutex::new(Leftovers {
            unfinished: Vec::new(),
            dead: Vec::new(),
        }));
        let shared = Shared {
            intake: Arc::clone(&parts.intake),
            mailboxes: Arc::clone(&parts.mailboxes),
            bus: bus.clone(),
            clock,
            addresses: door_receiver,
            status: status_receiver,
            leftovers: Arc::clone(&leftovers),
        };
        let guardian = Self {
            group_context_maker: Some(parts.group_context_maker),
            group: None,
            root: Rc::new(Root {
                queue: parts.queue,
                is_volatile: parts.is_volatile,
                intake: parts.intake,
                mailboxes: parts.mailboxes,
                bus,
                addresses,
                status,
                leftovers,
            }),
            make_strategy: parts.make_strategy,
            roles: BTreeMap::new(),
            last_causes: BTreeMap::new(),
            child_set: None,
            strategy: None,
            results: None,
            supervisor: None,
            consumers: None,
            desired: parts.desired,
            ending: false,
            last_queues: 3,
            drains_everything: false,
            has_dismissed: false,
        };
        (guardian, shared)
    }

    /// Spawns it on the arbiter of this thread.
    ///
    /// # Panics
    /// If the thread has no arbiter, as `actix_rt::spawn` does.
    pub(crate) fn spawn(self) -> Addr<Self> {
        let context = Context::new();
        let address = context.address();
        actix_rt::spawn(Life::new(context, self));
        address
    }
}

/// Only an arbiter that ends drops a guardian before its group has ended. The door closes at once; the rest is done by the
/// [`Root`], when the last actor of the group has gone.
impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Guardian<J, O> {
    fn drop(&mut self) {
        self.root.intake.close();
    }
}

// Nothing in here must stay in place in memory.
impl<J: Send + Sync + 'static, O: Send + 'static> Unpin for Guardian<J, O> {}

impl<J: Send + Sync + 'static, O: Send + 'static> Actor for Guardian<J, O> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        if let Some(make) = self.group_context_maker.take() {
            let address = context.address();
            let (notices, tell, dead_lettered) = (
                address.clone().recipient(),
                address.clone().recipient(),
                address.recipient(),
            );
            self.group = Some(Arc::new(make(notices, tell, dead_lettered)));
        }
        let pump = Arc::clone(&self.root.intake).pump(self.root.addresses.subscribe());
        context.spawn(pump.into_actor(self));
        self.child_set = self
            .group
            .as_ref()
            .map(|group| family_of_roles(&group.config.restart));
        self.decide(context, |child_set, orders| {
            for (child, _) in (0..).zip(ROLES) {
                child_set.start(child, orders);
            }
        });
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<QueueNews> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, tell: QueueNews, context: &mut Context<Self>) {
        for kind in tell.events {
            if let EventKind::QueueStateChanged { state } = &kind {
                let state = state.clone();
                self.root.status.send_modify(|status| status.queue = state);
            }
            self.tell(kind);
        }
        let own = self
            .group
            .as_ref()
            .and_then(|group| group.dead_letter_store.clone());
        for job in tell.unreadable {
            let dropped = own.as_ref().map(|own| own.keep_unreadable(job));
            for job in dropped.unwrap_or_default() {
                self.tell(EventKind::DeadLetterDropped { job });
            }
        }
        // A job that expired in the queue may have been the last one; no supervisor is told of it.
        if self.desired.draining && self.drains_everything {
            self.check_drained(context);
        }
    }
}

/// The queue's word on dead letters goes through here, since a result queue that dies would take it along.
impl<J: Send + Sync + 'static, O: Send + 'static> Handler<DeadLetteredJobs<J>> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, dead_lettered: DeadLetteredJobs<J>, _: &mut Context<Self>) {
        let mailboxes = Arc::clone(&self.root.mailboxes);
        let dead = Handover::or_else(dead_lettered.dead, move |dead| mailboxes.bury(dead));
        if let Some(results) = &self.results {
            results.dead_lettered.do_send(DeadLetteredRefs { dead });
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Notice> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, notice: Notice, context: &mut Context<Self>) {
        match notice {
            Notice::NoConsumers if self.has_dismissed => self.end(GroupState::Stopped, None, context),
            // A group that was scaled to nothing before its drain still has its jobs.
            Notice::NoConsumers => {}
            Notice::Idle if self.drains_everything => self.check_drained(context),
            // The supervisor holds nothing, and what the queue holds stays there.
            Notice::Idle => self.dismiss_consumers(),
            Notice::Unresponsive(role, cause) => self.end_role(role, cause),
            Notice::GiveUp(reason) => self.give_up(reason, context),
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    fn clock(&self) -> Option<Clock> {
        self.group.as_ref().map(|group| group.clock)
    }

    /// Asks the child set, and carries out what it decided.
    fn decide(&mut self, context: &mut Context<Self>, ask: impl FnOnce(&mut ChildSet, &mut Vec<Order>)) {
        let mut orders = Vec::new();
        if let Some(child_set) = &mut self.child_set {
            ask(child_set, &mut orders);
        }
        for order in orders {
            self.carry_out(order, context);
        }
    }

    fn tell(&self, kind: EventKind) {
        if let Some(group) = &self.group {
            group.bus.tell(kind);
        }
    }
}
