//! OTP's supervisor behaviours as pure rules: no actor, no clock.

use std::time::Duration;

use super::*;
use crate::types::{AutoShutdown, ChildState, Moment, Restart, RestartReach, SupervisorConfig};

/// A child set and what it ordered since it was last asked.
struct Case {
    child_set: ChildSet,
    orders: Vec<Order>,
    now: u64,
}

impl Case {
    /// Children of these kinds, all up.
    fn up(config: SupervisorConfig, children: &[Restart]) -> Self {
        let mut case = Self::new(config);
        for restart in children {
            case.child_set.add(*restart, false);
        }
        case.open();
        case
    }

    fn new(config: SupervisorConfig) -> Self {
        Self {
            child_set: ChildSet::new(SupervisionRules::of_supervisor(&config)),
            orders: Vec::new(),
            now: 0,
        }
    }

    fn open(&mut self) {
        self.child_set.open(&mut self.orders);
        self.all_up();
        self.orders.clear();
    }

    /// Everybody who is being started comes up, until nobody is.
    fn all_up(&mut self) {
        while let Some(child) = self.starting() {
            self.come_up(child);
        }
    }

    fn starting(&self) -> Option<ChildNumber> {
        self.child_set
            .members()
            .find(|(_, member)| member.state() == ChildState::Starting)
            .map(|(child, _)| child)
    }

    fn come_up(&mut self, child: ChildNumber) {
        let life = self.child_set.member(child).unwrap().life();
        let now = Moment::from_millis(self.now);
        self.child_set.up(child, life, now, &mut self.orders);
    }

    fn down(&mut self, child: ChildNumber, exit: Exit) {
        let life = self.child_set.member(child).unwrap().life();
        let now = Moment::from_millis(self.now);
        self.child_set.down(child, life, exit, now, 0.0, &mut self.orders);
    }

    fn dies(&mut self, child: ChildNumber) -> String {
        self.down(child, Exit::Fault);
        self.told()
    }

    /// What was ordered, in short: `+2` start, `-2` end, `~2` wait, `x2` over, `f2` forgotten.
    fn told(&mut self) -> String {
        let words: Vec<String> = self.orders.drain(..).map(|order| word(&order)).collect();
        words.join(" ")
    }
}

fn word(order: &Order) -> String {
    match order {
        Order::Start { child, .. } => format!("+{child}"),
        Order::Wait {
            child,
            quarantine: false,
            ..
        } => format!("~{child}"),
        Order::Wait { child, .. } => format!("q{child}"),
        Order::End { child } => format!("-{child}"),
        Order::Over {
            child,
            forgotten: false,
        } => format!("x{child}"),
        Order::Over { child, .. } => format!("f{child}"),
        Order::Opened => "opened".into(),
        Order::BudgetSpent { child } => format!("spent by {child}"),
        Order::Ended(end) => format!("{end:?}"),
    }
}

fn config(reach: RestartReach, intensity: u32) -> SupervisorConfig {
    SupervisorConfig {
        reach,
        intensity,
        ..SupervisorConfig::default()
    }
}

const PERMANENT: Restart = Restart::Permanent;

/// The waits that were ordered, in ms; those of a rest are negative.
fn waits(case: &mut Case) -> Vec<i64> {
    let waits = case.orders.drain(..).filter_map(|order| match order {
        Order::Wait { wait, quarantine, .. } => {
            let ms = i64::try_from(wait.as_millis()).unwrap();
            Some(if quarantine { -ms } else { ms })
        }
        _ => None,
    });
    waits.collect()
}

#[test]
fn a_start_that_finds_nothing_left_waits_longer_each_time_and_ends_no_family() {
    let config = SupervisorConfig {
        intensity: 1,
        period: Duration::from_millis(3_600_000),
        ..SupervisorConfig::default()
    };
    let mut case = Case::up(config, &[Restart::Permanent, Restart::Permanent]);
    let mut waited = Vec::new();
    for _ in 0..8 {
        case.down(0, Exit::Starved);
        waited.extend(waits(&mut case));
        let life = case.child_set.member(0).unwrap().life();
        case.child_set.due(0, life, &mut case.orders);
    }
    assert_eq!(waited, [100, 200, 400, 800, 1_600, 3_200, 3_200, 3_200]);
    assert!(!case.child_set.is_ending());
    // And it spent nothing of what the others may need.
    case.down(1, Exit::Fault);
    assert!(!case.child_set.is_ending());
    case.down(0, Exit::Fault);
    assert!(case.child_set.is_ending());
}

#[test]
fn a_slot_that_finds_nothing_left_rests_past_its_budget_where_a_rest_is_the_policy() {
    let config = crate::types::RestartConfig {
        intensity: 2,
        cool_down: Duration::from_millis(7_000),
        past_budget: crate::types::PastBudget::Quarantine,
        ..crate::types::RestartConfig::default()
    };
    let mut case = Case::new(SupervisorConfig::default());
    case.child_set = ChildSet::new(SupervisionRules::of_slots(&config));
    case.child_set.add(Restart::Permanent, false);
    case.open();
    let mut waited = Vec::new();
    for _ in 0..4 {
        case.down(0, Exit::Starved);
        waited.extend(waits(&mut case));
        let life = case.child_set.member(0).unwrap().life();
        case.child_set.due(0, life, &mut case.orders);
    }
    assert_eq!(waited, [100, 200, -7_000, 100]);
}

#[test]
fn children_start_in_order_each_when_the_one_before_is_up() {
    let mut case = Case::new(config(RestartReach::OneForOne, 1));
    for _ in 0..3 {
        case.child_set.add(PERMANENT, false);
    }
    case.child_set.open(&mut case.orders);
    assert_eq!(case.told(), "+0");
    case.come_up(0);
    assert_eq!(case.told(), "+1");
    case.come_up(1);
    case.come_up(2);
    assert_eq!(case.told(), "+2 opened");
}

#[test]
fn a_child_that_does_not_start_at_the_initial_start_ends_the_elder_ones_youngest_first() {
    let mut case = Case::new(config(RestartReach::OneForOne, 9));
    for _ in 0..4 {
        case.child_set.add(PERMANENT, false);
    }
    case.child_set.open(&mut case.orders);
    case.come_up(0);
    case.come_up(1);
    assert_eq!(case.told(), "+0 +1 +2");
    assert_eq!(case.dies(2), "x3 -1");
    assert_eq!(case.dies(1), "x1 -0");
    assert_eq!(case.dies(0), "x0 StartFailed(2)");
}

#[test]
fn the_truth_table_of_restart() {
    for (restart, exit, expected) in [
        (Restart::Permanent, Exit::Normal, "+0"),
        (Restart::Permanent, Exit::Fault, "+0"),
        (Restart::Transient, Exit::Normal, "x0"),
        (Restart::Transient, Exit::Fault, "+0"),
        (Restart::Temporary, Exit::Normal, "f0"),
        (Restart::Temporary, Exit::Fault, "f0"),
    ] {
        let mut case = Case::up(config(RestartReach::OneForOne, 1), &[restart]);
        case.down(0, exit);
        assert_eq!(case.told(), expected, "{restart:?} {exit:?}");
    }
}

#[test]
fn one_for_one_leaves_the_bystanders_alone() {
    let mut case = Case::up(config(RestartReach::OneForOne, 5), &[PERMANENT; 4]);
    assert_eq!(case.dies(1), "+1");
}

#[test]
fn one_for_all_ends_the_bystanders_youngest_first_and_starts_all_eldest_first() {
    let mut case = Case::up(config(RestartReach::OneForAll, 5), &[PERMANENT; 4]);
    assert_eq!(case.dies(1), "-3");
    assert_eq!(case.dies(3), "-2");
    assert_eq!(case.dies(2), "-0");
    assert_eq!(case.dies(0), "+0");
    case.all_up();
    assert_eq!(case.told(), "+1 +2 +3");
}

#[test]
fn rest_for_one_leaves_the_elder_ones_alone() {
    let mut case = Case::up(config(RestartReach::RestForOne, 5), &[PERMANENT; 4]);
    assert_eq!(case.dies(1), "-3");
    assert_eq!(case.dies(3), "-2");
    assert_eq!(case.dies(2), "+1");
    case.all_up();
    assert_eq!(case.told(), "+2 +3");
}

#[test]
fn a_temporary_bystander_is_forgotten_and_not_started_again() {
    let kinds = [PERMANENT, Restart::Temporary, PERMANENT];
    let mut case = Case::up(config(RestartReach::OneForAll, 5), &kinds);
    assert_eq!(case.dies(0), "-2");
    assert_eq!(case.dies(2), "-1");
    assert_eq!(case.dies(1), "f1 +0");
    case.all_up();
    assert_eq!(case.told(), "+2");
}

#[test]
fn bystanders_that_die_while_they_are_ended_spend_nothing() {
    let mut case = Case::up(config(RestartReach::OneForAll, 1), &[PERMANENT; 2]);
    assert_eq!(case.dies(0), "-1");
    assert_eq!(case.dies(1), "+0");
    case.all_up();
    assert_eq!(case.told(), "+1");
}

#[test]
fn a_start_that_fails_in_a_restart_spends_the_budget_and_is_tried_again_until_it_is_spent() {
    let mut case = Case::up(config(RestartReach::OneForAll, 2), &[PERMANENT; 2]);
    assert_eq!(case.dies(1), "-0");
    assert_eq!(case.dies(0), "+0");
    assert_eq!(case.dies(0), "+0", "the first failed start");
    assert_eq!(case.dies(0), "spent by 0 x1 BudgetSpent(0)");
}

#[test]
fn an_elder_one_that_dies_while_younger_ones_are_started_again_begins_the_walk_anew() {
    let mut case = Case::up(config(RestartReach::RestForOne, 5), &[PERMANENT; 3]);
    assert_eq!(case.dies(1), "-2");
    assert_eq!(case.dies(2), "+1");
    assert_eq!(case.dies(0), "-1");
    assert_eq!(case.dies(1), "+0");
    case.all_up();
    assert_eq!(case.told(), "+1 +2");
}

#[test]
fn the_budget_counts_all_children_together_and_a_restart_exactly_one_period_old_still_counts() {
    let mut case = Case::up(config(RestartReach::OneForOne, 1), &[PERMANENT; 2]);
    assert_eq!(case.dies(0), "+0");
    case.all_up();
    case.now = 5_001;
    assert_eq!(case.dies(1), "+1");
    case.all_up();
    case.now = 10_001;
    assert_eq!(case.dies(0), "spent by 0 -1");
    case.down(1, Exit::Normal);
    assert_eq!(case.told(), "x1 BudgetSpent(0)");
}

#[test]
fn a_stop_ends_all_youngest_first_and_nobody_is_started_again() {
    let mut case = Case::up(config(RestartReach::OneForOne, 5), &[PERMANENT; 3]);
    case.child_set.stop(&mut case.orders);
    assert_eq!(case.told(), "-2");
    // The eldest dies by itself meanwhile.
    assert_eq!(case.dies(0), "x0");
    assert_eq!(case.dies(2), "x2 -1");
    assert_eq!(case.dies(1), "x1 Stopped");
}

#[test]
fn backoff_waits_grow_and_a_gathering_waits_once_for_all() {
    let mut with_backoff = config(RestartReach::OneForAll, 5);
    with_backoff.backoff.min = Duration::from_millis(10);
    with_backoff.backoff.max = Duration::from_millis(1_000);
    with_backoff.backoff.jitter = 0.0;
    let mut case = Case::up(with_backoff, &[PERMANENT; 2]);
    assert_eq!(case.dies(1), "-0");
    case.down(0, Exit::Normal);
    let waited = |orders: &[Order]| match orders {
        [Order::Wait { wait, .. }] => *wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(waited(&case.orders), Duration::from_millis(10));
    assert_eq!(case.told(), "~1");
    case.child_set.due(1, 1, &mut case.orders);
    assert_eq!(case.told(), "+0");
    case.all_up();
    case.orders.clear();
    case.down(1, Exit::Fault);
    case.down(0, Exit::Normal);
    assert_eq!(case.orders.last().map(word).unwrap(), "~1");
    assert_eq!(waited(&case.orders[1..]), Duration::from_millis(20));
}

#[test]
fn the_truth_table_of_auto_shutdown() {
    for (auto_shutdown, first, second) in [
        (AutoShutdown::Never, "x1", "x2"),
        (AutoShutdown::AnySignificant, "x1 -2", "x2 -0"),
        (AutoShutdown::AllSignificant, "x1", "x2 -0"),
    ] {
        let mut case = Case::new(SupervisorConfig {
            auto_shutdown,
            ..SupervisorConfig::default()
        });
        case.child_set.add(PERMANENT, false);
        case.child_set.add(Restart::Transient, true);
        case.child_set.add(Restart::Transient, true);
        case.open();
        case.down(1, Exit::Normal);
        assert_eq!(case.told(), first, "{auto_shutdown:?}");
        case.down(2, Exit::Normal);
        assert_eq!(case.told(), second, "{auto_shutdown:?}");
    }
}

#[test]
fn a_child_that_was_terminated_stays_listed_and_can_be_started_again_or_deleted() {
    let mut case = Case::up(config(RestartReach::OneForOne, 1), &[PERMANENT]);
    let delete_too_early = case.child_set.wish(0, Wish::Delete, &mut case.orders);
    assert_eq!(delete_too_early, Err(ChildRequestError::NotEnded(ChildState::Up)));
    case.child_set.wish(0, Wish::Terminate, &mut case.orders).unwrap();
    assert_eq!(case.dies(0), "-0 x0");
    case.child_set.wish(0, Wish::Restart, &mut case.orders).unwrap();
    assert_eq!(case.told(), "+0");
    case.all_up();
    case.child_set.wish(0, Wish::Terminate, &mut case.orders).unwrap();
    case.down(0, Exit::Normal);
    case.child_set.wish(0, Wish::Delete, &mut case.orders).unwrap();
    assert_eq!(case.told(), "-0 x0 f0");
    assert_eq!(
        case.child_set.wish(0, Wish::Restart, &mut case.orders),
        Err(ChildRequestError::Unknown)
    );
}

#[test]
fn what_an_earlier_life_says_changes_nothing() {
    let mut case = Case::up(config(RestartReach::OneForOne, 5), &[PERMANENT]);
    assert_eq!(case.dies(0), "+0");
    case.child_set
        .down(0, 1, Exit::Fault, Moment::START, 0.0, &mut case.orders);
    case.child_set.up(0, 1, Moment::START, &mut case.orders);
    assert_eq!(case.told(), "");
    assert_eq!(case.child_set.member(0).unwrap().state(), ChildState::Starting);
}
