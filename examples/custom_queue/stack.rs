//! A store: last in, first out. The stock queue actor around it does the talking.

use std::collections::{BTreeMap, VecDeque};

use consumer_group::config::Overflow;
use consumer_group::events::{Moment, QueueCounts};
use consumer_group::queue::{
    Bound, Capabilities, DeadSelection, JobRef, LeaseId, Leased, News, Refusal, Refused, Run, Settled, Store,
    Verdict,
};
use consumer_group::{AttemptRecord, DeadLetter, DeadReason, EventKind, JobId};

/// Dead letters that are kept at most.
const MOST_DEAD: usize = 100;

/// A stack of jobs.
pub(crate) struct Stack<J> {
    capacity: usize,
    /// Ready jobs, lowest number first; the last one is on top.
    ready: Vec<Kept<J>>,
    leased: BTreeMap<LeaseId, Kept<J>>,
    dead: VecDeque<DeadLetter<J>>,
    /// Numbers jobs and leases. Never goes back, so that no lease has the name of an earlier one.
    next: u64,
}

/// A job with what happened to it.
struct Kept<J> {
    number: u64,
    job: JobRef<J>,
    attempts: u32,
    history: Vec<AttemptRecord>,
}

impl<J> Kept<J> {
    fn end_attempt(&mut self, counts: bool, record: Option<&AttemptRecord>) {
        self.attempts += u32::from(counts);
        self.history.extend(record.cloned());
    }
}

impl<J> Stack<J> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            ready: Vec::new(),
            leased: BTreeMap::new(),
            dead: VecDeque::new(),
            next: 1,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn put_on_top(&mut self, job: JobRef<J>, history: Vec<AttemptRecord>) {
        let number = self.number();
        self.ready.push(Kept {
            number,
            job,
            attempts: 0,
            history,
        });
    }

    /// A job that comes back takes its old place.
    fn put_back(&mut self, kept: Kept<J>) {
        let place = self.ready.partition_point(|other| other.number < kept.number);
        self.ready.insert(place, kept);
    }

    fn bury(&mut self, now: Moment, kept: Kept<J>, reason: DeadReason, news: &mut News<J>) {
        let Kept { job, history, .. } = kept;
        news.events.push(EventKind::DeadLettered {
            job: job.id(),
            reason: reason.clone(),
        });
        let letter = DeadLetter {
            job,
            reason,
            history,
            at: now,
        };
        // Whoever waits for the outcome of this job is told.
        news.dead.push(letter.clone());
        self.dead.push_back(letter);
        if self.dead.len() > MOST_DEAD
            && let Some(oldest) = self.dead.pop_front()
        {
            news.events
                .push(EventKind::DeadLetterDropped { job: oldest.id() });
        }
    }

    /// Takes out the dead letters that are meant, at most `most`, oldest first.
    fn take_dead(&mut self, which: &DeadSelection, most: usize) -> Vec<DeadLetter<J>> {
        let is_meant = |letter: &DeadLetter<J>| match which {
            DeadSelection::All => true,
            DeadSelection::Jobs(jobs) => jobs.contains(&letter.id()),
        };
        let mut taken = Vec::new();
        for letter in std::mem::take(&mut self.dead) {
            if taken.len() < most && is_meant(&letter) {
                taken.push(letter);
            } else {
                self.dead.push_back(letter);
            }
        }
        taken
    }
}

impl<J: Send + Sync + 'static> Store<J> for Stack<J> {
    /// As the built-in queue, but without delays, and the other way round.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            delay: None,
            order_by_key: false,
            ..Capabilities::MEMORY
        }
    }

    /// Producers wait while the stack is full; the actor around the store sees to it.
    fn bound(&self) -> Option<Bound> {
        Some(Bound::of_jobs(self.capacity, Overflow::Wait))
    }

    fn push(&mut self, _now: Moment, runs: Vec<Run<J>>, _news: &mut News<J>) -> Vec<Refused<J>> {
        let mut refused = Vec::new();
        for job in runs.into_iter().flat_map(Run::into_jobs) {
            if self.counts().unfinished() < self.capacity {
                self.put_on_top(job, Vec::new());
            } else {
                let refusal = Refusal::Full;
                refused.push(Refused { job, refusal });
            }
        }
        refused
    }

    fn lease(&mut self, _now: Moment, most: usize, leased: &mut Vec<Leased<J>>, _news: &mut News<J>) {
        for _ in 0..most {
            let Some(kept) = self.ready.pop() else { return };
            let lease = LeaseId(self.number());
            leased.push(Leased::one(lease, kept.attempts + 1, kept.job.clone()));
            self.leased.insert(lease, kept);
        }
    }

    fn settle(
        &mut self,
        now: Moment,
        lease: LeaseId,
        attempt: u32,
        verdict: &Verdict,
        news: &mut News<J>,
    ) -> Settled {
        let Some(mut kept) = self.leased.remove(&lease) else {
            return Settled::applied(false);
        };
        if kept.attempts + 1 != attempt {
            self.leased.insert(lease, kept);
            return Settled::applied(false);
        }
        match verdict {
            Verdict::Ack => {}
            Verdict::Extend | Verdict::Begin(_) => {
                self.leased.insert(lease, kept);
            }
            // The lease goes on: the group keeps the job until its next attempt. So it does with every retry, because this
            // store says that it knows no delays.
            Verdict::Renew(renewal) => {
                kept.end_attempt(renewal.counts, renewal.record.as_ref());
                self.leased.insert(lease, kept);
            }
            Verdict::Retry(retry) => {
                kept.end_attempt(retry.counts, retry.record.as_ref());
                self.put_back(kept);
            }
            Verdict::Reject(rejection) => {
                kept.end_attempt(true, rejection.record.as_ref());
                self.bury(now, kept, rejection.reason.clone(), news);
            }
        }
        Settled::Applied
    }

    fn take_back(&mut self, _now: Moment) -> usize {
        let leased = std::mem::take(&mut self.leased);
        let count = leased.len();
        leased.into_values().for_each(|kept| self.put_back(kept));
        count
    }

    fn next_due(&self) -> Option<Moment> {
        None
    }

    fn wake(&mut self, _now: Moment, _news: &mut News<J>) {}

    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.ready.len(),
            delayed: 0,
            leased: self.leased.len(),
            dead: self.dead.len(),
        }
    }

    fn dead_letters(&self, most: usize) -> Vec<DeadLetter<J>> {
        self.dead.iter().take(most).cloned().collect()
    }

    fn requeue(&mut self, _now: Moment, which: &DeadSelection, news: &mut News<J>) -> Vec<JobId> {
        let room = self.capacity.saturating_sub(self.counts().unfinished());
        let mut back = Vec::new();
        for letter in self.take_dead(which, room) {
            let job = letter.id();
            news.events.push(EventKind::Requeued { job });
            back.push(job);
            self.put_on_top(letter.job, letter.history);
        }
        back
    }

    fn purge(&mut self, which: &DeadSelection) -> usize {
        self.take_dead(which, usize::MAX).len()
    }

    fn take_unfinished(&mut self) -> Vec<JobRef<J>> {
        self.take_back(Moment::START);
        self.ready.drain(..).map(|kept| kept.job).collect()
    }
}
