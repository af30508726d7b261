//! What a queue does by itself, and what the group therefore has to do for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a queue does natively. What it lacks is done once, in the supervisor, for every queue that lacks it: each thing for
/// itself.
///
/// | field | if the queue has it | if it does not |
/// |---|---|---|
/// | `delay` | a retry that waits no longer than this goes back to the queue (if it has `attempts` and `dead_letter` as well: else it would forget what happened) | the supervisor keeps the lease of a retry until it is due, and that of a job with a producer's delay; what expires it gives up itself |
/// | `dead_letter` | a rejected job goes to the queue's dead letters | the group keeps it on a shelf of its own and acks it at the queue |
/// | `lease_lasts` | the supervisor tells the queue three times in this time which leases it still holds | nothing is told; the queue must not time leases out |
/// | `attempts` | the attempt number of a lease is believed | the supervisor counts the attempts that it sees, and what a lease says is not looked at |
/// | `fencing` | the queue refuses stale settles itself | the supervisor's ledger alone refuses them |
/// | `volatile` | accepted means "in the memory of this process": a send returns once it has room | a send returns after the queue's own word |
/// | `competing` | a group that keeps order by key does not start: others lease the next job of a key | what is leased here is leased to nobody else |
/// | `order_by_key` | a group can keep order by key | such a group does not start |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capabilities {
    /// The longest delay of a retry, [`Duration::MAX`] for any; `None` for a queue without delays.
    pub delay: Option<Duration>,
    /// Dead letters.
    pub dead_letter: bool,
    /// How long a lease lasts unless it is extended; `None` for one that does not end by itself.
    pub lease_lasts: Option<Duration>,
    /// Counting attempts.
    pub attempts: bool,
    /// Refusing a settle of an earlier attempt.
    pub fencing: bool,
    /// Jobs live in the memory of this process and end with it.
    pub volatile: bool,
    /// Others, in this process or elsewhere, lease from the same queue at the same time.
    pub competing: bool,
    /// Jobs of one key are handed out in the order in which they were taken in.
    pub order_by_key: bool,
}

impl Capabilities {
    /// Everything, in memory: what the built-in memory queue has.
    pub const MEMORY: Self = Self {
        delay: Some(Duration::MAX),
        dead_letter: true,
        lease_lasts: None,
        attempts: true,
        fencing: true,
        volatile: true,
        competing: false,
        order_by_key: true,
    };

    /// The least that a queue can have: it keeps jobs until they are acked, and shares them with nobody.
    pub const LEAST: Self = Self {
        delay: None,
        dead_letter: false,
        lease_lasts: None,
        attempts: false,
        fencing: false,
        volatile: false,
        competing: false,
        order_by_key: false,
    };

    /// The longest wait with which a retry goes back to the queue: there the count of its attempts and its history go on. Zero
    /// if none does.
    pub(crate) fn longest_retry(&self) -> Duration {
        let remembers = self.attempts && self.dead_letter;
        self.delay.filter(|_| remembers).unwrap_or_default()
    }

    /// How often the queue is to hear of the leases that are held.
    pub(crate) fn extend_every(&self) -> Option<Duration> {
        // Two of three messages may be late. A lease of no time at all is not worked through with looks.
        let every = |lasts: Duration| (lasts / 3).max(Duration::from_millis(10));
        self.lease_lasts.map(every)
    }

    /// Why no group can keep order by key over this queue, if none can.
    pub(crate) fn breaks_order(&self) -> Option<&'static str> {
        match (self.competing, self.order_by_key) {
            (true, _) => Some("others lease from it at the same time, and get the next job of a key"),
            (false, false) => Some("it does not promise to hand out the jobs of a key in their order"),
            (false, true) => None,
        }
    }
}
