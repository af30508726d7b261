//! The lives of the group's own actors: started, seen to end, started again.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use tokio::sync::mpsc;

use super::{Guardian, ROLES, RoleCell};
use crate::actors::cell::{CellHandle, CellHooks, CellSeed, spawn_in_cell};
use crate::actors::fair_time::within_fair_time;
use crate::actors::results::ResultQueue;
use crate::actors::supervisor::{GroupContext, Life, Supervisor};
use crate::protocol::faults;
use crate::protocol::{QueueUp, ResultsUp, RoleDown, StrategyUp};
use crate::rules::supervision::{ChildNumber, Exit, Order};
use crate::types::{Cause, Epoch, EventKind, Role};

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<RoleDown> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, RoleDown { role, life, cause }: RoleDown, context: &mut Context<Self>) {
        if self.roles.get(&role).is_none_or(|found| found.life != life) {
            return;
        }
        self.tell(EventKind::RoleDown {
            role,
            life,
            cause: cause.clone(),
        });
        self.last_causes.insert(role, cause);
        if !self.ending {
            let now = self.clock().map(|clock| clock.now()).unwrap_or_default();
            self.decide(context, |child_set, orders| {
                child_set.down(number_of(role), life, Exit::Fault, now, 0.0, orders);
            });
        }
        // Once the end has begun, here or before, nothing is restarted any more but the queue: somebody must hand out the
        // jobs that it kept.
        if self.ending && role == Role::Queue && self.last_queues > 0 {
            self.last_queues -= 1;
            self.start(role, life + 1, context);
        }
    }
}

fn number_of(role: Role) -> ChildNumber {
    (0..)
        .zip(ROLES)
        .find(|(_, other)| *other == role)
        .map_or(ChildNumber::MAX, |(number, _)| number)
}

fn role_of(child: ChildNumber) -> Option<Role> {
    ROLES.get(child as usize).copied()
}

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    /// Carries out what the child set decided.
    pub(super) fn carry_out(&mut self, order: Order, context: &mut Context<Self>) {
        match order {
            Order::Start { child, life } => {
                let Some(role) = role_of(child) else { return };
                if role == Role::Supervisor && life > 1 {
                    self.restart_supervisor(life, context);
                } else {
                    self.start(role, life, context);
                }
            }
            Order::BudgetSpent { child } => {
                let Some(role) = role_of(child) else { return };
                let cause = self
                    .last_causes
                    .get(&role)
                    .map_or_else(String::new, ToString::to_string);
                let reason = format!("the {role} spent its restart budget; its last life {cause}");
                self.give_up(reason, context);
            }
            // A role is started again at once, and the end of the group is the guardian's own.
            Order::Wait { .. } | Order::End { .. } | Order::Over { .. } | Order::Opened | Order::Ended(_) => {
            }
        }
    }

    /// Takes up a role, for the first time or again.
    pub(super) fn start(&mut self, role: Role, life: u64, context: &mut Context<Self>) {
        let Some(group) = self.group.clone() else { return };
        let (cell, seed) = CellHandle::new();
        self.roles.insert(role, RoleCell { life, cell });
        let (address, root) = (context.address(), Rc::clone(&self.root));
        let hooks = CellHooks {
            ended: Box::new(|_| {}),
            down: Box::new(move |cause| {
                address.do_send(RoleDown { role, life, cause });
                // By now the actor is gone with its mailbox; what was in there has found its way back.
                drop(root);
            }),
        };
        let start = || match role {
            Role::Results => self.start_results(seed, hooks),
            Role::Queue => self.start_queue(seed, hooks),
            Role::Strategy => self.start_strategy(seed, hooks),
            Role::Supervisor => self.start_supervisor(&group, life, seed, hooks),
        };
        let start = || faults::named(faults::Who::Role(role), start);
        let is_up = start();
        if is_up {
            self.tell(EventKind::RoleUp { role, life });
            let now = self.clock().map(|clock| clock.now()).unwrap_or_default();
            self.decide(context, |child_set, orders| {
                child_set.up(number_of(role), life, now, orders);
            });
        }
    }

    pub(super) fn start_results(&mut self, seed: CellSeed, hooks: CellHooks) -> bool {
        let mailboxes = Arc::clone(&self.root.mailboxes);
        let address = spawn_in_cell(seed, hooks, true, move |_| ResultQueue::new(mailboxes));
        let Some(address) = address else { return false };
        let results = ResultsUp {
            outcomes: address.clone().recipient(),
            dead_lettered: address.recipient(),
        };
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(results.clone());
        }
        self.results = Some(results);
        true
    }

    pub(super) fn start_queue(&mut self, seed: CellSeed, hooks: CellHooks) -> bool {
        let Some(address) = self.root.queue.start(seed, hooks) else {
            return false;
        };
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(QueueUp(address.clone()));
        }
        self.root.addresses.send_replace(Some(address));
        true
    }

    pub(super) fn start_strategy(&mut self, seed: CellSeed, hooks: CellHooks) -> bool {
        let Some(strategy) = (self.make_strategy)(seed, hooks) else {
            return false;
        };
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(StrategyUp(strategy.clone()));
        }
        self.strategy = Some(strategy);
        true
    }

    pub(super) fn start_supervisor(
        &mut self,
        group: &Arc<GroupContext<J, O>>,
        life: u64,
        seed: CellSeed,
        hooks: CellHooks,
    ) -> bool {
        let address = self.root.addresses.borrow().clone();
        let (Some(queue), Some(strategy), Some(results)) =
            (address, self.strategy.clone(), self.results.clone())
        else {
            // A role without which no supervisor can work did not start; its death notice is on its way, and restarts it
            // or gives the group up. The supervisor's own notice follows here.
            (hooks.down)(Cause::StartFailed(
                "the queue or the strategy did not start".into(),
            ));
            return false;
        };
        // Beyond every epoch of every group that used this queue before: fencing tokens grow over restarts of the program.
        // A queue on disk knows the greatest of them, so that a wall clock that was set back does no harm.
        let unix_micros = group.clock.now().as_millis().saturating_mul(1_000);
        let epoch = Epoch(unix_micros.max(group.earlier.0).saturating_add(life));
        let (exists, consumers) = mpsc::channel(1);
        let life = Life {
            epoch,
            number: life,
            exists,
        };
        let (group, desired) = (Arc::clone(group), self.desired.clone());
        let address = spawn_in_cell(seed, hooks, false, move |_| {
            Supervisor::new(group, life, queue, strategy, results, desired)
        });
        self.consumers = Some(consumers);
        self.supervisor = address.clone();
        self.root.status.send_modify(|status| {
            status.epoch = epoch;
            status.supervisor = address.map(Addr::recipient);
        });
        self.supervisor.is_some()
    }

    /// The supervisor died. Its consumers end with it; the next supervisor starts when the last of them has gone, so that
    /// no job is with two consumers that both count. A consumer that blocks its thread is not waited for longer than the
    /// grace: it is fenced by its epoch.
    pub(super) fn restart_supervisor(&mut self, life: u64, context: &mut Context<Self>) {
        self.supervisor = None;
        let gone = self.consumers_gone();
        context.spawn(gone.into_actor(self).map(move |(), this, context| {
            if !this.ending {
                this.start(Role::Supervisor, life, context);
            }
        }));
    }

    pub(super) fn consumers_gone(&mut self) -> impl Future<Output = ()> + 'static {
        let consumers = self.consumers.take();
        let grace = self
            .group
            .as_ref()
            .map_or(Duration::ZERO, |group| group.config.restart.kill_grace);
        async move {
            if let Some(mut consumers) = consumers {
                // Nothing is ever sent; the channel closes when the last sender, in the last cell, is dropped. A limit that
                // passes means that a thread is blocked.
                let _ = within_fair_time(grace, consumers.recv()).await;
            }
        }
    }

    pub(super) fn end_role(&mut self, role: Role, cause: Cause) {
        if let Some(found) = self.roles.get_mut(&role) {
            found.cell.end(cause);
        }
    }
}
