//! The two walks over the children: ending them, youngest first, and starting them, eldest first. Each takes one step at a
//! time and the next when the child has come up or gone down, so that no child is started before those that it may need,
//! and none is ended while a younger one may still need it.

use std::time::Duration;

use super::child_set::ChildSet;
use super::order::{ChildNumber, ChildSetEnd, Order};
use super::traversal_state::{Gather, Step, Walk};
use crate::types::ChildState;

impl ChildSet {
    /// Starts all children, eldest first, each when the one before is up. Answered by [`Order::Opened`], or by the end of
    /// the child set if one does not start.
    pub fn open(&mut self, orders: &mut Vec<Order>) {
        self.gather = Some(Gather {
            from: 0,
            step: Step::Starting { next: 0 },
            after: None,
            opening: true,
        });
        self.walk_on(orders);
    }

    /// Ends all children, youngest first. Answered by [`Order::Ended`].
    pub fn stop(&mut self, orders: &mut Vec<Order>) {
        self.end(ChildSetEnd::Stopped);
        self.walk_on(orders);
    }

    pub(super) fn end(&mut self, why: ChildSetEnd) {
        if self.ending.is_none() {
            self.gather = None;
            self.ending = Some((why, Walk::begin()));
        }
    }

    /// The children from `from` on are ended and started again, after `wait`. `first` is the one that ended by itself.
    pub(super) fn gather_from(&mut self, from: ChildNumber, first: ChildNumber, wait: Duration) {
        let known = self.gather.as_ref();
        let from = known.map_or(from, |gather| gather.from.min(from));
        let opening = known.is_some_and(|gather| gather.opening);
        self.gather = Some(Gather {
            from,
            step: Step::Ending(Walk::begin()),
            after: Some((first, wait)),
            opening,
        });
    }

    /// Takes the next step of whatever is under way.
    pub(super) fn walk_on(&mut self, orders: &mut Vec<Order>) {
        if let Some((why, mut walk)) = self.ending {
            if !walk.done && self.end_from(0, &mut walk, false, orders) {
                walk.done = true;
                orders.push(Order::Ended(why));
            }
            self.ending = Some((why, walk));
            return;
        }
        while let Some(mut gather) = self.gather.take() {
            let goes_on = match &mut gather.step {
                Step::Ending(walk) => {
                    let mut walk = *walk;
                    let ended = self.end_from(gather.from, &mut walk, true, orders);
                    gather.step = Step::Ending(walk);
                    if ended {
                        self.pause(&mut gather, orders);
                    }
                    ended && !matches!(gather.step, Step::Pausing)
                }
                Step::Pausing => false,
                Step::Starting { next } => {
                    let found = self.next_to_start(next, orders);
                    if found == Found::None {
                        if gather.opening {
                            orders.push(Order::Opened);
                        }
                        return;
                    }
                    false
                }
            };
            self.gather = Some(gather);
            if !goes_on {
                return;
            }
        }
    }

    /// All of a gathering have ended: it starts them now, or after its wait.
    fn pause(&mut self, gather: &mut Gather, orders: &mut Vec<Order>) {
        for member in self.members.range_mut(gather.from..).map(|(_, member)| member) {
            member.state = ChildState::Waiting;
        }
        gather.wait_is_over();
        if let Some((child, wait)) = gather.after
            && !wait.is_zero()
            && let Some(member) = self.members.get_mut(&child)
        {
            member.state = ChildState::BackingOff;
            gather.step = Step::Pausing;
            let life = member.life;
            orders.push(Order::Wait {
                child,
                life,
                wait,
                quarantine: false,
            });
        }
    }

    /// Ends the youngest child from `from` on that has not ended; true when none is left.
    fn end_from(&mut self, from: ChildNumber, walk: &mut Walk, again: bool, orders: &mut Vec<Order>) -> bool {
        loop {
            let below = u32::try_from(walk.below).ok();
            let youngest = match below {
                Some(below) if below <= from => None,
                Some(below) => self.members.range_mut(from..below).next_back(),
                None => self.members.range_mut(from..).next_back(),
            };
            let Some((&child, member)) = youngest else {
                return true;
            };
            match member.state {
                ChildState::Starting | ChildState::Up => {
                    member.state = ChildState::Ending;
                    member.again = again;
                    orders.push(Order::End { child });
                    return false;
                }
                // It is waited for: the walk goes on when it has ended.
                ChildState::Ending => return false,
                ChildState::Waiting | ChildState::BackingOff | ChildState::Quarantined => {
                    if !again {
                        member.state = ChildState::Ended;
                        orders.push(Order::Over {
                            child,
                            forgotten: false,
                        });
                    }
                }
                ChildState::Ended => {}
            }
            walk.below = u64::from(child);
        }
    }

    /// Starts the eldest child from `next` on that waits, unless the one before is still starting.
    fn next_to_start(&mut self, next: &mut ChildNumber, orders: &mut Vec<Order>) -> Found {
        let found = self
            .members
            .range(*next..)
            .find_map(|(child, member)| match member.state {
                ChildState::Waiting => Some((*child, true)),
                ChildState::Starting | ChildState::Ending => Some((*child, false)),
                ChildState::Up | ChildState::BackingOff | ChildState::Quarantined | ChildState::Ended => None,
            });
        let Some((child, waits)) = found else {
            return Found::None;
        };
        *next = child;
        if waits {
            self.begin(child, orders);
        }
        Found::OneUnderWay
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    None,
    OneUnderWay,
}
