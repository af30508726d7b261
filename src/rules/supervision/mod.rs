//! Supervision: which child of a supervisor is started, ended or given up, and when.
//!
//! One [`ChildSet`] decides for every supervisor of the crate: the public one, the guardian of a group with its four roles,
//! and the supervisor of a group with its slots. The rules are those of OTP's `supervisor`; where this one does more
//! (backoff, a budget for each child, quarantine) the default is to do as OTP does.
//!
//! | file | what it decides |
//! |---|---|
//! | `child_set.rs` | what follows when a child comes up or goes down |
//! | `order.rs` | nothing: what a child set is told and what it orders |
//! | `gather.rs` | nothing: where the walks stand |
//! | `walks.rs` | the two walks over all children: ending them youngest first, starting them eldest first |
//! | `children.rs` | children added, ended, started again and removed at run time |

mod child_set;
mod children;
mod order;
#[cfg(test)]
mod tests;
mod traversal_state;
mod traversals;

pub use child_set::{ChildSet, Member};
pub use children::{ChildRequestError, Wish};
pub use order::{Budget, ChildNumber, ChildSetEnd, Exit, Order, SupervisionRules};
