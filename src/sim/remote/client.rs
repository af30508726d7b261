//! The client's end of the link: what is under way, and what becomes of it when the link breaks.

use tokio::sync::oneshot;

use super::State;
use crate::protocol::faults;
use crate::protocol::{Pushed, Settle, SettleReply};
use crate::rules::store::{Refusal, Refused, RefusedSettle, Settled};
use crate::types::{EventKind, JobRef, Moment, RevokeKind, Revoked};

/// Why a push is refused while there is no link.
pub(super) const UNAVAILABLE: Refusal = Refusal::Unavailable {
    why: "the link is broken",
};

/// Jobs that are under way, with who waits for the broker's word on them.
type SentPush<J> = (Vec<JobRef<J>>, oneshot::Sender<Pushed<J>>);

/// The same of verdicts.
type SentSettle = (Settle, oneshot::Sender<SettleReply>);

pub(super) struct Client<J> {
    /// Set while the link is broken: when it is there again.
    pub(super) is_back_at: Option<Moment>,
    /// When what is under way arrives.
    pub(super) arrives_at: Option<Moment>,
    pushes: Vec<SentPush<J>>,
    settles: Vec<SentSettle>,
}

impl<J> Default for Client<J> {
    fn default() -> Self {
        Self {
            is_back_at: None,
            arrives_at: None,
            pushes: Vec::new(),
            settles: Vec::new(),
        }
    }
}

impl<J: Send + Sync + 'static> Client<J> {
    pub(super) fn has_link(&self) -> bool {
        self.is_back_at.is_none()
    }

    pub(super) fn push(&mut self, jobs: Vec<JobRef<J>>, arrives_at: Moment) -> oneshot::Receiver<Pushed<J>> {
        let (answer, answered) = oneshot::channel();
        self.pushes.push((jobs, answer));
        self.arrives_at.get_or_insert(arrives_at);
        answered
    }

    pub(super) fn settle(&mut self, settle: Settle, arrives_at: Moment) -> oneshot::Receiver<SettleReply> {
        let (answer, answered) = oneshot::channel();
        self.settles.push((settle, answer));
        self.arrives_at.get_or_insert(arrives_at);
        answered
    }
}

/// All of these jobs, refused for this reason.
pub(super) fn refused<J>(jobs: Vec<JobRef<J>>, refusal: Refusal) -> Pushed<J> {
    let refused = jobs.into_iter().map(|job| Refused { job, refusal });
    Pushed {
        refused: refused.collect(),
    }
}

impl<J: Send + Sync + 'static> State<J> {
    /// A process begins, on a link of its own.
    pub(super) fn process_begins(&mut self) {
        self.client = Client::default();
        self.broker.process_begins();
        self.shell = crate::actors::queue::QueueShell::after(self.shell.epoch());
    }

    /// A new actor begins; that of the last one took its link with it.
    pub(super) fn actor_begins(&mut self) {
        self.shell.new_life();
        self.link_breaks();
        self.client.is_back_at = None;
    }

    /// The link breaks. The broker hands out again what was leased; of what was under way some had arrived, and nobody knows.
    pub(super) fn link_breaks(&mut self) {
        let now = self
            .clock
            .as_ref()
            .map(crate::actors::Clock::now)
            .unwrap_or_default();
        self.client.arrives_at = None;
        for (settle, answer) in std::mem::take(&mut self.client.settles) {
            if self.broker.flips_a_coin() {
                let _ = self.apply(now, &settle);
            }
            // An error means that nobody waits any more.
            let _ = answer.send(SettleReply::LinkDown);
        }
        for (jobs, answer) in std::mem::take(&mut self.client.pushes) {
            if self.broker.flips_a_coin() {
                jobs.iter().for_each(|job| self.broker.keep(JobRef::clone(job)));
            }
            let _ = answer.send(refused(jobs, Refusal::Unconfirmed));
        }
        let lost = self.broker.requeue_all();
        faults::ask(|world| world.leases_lost(lost));
    }

    /// The supervisor hears that every lease is over.
    pub(super) fn tell_that_all_is_lost(&self) {
        let revoked = self.shell.revoke(Revoked::All, RevokeKind::Lost);
        actix_rt::spawn(async move {
            // Whatever came of them, they are over.
            let _ = revoked.await;
        });
    }

    /// Whatever is leased of this lane is leased no more.
    pub(super) fn lane_is_lost(&mut self, lane: u32) {
        let lost = self.broker.requeue_lane(lane);
        faults::ask(|world| world.leases_lost(lost));
    }

    /// What is under way arrives, and the link is there again, as far as the time has come. Then jobs are handed out.
    pub(super) fn go_on(&mut self, now: Moment) {
        self.client.is_back_at = self.client.is_back_at.filter(|at| *at > now);
        if self.client.arrives_at.is_some_and(|at| at <= now) {
            self.arrive(now);
        }
        if self.client.has_link() {
            let jobs = self.broker.lease(now, self.shell.credit());
            self.shell.hand_out(jobs);
        }
        self.shell.tell();
    }

    /// What is under way arrives.
    pub(super) fn arrive(&mut self, now: Moment) {
        self.client.arrives_at = None;
        for (settle, answer) in std::mem::take(&mut self.client.settles) {
            let reply = self.apply(now, &settle);
            // An error means that nobody waits any more.
            let _ = answer.send(reply);
        }
        for (jobs, answer) in std::mem::take(&mut self.client.pushes) {
            jobs.into_iter().for_each(|job| self.broker.keep(job));
            let _ = answer.send(Pushed { refused: Vec::new() });
        }
    }

    fn apply(&mut self, now: Moment, settle: &Settle) -> SettleReply {
        if !self.shell.is_attached(settle.epoch) {
            return settle.superseded();
        }
        let mut refused = Vec::new();
        for item in settle.items.iter() {
            let (settled, letter) = self.broker.settle(now, item);
            if let Settled::Refused(why) = settled {
                refused.push(RefusedSettle {
                    lease: item.lease,
                    attempt: item.attempt,
                    why,
                });
            }
            if let Some(letter) = letter {
                let (job, reason) = (letter.id(), letter.reason.clone());
                let news = self.shell.news();
                news.events.push(EventKind::DeadLettered { job, reason });
                news.dead.push(letter);
            }
        }
        SettleReply::Applied { refused }
    }

    /// When something is to be done next.
    pub(super) fn next_due(&self, now: Moment) -> Option<Moment> {
        let due = [
            self.client.is_back_at,
            self.client.arrives_at,
            self.broker.next_due(now),
        ];
        due.into_iter().flatten().min()
    }
}
