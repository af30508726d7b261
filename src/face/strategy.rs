//! Strategies: which consumer gets a job. Those that are there, and what you need for one of your own.
//!
//! # Which one do I pick?
//!
//! | strategy | pick it when | looks at | all consumers full | one choice among n costs |
//! |---|---|---|---|---|
//! | [`RoundRobin`] | jobs cost about the same: exact shares, cheapest | nothing | the job waits for the consumer whose turn it is | constant, a few ns |
//! | [`Weighted`] | consumers differ: exact shares by weight, evenly mixed | weight | the job waits for the consumer whose turn it is | n |
//! | [`ConsistentHash`] | jobs of a key should meet the same consumer (caches), also when consumers come and go | key | waits for the key's consumer | log n |
//! | [`LeastLoaded`] | jobs differ in cost and the group is small | room, load, weight | hold | n, less while some are idle |
//! | [`TwoChoices`] | jobs differ in cost and the group is large | room, load, weight | hold | constant |
//! | [`Sticky`] | as `ConsistentHash`, but a key stays where it first went, and new keys go where there is room | key; for a new key as `LeastLoaded` | a known key waits for its consumer, others hold | constant for a known key, else n |
//! | [`strategy_fn`] | none of these: a closure decides | what it likes | as it likes | as it likes |
//!
//! All of them are deterministic: the same seed and the same questions give the same answers. None of them ever names a
//! slot that is not in the roster. Order by key does not depend on the strategy; the ledger keeps it.
//!
//! Whoever needs more than a [`Strategy`] has (a clock, a remote service, state that others change) writes an actor that is a
//! [`StrategyActor`]. Code for each stands in `docs/extending.md`.

pub use crate::actors::StrategyShell;
pub use crate::protocol::{Assign, Assigned, StrategyActor};
pub use crate::rules::strategies::{
    AssignJob, Choice, ConsistentHash, LeastLoaded, RoundRobin, Share, Sticky, Strategy, StrategyFn, Turns,
    TwoChoices, Weighted, by_name, strategy_fn,
};
pub use crate::types::{KeyHash, Roster, Seat, Weight};
