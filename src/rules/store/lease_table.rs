//! Leased jobs by the names of their leases.

use std::collections::BTreeMap;

use crate::types::LeaseId;

/// What a queue keeps of the jobs that it has leased, oldest lease first. No two leases of a table have the same name.
///
/// ```
/// use consumer_group::queue::LeaseTable;
///
/// let mut leases = LeaseTable::new();
/// let lease = leases.begin("a job");
/// assert_eq!(leases.end(lease), Some("a job"));
/// assert_eq!(leases.end(lease), None);
/// ```
#[derive(Debug)]
pub struct LeaseTable<T> {
    next: u64,
    leases: BTreeMap<LeaseId, T>,
}

impl<T> LeaseTable<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self::starting_at(0)
    }

    /// An empty table whose first lease has this number: for a queue that outlives its process, and with it the names of an
    /// earlier one.
    pub fn starting_at(first: u64) -> Self {
        Self {
            next: first,
            leases: BTreeMap::new(),
        }
    }

    /// Begins a lease and gives its name.
    pub fn begin(&mut self, job: T) -> LeaseId {
        let lease = LeaseId(self.next);
        self.next += 1;
        self.leases.insert(lease, job);
        lease
    }

    /// The job of a lease that lasts.
    pub fn get_mut(&mut self, lease: LeaseId) -> Option<&mut T> {
        self.leases.get_mut(&lease)
    }

    /// Ends a lease, if it lasts.
    pub fn end(&mut self, lease: LeaseId) -> Option<T> {
        self.leases.remove(&lease)
    }

    /// A lease that was just ended goes on after all.
    pub fn resume(&mut self, lease: LeaseId, job: T) {
        self.leases.insert(lease, job);
    }

    /// Ends all leases, oldest first.
    pub fn end_all(&mut self) -> impl DoubleEndedIterator<Item = T> + ExactSizeIterator + use<T> {
        std::mem::take(&mut self.leases).into_values()
    }

    /// Every lease that lasts, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (LeaseId, &T)> {
        self.leases.iter().map(|(lease, job)| (*lease, job))
    }

    /// How many leases last.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether nothing is leased.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

impl<T> Default for LeaseTable<T> {
    fn default() -> Self {
        Self::new()
    }
}
