//! What must be there by the rules of this crate, and what happens when it is not.
//!
//! A lookup that cannot fail still returns an option. To go on quietly without it would hide a mistake of ours, and could lose a
//! job without a word. So a broken invariant is a panic that names it, in every build: in a test or a simulation it fails the
//! run; in production it ends the actor that found it, whose supervisor tells it as an event and starts the role anew, which
//! loses nothing ([guarantee 1](crate#guarantees)).

/// What is in the option, which must be there. The text says why it is.
macro_rules! invariant {
    ($found:expr, $why:literal) => {
        match $found {
            Some(found) => found,
            None => $crate::types::invariant::broken($why),
        }
    };
}

pub(crate) use invariant;

/// Ends the actor that runs: what should have been there was not.
#[cold]
#[track_caller]
#[allow(
    clippy::panic,
    reason = "a mistake of this crate ends the role that found it, and its supervisor starts it anew"
)]
pub(crate) fn broken(why: &str) -> ! {
    panic!("a broken invariant of consumer-group: {why}")
}
