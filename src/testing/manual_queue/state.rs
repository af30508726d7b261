//! What a manual queue knows of its jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{SeenSettle, SettleAnswers};
use crate::actors::Clock;
use crate::actors::queue::QueueShell;
use crate::protocol::{
    Attach, AttachError, Attached, Push, Pushed, QueueCommand, QueueReply, Settle, SettleReply,
};
use crate::rules::store::{
    DeadSelection, DelayedJobs, LeaseTable, Leased, Refusal, Refused, RefusedSettle, Selected, SettleRefusal,
    Settled,
};
use crate::types::{
    Arrival, AttemptRecord, Capabilities, DeadLetter, Job, JobRef, Lane, LeaseId, Moment, QueueCounts,
    Rejection, Revoked, SettleItem, Verdict,
};

pub(super) struct State<J: Send + Sync + 'static> {
    pub(super) shell: QueueShell<J>,
    capabilities: Capabilities,
    /// The clock of the first life. Delays are kept as moments, so every later life reads the same one.
    pub(super) clock: Option<Clock>,
    /// Whether jobs are leased as soon as there is credit.
    pub(super) is_automatic: bool,
    /// The place of the next job among the ready ones.
    next: u64,
    pub(super) ready: BTreeMap<u64, Kept<J>>,
    /// Jobs that were given back with a delay.
    pub(super) delayed: DelayedJobs<Kept<J>>,
    pub(super) leased: LeaseTable<Kept<J>>,
    pub(super) dead: Vec<DeadLetter<J>>,
    pub(super) accepted: usize,
    pub(super) refusal: Option<Refusal>,
    pub(super) out_of_order: Option<String>,
    pub(super) answers: SettleAnswers,
    pub(super) said_goodbye: Option<Duration>,
    /// Whether nothing is answered.
    pub(super) is_silent: bool,
    pub(super) settles: Vec<SeenSettle>,
    /// How many of the settles the test has taken one by one.
    pub(super) taken: usize,
}

pub(super) struct Kept<J> {
    /// Its place among the ready ones, over all leases.
    place: u64,
    job: JobRef<J>,
    /// Attempts that ended and count.
    attempts: u32,
    history: Vec<AttemptRecord>,
}

impl<J: Send + Sync + 'static> State<J> {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        Self {
            shell: QueueShell::new(),
            capabilities,
            clock: None,
            is_automatic: false,
            next: 0,
            ready: BTreeMap::new(),
            delayed: DelayedJobs::default(),
            leased: LeaseTable::new(),
            dead: Vec::new(),
            accepted: 0,
            refusal: None,
            out_of_order: None,
            answers: SettleAnswers::default(),
            said_goodbye: None,
            is_silent: false,
            settles: Vec::new(),
            taken: 0,
        }
    }

    fn keep(&mut self, job: JobRef<J>, history: Vec<AttemptRecord>) {
        let kept = Kept {
            place: self.next,
            job,
            attempts: 0,
            history,
        };
        self.ready.insert(self.next, kept);
        self.next += 1;
    }

    pub(super) fn push(&mut self, mut push: Push<J>) -> Pushed<J> {
        let closed = self.shell.is_closed().then_some(Refusal::Closed);
        let jobs = push.take_jobs();
        if let Some(refusal) = closed.or(self.refusal) {
            let refused = jobs.into_iter().map(|job| Refused { job, refusal });
            return Pushed {
                refused: refused.collect(),
            };
        }
        self.accepted += jobs.len();
        jobs.into_iter().for_each(|job| self.keep(job, Vec::new()));
        Pushed { refused: Vec::new() }
    }

    pub(super) fn arrive(&mut self, jobs: impl IntoIterator<Item = (Arrival, Job<J>)>) {
        for (arrival, job) in jobs {
            self.keep(JobRef::arrived(arrival, job, Moment::START), Vec::new());
        }
    }

    pub(super) fn lease(&mut self, most: usize) -> usize {
        let mut jobs = Vec::new();
        while jobs.len() < most.min(self.shell.credit())
            && let Some((_, kept)) = self.ready.pop_first()
        {
            let (attempt, job) = (kept.attempts + 1, JobRef::clone(&kept.job));
            jobs.push(Leased::one(self.leased.begin(kept), attempt, job));
        }
        let leased = jobs.len();
        self.shell.hand_out(jobs);
        leased
    }

    pub(super) fn attach(&mut self, attach: Attach<J>) -> Result<Attached, AttachError> {
        if let Some(reason) = &self.out_of_order {
            return Err(AttachError::OutOfOrder(reason.clone()));
        }
        let Self {
            shell, ready, leased, ..
        } = self;
        shell.attach(attach, || {
            let back = leased.end_all();
            let returned = back.len();
            ready.extend(back.map(|kept| (kept.place, kept)));
            returned
        })
    }

    pub(super) fn settle(&mut self, now: Moment, settle: &Settle) -> SettleReply {
        let mut refused = Vec::new();
        let (applies, has_link) = (
            self.answers == SettleAnswers::Apply,
            self.answers != SettleAnswers::LinkDown,
        );
        for item in settle.items.iter() {
            let job = self.leased.get_mut(item.lease).map(|kept| kept.job.id());
            let settled = match self.shell.is_attached(settle.epoch) {
                true if applies => self.apply(now, item),
                true => Settled::Refused(SettleRefusal::Unknown),
                false => Settled::Refused(SettleRefusal::Stale),
            };
            if let Settled::Refused(why) = settled {
                refused.push(RefusedSettle {
                    lease: item.lease,
                    attempt: item.attempt,
                    why,
                });
            }
            self.settles.push(SeenSettle {
                epoch: settle.epoch,
                job,
                item: item.clone(),
                applied: settled == Settled::Applied,
            });
        }
        match has_link {
            true => SettleReply::Applied { refused },
            false => SettleReply::LinkDown,
        }
    }

    fn apply(&mut self, now: Moment, item: &SettleItem) -> Settled {
        let Capabilities {
            attempts, fencing, ..
        } = self.capabilities;
        let lease = item.lease;
        let Some(kept) = self.leased.get_mut(lease) else {
            return Settled::Refused(SettleRefusal::Unknown);
        };
        if attempts && fencing && kept.attempts + 1 != item.attempt {
            return Settled::Refused(SettleRefusal::Stale);
        }
        match &item.verdict {
            Verdict::Extend | Verdict::Begin(_) => {}
            Verdict::Renew(renewal) => {
                kept.end_attempt(attempts && renewal.counts, renewal.record.as_ref());
            }
            Verdict::Ack => drop(self.leased.end(lease)),
            Verdict::Retry(retry) => {
                kept.end_attempt(attempts && retry.counts, retry.record.as_ref());
                let is_delayed = self.capabilities.delay.is_some() && !retry.after.is_zero();
                match self.leased.end(lease) {
                    Some(kept) if is_delayed => self.delayed.put(now.after(retry.after), kept.place, kept),
                    back => self.ready.extend(back.map(|kept| (kept.place, kept))),
                }
            }
            Verdict::Reject(rejection) => {
                if let Some(kept) = self.leased.end(lease) {
                    self.reject(now, kept, rejection);
                }
            }
        }
        Settled::Applied
    }

    /// Without the capability the job ends here, and only the verdict that the test sees tells of it.
    fn reject(&mut self, now: Moment, mut kept: Kept<J>, rejection: &Rejection) {
        if !self.capabilities.dead_letter {
            return;
        }
        kept.end_attempt(true, rejection.record.as_ref());
        let letter = DeadLetter {
            job: kept.job,
            reason: rejection.reason.clone(),
            history: kept.history,
            at: now,
        };
        self.dead.push(letter.clone());
        self.shell.news().dead.push(letter);
    }

    /// The leases that last and are meant.
    pub(super) fn meant(&mut self, what: &Revoked) -> Vec<LeaseId> {
        let of_lane = |job: &JobRef<J>, lane: &Lane| job.origin().is_some_and(|origin| origin.lane == *lane);
        let is_meant = |lease: &LeaseId, kept: &Kept<J>| match what {
            Revoked::All => true,
            Revoked::Lane(lane) => of_lane(&kept.job, lane),
            Revoked::Leases(leases) => leases.contains(lease),
        };
        let leased = self.leased.iter().filter(|(lease, kept)| is_meant(lease, kept));
        leased.map(|(lease, _)| lease).collect()
    }

    /// Ends those of these leases that last.
    pub(super) fn end_leases(&mut self, leases: &[LeaseId]) -> Vec<Kept<J>> {
        leases
            .iter()
            .filter_map(|lease| self.leased.end(*lease))
            .collect()
    }

    /// Jobs can be leased again, each at its old place.
    pub(super) fn bring_back(&mut self, jobs: Vec<Kept<J>>) {
        self.ready.extend(jobs.into_iter().map(|kept| (kept.place, kept)));
    }

    /// Makes the jobs ready whose delay ends by `now`.
    pub(super) fn ripen(&mut self, now: Moment) {
        while let Some(kept) = self.delayed.pop_due(now) {
            self.ready.insert(kept.place, kept);
        }
    }

    pub(super) fn command(&mut self, command: QueueCommand) -> QueueReply<J> {
        let no_letters = QueueReply::Unsupported("this queue keeps no dead letters");
        match command {
            QueueCommand::Close => self.shell.close(),
            QueueCommand::Counts => QueueReply::Counts(QueueCounts {
                ready: self.ready.len(),
                delayed: self.delayed.len(),
                leased: self.leased.len(),
                dead: self.dead.len(),
            }),
            QueueCommand::Goodbye { epoch, within } => {
                self.said_goodbye = Some(within);
                if self.shell.goodbye(epoch) {
                    let back = self.leased.end_all();
                    self.ready.extend(back.map(|kept| (kept.place, kept)));
                }
                QueueReply::Done
            }
            QueueCommand::Jobs(_) => QueueReply::Unsupported("the manual queue shows its jobs itself"),
            QueueCommand::TakeUnfinished => QueueReply::Unfinished(self.take_unfinished()),
            _ if !self.capabilities.dead_letter => no_letters,
            QueueCommand::DeadLetters { most } => {
                QueueReply::DeadLetters(self.dead.iter().take(most).cloned().collect())
            }
            QueueCommand::Requeue(which) => {
                let back = self.take_dead(&which);
                let ids = back.iter().map(DeadLetter::id).collect();
                for letter in back {
                    self.keep(letter.job, letter.history);
                }
                QueueReply::Requeued(ids)
            }
            QueueCommand::Purge(which) => QueueReply::Purged(self.take_dead(&which).len()),
        }
    }

    fn take_unfinished(&mut self) -> Vec<JobRef<J>> {
        self.ripen(Moment::from_millis(u64::MAX));
        let leased = self.leased.end_all();
        self.ready.extend(leased.map(|kept| (kept.place, kept)));
        let all = std::mem::take(&mut self.ready);
        all.into_values().map(|kept| kept.job).collect()
    }

    fn take_dead(&mut self, which: &DeadSelection) -> Vec<DeadLetter<J>> {
        let which = Selected::new(which);
        self.dead
            .extract_if(.., |letter| which.means(letter.id()))
            .collect()
    }
}

impl<J> Kept<J> {
    fn end_attempt(&mut self, counts: bool, record: Option<&AttemptRecord>) {
        self.attempts += u32::from(counts);
        self.history.extend(record.cloned());
    }
}
