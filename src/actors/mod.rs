//! Floor 4, **actors**: thin shells around the rules. Siblings meet only in the protocol.

mod clock;

pub use clock::Clock;
