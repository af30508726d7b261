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

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Recipient, WrapFuture,
};
use tokio::sync::{mpsc, watch};

use super::cell::{CellHandle, CellHooks, CellSeed, spawn_in_cell};
use super::intake::Intake;
use super::results::{Mailboxes, ResultQueue};
use super::supervisor::{Life, Supervisor, Wiring};
use super::{Clock, EventBus};
use crate::protocol::{
    AskHealth, Assign, Command, Desired, Fates, Handover, Notice, Order, QueueCommand, QueueDoor, QueueReply,
    QueueUp, ResultsUp, RoleDown, SealedFates, StrategyUp, Tell,
};
use crate::rules::restart::RestartBudget;
use crate::words::{Cause, Envelope, Epoch, EventKind, GroupState, Role, SlotId, Weight};

/// Makes one life of the queue actor in a cell.
pub(crate) type QueueMaker<J> = Box<dyn Fn(CellSeed, CellHooks) -> Option<QueueDoor<J>>>;

/// Makes one life of the strategy actor in a cell.
pub(crate) type StrategyMaker = Box<dyn Fn(CellSeed, CellHooks) -> Option<Recipient<Assign>>>;

/// Makes the wiring once the guardian's address is known.
pub(crate) type WiringMaker<J, O> =
    Box<dyn FnOnce(Recipient<Notice>, Recipient<Tell>, Recipient<Fates<J>>) -> Wiring<J, O>>;

/// What the group's handles can see without asking.
pub(crate) struct Shared<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) intake: Arc<Intake<J>>,
    pub(crate) mailboxes: Arc<Mailboxes<J, O>>,
    pub(crate) bus: EventBus,
    pub(crate) clock: Clock,
    pub(crate) doors: watch::Receiver<Option<QueueDoor<J>>>,
    pub(crate) status: watch::Receiver<Status>,
    /// Jobs that were not finished when the group ended.
    pub(crate) leftovers: Arc<Mutex<Vec<Arc<Envelope<J>>>>>,
}

/// What the guardian publishes.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) state: GroupState,
    /// Why it failed, if it did.
    pub(crate) reason: Option<String>,
    pub(crate) epoch: Epoch,
    pub(crate) supervisor: Option<Recipient<AskHealth>>,
    /// A drain has finished everything.
    pub(crate) drained: bool,
}

/// One of the group's own actors.
struct RoleCell {
    life: u64,
    cell: CellHandle,
    budget: RestartBudget,
}

/// The guardian actor.
pub(crate) struct Guardian<J: Send + Sync + 'static, O: Send + 'static> {
    /// Taken at the start.
    wiring_maker: Option<WiringMaker<J, O>>,
    wiring: Option<Arc<Wiring<J, O>>>,
    make_queue: QueueMaker<J>,
    make_strategy: StrategyMaker,
    intake: Arc<Intake<J>>,
    mailboxes: Arc<Mailboxes<J, O>>,
    roles: BTreeMap<Role, RoleCell>,
    doors: watch::Sender<Option<QueueDoor<J>>>,
    status: watch::Sender<Status>,
    leftovers: Arc<Mutex<Vec<Arc<Envelope<J>>>>>,
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
}

/// The parts that a guardian is made of.
pub(crate) struct GuardianParts<J: Send + Sync + 'static, O: Send + 'static> {
    pub(crate) wiring_maker: WiringMaker<J, O>,
    pub(crate) make_queue: QueueMaker<J>,
    pub(crate) make_strategy: StrategyMaker,
    pub(crate) intake: Arc<Intake<J>>,
    pub(crate) mailboxes: Arc<Mailboxes<J, O>>,
    pub(crate) desired: Desired,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    /// A guardian, and what the handles share with it.
    pub(crate) fn new(parts: GuardianParts<J, O>, bus: EventBus, clock: Clock) -> (Self, Shared<J, O>) {
        let (doors, door_receiver) = watch::channel(None);
        let (status, status_receiver) = watch::channel(Status {
            state: GroupState::Running,
            reason: None,
            epoch: Epoch(0),
            supervisor: None,
            drained: false,
        });
        let leftovers = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared {
            intake: Arc::clone(&parts.intake),
            mailboxes: Arc::clone(&parts.mailboxes),
            bus,
            clock,
            doors: door_receiver,
            status: status_receiver,
            leftovers: Arc::clone(&leftovers),
        };
        let guardian = Self {
            wiring_maker: Some(parts.wiring_maker),
            wiring: None,
            make_queue: parts.make_queue,
            make_strategy: parts.make_strategy,
            intake: parts.intake,
            mailboxes: parts.mailboxes,
            roles: BTreeMap::new(),
            doors,
            status,
            leftovers,
            strategy: None,
            results: None,
            supervisor: None,
            consumers: None,
            desired: parts.desired,
            ending: false,
            last_queues: 3,
            drains_everything: false,
        };
        (guardian, shared)
    }
}

// Nothing in here must stay in place in memory.
impl<J: Send + Sync + 'static, O: Send + 'static> Unpin for Guardian<J, O> {}

impl<J: Send + Sync + 'static, O: Send + 'static> Actor for Guardian<J, O> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        if let Some(make) = self.wiring_maker.take() {
            let address = context.address();
            let (notices, tell, fates) = (
                address.clone().recipient(),
                address.clone().recipient(),
                address.recipient(),
            );
            self.wiring = Some(Arc::new(make(notices, tell, fates)));
        }
        let pump = Arc::clone(&self.intake).pump(self.doors.subscribe());
        context.spawn(pump.into_actor(self));
        self.start(Role::Results, context);
        self.start(Role::Queue, context);
        self.start(Role::Strategy, context);
        self.start(Role::Supervisor, context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Tell> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, tell: Tell, context: &mut Context<Self>) {
        for kind in tell.events {
            self.tell(kind);
        }
        // A job that expired in the queue may have been the last one; no supervisor is told of it.
        if self.desired.draining && self.drains_everything {
            self.check_drained(context);
        }
    }
}

/// The queue's word on dead letters goes through here, since a result queue that dies would take it along.
impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Fates<J>> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, fates: Fates<J>, _: &mut Context<Self>) {
        let mailboxes = Arc::clone(&self.mailboxes);
        let dead = Handover::or_else(fates.dead, move |dead| mailboxes.bury(dead));
        if let Some(results) = &self.results {
            results.fates.do_send(SealedFates { dead });
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<RoleDown> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, RoleDown { role, life, cause }: RoleDown, context: &mut Context<Self>) {
        let now = self.clock().map(|clock| clock.now()).unwrap_or_default();
        let Some(found) = self.roles.get_mut(&role).filter(|found| found.life == life) else {
            return;
        };
        let allowed = found.budget.spend(now);
        self.tell(EventKind::RoleDown {
            role,
            life,
            cause: cause.clone(),
        });
        if !allowed && !self.ending {
            self.give_up(
                format!("the {role} spent its restart budget; its last life {cause}"),
                context,
            );
        }
        if self.ending {
            // Nothing is restarted any more but the queue: somebody must hand out the jobs that it kept.
            if role == Role::Queue && self.last_queues > 0 {
                self.last_queues -= 1;
                self.start(role, context);
            }
            return;
        }
        if role == Role::Supervisor {
            self.restart_supervisor(context);
        } else {
            self.start(role, context);
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Notice> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, notice: Notice, context: &mut Context<Self>) {
        match notice {
            Notice::Idle if self.drains_everything => self.check_drained(context),
            // The supervisor holds nothing, and what the queue holds stays there.
            Notice::Idle => self.status.send_modify(|status| status.drained = true),
            Notice::Unresponsive(role, cause) => self.end_role(role, cause),
            Notice::GiveUp(reason) => self.give_up(reason, context),
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Order> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, order: Order, context: &mut Context<Self>) {
        if self.ending {
            return;
        }
        match order {
            Order::Scale(to) => {
                let from = std::mem::replace(&mut self.desired.consumers, to);
                self.tell(EventKind::Scaled { from, to });
            }
            Order::Weigh(slot, weight) => self.weigh(slot, weight),
            Order::Pause => self.pause(true),
            Order::Resume => self.pause(false),
            Order::Drain { everything } => self.drain(everything, context),
            Order::EndRole(role) => return self.end_role(role, Cause::Killed),
            Order::Stop => return self.end(GroupState::Stopped, None, context),
        }
        self.tell_desired();
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    fn clock(&self) -> Option<Clock> {
        self.wiring.as_ref().map(|wiring| wiring.clock)
    }

    fn tell(&self, kind: EventKind) {
        if let Some(wiring) = &self.wiring {
            wiring.bus.tell(kind);
        }
    }

    fn set_state(&self, state: GroupState) {
        self.status.send_modify(|status| status.state = state);
    }

    fn tell_desired(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(self.desired.clone());
        }
    }

    fn weigh(&mut self, slot: SlotId, weight: Weight) {
        self.desired.weights.insert(slot, weight);
        self.tell(EventKind::Weighted { slot, weight });
    }

    fn pause(&mut self, paused: bool) {
        let state = self.status.borrow().state;
        if state != GroupState::Draining && self.desired.paused != paused {
            self.desired.paused = paused;
            self.set_state(if paused {
                GroupState::Paused
            } else {
                GroupState::Running
            });
            self.tell(if paused {
                EventKind::Paused
            } else {
                EventKind::Resumed
            });
        }
    }

    /// Takes up a role, for the first time or again.
    fn start(&mut self, role: Role, context: &mut Context<Self>) {
        let Some(wiring) = self.wiring.clone() else { return };
        let (cell, seed) = CellHandle::new();
        let life = self.next_life(role, cell, &wiring);
        let address = context.address();
        let hooks = CellHooks {
            ended: Box::new(|| {}),
            down: Box::new(move |cause| address.do_send(RoleDown { role, life, cause })),
        };
        let is_up = match role {
            Role::Results => self.start_results(seed, hooks),
            Role::Queue => self.start_queue(seed, hooks),
            Role::Strategy => self.start_strategy(seed, hooks),
            Role::Supervisor => self.start_supervisor(&wiring, life, seed, hooks),
        };
        if is_up {
            self.tell(EventKind::RoleUp { role, life });
        }
    }

    fn next_life(&mut self, role: Role, cell: CellHandle, wiring: &Wiring<J, O>) -> u64 {
        let restart = &wiring.config.restart;
        match self.roles.get_mut(&role) {
            Some(found) => {
                found.life += 1;
                found.cell = cell;
                found.life
            }
            None => {
                let budget = RestartBudget::new(restart.intensity, Duration::from_millis(restart.period_ms));
                self.roles.insert(
                    role,
                    RoleCell {
                        life: 1,
                        cell,
                        budget,
                    },
                );
                1
            }
        }
    }

    fn start_results(&mut self, seed: CellSeed, hooks: CellHooks) -> bool {
        let mailboxes = Arc::clone(&self.mailboxes);
        let address = spawn_in_cell(seed, hooks, true, move |_| ResultQueue::new(mailboxes));
        let Some(address) = address else { return false };
        let results = ResultsUp {
            outcomes: address.clone().recipient(),
            fates: address.recipient(),
        };
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(results.clone());
        }
        self.results = Some(results);
        true
    }

    fn start_queue(&mut self, seed: CellSeed, hooks: CellHooks) -> bool {
        let Some(door) = (self.make_queue)(seed, hooks) else {
            return false;
        };
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(QueueUp(door.clone()));
        }
        self.doors.send_replace(Some(door));
        true
    }

    fn start_strategy(&mut self, seed: CellSeed, hooks: CellHooks) -> bool {
        let Some(strategy) = (self.make_strategy)(seed, hooks) else {
            return false;
        };
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(StrategyUp(strategy.clone()));
        }
        self.strategy = Some(strategy);
        true
    }

    fn start_supervisor(
        &mut self,
        wiring: &Arc<Wiring<J, O>>,
        life: u64,
        seed: CellSeed,
        hooks: CellHooks,
    ) -> bool {
        let door = self.doors.borrow().clone();
        let (Some(queue), Some(strategy), Some(results)) =
            (door, self.strategy.clone(), self.results.clone())
        else {
            // A role without which no supervisor can work did not start; its death notice is on its way, and restarts it
            // or gives the group up. The supervisor's own notice follows here.
            (hooks.down)(Cause::StartFailed(
                "the queue or the strategy did not start".into(),
            ));
            return false;
        };
        // Beyond every epoch of every group that used this queue before: fencing tokens grow over restarts of the program.
        let epoch = Epoch(
            wiring
                .clock
                .unix_millis(wiring.clock.now())
                .saturating_mul(1_000)
                .saturating_add(life),
        );
        let (exists, consumers) = mpsc::channel(1);
        let life = Life {
            epoch,
            number: life,
            exists,
        };
        let (wiring, desired) = (Arc::clone(wiring), self.desired.clone());
        let address = spawn_in_cell(seed, hooks, false, move |_| {
            Supervisor::new(wiring, life, queue, strategy, results, desired)
        });
        self.consumers = Some(consumers);
        self.supervisor = address.clone();
        self.status.send_modify(|status| {
            status.epoch = epoch;
            status.supervisor = address.map(Addr::recipient);
        });
        self.supervisor.is_some()
    }

    /// The supervisor died. Its consumers end with it; the next supervisor starts when the last of them has gone, so that
    /// no job is with two consumers that both count. A consumer that blocks its thread is not waited for longer than the
    /// grace: it is fenced by its epoch.
    fn restart_supervisor(&mut self, context: &mut Context<Self>) {
        self.supervisor = None;
        let gone = self.consumers_gone();
        context.spawn(gone.into_actor(self).map(|(), this, context| {
            if !this.ending {
                this.start(Role::Supervisor, context);
            }
        }));
    }

    fn consumers_gone(&mut self) -> impl Future<Output = ()> + 'static {
        let consumers = self.consumers.take();
        let grace = self
            .wiring
            .as_ref()
            .map_or(0, |wiring| wiring.config.kill_grace_ms);
        async move {
            if let Some(mut consumers) = consumers {
                // Nothing is ever sent; the channel closes when the last sender, in the last cell, is dropped. A time-out
                // means that a thread is blocked.
                let _ = tokio::time::timeout(Duration::from_millis(grace), consumers.recv()).await;
            }
        }
    }

    fn end_role(&mut self, role: Role, cause: Cause) {
        if let Some(found) = self.roles.get_mut(&role) {
            found.cell.end(cause);
        }
    }

    fn drain(&mut self, everything: bool, context: &mut Context<Self>) {
        self.drains_everything = everything;
        self.desired.paused = false;
        self.set_state(GroupState::Draining);
        self.tell(EventKind::Draining);
        self.intake.close();
        let intake = Arc::clone(&self.intake);
        let flushed = async move { intake.flushed().await };
        context.spawn(flushed.into_actor(self).map(move |(), this, _| {
            this.desired.closed = !everything;
            this.desired.draining = true;
            this.tell_desired();
        }));
    }

    /// If the queue holds nothing, neither waiting nor leased, the drain is done.
    fn check_drained(&mut self, context: &mut Context<Self>) {
        let Some(door) = self.doors.borrow().clone() else {
            return;
        };
        let counts = door
            .command
            .send(Command::new(QueueCommand::Counts))
            .into_actor(self);
        context.spawn(counts.map(|reply, this, _| {
            if let Ok(QueueReply::Counts(counts)) = reply
                && counts.unfinished() == 0
            {
                this.status.send_modify(|status| status.drained = true);
            }
        }));
    }

    fn give_up(&mut self, reason: String, context: &mut Context<Self>) {
        self.tell(EventKind::GroupFailed {
            reason: reason.clone(),
        });
        self.end(GroupState::Failed, Some(reason), context);
    }

    /// Ends the group: first the door, then the supervisor with all consumers, then the queue hands out what is left.
    fn end(&mut self, state: GroupState, reason: Option<String>, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        self.intake.close();
        self.end_role(Role::Supervisor, Cause::Killed);
        self.supervisor = None;
        let gone = self.consumers_gone();
        context.spawn(
            gone.into_actor(self)
                .map(move |(), this, context| this.collect(state, reason, context)),
        );
    }

    /// Gathers what was not finished. A durable queue keeps its jobs; a volatile one would lose them.
    fn collect(&mut self, state: GroupState, reason: Option<String>, context: &mut Context<Self>) {
        let is_volatile = self
            .wiring
            .as_ref()
            .is_some_and(|wiring| wiring.capabilities.volatile);
        let (intake, doors) = (Arc::clone(&self.intake), self.doors.subscribe());
        let results = self.results.clone();
        let unfinished = async move {
            let mut unfinished = Vec::new();
            if is_volatile {
                let last_word = async {
                    // What is on its way to the queue arrives before the question.
                    intake.flushed().await;
                    take_unfinished(doors).await
                };
                // Only a queue that does not answer, or dies of every question, lets this pass.
                unfinished = tokio::time::timeout(LAST_WORD, last_word)
                    .await
                    .unwrap_or_default();
            }
            if let Some(results) = results {
                // Outcomes that are on their way arrive before the producers are told that no more will come. Without an
                // answer the result queue has died, and what it had not read has arrived by itself.
                let dead = Handover::or_else(Vec::new(), |_| {});
                let _ = results.fates.send(SealedFates { dead }).await;
            }
            unfinished.extend(intake.take_rest());
            unfinished
        };
        context.spawn(unfinished.into_actor(self).map(move |unfinished, this, context| {
            this.mailboxes.end(&unfinished);
            this.tell(EventKind::Drained {
                unfinished: unfinished.len(),
            });
            *this.leftovers.lock().unwrap_or_else(PoisonError::into_inner) = unfinished;
            this.roles.clear();
            if let Some(wiring) = &this.wiring {
                wiring.bus.end();
            }
            this.status.send_modify(|status| {
                status.state = state;
                status.reason = reason;
                status.supervisor = None;
            });
            context.stop();
        }));
    }
}

/// How long the queue may take at the end of the group to hand out its jobs.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Asks the queue for all jobs that it holds: its present life, or the next one if it dies over the question.
async fn take_unfinished<J: Send + Sync + 'static>(
    mut doors: watch::Receiver<Option<QueueDoor<J>>>,
) -> Vec<Arc<Envelope<J>>> {
    loop {
        let door = doors.borrow_and_update().clone();
        if let Some(door) = door {
            let question = Command::new(QueueCommand::TakeUnfinished);
            match door.command.send(question).await {
                Ok(QueueReply::Unfinished(jobs)) => return jobs,
                // A queue that cannot hand jobs out keeps them.
                Ok(_) => return Vec::new(),
                Err(_) => {}
            }
        }
        if doors.changed().await.is_err() {
            return Vec::new();
        }
    }
}
