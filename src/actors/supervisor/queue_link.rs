//! The link to the queue: which life of it this is, whether it is attached, and what it has not answered yet.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use actix::MailboxError;
use actix::dev::RecipientRequest;

use super::detach_on_drop::DetachOnDrop;
use crate::protocol::{Attach, AttachError, Attached, Demand, QueueAddr, Settle};
use crate::types::{Moment, Ticket};

/// How often a queue that can extend leases hears of those that are held.
pub(super) const EXTEND_EVERY: Duration = Duration::from_secs(5);

pub(super) struct QueueLink<J: Send + Sync + 'static> {
    address: QueueAddr<J>,
    /// Counts the lives of the queue that this supervisor saw, so that a late answer of an earlier life is known as such.
    life: u64,
    /// Whether the queue confirmed the present epoch. No demand before that.
    is_attached: bool,
    /// Settles that the queue has not answered, in order; sent again to a restarted queue. Bounded by the leases.
    unanswered: VecDeque<(u64, Settle)>,
    next_settle: u64,
    /// The suspect whose begin is in the settle of this number. Set when that is sent, cleared when it is answered.
    beginning: Option<(u64, Ticket)>,
    /// When the queue last heard of all leases that are held.
    extended: Option<Moment>,
}

impl<J: Send + Sync + 'static> QueueLink<J> {
    pub(super) fn new(address: QueueAddr<J>) -> Self {
        Self {
            address,
            life: 0,
            is_attached: false,
            unanswered: VecDeque::new(),
            next_settle: 0,
            beginning: None,
            extended: None,
        }
    }

    /// The queue was restarted. Returns what its last life has not answered, to be sent again once it is attached.
    pub(super) fn replaced(&mut self, address: QueueAddr<J>) -> Vec<(u64, Settle)> {
        self.address = address;
        self.life += 1;
        self.unanswered.iter().cloned().collect()
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// Asks the queue to serve this supervisor. Until it confirms, nothing is demanded.
    pub(super) fn attach(
        &mut self,
        attach: Attach<J>,
    ) -> impl Future<Output = Result<Result<Attached, AttachError>, MailboxError>> + use<J> {
        self.is_attached = false;
        self.address.attach.clone().send(attach)
    }

    pub(super) fn confirmed(&mut self) {
        self.is_attached = true;
    }

    pub(super) fn is_attached(&self) -> bool {
        self.is_attached
    }

    pub(super) fn demand(&self, demand: Demand) {
        self.address.demand.do_send(demand);
    }

    /// Remembers a settle until the queue has answered it. `begins`: the suspect whose begin is in it.
    pub(super) fn remember(&mut self, settle: Settle, begins: Option<Ticket>) -> u64 {
        let number = self.next_settle;
        self.next_settle += 1;
        self.unanswered.push_back((number, settle));
        if let Some(ticket) = begins {
            self.beginning = Some((number, ticket));
        }
        number
    }

    pub(super) fn send(&self, settle: Settle) -> DetachOnDrop<RecipientRequest<Settle>> {
        // Through a clone: a send to a full mailbox goes in only when its future is polled, and an actor polls its futures in
        // no promised order; a clone has a place of its own. An attempt's ack in front of the renewal that began the attempt
        // would be stale, and its lease would last for ever.
        DetachOnDrop::new(self.address.settle.clone().send(settle))
    }

    /// The queue answered this settle. Returns the suspect that begins with it.
    pub(super) fn answered(&mut self, number: u64) -> Option<Ticket> {
        self.unanswered.retain(|(unanswered, _)| *unanswered != number);
        let begun = self.beginning.take_if(|(beginning, _)| *beginning == number);
        begun.map(|(_, ticket)| ticket)
    }

    /// Whether the queue has answered everything.
    pub(super) fn is_settled(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Whether it is time that the queue hears of all leases; if it is, it counts as done.
    pub(super) fn extends_now(&mut self, now: Moment) -> bool {
        let is_due = now.since(*self.extended.get_or_insert(now)) >= EXTEND_EVERY;
        if is_due {
            self.extended = Some(now);
        }
        is_due
    }
}
