//! The child set of one supervisor: its children, and what follows when one comes up or goes down.

use std::collections::BTreeMap;
use std::time::Duration;

use super::order::{Budget, ChildNumber, ChildSetEnd, Exit, Order, SupervisionRules};
use super::traversal_state::{Gather, Walk};
use crate::rules::backoff::Backoff;
use crate::rules::restart::{CrashStreak, RestartBudget};
use crate::types::{AutoShutdown, ChildState, Moment, PastBudget, Restart, RestartReach};

/// The first wait of a child for which no thread or descriptor was left, whatever the backoff says; it doubles up to 3.2 s.
/// To try again at once would find nothing either.
const STARVED_WAIT: Duration = Duration::from_millis(100);

/// One child.
#[derive(Debug, Clone)]
pub struct Member {
    pub(super) restart: Restart,
    pub(super) significant: bool,
    pub(super) state: ChildState,
    pub(super) life: u64,
    /// Whether it is to be started again once it has ended as asked.
    pub(super) again: bool,
    pub(super) streak: CrashStreak,
    /// Its own budget, where each child has one.
    budget: Option<RestartBudget>,
}

impl Member {
    /// What it does.
    pub fn state(&self) -> ChildState {
        self.state
    }

    /// Its present or last life; 0 before the first.
    pub fn life(&self) -> u64 {
        self.life
    }

    pub(super) fn lives(&self) -> bool {
        matches!(
            self.state,
            ChildState::Starting | ChildState::Up | ChildState::Ending
        )
    }
}

/// The children of one supervisor and the rules for them. Moments handed to it must not go back.
#[derive(Debug, Clone)]
pub struct ChildSet {
    pub(super) rules: SupervisionRules,
    backoff: Backoff,
    budget: RestartBudget,
    pub(super) members: BTreeMap<ChildNumber, Member>,
    next: ChildNumber,
    /// A restart of several children under way, or the initial start.
    pub(super) gather: Option<Gather>,
    /// The end under way, or done.
    pub(super) ending: Option<(ChildSetEnd, Walk)>,
}

impl ChildSet {
    /// A child set without children.
    pub fn new(rules: SupervisionRules) -> Self {
        Self {
            backoff: Backoff::new(&rules.backoff),
            budget: RestartBudget::new(rules.intensity, rules.period),
            rules,
            members: BTreeMap::new(),
            next: 0,
            gather: None,
            ending: None,
        }
    }

    /// Adds a child, to be started after those that were added before. It is [`ChildState::Waiting`].
    pub fn add(&mut self, restart: Restart, significant: bool) -> ChildNumber {
        let child = self.next;
        self.next = child.saturating_add(1);
        let budget = (self.rules.budget == Budget::Each)
            .then(|| RestartBudget::new(self.rules.intensity, self.rules.period));
        let member = Member {
            restart,
            significant,
            state: ChildState::Waiting,
            life: 0,
            again: false,
            streak: CrashStreak::default(),
            budget,
        };
        self.members.insert(child, member);
        child
    }

    /// A child, if it is listed.
    pub fn member(&self, child: ChildNumber) -> Option<&Member> {
        self.members.get(&child)
    }

    /// All children, eldest first.
    pub fn members(&self) -> impl Iterator<Item = (ChildNumber, &Member)> {
        self.members.iter().map(|(child, member)| (*child, member))
    }

    /// Whether the end has begun.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// This life of the child takes messages since `now`.
    pub fn up(&mut self, child: ChildNumber, life: u64, now: Moment, orders: &mut Vec<Order>) {
        if let Some(member) = self.members.get_mut(&child)
            && member.life == life
            && member.state == ChildState::Starting
        {
            member.state = ChildState::Up;
            member.streak.up(now);
            self.walk_on(orders);
        }
    }

    /// The child did its work: its next wait is the first again. Its budget is not given back.
    pub fn worked(&mut self, child: ChildNumber) {
        if let Some(member) = self.members.get_mut(&child) {
            member.streak.worked();
        }
    }

    /// This life of the child ended at `now`. `unit` is a random number from 0 to 1 for the spread of the wait.
    pub fn down(
        &mut self,
        child: ChildNumber,
        life: u64,
        exit: Exit,
        now: Moment,
        unit: f64,
        orders: &mut Vec<Order>,
    ) {
        let Some(member) = self.members.get_mut(&child) else {
            return;
        };
        if member.life != life || !member.lives() {
            return;
        }
        let before = std::mem::replace(&mut member.state, ChildState::Ended);
        let was_asked = before == ChildState::Ending || self.ending.is_some();
        if was_asked {
            self.ended_as_asked(child, orders);
        } else if !is_started_again(member.restart, exit) {
            self.ended_for_good(child, orders);
        } else if self.gather.as_ref().is_some_and(Gather::is_opening) && before == ChildState::Starting {
            self.end(ChildSetEnd::StartFailed(child));
        } else {
            self.start_again(child, exit, now, unit, orders);
        }
        self.walk_on(orders);
    }

    /// The wait for this child is over.
    pub fn due(&mut self, child: ChildNumber, life: u64, orders: &mut Vec<Order>) {
        let waits = self.members.get(&child).is_some_and(|member| {
            member.life == life && matches!(member.state, ChildState::BackingOff | ChildState::Quarantined)
        });
        if !waits || self.ending.is_some() {
            return;
        }
        match &mut self.gather {
            Some(gather) if gather.waits_for(child) => {
                gather.wait_is_over();
                if let Some(member) = self.members.get_mut(&child) {
                    member.state = ChildState::Waiting;
                }
                self.walk_on(orders);
            }
            _ => self.begin(child, orders),
        }
    }

    /// Makes the next life of a child.
    pub(super) fn begin(&mut self, child: ChildNumber, orders: &mut Vec<Order>) {
        if let Some(member) = self.members.get_mut(&child) {
            member.life += 1;
            member.state = ChildState::Starting;
            orders.push(Order::Start {
                child,
                life: member.life,
            });
        }
    }

    fn ended_as_asked(&mut self, child: ChildNumber, orders: &mut Vec<Order>) {
        let Some(member) = self.members.get_mut(&child) else {
            return;
        };
        let again = std::mem::take(&mut member.again) && self.ending.is_none();
        if member.restart == Restart::Temporary {
            self.forget(child);
            orders.push(Order::Over {
                child,
                forgotten: true,
            });
        } else if again {
            member.state = ChildState::Waiting;
        } else {
            orders.push(Order::Over {
                child,
                forgotten: false,
            });
        }
    }

    fn ended_for_good(&mut self, child: ChildNumber, orders: &mut Vec<Order>) {
        let Some(member) = self.members.get(&child) else {
            return;
        };
        let (forgotten, significant) = (member.restart == Restart::Temporary, member.significant);
        orders.push(Order::Over { child, forgotten });
        if significant {
            let left = self
                .members
                .iter()
                .filter(|(other, member)| **other != child && member.significant)
                .any(|(_, member)| member.state != ChildState::Ended);
            let ends = match self.rules.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !left,
            };
            if ends {
                self.end(ChildSetEnd::AutoShutdown);
            }
        }
        if forgotten {
            self.forget(child);
        }
    }

    fn start_again(
        &mut self,
        child: ChildNumber,
        exit: Exit,
        now: Moment,
        unit: f64,
        orders: &mut Vec<Order>,
    ) {
        let Some(member) = self.members.get_mut(&child) else {
            return;
        };
        let (life, nth) = (member.life, member.streak.died(now, self.rules.period));
        let budget = member.budget.as_mut().unwrap_or(&mut self.budget);
        // A machine that has nothing left is nobody's fault: no child set ends for it. A rest is no harm, so it may come to one.
        let is_free = exit == Exit::Starved && self.rules.past_budget == PastBudget::Escalate;
        if is_free || budget.spend(now) {
            let mut wait = self.backoff.wait(nth, unit);
            if exit == Exit::Starved {
                wait = wait.max(STARVED_WAIT * (1 << nth.min(5)));
            }
            match self.rules.reach {
                RestartReach::OneForOne if wait.is_zero() => self.begin(child, orders),
                RestartReach::OneForOne => {
                    member.state = ChildState::BackingOff;
                    orders.push(Order::Wait {
                        child,
                        life,
                        wait,
                        quarantine: false,
                    });
                }
                RestartReach::OneForAll => self.gather_from(0, child, wait),
                RestartReach::RestForOne => self.gather_from(child, child, wait),
            }
            return;
        }
        match self.rules.past_budget {
            PastBudget::Quarantine => {
                budget.reset();
                member.streak = CrashStreak::default();
                member.state = ChildState::Quarantined;
                let wait = self.rules.cool_down;
                orders.push(Order::Wait {
                    child,
                    life,
                    wait,
                    quarantine: true,
                });
            }
            PastBudget::Escalate => {
                orders.push(Order::BudgetSpent { child });
                self.end(ChildSetEnd::BudgetSpent(child));
            }
        }
    }

    /// Lists a child no more.
    pub(super) fn forget(&mut self, child: ChildNumber) {
        self.members.remove(&child);
    }
}

/// The truth table of [`Restart`].
fn is_started_again(restart: Restart, exit: Exit) -> bool {
    match (restart, exit) {
        (Restart::Permanent, _) | (Restart::Transient, Exit::Fault | Exit::Starved) => true,
        (Restart::Transient, Exit::Normal) | (Restart::Temporary, _) => false,
    }
}
