//! Random operations on the memory store and on a model that is too simple to be wrong: one list of all jobs that ever
//! came, each in one place, searched from end to end for every question.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::*;
use crate::rules::store::Refusal;
use crate::types::cases::{cases, some};
use crate::types::{DeadReason, EventKind, OpenBlock, Places, Run};

#[derive(Debug, Clone, PartialEq)]
enum Place {
    Ready,
    Delayed(Moment),
    Leased(LeaseId),
    Dead(DeadReason),
    Acked,
    /// A dead letter that was purged or fell off the full shelf.
    Forgotten,
    /// Handed out unfinished.
    Taken,
}

#[derive(Debug, Clone)]
struct ModelJob {
    sealed: JobRef<u64>,
    seq: u64,
    place: Place,
    attempts: u32,
    may_expire: bool,
    history: Vec<u32>,
}

struct Model {
    config: QueueConfig,
    jobs: Vec<ModelJob>,
    next_seq: u64,
    /// Dead letters by index into `jobs`, oldest first.
    dead: Vec<usize>,
    keys: Vec<(Moment, u64, JobId)>,
    events: Vec<EventKind>,
    told_dead: Vec<JobId>,
}

impl Model {
    fn count(&self, wanted: impl Fn(&Place) -> bool) -> usize {
        self.jobs.iter().filter(|job| wanted(&job.place)).count()
    }

    fn unfinished(&self) -> usize {
        self.count(|place| matches!(place, Place::Ready | Place::Delayed(_) | Place::Leased(_)))
    }

    fn by_lease(&self, lease: LeaseId, attempt: u32) -> Option<usize> {
        self.jobs
            .iter()
            .position(|job| job.place == Place::Leased(lease) && job.attempts + 1 == attempt)
    }

    fn bury(&mut self, index: usize, reason: DeadReason) {
        let job = self.jobs[index].sealed.id();
        self.jobs[index].place = Place::Dead(reason.clone());
        self.jobs[index].may_expire = false;
        self.events.push(EventKind::DeadLettered { job, reason });
        self.told_dead.push(job);
        self.dead.push(index);
        if self.dead.len() > self.config.dead_letters {
            let oldest = self.dead.remove(0);
            self.jobs[oldest].place = Place::Forgotten;
            let job = self.jobs[oldest].sealed.id();
            self.events.push(EventKind::DeadLetterDropped { job });
        }
    }

    fn wake(&mut self, now: Moment) {
        let mut expired: Vec<(Moment, u64, usize)> = Vec::new();
        for (index, job) in self.jobs.iter().enumerate() {
            if let (true, Some(at)) = (job.may_expire, job.sealed.expires_at())
                && at <= now
            {
                expired.push((at, job.seq, index));
            }
        }
        expired.sort();
        for (_, _, index) in expired {
            self.bury(index, DeadReason::Expired);
        }
        for job in &mut self.jobs {
            if matches!(job.place, Place::Delayed(at) if at <= now) {
                job.place = Place::Ready;
            }
        }
        let window = self.config.dedup_window;
        self.keys.retain(|(at, _, _)| at.after(window) > now);
    }

    fn push(&mut self, now: Moment, key: Option<u64>, sealed: JobRef<u64>) -> Option<Refusal> {
        if let Some((_, _, of)) = self.keys.iter().find(|(_, known, _)| Some(*known) == key) {
            let of = *of;
            self.events.push(EventKind::Duplicate { job: sealed.id(), of });
            return Some(Refusal::Duplicate { of });
        }
        let expired = sealed.expires_at().is_some_and(|at| at <= now);
        let full = self.unfinished() >= self.config.capacity;
        let mut new_goes = expired.then_some(DeadReason::Expired);
        if full && !expired {
            match self.config.overflow {
                Overflow::Wait | Overflow::Reject => return Some(Refusal::Full),
                Overflow::DropNewest => new_goes = Some(DeadReason::DroppedByOverflow),
                Overflow::DropOldest => match self.least(sealed.priority().0) {
                    Some(index) => self.bury(index, DeadReason::DroppedByOverflow),
                    None => new_goes = Some(DeadReason::DroppedByOverflow),
                },
            }
        }
        if let Some(key) = key {
            self.keys.push((now, key, sealed.id()));
            if self.keys.len() > self.config.dedup_keys {
                self.keys.remove(0);
            }
        }
        let place = match sealed.not_before() {
            Some(at) if at > now => Place::Delayed(at),
            _ => Place::Ready,
        };
        self.jobs.push(ModelJob {
            seq: self.next_seq,
            place,
            attempts: 0,
            may_expire: sealed.expires_at().is_some(),
            history: Vec::new(),
            sealed,
        });
        self.next_seq += 1;
        if let Some(reason) = new_goes {
            self.bury(self.jobs.len() - 1, reason);
        }
        None
    }

    /// The oldest ready job of the lowest priority, if that is at most `priority`.
    fn least(&self, priority: u8) -> Option<usize> {
        let ready = self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.place == Place::Ready);
        ready
            .filter(|(_, job)| job.sealed.priority().0 <= priority)
            .min_by_key(|(_, job)| (job.sealed.priority(), job.seq))
            .map(|(index, _)| index)
    }

    /// The job that must be leased next.
    fn next(&self) -> Option<usize> {
        let ready = self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.place == Place::Ready);
        ready
            .min_by_key(|(_, job)| (std::cmp::Reverse(job.sealed.priority()), job.seq))
            .map(|(index, _)| index)
    }

    fn end_attempt(&mut self, index: usize, counts: bool, record: u32) {
        let job = &mut self.jobs[index];
        job.attempts += u32::from(counts);
        job.history.push(record);
        if job.history.len() > self.config.history {
            job.history.remove(1);
        }
    }

    fn settle(&mut self, now: Moment, lease: LeaseId, attempt: u32, verdict: &Verdict) -> Settled {
        let Some(index) = self.by_lease(lease, attempt) else {
            let mut jobs = self.jobs.iter();
            return Settled::Refused(match jobs.any(|job| job.place == Place::Leased(lease)) {
                true => SettleRefusal::Stale,
                false => SettleRefusal::Unknown,
            });
        };
        match verdict {
            Verdict::Ack => self.jobs[index].place = Place::Acked,
            Verdict::Extend | Verdict::Begin(_) => (),
            Verdict::Renew(renewal) => self.end_attempt(index, renewal.counts, attempt),
            Verdict::Retry(retry) => {
                self.end_attempt(index, retry.counts, attempt);
                self.jobs[index].place = if retry.after.is_zero() {
                    Place::Ready
                } else {
                    Place::Delayed(now.after(retry.after))
                };
            }
            Verdict::Reject(rejection) => {
                self.end_attempt(index, true, attempt);
                self.bury(index, rejection.reason.clone());
            }
        }
        Settled::Applied
    }

    fn selected(&self, which: &DeadSelection) -> Vec<usize> {
        let means = |index: &usize| match which {
            DeadSelection::All => true,
            DeadSelection::Jobs(jobs) => jobs.contains(&self.jobs[*index].sealed.id()),
        };
        self.dead.iter().copied().filter(means).collect()
    }

    fn requeue(&mut self, which: &DeadSelection) -> Vec<JobId> {
        let mut back = Vec::new();
        for index in self.selected(which) {
            if self.unfinished() >= self.config.capacity {
                break;
            }
            self.dead.retain(|dead| *dead != index);
            let job = &mut self.jobs[index];
            job.place = Place::Ready;
            job.attempts = 0;
            job.seq = self.next_seq;
            self.next_seq += 1;
            back.push(job.sealed.id());
            let job = job.sealed.id();
            self.events.push(EventKind::Requeued { job });
        }
        back
    }

    fn purge(&mut self, which: &DeadSelection) -> usize {
        let selected = self.selected(which);
        for index in &selected {
            self.dead.retain(|dead| dead != index);
            self.jobs[*index].place = Place::Forgotten;
        }
        selected.len()
    }

    fn take_unfinished(&mut self) -> Vec<JobId> {
        let mut taken: Vec<(u64, JobId)> = Vec::new();
        for job in &mut self.jobs {
            if matches!(job.place, Place::Ready | Place::Delayed(_) | Place::Leased(_)) {
                job.place = Place::Taken;
                job.may_expire = false;
                taken.push((job.seq, job.sealed.id()));
            }
        }
        taken.sort();
        taken.into_iter().map(|(_, job)| job).collect()
    }

    fn next_due(&self) -> Option<Moment> {
        let delays = self.jobs.iter().filter_map(|job| match job.place {
            Place::Delayed(at) => Some(at),
            _ => None,
        });
        let expiries = self.jobs.iter().filter(|job| job.may_expire);
        delays
            .chain(expiries.filter_map(|job| job.sealed.expires_at()))
            .min()
    }
}

#[derive(Debug, Clone)]
struct Wishes {
    priority: u8,
    delay: Option<u64>,
    expires: Option<u64>,
    key: Option<u64>,
}

fn wished(mut job: Job<u64>, wish: &Wishes) -> Job<u64> {
    job = job.priority(wish.priority);
    if let Some(delay) = wish.delay {
        job = job.delay(Duration::from_millis(delay));
    }
    if let Some(expires) = wish.expires {
        job = job.expires_after(Duration::from_millis(expires));
    }
    job
}

#[derive(Debug, Clone)]
enum Operation {
    Push(Vec<Wishes>),
    /// So many jobs of the same wishes as a block.
    PushBlock(u64, Wishes),
    Lease(usize),
    /// A lease among all that there ever were, how far the attempt is off, and what is said of it.
    Settle(usize, u32, u8, u64, bool),
    TakeBack,
    Wake,
    Requeue(Vec<u64>),
    Purge(Vec<u64>),
    TakeUnfinished,
}

fn wishes(random: &mut Rng) -> Wishes {
    let mut seldom = |most| (random.u8(0..4) == 0).then(|| random.u64(0..most));
    Wishes {
        delay: seldom(40),
        expires: seldom(60),
        key: seldom(4),
        priority: random.u8(0..3),
    }
}

fn operation(random: &mut Rng) -> Operation {
    // An empty selection stands for all.
    let which = |random: &mut Rng| some(random, 0..8, |random| random.u64(0..60));
    match random.u8(0..35) {
        0..6 => Operation::Push(some(random, 0..5, wishes)),
        6..10 => Operation::PushBlock(random.u64(1..8), wishes(random)),
        10..16 => Operation::Lease(random.usize(0..6)),
        16..28 => Operation::Settle(
            random.usize(..),
            random.u32(0..8).saturating_sub(5),
            random.u8(0..6),
            random.u64(0..20),
            random.bool(),
        ),
        28 => Operation::TakeBack,
        29..31 => Operation::Wake,
        31..33 => Operation::Requeue(which(random)),
        33 => Operation::Purge(which(random)),
        _ => Operation::TakeUnfinished,
    }
}

fn config(random: &mut Rng) -> QueueConfig {
    let overflows = [
        Overflow::Wait,
        Overflow::Reject,
        Overflow::DropOldest,
        Overflow::DropNewest,
    ];
    QueueConfig {
        capacity: random.usize(1..12),
        overflow: overflows[random.usize(..4)],
        dead_letters: random.usize(0..6),
        dead_letter_bytes: usize::MAX,
        dedup_window: Duration::from_millis(60),
        dedup_keys: random.usize(0..4),
        history: random.usize(2..4),
    }
}

fn selection(jobs: &[u64]) -> DeadSelection {
    if jobs.is_empty() {
        return DeadSelection::All;
    }
    DeadSelection::Jobs(jobs.iter().map(|job| name(*job)).collect())
}

fn verdict(kind: u8, after: u64, counts: bool, attempt: u32) -> Verdict {
    match kind {
        0 | 1 => Verdict::Ack,
        // Half of the retries wait for nothing.
        2 => retry(after.saturating_sub(10), counts, attempt),
        3 => renew(counts, attempt),
        4 => reject(attempt),
        _ => Verdict::Extend,
    }
}

/// The store, the model, and what ties them together.
struct Pair {
    store: MemoryStore<u64>,
    news: News<u64>,
    model: Model,
    now: Moment,
    next_job: u64,
    leases: Vec<(LeaseId, u32)>,
    names: BTreeSet<LeaseId>,
}

impl Pair {
    fn new(config: QueueConfig) -> Self {
        Self {
            store: MemoryStore::new(&config),
            news: News::default(),
            model: Model {
                config,
                jobs: Vec::new(),
                next_seq: 0,
                dead: Vec::new(),
                keys: Vec::new(),
                events: Vec::new(),
                told_dead: Vec::new(),
            },
            now: Moment::START,
            next_job: 0,
            leases: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Push(jobs) => self.push(jobs),
            Operation::PushBlock(jobs, wish) => self.push_block(*jobs, wish),
            Operation::Lease(most) => self.lease(*most),
            Operation::Settle(index, off, kind, after, counts) => {
                if !self.leases.is_empty() {
                    let (lease, attempt) = self.leases[index % self.leases.len()];
                    self.settle(lease, attempt + off, *kind, *after, *counts);
                }
            }
            Operation::TakeBack => self.take_back(),
            Operation::Wake => {
                self.store.wake(self.now, &mut self.news);
                self.model.wake(self.now);
            }
            Operation::Requeue(jobs) => {
                self.model.wake(self.now);
                let which = selection(jobs);
                let back = self.store.requeue(self.now, &which, &mut self.news);
                assert_eq!(back, self.model.requeue(&which));
            }
            Operation::Purge(jobs) => {
                let which = selection(jobs);
                assert_eq!(self.store.purge(&which), self.model.purge(&which));
            }
            Operation::TakeUnfinished => {
                let taken = self.store.take_unfinished();
                let taken: Vec<JobId> = taken.iter().map(|job| job.id()).collect();
                assert_eq!(taken, self.model.take_unfinished());
            }
        }
    }

    fn push(&mut self, wishes: &[Wishes]) {
        self.model.wake(self.now);
        let mut jobs = Vec::new();
        let mut expected = Vec::new();
        for wish in wishes {
            let job = sealed(self.next_job, self.now, |job| {
                let job = wished(job, wish);
                match wish.key {
                    Some(key) => job.dedup(key),
                    None => job,
                }
            });
            self.next_job += 1;
            if let Some(refusal) = self.model.push(self.now, wish.key, JobRef::clone(&job)) {
                expected.push((job.id(), refusal));
            }
            jobs.push(Run::from(job));
        }
        let refused = self.store.push(self.now, jobs, &mut self.news);
        let refused: Vec<_> = refused
            .iter()
            .map(|refused| (refused.job.id(), refused.refusal))
            .collect();
        assert_eq!(refused, expected);
    }

    fn push_block(&mut self, jobs: u64, wish: &Wishes) {
        self.model.wake(self.now);
        let first = self.next_job;
        self.next_job += jobs;
        let mut open = OpenBlock::new();
        for (place, number) in (0..).zip(first..self.next_job) {
            let job = wished(Job::new(number), wish);
            let id = name(first).following(place);
            open.takes(id, std::slice::from_ref(&job), None, self.now);
            open.put(job);
        }
        let block = open.close().unwrap();
        let mut expected = Vec::new();
        for place in block.places().iter() {
            let job = JobRef::in_block(Arc::clone(&block), place);
            if let Some(refusal) = self.model.push(self.now, None, job) {
                expected.push((block.id(place), refusal));
            }
        }
        let runs = vec![Run::from(block)];
        let refused = self.store.push(self.now, runs, &mut self.news);
        let refused: Vec<_> = refused
            .iter()
            .map(|refused| (refused.job.id(), refused.refusal))
            .collect();
        assert_eq!(refused, expected);
    }

    fn lease(&mut self, most: usize) {
        self.model.wake(self.now);
        let mut leased = Vec::new();
        self.store.lease(self.now, most, &mut leased, &mut self.news);
        let leased: Vec<_> = leased.iter().flat_map(Leased::one_by_one).collect();
        assert!(leased.len() <= most);
        for leased in &leased {
            assert!(self.names.insert(leased.lease), "a lease was used twice");
            self.leases.push((leased.lease, leased.attempt));
            let index = self.model.next().expect("a job that is not ready was leased");
            let job = &mut self.model.jobs[index];
            assert_eq!(leased.job().id(), job.sealed.id());
            assert_eq!(leased.attempt, job.attempts + 1);
            job.place = Place::Leased(leased.lease);
            job.may_expire = false;
        }
        assert!(leased.len() == most || self.model.next().is_none());
    }

    fn settle(&mut self, lease: LeaseId, attempt: u32, kind: u8, after: u64, counts: bool) {
        let verdict = verdict(kind, after, counts, attempt);
        // An ack of a job in a block comes with the others of its block, or alone.
        let comes_with_others = attempt == 1 && counts;
        let settled = if comes_with_others && verdict == Verdict::Ack {
            let (block, place) = (LeaseId(lease.0 & !63), (lease.0 & 63) as u8);
            let left = self
                .store
                .ack_places(self.now, block, Places::only(place), &mut self.news);
            match left.is_empty() {
                true => Settled::Applied,
                false => self
                    .store
                    .settle(self.now, lease, attempt, &verdict, &mut self.news),
            }
        } else {
            self.store
                .settle(self.now, lease, attempt, &verdict, &mut self.news)
        };
        assert_eq!(settled, self.model.settle(self.now, lease, attempt, &verdict));
        if settled == Settled::Applied && matches!(verdict, Verdict::Renew(_)) && counts {
            self.leases.push((lease, attempt + 1));
        }
    }

    fn take_back(&mut self) {
        let leased = self.model.count(|place| matches!(place, Place::Leased(_)));
        for job in &mut self.model.jobs {
            if matches!(job.place, Place::Leased(_)) {
                job.place = Place::Ready;
                job.may_expire = job.sealed.expires_at().is_some();
            }
        }
        assert_eq!(self.store.take_back(self.now), leased);
    }

    /// The store and the model tell the same story.
    fn compare(&mut self) {
        let counts = self.store.counts();
        assert_eq!(counts.ready, self.model.count(|place| *place == Place::Ready));
        assert_eq!(
            counts.delayed,
            self.model.count(|place| matches!(place, Place::Delayed(_)))
        );
        assert_eq!(
            counts.leased,
            self.model.count(|place| matches!(place, Place::Leased(_)))
        );
        assert_eq!(counts.dead, self.model.dead.len());
        assert!(counts.unfinished() <= self.model.config.capacity);
        assert!(counts.dead <= self.model.config.dead_letters);
        assert_eq!(self.store.next_due(), self.model.next_due());
        let told: Vec<JobId> = self.news.dead.drain(..).map(|letter| letter.id()).collect();
        assert_eq!(told, std::mem::take(&mut self.model.told_dead));
        let events = std::mem::take(&mut self.news.events);
        assert_eq!(events, std::mem::take(&mut self.model.events));
        self.compare_dead();
    }

    fn compare_dead(&self) {
        let letters = self.store.dead_letters(usize::MAX);
        let letters: Vec<_> = letters
            .into_iter()
            .map(|letter| {
                let history: Vec<u32> = letter.history.iter().map(|record| record.attempt).collect();
                (letter.id(), Place::Dead(letter.reason), history)
            })
            .collect();
        let expected: Vec<_> = self
            .model
            .dead
            .iter()
            .map(|index| &self.model.jobs[*index])
            .map(|job| (job.sealed.id(), job.place.clone(), job.history.clone()))
            .collect();
        assert_eq!(letters, expected);
    }
}

/// Every accepted job is in exactly one place, the right one leaves first, and every count and attempt is right.
#[test]
fn the_store_does_what_the_model_does() {
    cases(1_500, |random| {
        let mut pair = Pair::new(config(random));
        for _step in 0..random.usize(1..80) {
            pair.now = pair.now.after(Duration::from_millis(random.u64(0..12)));
            pair.step(&operation(random));
            pair.compare();
        }
    });
}
