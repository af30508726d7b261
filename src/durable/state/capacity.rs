//! How much the queue may hold, and who has taken room for what is to come.

use super::Admission;
use crate::actors::queue::{Account, QueueRoom};
use crate::rules::store::{self as rules, Asking, Bound, Held};

/// The bound, what counts for it, and the permits of the senders.
pub(super) struct Capacity {
    bound: Bound,
    account: Account,
    /// The bytes of unfinished jobs, as they are written.
    bytes: u64,
    /// Jobs that are on their way to the disk.
    coming: usize,
}

impl Capacity {
    pub(super) fn new(bound: Bound) -> Self {
        Self {
            bound,
            account: Account::new(None, 0),
            bytes: 0,
            coming: 0,
        }
    }

    /// The room for senders, once it is known how many jobs there are.
    pub(super) fn open_room(&mut self, unfinished: usize) {
        self.account = Account::new(Some(self.bound), unfinished);
    }

    pub(super) fn room(&self) -> Option<QueueRoom> {
        self.account.room()
    }

    /// What is done with a job, by a queue that has so many unfinished ones.
    pub(super) fn admit(&self, asking: Asking, unfinished: usize, admission: &Admission) -> rules::Admission {
        let held = Held {
            jobs: unfinished + admission.jobs(),
            bytes: self.bytes.saturating_add(admission.bytes()),
        };
        self.bound.admit(asking, held)
    }

    /// Whether there are bytes left.
    pub(super) fn has_bytes(&self) -> bool {
        self.bytes < self.bound.bytes
    }

    pub(super) fn add_bytes(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn give_bytes(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Jobs have come whose sender took permits.
    pub(super) fn charge(&mut self, jobs: usize) {
        self.coming += jobs;
        self.account.charge(jobs);
    }

    /// It is decided about jobs that have come.
    pub(super) fn decided(&mut self, jobs: usize) {
        self.coming = self.coming.saturating_sub(jobs);
    }

    /// Jobs could not be written and go back to a sender; see [`Account::hand_back`].
    pub(super) fn hand_back(&mut self, jobs: usize) -> Option<QueueRoom> {
        self.decided(jobs);
        self.account.hand_back(jobs)
    }

    /// Takes permits for jobs that the queue brings back itself.
    pub(super) fn acquire(&mut self, wanted: usize, unfinished: usize) -> usize {
        let held = unfinished + self.coming;
        self.account
            .acquire(wanted, self.bound.capacity.saturating_sub(held))
    }

    /// Gives back the permits of all jobs that have left.
    pub(super) fn settle(&mut self, unfinished: impl FnOnce() -> usize) {
        let coming = self.coming;
        self.account.settle(|| unfinished() + coming);
    }
}
