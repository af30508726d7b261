//! What outlives the queue actor: the messages that came, who has them leased, and what the server is to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use consumer_group::events::{Moment, QueueCounts};
use consumer_group::queue::{
    LeaseTable, Leased, QueueCommand, QueueReply, QueueShell, RefusedSettle, RevokeKind, Revoked, Settle,
    SettleItem, SettleRefusal, SettleReply, UnreadableJob, Verdict,
};
use consumer_group::{DeadLetter, DeadReason, EventKind};
use tokio::sync::oneshot;

use crate::message::{Arrived, Place};
use crate::tags::{Acks, Tags};

/// See the module. No method waits or blocks, and no code of the user runs in one.
pub(crate) struct State<J: Send + Sync + 'static> {
    pub(crate) shell: QueueShell<J>,
    /// Came, and not leased: in the order in which they were delivered. Bounded by the prefetch.
    waiting: BTreeMap<Place, Arrived<J>>,
    /// What the group has. Bounded by its credit.
    leased: LeaseTable<Arrived<J>>,
    /// How many channels were opened in all.
    channels: u64,
    /// The channel that is open now, by its number; none while there is none.
    channel: Option<u64>,
    /// What is open in it.
    tags: Tags,
    /// Messages that are being sent on, and are acked when that is confirmed, with their offset in a stream.
    leaving: BTreeMap<Place, Option<u64>>,
    /// Where reading of a stream goes on.
    next_offset: Option<u64>,
    /// Who waits until everything is told and given back. Set by the goodbye of the group, taken when that is done.
    goodbye: Option<oneshot::Sender<()>>,
    /// What is to be asked of the server beside the messages.
    errands: Vec<Errand<J>>,
}

/// A command of the group that the server must be asked for.
pub(crate) struct Errand<J> {
    pub(crate) command: QueueCommand,
    pub(crate) answer: oneshot::Sender<QueueReply<J>>,
}

/// A message that leaves by another way than an ack alone: it is published elsewhere first.
pub(crate) struct Leaving<J> {
    pub(crate) arrived: Arrived<J>,
    pub(crate) to: Whereto,
}

/// Where a message goes.
pub(crate) enum Whereto {
    /// To the retry queue of this delay.
    Retry(Duration),
    /// To the dead letters.
    Dead(DeadReason),
}

/// What the channel is to do.
pub(crate) struct Work<J> {
    pub(crate) acks: Acks,
    /// How many messages shall be prefetched; none at 0.
    pub(crate) prefetch: usize,
    /// Whether something is done that waits for what came before it.
    pub(crate) has_done: bool,
    pub(crate) goodbye: Option<oneshot::Sender<()>>,
    pub(crate) errands: Vec<Errand<J>>,
}

impl<J: Send + Sync + 'static> State<J> {
    pub(crate) fn new() -> Self {
        Self {
            shell: QueueShell::new(),
            waiting: BTreeMap::new(),
            leased: LeaseTable::new(),
            channels: 0,
            channel: None,
            tags: Tags::default(),
            leaving: BTreeMap::new(),
            next_offset: None,
            goodbye: None,
            errands: Vec::new(),
        }
    }

    /// A channel was opened, and the one before was lost. Gives its number.
    pub(crate) fn opened(&mut self) -> u64 {
        self.channels += 1;
        self.channel = Some(self.channels);
        self.channels
    }

    /// The channel has ended: the server gives everything that was open in it to others, or to us again. The group is told that its
    /// leases are lost, so what consumers do now counts for nothing.
    /// The future is done when the group has heard it; dropped before, it takes the word back.
    pub(crate) fn lost(&mut self) -> Option<impl Future<Output = ()> + Send + use<J>> {
        let held = self.leased.end_all();
        // On its way before anything that comes by a later channel.
        let revoked = (held.len() > 0).then(|| self.shell.revoke(Revoked::All, RevokeKind::Lost));
        let held = held
            .map(|arrived| arrived.offset)
            .chain(self.waiting.values().map(|arrived| arrived.offset));
        let first = held.chain(self.leaving.values().copied()).flatten().min();
        // Of a stream: what was not done is read again, and whatever was done behind it.
        self.next_offset = first.or(self.next_offset);
        self.channel = None;
        self.tags = Tags::default();
        self.leaving.clear();
        self.waiting.clear();
        revoked.map(|revoked| async move {
            // None: nobody is attached any more.
            let _ = revoked.await;
        })
    }

    /// Messages came by the open channel.
    pub(crate) fn came(&mut self, arrived: Vec<Arrived<J>>) {
        for arrived in arrived {
            if self.channel == Some(arrived.place.channel) {
                self.tags.came(arrived.place.tag);
                self.read(arrived.offset);
                self.waiting.insert(arrived.place, arrived);
            }
        }
    }

    /// A message came that is no job: it leaves, or is done here and kept by the group. Either way the group hears of it.
    pub(crate) fn came_unreadable(
        &mut self,
        place: Place,
        offset: Option<u64>,
        leaves: bool,
        job: UnreadableJob,
    ) {
        if self.channel != Some(place.channel) {
            return;
        }
        self.read(offset);
        self.tags.came(place.tag);
        match leaves {
            true => {
                self.leaving.insert(place, offset);
                self.shell.news().events.push(EventKind::DeadLettered {
                    job: job.id,
                    reason: DeadReason::Unreadable(job.reason),
                });
            }
            false => {
                self.tags.done(place.tag);
                self.shell.news().give_up_unreadable(job);
            }
        }
    }

    fn read(&mut self, offset: Option<u64>) {
        if let Some(offset) = offset {
            self.next_offset = Some(offset + 1);
        }
    }

    /// Where reading of a stream goes on, once something was read.
    pub(crate) fn next_offset(&self) -> Option<u64> {
        self.next_offset
    }

    /// A message has left: it was published elsewhere and that is confirmed, so it is done here.
    pub(crate) fn has_left(&mut self, place: Place) {
        if self.channel == Some(place.channel) {
            self.leaving.remove(&place);
            self.tags.done(place.tag);
        }
    }

    /// Leases what is there to the supervisor, as much as it takes. `keeps_time`: delays and expiry are ours to keep.
    pub(crate) fn hand_out(&mut self, now: Moment, keeps_time: bool) -> Vec<Leaving<J>> {
        let (mut leased, mut leaving) = (Vec::new(), Vec::new());
        while leased.len() < self.shell.credit()
            && let Some((_, arrived)) = self.waiting.pop_first()
        {
            if keeps_time && let Some(to) = due_elsewhere(&arrived, now) {
                leaving.push(self.leave(arrived, to, now));
                continue;
            }
            let (job, attempt) = (arrived.job.clone(), arrived.attempt);
            let lease = self.leased.begin(arrived);
            leased.push(Leased::one(lease, attempt, job));
        }
        self.shell.hand_out(leased);
        leaving
    }

    /// Notes that a message leaves, and tells of it if it is a dead letter.
    fn leave(&mut self, arrived: Arrived<J>, to: Whereto, now: Moment) -> Leaving<J> {
        self.leaving.insert(arrived.place, arrived.offset);
        if let Whereto::Dead(reason) = &to {
            self.shell.news().dead.push(DeadLetter {
                job: arrived.job.clone(),
                reason: reason.clone(),
                history: arrived.history.clone(),
                at: now,
            });
        }
        Leaving { arrived, to }
    }

    /// Applies verdicts. Gives the answer, and what leaves: the answer is for when that has left.
    pub(crate) fn settle(&mut self, settle: &Settle, now: Moment) -> (SettleReply, Vec<Leaving<J>>) {
        if !self.shell.is_attached(settle.epoch) {
            return (settle.superseded(), Vec::new());
        }
        if self.channel.is_none() {
            return (SettleReply::LinkDown, Vec::new());
        }
        let (mut refused, mut leaving) = (Vec::new(), Vec::new());
        for item in settle.items.iter() {
            match self.apply(item, now) {
                Ok(left) => leaving.extend(left),
                Err(why) => refused.push(RefusedSettle {
                    lease: item.lease,
                    attempt: item.attempt,
                    why,
                }),
            }
        }
        (SettleReply::Applied { refused }, leaving)
    }

    /// Applies one verdict: what leaves by it, if anything does.
    fn apply(&mut self, item: &SettleItem, now: Moment) -> Result<Option<Leaving<J>>, SettleRefusal> {
        let arrived = self.leased.get_mut(item.lease).ok_or(SettleRefusal::Unknown)?;
        if arrived.attempt != item.attempt {
            return Err(SettleRefusal::Stale);
        }
        match &item.verdict {
            Verdict::Extend | Verdict::Begin(_) => return Ok(None),
            Verdict::Renew(renewal) => {
                arrived.failed(renewal.counts, renewal.record.clone());
                return Ok(None);
            }
            Verdict::Ack | Verdict::Retry(_) | Verdict::Reject(_) => {}
        }
        let mut arrived = self.leased.end(item.lease).ok_or(SettleRefusal::Unknown)?;
        Ok(match &item.verdict {
            Verdict::Retry(retry) => {
                arrived.failed(retry.counts, retry.record.clone());
                if retry.after.is_zero() {
                    self.waiting.insert(arrived.place, arrived);
                    None
                } else {
                    Some(self.leave(arrived, Whereto::Retry(retry.after), now))
                }
            }
            Verdict::Reject(rejection) => {
                arrived.failed(false, rejection.record.clone());
                Some(self.leave(arrived, Whereto::Dead(rejection.reason.clone()), now))
            }
            _ => {
                self.tags.done(arrived.place.tag);
                None
            }
        })
    }

    /// Every lease goes back to its old place.
    pub(crate) fn take_back(&mut self) -> usize {
        let leased = self.leased.end_all();
        let count = leased.len();
        self.waiting
            .extend(leased.map(|arrived| (arrived.place, arrived)));
        count
    }

    /// What waits goes back to the server. Gives its tags.
    pub(crate) fn give_back(&mut self) -> Vec<u64> {
        let waiting = std::mem::take(&mut self.waiting);
        let tags: Vec<u64> = waiting.into_keys().map(|place| place.tag).collect();
        tags.iter().for_each(|tag| self.tags.given_back(*tag));
        tags
    }

    /// The group says goodbye: what it has goes back, and `done` is told when the server knows everything.
    pub(crate) fn say_goodbye(&mut self, done: oneshot::Sender<()>) {
        self.take_back();
        match self.channel {
            Some(_) => self.goodbye = Some(done),
            None => drop(done.send(())),
        }
    }

    pub(crate) fn ask(&mut self, errand: Errand<J>) {
        self.errands.push(errand);
    }

    pub(crate) fn take_errands(&mut self) -> Vec<Errand<J>> {
        std::mem::take(&mut self.errands)
    }

    /// How many messages the group would have now if the server had enough.
    pub(crate) fn wanted(&self) -> usize {
        self.shell.credit() + self.leased.len()
    }

    /// What the channel is to do. `all`: also the acks that must be told one by one.
    pub(crate) fn work(&mut self, all: bool) -> Work<J> {
        let all = all || self.goodbye.is_some();
        let acks = if all {
            self.tags.take_all()
        } else {
            self.tags.take_through()
        };
        Work {
            acks,
            prefetch: self.wanted(),
            has_done: self.tags.has_done(),
            goodbye: self.goodbye.take(),
            errands: self.take_errands(),
        }
    }

    /// What is known without the server.
    pub(crate) fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.waiting.len(),
            leased: self.leased.len() + self.leaving.len(),
            ..QueueCounts::default()
        }
    }
}

/// Where a job goes that must not be leased now.
fn due_elsewhere<J>(arrived: &Arrived<J>, now: Moment) -> Option<Whereto> {
    if arrived.job.expires_at().is_some_and(|at| at <= now) {
        return Some(Whereto::Dead(DeadReason::Expired));
    }
    let wait = arrived.job.not_before()?.since(now);
    (!wait.is_zero()).then_some(Whereto::Retry(wait))
}
