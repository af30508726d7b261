//! Floor 2, **rules**: pure decisions. They read no clock, sleep never, use no global randomness and iterate no hash map;
//! time and random numbers come in as arguments, so a test, a property and a model checker drive the very same code.

pub mod backoff;
pub mod circuit;
pub mod hang_detector;
pub mod job_ids;
pub mod ledger;
pub(crate) mod pending;
pub mod rate;
pub mod restart;
pub mod store;
pub mod strategies;
pub mod supervision;
pub mod window;
