//! The shell of a queue: what every queue actor keeps beside its jobs.

mod telling;
mod wakes;

use std::future::Future;

use actix::{Recipient, SpawnHandle, WeakRecipient};

pub use wakes::Wake;

use crate::protocol::{
    Attach, AttachError, Attached, Batch, DeadLetteredJobs, Demand, Push, Pushed, QueueNews, QueueReply,
    Revoke, Settle, SettleReply,
};
use crate::rules::store::{Leased, News, Refusal, Refused, RefusedSettle, Settled};
use crate::types::{
    Epoch, JobRef, LinkState, Moment, Priority, QueueState, Released, RevokeKind, Revoked, SettleItem,
};

/// Who is attached to a queue, how many jobs they take, what they are to be told, and when the actor has to wake up.
///
/// The stock queue, the durable queue and the queues of the testing kit are built on it, and so can yours: keep it with the
/// jobs, where it outlives the actor, and let it answer. `docs/extending.md` has a whole queue.
///
/// | message | what the queue does with it |
/// |---|---|
/// | (a new actor) | [`new_life`](Self::new_life) |
/// | `Attach` | [`attach`](Self::attach), and takes back its leases if it is told to |
/// | `Push` | [`push`](Self::push), then hands jobs out |
/// | `Demand` | [`demand`](Self::demand), then hands jobs out |
/// | `Settle` | [`settle`](Self::settle), then hands jobs out |
/// | `Command` | [`close`](Self::close), [`goodbye`](Self::goodbye); the others are about its jobs |
/// | (its leases die) | [`revoke`](Self::revoke) |
/// | (its link changes) | [`set_link`](Self::set_link) |
/// | [`Wake`] | [`woken`](Self::woken), moves what is due, [`wake_at`](Self::wake_at) |
///
/// To hand jobs out: lease at most [`credit`](Self::credit), then [`hand_out`](Self::hand_out). After an operation that may
/// have left something in [`news`](Self::news): [`tell`](Self::tell).
///
/// No method waits or blocks, so a lock around it may be held.
pub struct QueueShell<J: Send + Sync + 'static> {
    /// The latest supervisor that attached. It fences every earlier one, also after the actor was replaced.
    epoch: Epoch,
    /// Whether it holds leases: from its attach until it is told to be gone. An epoch of an earlier process holds none.
    is_attached: bool,
    /// Set once, never cleared.
    is_closed: bool,
    /// What nobody has taken yet. It outlives the actor that made it.
    news: News<J>,
    /// How the link is to whoever keeps the jobs. Told whenever it changes.
    state: QueueState,
    /// Where batches and news go. Set by an attach to this life of the actor.
    link: Option<Link<J>>,
    /// How many jobs the supervisor takes. Set by demands, begins anew with an attach.
    credit: Credit,
    /// Likewise urgent jobs alone, when there is no other credit.
    urgent: Credit,
    /// The most that the supervisor can have leased at once.
    ceiling: usize,
    /// The one timer of this life, and the moment for which it is set. It may be early: then it is set again.
    timer: Option<(Moment, SpawnHandle)>,
    /// This life of the actor, for whoever works for it elsewhere.
    actor: Option<WeakRecipient<Wake>>,
}

/// What the supervisor takes of the jobs of one kind. See [`Demand`].
#[derive(Debug, Clone, Copy, Default)]
struct Credit {
    total: u64,
    handed_out: u64,
}

impl Credit {
    /// Nothing while more is under way than the supervisor takes by now.
    fn left(self) -> usize {
        usize::try_from(self.total.saturating_sub(self.handed_out)).unwrap_or(usize::MAX)
    }
}

struct Link<J: Send + Sync + 'static> {
    batches: Recipient<Batch<J>>,
    revoke: Recipient<Revoke>,
    tell: Recipient<QueueNews>,
    dead_lettered: Recipient<DeadLetteredJobs<J>>,
}

impl<J: Send + Sync + 'static> QueueShell<J> {
    /// The shell of a queue to which nobody has attached.
    pub fn new() -> Self {
        Self::after(Epoch(0))
    }

    /// The shell of a queue to which this supervisor attached last, in an earlier process.
    pub fn after(epoch: Epoch) -> Self {
        Self {
            epoch,
            is_attached: false,
            is_closed: false,
            news: News::default(),
            state: QueueState {
                link: LinkState::Connected,
                since: Moment::START,
            },
            link: None,
            credit: Credit::default(),
            urgent: Credit::default(),
            ceiling: 0,
            timer: None,
            actor: None,
        }
    }

    /// A new actor begins, and the one before has ended with its timer. It knows no supervisor until one attaches; the leases
    /// go on.
    pub fn new_life(&mut self) {
        self.link = None;
        (self.credit, self.urgent) = Default::default();
        self.timer = None;
        self.actor = None;
    }

    /// The latest supervisor that attached; `Epoch(0)` if none has.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether leases are held by the supervisor of this epoch.
    pub fn is_attached(&self, epoch: Epoch) -> bool {
        self.is_attached && self.epoch == epoch
    }

    /// Whether the leases have to be taken back when the supervisor of this epoch attaches.
    ///
    /// # Errors
    /// [`AttachError::Superseded`] if a later one attached before.
    pub fn takes_back(&self, epoch: Epoch) -> Result<bool, AttachError> {
        if epoch < self.epoch {
            return Err(AttachError::Superseded(self.epoch));
        }
        Ok(!self.is_attached(epoch))
    }

    /// Lets a supervisor in. `take_back` puts every leased job to its old place and says how many they were; it is called if
    /// they were leased to an earlier epoch.
    ///
    /// # Errors
    /// As [`takes_back`](Self::takes_back); then nothing has changed.
    pub fn attach(
        &mut self,
        attach: Attach<J>,
        take_back: impl FnOnce() -> usize,
    ) -> Result<Attached, AttachError> {
        // First take back, then note the epoch: if the queue panics, the next attach takes back again.
        let returned = if self.takes_back(attach.epoch)? {
            take_back()
        } else {
            0
        };
        self.attached(attach);
        Ok(Attached { returned })
    }

    /// The supervisor is in: the leases were taken back, if they had to be.
    pub fn attached(&mut self, attach: Attach<J>) {
        self.epoch = attach.epoch;
        self.is_attached = true;
        self.ceiling = attach.ceiling;
        (self.credit, self.urgent) = Default::default();
        self.link = Some(Link {
            batches: attach.batches,
            revoke: attach.revoke,
            tell: attach.tell,
            dead_lettered: attach.dead_lettered,
        });
        self.tell();
    }

    /// The supervisor of this epoch has ended with its group. True if its leases have to be taken back now.
    pub fn goodbye(&mut self, epoch: Epoch) -> bool {
        if epoch < self.epoch {
            return false;
        }
        (self.credit, self.urgent) = Default::default();
        std::mem::take(&mut self.is_attached)
    }

    /// Takes no more jobs from here on.
    pub fn close(&mut self) -> QueueReply<J> {
        self.is_closed = true;
        QueueReply::Done
    }

    /// Whether it takes no more jobs.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Takes the jobs of a push one by one, by `take`, which hands back what the queue has no room for. A closed queue hands
    /// back all.
    pub fn push(
        &mut self,
        mut push: Push<J>,
        take: impl FnMut(JobRef<J>) -> Result<(), Refused<J>>,
    ) -> Pushed<J> {
        let jobs = push.take_jobs().into_iter();
        let refused = match self.is_closed {
            true => jobs.map(closed).collect(),
            false => jobs.map(take).filter_map(Result::err).collect(),
        };
        Pushed { refused }
    }

    /// Takes over how many jobs the supervisor takes, unless it is another one than the attached one.
    pub fn demand(&mut self, demand: Demand) {
        if self.link.is_some() && self.is_attached(demand.epoch) {
            self.credit.total = demand.total;
            self.urgent.total = demand.urgent_total;
            self.ceiling = demand.ceiling;
        }
    }

    /// How many jobs can be handed out now; 0 while nobody is attached.
    pub fn credit(&self) -> usize {
        self.credit.left()
    }

    /// The most jobs that the supervisor can have leased at once, as it said last; 0 before anybody attached.
    pub fn ceiling(&self) -> usize {
        self.ceiling
    }

    /// How many jobs can be handed out now if all of them are of this priority or a higher one: urgent jobs have credit of their
    /// own, beyond that for all. A queue that knows priorities asks this.
    pub fn credit_for(&self, priority: Priority) -> usize {
        match priority.is_urgent() {
            true => self.credit.left().saturating_add(self.urgent.left()),
            false => self.credit.left(),
        }
    }

    /// Hands leased jobs out, and uses up credit for them. Those that nobody gets any more come back with the next attach.
    pub fn hand_out(&mut self, jobs: Vec<Leased<J>>) {
        let batch = self.batch(jobs);
        // Here and not by the way of a later call: a copy of an address is an allocation.
        if let Some(link) = self.link.as_ref().filter(|_| !batch.jobs.is_empty()) {
            link.batches.do_send(batch);
        }
    }

    /// Uses up credit for leased jobs and hands them out when the returned closure is called: for a queue that must have written
    /// down first that they are leased.
    pub fn hand_out_later(&mut self, jobs: Vec<Leased<J>>) -> impl FnOnce() + Send + use<J> {
        let batch = self.batch(jobs);
        let to = self.link.as_ref().map(|link| link.batches.clone());
        move || {
            if let Some(to) = to.filter(|_| !batch.jobs.is_empty()) {
                to.do_send(batch);
            }
        }
    }

    fn batch(&mut self, jobs: Vec<Leased<J>>) -> Batch<J> {
        let count: usize = jobs.iter().map(|leased| leased.run.len()).sum();
        let beyond_credit = count.saturating_sub(self.credit.left()).min(self.urgent.left());
        self.credit.handed_out += (count - beyond_credit) as u64;
        self.urgent.handed_out += beyond_credit as u64;
        Batch {
            beyond_credit,
            ..Batch::new(self.epoch, jobs)
        }
    }

    /// Applies the verdicts in order by `apply`, unless they are another supervisor's: then all are refused. For a queue that
    /// leases no blocks.
    pub fn settle(
        &mut self,
        settle: &Settle,
        mut apply: impl FnMut(&SettleItem, &mut News<J>) -> Settled,
    ) -> SettleReply {
        if !self.is_attached(settle.epoch) {
            return settle.superseded();
        }
        let news = &mut self.news;
        let refused = settle.items.iter().filter_map(|item| match apply(item, news) {
            Settled::Applied => None,
            Settled::Refused(why) => Some(RefusedSettle {
                lease: item.lease,
                attempt: item.attempt,
                why,
            }),
        });
        SettleReply::Applied {
            refused: refused.collect(),
        }
    }

    /// Takes leases back from the supervisor that is attached, as [`Revoke`] says. The future gives what became of them; `None`
    /// if nobody is attached, or the supervisor has died meanwhile. The word is on its way when this returns.
    pub fn revoke(&self, what: Revoked, kind: RevokeKind) -> impl Future<Output = Option<Released>> + use<J> {
        let epoch = self.epoch;
        // Through a clone, which has a place of its own in a full mailbox: else the word would go in only when the future is
        // polled.
        let answer = self
            .link
            .as_ref()
            .map(|link| link.revoke.clone().send(Revoke { epoch, what, kind }));
        async move { answer?.await.ok() }
    }
}

impl<J: Send + Sync + 'static> Default for QueueShell<J> {
    fn default() -> Self {
        Self::new()
    }
}

/// Hands back a job that came to a closed queue.
pub(super) fn closed<J>(job: JobRef<J>) -> Refused<J> {
    let refusal = Refusal::Closed;
    Refused { job, refusal }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, AsyncContext, Context, Handler};

    use super::telling::MOST_NEWS;
    use super::*;
    use crate::types::EventKind;

    /// Hears nothing.
    struct Deaf;

    impl Actor for Deaf {
        type Context = Context<Self>;
    }

    impl Handler<Batch<u64>> for Deaf {
        type Result = ();
        fn handle(&mut self, _: Batch<u64>, _: &mut Context<Self>) {}
    }

    impl Handler<QueueNews> for Deaf {
        type Result = ();
        fn handle(&mut self, _: QueueNews, _: &mut Context<Self>) {}
    }

    impl Handler<Revoke> for Deaf {
        type Result = actix::MessageResult<Revoke>;
        fn handle(&mut self, _: Revoke, _: &mut Context<Self>) -> Self::Result {
            actix::MessageResult(Released::default())
        }
    }

    impl Handler<DeadLetteredJobs<u64>> for Deaf {
        type Result = ();
        fn handle(&mut self, _: DeadLetteredJobs<u64>, _: &mut Context<Self>) {}
    }

    /// An attach whose sender has gone already.
    fn attach(epoch: u64) -> Attach<u64> {
        let address = Context::<Deaf>::new().address();
        Attach {
            epoch: Epoch(epoch),
            ceiling: 64,
            batches: address.clone().recipient(),
            revoke: address.clone().recipient(),
            tell: address.clone().recipient(),
            dead_lettered: address.recipient(),
        }
    }

    fn demand(shell: &mut QueueShell<u64>, epoch: u64, total: u64) -> usize {
        let epoch = Epoch(epoch);
        shell.demand(Demand {
            epoch,
            total,
            urgent_total: 0,
            ceiling: 64,
        });
        shell.credit()
    }

    #[test]
    fn leases_go_back_when_another_epoch_attaches_and_not_when_the_same_one_does() {
        let mut shell = QueueShell::new();
        let returned = |attached: Result<Attached, AttachError>| attached.map(|attached| attached.returned);
        assert_eq!(returned(shell.attach(attach(1), || 7)), Ok(7));
        assert_eq!(returned(shell.attach(attach(1), || 7)), Ok(0));
        shell.new_life();
        assert_eq!(returned(shell.attach(attach(1), || 7)), Ok(0));
        assert_eq!(returned(shell.attach(attach(3), || 7)), Ok(7));
        let superseded = Err(AttachError::Superseded(Epoch(3)));
        assert_eq!(returned(shell.attach(attach(2), || 7)), superseded);
        assert!(shell.is_attached(Epoch(3)) && !shell.is_attached(Epoch(2)));
    }

    #[test]
    fn the_epoch_of_an_earlier_process_holds_no_lease() {
        let mut shell = QueueShell::<u64>::after(Epoch(5));
        assert!(!shell.is_attached(Epoch(5)));
        assert_eq!(shell.takes_back(Epoch(5)), Ok(true));
        assert_eq!(shell.takes_back(Epoch(4)), Err(AttachError::Superseded(Epoch(5))));
        assert!(!shell.goodbye(Epoch(5)), "nothing is leased");
    }

    #[test]
    fn credit_is_that_of_the_attached_epoch_and_void_after_an_attach_a_new_life_and_a_goodbye() {
        let mut shell = QueueShell::new();
        assert_eq!(demand(&mut shell, 1, 5), 0, "nobody is attached");
        let attached = |shell: &mut QueueShell<u64>, epoch| {
            assert!(shell.attach(attach(epoch), || 0).is_ok());
            demand(shell, epoch, 5)
        };
        assert_eq!(attached(&mut shell, 2), 5);
        assert_eq!(demand(&mut shell, 2, u64::MAX), usize::MAX);
        assert_eq!(demand(&mut shell, 1, 5), usize::MAX, "an earlier epoch");
        assert_eq!(demand(&mut shell, 2, 7), 7, "a total may sink");
        assert_eq!(attached(&mut shell, 2), 5);
        shell.new_life();
        assert_eq!(demand(&mut shell, 2, 5), 0, "the new life is not attached");
        assert_eq!(attached(&mut shell, 2), 5);
        assert!(!shell.goodbye(Epoch(1)), "a later one is attached");
        assert_eq!(shell.credit(), 5);
        assert!(shell.goodbye(Epoch(2)));
        assert!(!shell.goodbye(Epoch(2)), "once is enough");
        assert_eq!(demand(&mut shell, 2, 5), 0);
        assert_eq!(shell.takes_back(Epoch(2)), Ok(true), "it may come back");
    }

    #[test]
    fn news_that_nobody_takes_have_a_bound_and_the_latest_stay() {
        let mut shell = QueueShell::<u64>::new();
        let job = crate::types::JobId::from_uuid(uuid::Uuid::nil());
        for number in 0..=MOST_NEWS as u128 {
            let last = crate::types::JobId::from_uuid(uuid::Uuid::from_u128(number));
            let requeued = EventKind::Requeued { job: last };
            shell.news().events.push(requeued);
        }
        // The one to whom they would go has ended.
        assert!(shell.attach(attach(1), || 0).is_ok());
        let events = &shell.news().events;
        assert_eq!(events.len(), MOST_NEWS / 2);
        let oldest = EventKind::Requeued { job };
        assert!(!events.contains(&oldest));
    }
}
