//! Floor 4, **actors**: thin shells around the rules. Siblings meet only in the protocol.

mod clock;
pub mod queue;

pub use clock::Clock;
