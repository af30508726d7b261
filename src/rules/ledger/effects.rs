//! What follows from what happened: the ledger appends here, the supervisor carries it out.

use crate::types::{
    AckedPlaces, DeliveryNumber, EventKind, LeaseId, Places, SettleItem, SlotId, Ticket, Verdict,
};

/// A delivery to be handed to a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handed<H> {
    /// The job.
    pub job: H,
    /// Which entry.
    pub ticket: Ticket,
    /// To which slot.
    pub slot: SlotId,
    /// The running number of the delivery.
    pub number: DeliveryNumber,
    /// The attempt, counted from one.
    pub attempt: u32,
}

/// Jobs of a block that go to a slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HandedPiece<B> {
    /// The block.
    pub block: B,
    /// Its place in the ledger.
    pub ticket: Ticket,
    /// Which of its jobs.
    pub places: Places,
    /// To which slot.
    pub slot: SlotId,
    /// The number of the delivery at place 0; the others follow.
    pub first: DeliveryNumber,
}

/// What follows, in order. The supervisor empties the lists as it carries them out, so their memory is used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects<H = (), B = ()> {
    /// Deliveries to hand out.
    pub deliver: Vec<Handed<H>>,
    /// Pieces of blocks to hand out.
    pub pieces: Vec<HandedPiece<B>>,
    /// Verdicts for the queue.
    pub settle: Vec<SettleItem>,
    /// Jobs of blocks that were done, for the queue.
    pub acked: Vec<AckedPlaces>,
    /// Jobs whose lease has ended otherwise than by an ack: nothing more will be said of them.
    pub ended: Vec<(LeaseId, H)>,
    /// Slots whose load or room changed. May name a slot more than once.
    pub touched: Vec<SlotId>,
    /// Slots that are retiring and hold nothing any more.
    pub emptied: Vec<SlotId>,
    /// The suspect whose begin is among the verdicts: it is handed out when the queue has answered.
    pub beginning: Option<Ticket>,
    /// Leases that were revoked and had to wait for their consumer, which is done with them now.
    pub released: Vec<LeaseId>,
    /// What to tell of which job: retried and returned ones.
    pub tell: Vec<(H, EntryNews)>,
}

/// What happened to an entry, for the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryNews {
    /// The attempt failed and the job is tried again after this wait.
    Retried(Box<crate::types::AttemptRecord>, std::time::Duration),
    /// It cannot be done now, for this reason, and comes again after this wait.
    Snoozed(std::sync::Arc<str>, std::time::Duration),
    /// The delivery had not begun and went back.
    Returned(SlotId, crate::types::Incarnation),
}

impl EntryNews {
    /// The event for the job `id`.
    pub fn event(self, job: crate::types::JobId) -> EventKind {
        match self {
            Self::Retried(record, after) => EventKind::Retried {
                job,
                record: *record,
                after,
            },
            Self::Snoozed(reason, after) => EventKind::Snoozed { job, reason, after },
            Self::Returned(slot, incarnation) => EventKind::Returned {
                job,
                slot,
                incarnation,
            },
        }
    }
}

impl<H, B> Default for Effects<H, B> {
    fn default() -> Self {
        Self {
            deliver: Vec::new(),
            pieces: Vec::new(),
            settle: Vec::new(),
            acked: Vec::new(),
            ended: Vec::new(),
            touched: Vec::new(),
            emptied: Vec::new(),
            beginning: None,
            released: Vec::new(),
            tell: Vec::new(),
        }
    }
}

impl<H, B> Effects<H, B> {
    pub(super) fn settle(&mut self, lease: LeaseId, attempt: u32, verdict: Verdict) {
        self.settle.push(SettleItem {
            lease,
            attempt,
            verdict,
        });
    }

    pub(super) fn touch(&mut self, slot: SlotId) {
        if self.touched.last() != Some(&slot) {
            self.touched.push(slot);
        }
    }
}
