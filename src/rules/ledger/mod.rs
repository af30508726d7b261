//! The dispatch ledger: who holds which delivery, and what follows when something ends.
//!
//! The ledger is plain data. It knows no clock, no actor and no payload; the supervisor drives it, property tests drive it,
//! and so can a model checker ([`Ledger`] is `Clone + Eq + Hash`). Each method takes what happened and appends what follows
//! to [`Effects`].
//!
//! ```text
//!            leased                offer            assigned              settled: done, rejected
//!   queue ───────────▶ Waiting ───────────▶ Offered ─────────▶ Out(slot) ─────────────────────────▶ (gone)
//!                       ▲  ▲  ▲                │ slot is full   │   │
//!            key is free│  │  │                ▼                │   │ failed, and the lease is kept
//!             Behind ───┘  │  └──────────── Parked(slot)        │   ▼
//!        (same key, later) └────────────────────────────────────┘  Shelved(until) ──▶ Waiting
//!                                consumer died: redelivered at once
//! ```
//!
//! Invariants, each held by a property test:
//! 1. an entry is in exactly one state, and in exactly the list of that state;
//! 2. of one key at most one entry is anything but `Behind`, if the group keeps order;
//! 3. a settle counts only if it names the running number of a delivery that is `Out`;
//! 4. a live slot never holds more than its window, but for what it held when the window shrank;
//! 5. redelivered entries go in front of everything that was leased after them;
//! 6. while a suspect of a process is with a consumer, nothing else is, and the queue knew of it before;
//! 7. of two entries that wait for the same, the more urgent one goes first;
//! 8. what is revoked is never handed out again, and leaves no trace when its consumer is done with it.

mod blocks;
mod chain;
mod demand;
mod down;
mod effects;
mod entries;
mod expired;
mod handing;
mod in_blocks;
mod keys;
mod limits;
mod lines;
mod offer;
mod out_of_block;
mod pieces;
mod plants;
mod policy;
mod recall;
mod revoke;
mod settle;
mod single_out;
mod slots;
mod step;
mod suspects;
mod urgent;

pub use demand::Totals;
pub use effects::{Effects, EntryNews, Handed, HandedPiece};
pub use offer::Offer;
pub use out_of_block::OutOfBlock;
#[doc(hidden)]
pub use plants::{Plant, PlantedIn};
pub use policy::LedgerPolicy;
pub use recall::Recalled;
pub use settle::{Report, Stale};
pub use slots::{Counters, SlotPhase};
pub use step::Input;

use std::collections::{BTreeSet, VecDeque};

use blocks::Blocks;
use demand::Credit;
use entries::{Entries, State, Suspicion};
use limits::Limits;
use lines::Lines;
use slots::Slot;

use crate::rules::window::Window;
use crate::types::{
    DeadReason, DeliveryNumber, KeyHash, LeaseId, Moment, Rejection, SlotId, Ticket, Verdict,
};

/// What can be offered to the strategy, and what is on offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Offering {
    /// Entries that can be offered, in order. Filled by leases, deaths, due retries and freed keys.
    waiting: VecDeque<Ticket>,
    /// Likewise the urgent ones, the most urgent first. They are offered before all others.
    urgent: VecDeque<Ticket>,
    /// Entries that the strategy is choosing for right now, or [`expired::LEFT`]; emptied by its answer, or by its death.
    offered: Vec<Ticket>,
    /// The roster version of the offer: answers to an old roster may name slots that have gone, which is nobody's fault.
    version: u64,
    /// How many entries the last answer held: the next offer reaches as far beyond them as there is room.
    held_back: usize,
    /// Whether anything changed since the last offer that could change the strategy's mind. Without it, a strategy that
    /// holds would be asked the same again and again.
    news: bool,
}

/// Suspects of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Suspects {
    /// Those that can be offered, in order. While there is one, nothing else is handed out.
    waiting: VecDeque<Ticket>,
    /// The one whose turn it is: offered, beginning or with a consumer, and nothing else is. Cleared when it is done, failed, or
    /// goes back among the others.
    alone: Option<Ticket>,
}

/// What could be counted in the lists and slots, and is asked for every turn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Sums {
    /// Room of all live slots together.
    room: usize,
    /// Live slots that hold nothing.
    idle: usize,
    /// Stuck slots.
    stuck: usize,
    /// Entries in `Parked`.
    parked: usize,
    /// Urgent entries among them.
    urgent_parked: usize,
    /// Entries in `Behind`.
    behind: usize,
    /// Entries that were revoked and are still with a consumer.
    revoked: usize,
}

/// Whether jobs may come in and go out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Gate {
    /// No offers and no demand.
    is_paused: bool,
    /// No demand: the group drains what it holds.
    is_closed: bool,
}

/// Who holds which delivery. See the module's picture.
///
/// It keeps the jobs (`H`) and blocks (`B`) for whoever drives it, and never looks at them: a job is where its entry is, and
/// leaves with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ledger<H = (), B = ()> {
    policy: LedgerPolicy,
    /// Every leased job but those in blocks. Written by all methods; an entry leaves when its lease ends.
    entries: Entries<H>,
    /// Every leased block, with its jobs to which nothing but the plain way of a job has happened.
    blocks: Blocks<B>,
    /// Every slot that ever was, by number. A slot that was taken away stays as `Gone`, so numbers are never reused.
    slots: Vec<Slot>,
    /// What can be offered to the strategy, and what is on offer.
    offering: Offering,
    /// Suspects of a process, which are offered alone.
    suspects: Suspects,
    /// Keys of which a job is leased, each with the entries that must wait behind the first one. Only if order is kept.
    lines: Lines,
    /// Entries that keep their lease until their retry is due.
    shelved: BTreeSet<(Moment, Ticket)>,
    /// The window of a consumer that serves what all of them serve.
    group_window: Window,
    sums: Sums,
    credit: Credit,
    /// The running number of the next delivery.
    next_number: u64,
    /// Grows with each change of membership or weight.
    version: u64,
    gate: Gate,
    limits: Limits,
    /// A bug on purpose, to see that it is found.
    planted: plants::Planted,
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// A ledger with no slots and no entries.
    pub fn new(policy: LedgerPolicy) -> Self {
        let (version, next_number) = (policy.first_version, policy.first_number.max(1));
        Self {
            group_window: Window::new(&policy.window),
            policy,
            entries: Entries::default(),
            blocks: Blocks::default(),
            slots: Vec::new(),
            offering: Offering::default(),
            suspects: Suspects::default(),
            lines: Lines::default(),
            shelved: BTreeSet::new(),
            sums: Sums::default(),
            credit: Credit::default(),
            next_number,
            version,
            gate: Gate::default(),
            limits: Limits::default(),
            planted: plants::Planted::default(),
        }
    }

    /// The queue leased a job; `suspect`: it may be the one that ended a process. Returns its ticket, or `None` if the job has no attempt left: then it is rejected at once
    /// (it used up its attempts by ending processes or supervisors, which nobody survived to tell).
    pub fn leased(
        &mut self,
        job: H,
        lease: LeaseId,
        attempt: u32,
        key: Option<KeyHash>,
        suspect: bool,
        effects: &mut Effects<H, B>,
    ) -> Option<Ticket> {
        if attempt > self.policy.attempts {
            let reason = DeadReason::Poison {
                attempts: attempt.saturating_sub(1),
            };
            self.turned_away(job, lease, attempt, reason, effects);
            return None;
        }
        let key = key.filter(|_| self.policy.order_by_key);
        let suspicion = match suspect {
            true => Suspicion::OfProcess,
            false => Suspicion::None,
        };
        let priority = job.priority();
        let ticket = self.entries.add(job, lease, attempt, key, priority, suspicion);
        match key {
            Some(key) => self.stand_in_line(key, ticket, effects),
            None if !suspect && !priority.is_urgent() && self.blocks.has_waiting() => {
                self.blocks.let_behind(ticket);
            }
            None => self.wait_behind(ticket, effects),
        }
        self.offering.news = true;
        Some(ticket)
    }

    /// The queue leased a job that shall not be tried at all: it is rejected at once.
    pub fn turned_away(
        &mut self,
        job: H,
        lease: LeaseId,
        attempt: u32,
        reason: DeadReason,
        effects: &mut Effects<H, B>,
    ) {
        let rejection = Rejection { reason, record: None };
        effects.settle(lease, attempt, Verdict::Reject(Box::new(rejection)));
        effects.ended.push((lease, job));
    }

    /// A job that was just leased is not due before `until`, and its queue knows no delays: it keeps its lease until then.
    /// Does nothing for a job that stands behind another one of its key, which waits anyway, and nothing for a suspect, whose
    /// time had come when it was leased before.
    pub fn shelve(&mut self, ticket: Ticket, until: Moment) {
        if self.leaves_waiting(ticket) {
            self.entries.set_state(ticket, State::Shelved(until));
            self.shelved.insert((until, ticket));
        }
    }

    /// Nothing is handed out and nothing demanded while `paused`. What consumers hold, they finish.
    pub fn set_paused(&mut self, paused: bool, effects: &mut Effects<H, B>) {
        self.gate.is_paused = paused;
        self.credit.may_sink();
        self.offering.news = true;
        for index in 0..self.slots.len() {
            self.fill(SlotId(u32::try_from(index).unwrap_or(u32::MAX)), effects);
        }
    }

    /// Nothing more is demanded while `closed`; what is held goes on.
    pub fn set_closed(&mut self, closed: bool) {
        self.gate.is_closed = closed;
        self.credit.may_sink();
    }

    /// Whether the group is paused.
    pub fn is_paused(&self) -> bool {
        self.gate.is_paused
    }

    /// The job of an entry.
    pub fn job(&self, ticket: Ticket) -> Option<&H> {
        self.entries.get(ticket)?.job.as_ref()
    }

    /// The lease of an entry.
    pub fn lease(&self, ticket: Ticket) -> Option<LeaseId> {
        self.entries.get(ticket).map(|entry| entry.lease)
    }

    /// The block of a ticket of one.
    pub fn block(&self, ticket: Ticket) -> Option<&B> {
        self.blocks.block(ticket)
    }

    /// How many jobs are leased.
    pub fn leases(&self) -> usize {
        self.entries.len() + self.blocks.jobs()
    }

    /// The tickets of all leases that the ledger holds, but for those of jobs in blocks, in no promised order.
    pub fn tickets(&self) -> impl Iterator<Item = (Ticket, LeaseId, u32)> + '_ {
        self.entries.iter()
    }

    /// The running number of the next delivery: all before it are out, or over.
    pub fn next_number(&self) -> DeliveryNumber {
        DeliveryNumber(self.next_number)
    }

    /// Grows with each change of membership or weight.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When the first kept retry is due, or a limit lets more go.
    pub fn next_due(&self) -> Option<Moment> {
        let retry = self.shelved.first().map(|(due, _)| *due);
        retry.into_iter().chain(self.next_of_limit()).min()
    }

    /// Moves the retries that are due to the front.
    pub fn due(&mut self, now: Moment) {
        let mut due = Vec::new();
        while let Some((moment, ticket)) = self.shelved.first().copied()
            && moment <= now
        {
            self.shelved.pop_first();
            due.push(ticket);
        }
        self.put_in_front(&due);
    }

    /// Puts entries in front of all others of their priority, in their order.
    fn put_in_front(&mut self, tickets: &[Ticket]) {
        self.offering.news |= !tickets.is_empty();
        for ticket in tickets.iter().rev() {
            self.entries.wait(*ticket);
            if self.is_suspect_of_process(*ticket) {
                self.suspects.alone = self.suspects.alone.filter(|alone| alone != ticket);
                self.suspects.waiting.push_front(*ticket);
            } else if self.entries.priority(*ticket).is_urgent() {
                self.wait_urgently(*ticket, true);
            } else {
                self.offering.waiting.push_front(*ticket);
            }
        }
    }
}
