//! The link to the queue: which life of it this is, whether it is attached, and what it has not answered yet.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use actix::MailboxError;
use actix::dev::RecipientRequest;

use super::detach_on_drop::DetachOnDrop;
use crate::protocol::{Attach, AttachError, Attached, Command, Demand, QueueAddr, QueueCommand, Settle};
use crate::types::{Moment, Ticket};

/// Between two looks at the settles that the queue has not answered. What two looks saw is overdue, so at 5 to 7.5 s.
pub(super) const ANSWER_LOOK: Duration = Duration::from_millis(2_500);

/// Settles that are overdue and kept for a queue that is restarted, at most.
const MOST_OVERDUE: usize = 1_024;

/// A settle that the queue has not answered.
struct Unanswered {
    number: u64,
    settle: Settle,
    /// Whether it was sent to an earlier life of the queue as well, which may have applied it.
    was_sent_before: bool,
}

pub(super) struct QueueLink<J: Send + Sync + 'static> {
    address: QueueAddr<J>,
    /// Counts the lives of the queue that this supervisor saw, so that a late answer of an earlier life is known as such.
    life: u64,
    /// Whether the queue confirmed the present epoch. No demand before that.
    is_attached: bool,
    /// Settles that the queue has not answered, in order; sent again to a restarted queue. Bounded by the leases, and by
    /// [`MOST_OVERDUE`].
    unanswered: VecDeque<Unanswered>,
    next_settle: u64,
    /// Whether a look is planned at what is unanswered, and which settles the last two looks did not see yet: those from these
    /// numbers on. What two looks saw is overdue.
    looks: Option<[u64; 2]>,
    /// Settles before this number that are unanswered are overdue, which was told.
    overdue_before: u64,
    /// The suspect whose begin is in the settle of this number. Set when that is sent, cleared when it is answered.
    beginning: Option<(u64, Ticket)>,
    /// What the queue was told last, since it was attached.
    demanded: Option<Demand>,
    /// When the queue last heard of all leases that are held.
    extended: Option<Moment>,
}

/// A settle that was answered.
pub(super) struct Answered {
    /// The suspect that begins with it.
    pub(super) begins: Option<Ticket>,
    /// Whether an earlier life of the queue may have applied it.
    pub(super) was_sent_before: bool,
    /// The verdicts, if they are still known.
    pub(super) settle: Option<Settle>,
}

impl<J: Send + Sync + 'static> QueueLink<J> {
    pub(super) fn new(address: QueueAddr<J>) -> Self {
        Self {
            address,
            life: 0,
            is_attached: false,
            unanswered: VecDeque::new(),
            next_settle: 0,
            looks: None,
            overdue_before: 0,
            beginning: None,
            demanded: None,
            extended: None,
        }
    }

    /// The queue was restarted. Returns what its last life has not answered, to be sent again once it is attached.
    pub(super) fn replaced(&mut self, address: QueueAddr<J>) -> Vec<(u64, Settle)> {
        self.address = address;
        self.life += 1;
        let unanswered = self.unanswered.iter_mut();
        unanswered
            .map(|unanswered| {
                unanswered.was_sent_before = true;
                (unanswered.number, unanswered.settle.clone())
            })
            .collect()
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
        self.demanded = None;
        self.address.attach.clone().send(attach)
    }

    pub(super) fn confirmed(&mut self) {
        self.is_attached = true;
    }

    pub(super) fn is_attached(&self) -> bool {
        self.is_attached
    }

    /// Tells the queue how much it may hand out, unless it knows.
    pub(super) fn demand(&mut self, demand: Demand) {
        if self.demanded != Some(demand) {
            self.demanded = Some(demand);
            self.address.demand.do_send(demand);
        }
    }

    /// Asks the queue what it holds.
    pub(super) fn count(&self) -> RecipientRequest<Command<J>> {
        self.address
            .command
            .clone()
            .send(Command::new(QueueCommand::Counts))
    }

    /// Remembers a settle until the queue has answered it. `begins`: the suspect whose begin is in it.
    pub(super) fn remember(&mut self, settle: Settle, begins: Option<Ticket>) -> u64 {
        let number = self.next_settle;
        self.next_settle += 1;
        self.unanswered.push_back(Unanswered {
            number,
            settle,
            was_sent_before: false,
        });
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
    pub(super) fn answered(&mut self, number: u64) -> Answered {
        let is_meant = |unanswered: &Unanswered| unanswered.number == number;
        let index = self.unanswered.iter().position(is_meant);
        let unanswered = index.and_then(|index| self.unanswered.remove(index));
        let begun = self.beginning.take_if(|(beginning, _)| *beginning == number);
        Answered {
            begins: begun.map(|(_, ticket)| ticket),
            was_sent_before: unanswered.as_ref().is_none_or(|found| found.was_sent_before),
            settle: unanswered.map(|unanswered| unanswered.settle),
        }
    }

    /// Whether the queue has answered everything, but for what is overdue.
    pub(super) fn is_settled(&self) -> bool {
        self.unanswered
            .iter()
            .all(|unanswered| self.is_overdue(unanswered))
    }

    fn is_overdue(&self, unanswered: &Unanswered) -> bool {
        unanswered.number < self.overdue_before
    }

    /// The number of the next settle.
    pub(super) fn next_settle(&self) -> u64 {
        self.next_settle
    }

    /// Whether the queue has answered every settle before this number, but for what is overdue.
    pub(super) fn has_answered_before(&self, number: u64) -> bool {
        let mut before = self
            .unanswered
            .iter()
            .filter(|unanswered| unanswered.number < number);
        before.all(|unanswered| self.is_overdue(unanswered))
    }

    /// Whether a look at what is unanswered has to be planned; if it has, it counts as planned.
    pub(super) fn plans_look(&mut self) -> bool {
        if self.looks.is_some() || self.is_settled() {
            return false;
        }
        self.looks = Some([0, self.next_settle]);
        true
    }

    /// A look at what is unanswered. Returns how many verdicts have become overdue.
    pub(super) fn look(&mut self) -> usize {
        let [older, newer] = self.looks.take().unwrap_or_default();
        let is_late = |unanswered: &&Unanswered| (self.overdue_before..older).contains(&unanswered.number);
        let late = self.unanswered.iter().filter(is_late);
        let verdicts = late.map(|unanswered| unanswered.settle.len()).sum();
        self.overdue_before = self.overdue_before.max(older);
        let overdue = self
            .unanswered
            .iter()
            .filter(|unanswered| self.is_overdue(unanswered))
            .count();
        self.unanswered.drain(..overdue.saturating_sub(MOST_OVERDUE));
        if self.unanswered.len() > overdue.min(MOST_OVERDUE) {
            self.looks = Some([newer, self.next_settle]);
        }
        verdicts
    }

    /// Whether a look at what is unanswered follows.
    pub(super) fn looks_again(&self) -> bool {
        self.looks.is_some()
    }

    /// Whether it is time that the queue hears of all leases, as it does so often; if it is, it counts as done.
    pub(super) fn extends_now(&mut self, now: Moment, every: Duration) -> bool {
        let is_due = now.since(*self.extended.get_or_insert(now)) >= every;
        if is_due {
            self.extended = Some(now);
        }
        is_due
    }
}
