//! The entries: every leased job with its state, in a slab so that a ticket leads to it in one step.

use crate::types::invariant::invariant;
use crate::types::{DeliveryNumber, Incarnation, KeyHash, LeaseId, Moment, Priority, SlotId, Ticket};

/// Where an entry is. See the picture of the module above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Can be offered.
    Waiting,
    /// The strategy is choosing for it.
    Offered,
    /// Behind another entry of its key.
    Behind,
    /// Waits for room at this slot.
    Parked(SlotId),
    /// The queue is writing down that it begins at this life of this slot's consumer.
    Beginning(SlotId, Incarnation),
    /// With the consumer of this slot.
    Out(SlotId),
    /// Keeps its lease until its retry is due.
    Shelved(Moment),
}

/// Whom an entry may have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Suspicion {
    /// Nobody.
    None,
    /// A consumer, which died with this and other deliveries begun. It is delivered with nothing beside it in its slot.
    OfConsumer,
    /// A process, which ended with this and other jobs leased. It is delivered with nothing beside it in the group.
    OfProcess,
}

/// Whether an entry may be handed out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Hold {
    /// It is as any other.
    Kept,
    /// Its lease was revoked: its consumer may finish it, and nobody else gets it.
    Draining,
    /// Its lease is lost: its consumer is done with it or dies, and nothing of that counts.
    Lost,
}

/// The mark for "no neighbour" in a chain.
pub(super) const NONE: u32 = u32::MAX;

/// A leased job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Entry<H> {
    /// The job itself; the ledger only keeps it. None: the place is free.
    pub(super) job: Option<H>,
    pub(super) lease: LeaseId,
    /// The running number of the current delivery; a settle must name it.
    pub(super) number: DeliveryNumber,
    /// The key, if its order is kept.
    pub(super) key: Option<KeyHash>,
    /// The current attempt, counted from one.
    pub(super) attempt: u32,
    /// How urgent the job is.
    pub(super) priority: Priority,
    /// Neighbours in the chain of the slot that holds it, in the order of delivery. While it stands behind others of its key:
    /// the next one in their line.
    pub(super) before: u32,
    pub(super) after: u32,
    /// Whether it may have ended somebody, and nobody knows. A suspect is delivered alone: if that ends them again, it was
    /// this one; if not, it is cleared.
    pub(super) suspicion: Suspicion,
    /// Written by a revoke, while it is out. Never taken back.
    pub(super) hold: Hold,
    /// Whether the limit of its key has given it a moment to go, which it has not used.
    pub(super) has_its_turn: bool,
    pub(super) state: State,
}

/// The slab of entries. Freed places are used again, last freed first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Entries<H> {
    places: Vec<Entry<H>>,
    free: Vec<u32>,
    /// How many of them are urgent.
    urgent: usize,
}

impl<H> Default for Entries<H> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            urgent: 0,
        }
    }
}

impl<H> Entries<H> {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many of them are more urgent than most jobs.
    pub(super) fn urgent(&self) -> usize {
        self.urgent
    }

    /// How urgent an entry is.
    pub(super) fn priority(&self, ticket: Ticket) -> Priority {
        self.get(ticket).map_or(Priority(0), |entry| entry.priority)
    }

    pub(super) fn add(
        &mut self,
        job: H,
        lease: LeaseId,
        attempt: u32,
        key: Option<KeyHash>,
        priority: Priority,
        suspicion: Suspicion,
    ) -> Ticket {
        self.urgent += usize::from(priority.is_urgent());
        let entry = Entry {
            job: Some(job),
            lease,
            number: DeliveryNumber(0),
            key,
            attempt,
            priority,
            before: NONE,
            after: NONE,
            suspicion,
            hold: Hold::Kept,
            has_its_turn: false,
            state: State::Waiting,
        };
        if let Some(index) = self.free.pop() {
            *invariant!(self.places.get_mut(index as usize), "a free place is a place") = entry;
            return Ticket(index);
        }
        // Leases are bounded by windows and `hold`, far below four thousand million.
        let index = u32::try_from(self.places.len()).unwrap_or(NONE);
        self.places.push(entry);
        Ticket(index)
    }

    /// The entry leaves. Returns its job.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<H> {
        let entry = self.places.get_mut(ticket.0 as usize)?;
        let job = entry.job.take()?;
        self.urgent -= usize::from(entry.priority.is_urgent());
        self.free.push(ticket.0);
        Some(job)
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Entry<H>> {
        self.places
            .get(ticket.0 as usize)
            .filter(|entry| entry.job.is_some())
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Entry<H>> {
        self.places
            .get_mut(ticket.0 as usize)
            .filter(|entry| entry.job.is_some())
    }

    /// An entry that is there, by the rules.
    #[inline]
    pub(super) fn must(&mut self, ticket: Ticket) -> &mut Entry<H> {
        invariant!(
            self.get_mut(ticket),
            "an entry stays while its ticket is in a list"
        )
    }

    pub(super) fn set_state(&mut self, ticket: Ticket, state: State) {
        self.must(ticket).state = state;
    }

    pub(super) fn wait(&mut self, ticket: Ticket) {
        self.set_state(ticket, State::Waiting);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, LeaseId, u32)> + '_ {
        (0_u32..).zip(&self.places).filter_map(|(index, entry)| {
            entry
                .job
                .is_some()
                .then_some((Ticket(index), entry.lease, entry.attempt))
        })
    }
}
