//! What follows from what happened: the ledger appends here, the supervisor carries it out.

use crate::words::{
    AckedPlaces, DeliveryNumber, EventKind, LeaseId, Places, SettleItem, SlotId, Ticket, Verdict,
};

/// A delivery to be handed to a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handed {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandedPiece {
    /// The block.
    pub ticket: Ticket,
    /// Which of its jobs.
    pub places: Places,
    /// To which slot.
    pub slot: SlotId,
    /// The number of the delivery at place 0; the others follow.
    pub first: DeliveryNumber,
}

/// A job that left its block and has an entry of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SingledOut {
    /// The block.
    pub block: Ticket,
    /// The place of the job in it.
    pub place: u8,
    /// Its entry.
    pub ticket: Ticket,
    /// Its own lease.
    pub lease: LeaseId,
}

/// What follows, in order. The supervisor empties the lists as it carries them out, so their memory is used again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Deliveries to hand out.
    pub deliver: Vec<Handed>,
    /// Pieces of blocks to hand out.
    pub pieces: Vec<HandedPiece>,
    /// Verdicts for the queue.
    pub settle: Vec<SettleItem>,
    /// Jobs of blocks that were done, for the queue.
    pub acked: Vec<AckedPlaces>,
    /// Jobs that left their block. To be carried out before anything else that names their tickets.
    pub singled: Vec<SingledOut>,
    /// Blocks of which nothing is left: nothing more will be said of them.
    pub ended_blocks: Vec<Ticket>,
    /// Entries whose lease has ended: nothing more will be said of them.
    pub ended: Vec<Ticket>,
    /// Slots whose load or room changed. May name a slot more than once.
    pub touched: Vec<SlotId>,
    /// Slots that are retiring and hold nothing any more.
    pub emptied: Vec<SlotId>,
    /// The suspect whose begin is among the verdicts: it is handed out when the queue has answered.
    pub beginning: Option<Ticket>,
    /// What to tell: retried and returned jobs, by ticket, since the ledger does not know job ids.
    pub tell: Vec<(Ticket, TellKind)>,
}

/// What happened to an entry, for the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TellKind {
    /// The attempt failed and the job is tried again after this wait.
    Retried(Box<crate::words::AttemptRecord>, std::time::Duration),
    /// The delivery had not begun and went back.
    Returned(SlotId, crate::words::Incarnation),
}

impl TellKind {
    /// The event for the job `id`.
    pub fn event(self, job: crate::words::JobId) -> EventKind {
        match self {
            Self::Retried(record, after) => EventKind::Retried {
                job,
                record: *record,
                after,
            },
            Self::Returned(slot, incarnation) => EventKind::Returned {
                job,
                slot,
                incarnation,
            },
        }
    }
}

impl Effects {
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
