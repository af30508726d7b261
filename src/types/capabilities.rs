//! What a queue does by itself, and what the group therefore has to do for it.

use serde::{Deserialize, Serialize};

/// What a queue does natively. What it lacks is done once, in the supervisor, for every queue that lacks it.
///
/// A queue that lacks `delay`, `dead_letter` or `attempts` never sees a retry: the supervisor keeps the lease over all
/// attempts.
///
/// | flag | if the queue has it | if it does not |
/// |---|---|---|
/// | `delay` | a retry with a delay goes back to the queue (if it has `attempts` and `dead_letter` as well) | the supervisor keeps the lease until the retry is due; a producer's delay and expiry are kept in the same way |
/// | `dead_letter` | a rejected job goes to the queue's dead letters | the group keeps it on a shelf of its own and acks it at the queue |
/// | `extend` | the supervisor tells the queue every 5 s which leases it still holds, unless it is `volatile` | nothing is told; the queue must not time leases out |
/// | `attempts` | the attempt number of a lease is believed | the supervisor counts the attempts that it sees |
/// | `fencing` | the queue refuses stale settles itself | the supervisor's ledger alone refuses them |
/// | `volatile` | accepted means "in the memory of this process": a send returns once it has room | a send returns after the queue's own word |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capabilities {
    /// Retries with a delay.
    pub delay: bool,
    /// Dead letters.
    pub dead_letter: bool,
    /// Extending a lease.
    pub extend: bool,
    /// Counting attempts.
    pub attempts: bool,
    /// Refusing a settle of an earlier attempt.
    pub fencing: bool,
    /// Jobs live in the memory of this process and end with it.
    pub volatile: bool,
}

impl Capabilities {
    /// Everything, in memory: what the built-in memory queue has.
    pub const MEMORY: Self = Self {
        delay: true,
        dead_letter: true,
        extend: true,
        attempts: true,
        fencing: true,
        volatile: true,
    };

    /// The least that a queue can have: it keeps jobs until they are acked.
    pub const LEAST: Self = Self {
        delay: false,
        dead_letter: false,
        extend: false,
        attempts: false,
        fencing: false,
        volatile: false,
    };
}
