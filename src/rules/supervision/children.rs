//! Children added, ended, started again and removed while their supervisor runs.

use super::child_set::ChildSet;
use super::order::{ChildNumber, Order};
use crate::types::ChildState;

/// What somebody wants done with one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// End it; it stays listed unless it is temporary.
    Terminate,
    /// Start it again after it has ended.
    Restart,
    /// List it no more after it has ended.
    Delete,
}

/// Why a wish was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildRequestError {
    /// No such child is listed.
    Unknown,
    /// It has not ended; this is what it does.
    NotEnded(ChildState),
    /// The child set is ending.
    FamilyEnds,
}

impl ChildSet {
    /// Starts a child that was added while the child set runs. A walk that starts children and still comes by it starts it in
    /// its turn.
    pub fn start(&mut self, child: ChildNumber, orders: &mut Vec<Order>) {
        let has_a_turn = self.gather.as_ref().is_some_and(|gather| gather.comes_by(child));
        if !has_a_turn && self.ending.is_none() {
            self.begin(child, orders);
        }
    }

    /// Does with a child what is wished, or says why not.
    ///
    /// # Errors
    /// [`ChildRequestError`]; nothing has changed then.
    pub fn wish(
        &mut self,
        child: ChildNumber,
        wish: Wish,
        orders: &mut Vec<Order>,
    ) -> Result<(), ChildRequestError> {
        let is_ending = self.is_ending();
        let member = self.members.get_mut(&child).ok_or(ChildRequestError::Unknown)?;
        match (wish, member.state) {
            (Wish::Restart, _) if is_ending => return Err(ChildRequestError::FamilyEnds),
            (Wish::Restart, ChildState::Ended) => {
                member.state = ChildState::Waiting;
                self.start(child, orders);
            }
            (Wish::Delete, ChildState::Ended) => {
                self.remove(child, orders);
            }
            (Wish::Restart | Wish::Delete, other) => return Err(ChildRequestError::NotEnded(other)),
            (Wish::Terminate, ChildState::Starting | ChildState::Up) => {
                member.state = ChildState::Ending;
                member.again = false;
                orders.push(Order::End { child });
            }
            (Wish::Terminate, ChildState::Ending) => member.again = false,
            (Wish::Terminate, ChildState::Ended) => {}
            (Wish::Terminate, ChildState::Waiting | ChildState::BackingOff | ChildState::Quarantined) => {
                member.state = ChildState::Ended;
                if let Some(gather) = &mut self.gather
                    && gather.waits_for(child)
                {
                    // The others waited for this one's wait; nobody else would end it.
                    gather.wait_is_over();
                }
                let forgotten = member.restart == crate::types::Restart::Temporary;
                if forgotten {
                    self.forget(child);
                }
                orders.push(Order::Over { child, forgotten });
                self.walk_on(orders);
            }
        }
        Ok(())
    }

    /// Lists a child no more, whatever it does: its supervisor has seen to its end.
    pub fn remove(&mut self, child: ChildNumber, orders: &mut Vec<Order>) {
        self.forget(child);
        orders.push(Order::Over {
            child,
            forgotten: true,
        });
        self.walk_on(orders);
    }
}
