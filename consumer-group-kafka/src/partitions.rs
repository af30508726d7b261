//! The partitions of this member, with the jobs of each: what outlives the queue actor.

use std::collections::BTreeMap;
use std::sync::Arc;

use consumer_group::events::QueueCounts;
use consumer_group::queue::{
    JobRef, LeaseId, Leased, QueueShell, RefusedSettle, Settle, SettleRefusal, SettleReply, Verdict,
};
use consumer_group::{AttemptRecord, DeadReason};

use crate::envelope::Envelope;
use crate::outbox::Output;
use crate::rules::{Flow, Lane, Level};

/// Jobs that are leased of one partition before another one has its turn.
const A_TURN: usize = 64;

/// Records of the history of a job that are kept: the first one and the latest.
const MOST_HISTORY: usize = 16;

/// The running number of an assignment: no partition gets it twice, nor does the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneNumber(u32);

impl LaneNumber {
    /// The lease of a job of it. The lowest six bits say a place in a block, and nobody makes blocks here.
    fn lease(self, number: u32) -> LeaseId {
        LeaseId(u64::from(self.0) << 38 | u64::from(number) << 6)
    }

    fn of_lease(lease: LeaseId) -> (Self, u32) {
        (Self((lease.0 >> 38) as u32), (lease.0 >> 6) as u32)
    }
}

/// Where a job of a partition is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: LaneNumber,
    pub(crate) number: u32,
}

/// A job that is not done.
pub(crate) struct Held<J> {
    /// None if the record is no job.
    pub(crate) job: Option<JobRef<J>>,
    /// What its dead letter would be made of, where there is a topic for those.
    pub(crate) envelope: Option<Box<Envelope>>,
    /// Attempts that did not succeed.
    pub(crate) history: Vec<AttemptRecord>,
    /// What the attempt that is made has put into the outbox.
    pub(crate) outputs: Vec<Output>,
}

/// A partition.
pub(crate) struct Partition<J> {
    pub(crate) topic: Arc<str>,
    pub(crate) number: i32,
    pub(crate) lane: Lane<Held<J>>,
    /// The offset after the last record on the server, when that was told last.
    pub(crate) high: Option<i64>,
    /// Fetching is paused.
    pub(crate) is_paused: bool,
    /// What jobs that are done have put into the outbox, and no transaction has taken yet. No more than the jobs above the
    /// watermark and those of the last interval between commits have put there.
    pub(crate) outputs: Vec<Output>,
}

impl<J> Partition<J> {
    pub(crate) fn new(topic: Arc<str>, number: i32, lane: Lane<Held<J>>) -> Self {
        Self {
            topic,
            number,
            lane,
            high: None,
            is_paused: false,
            outputs: Vec::new(),
        }
    }
}

/// A job that shall become a dead letter.
pub(crate) struct Dying {
    pub(crate) place: Place,
    pub(crate) reason: DeadReason,
}

/// Everything that is behind the one lock.
pub(crate) struct Partitions<J: Send + Sync + 'static> {
    pub(crate) shell: QueueShell<J>,
    lanes: BTreeMap<LaneNumber, Partition<J>>,
    by_place: BTreeMap<(Arc<str>, i32), LaneNumber>,
    next: u32,
    /// Whose turn it was last.
    turn: LaneNumber,
    /// Pauses everything when too much waits.
    pub(crate) flow: Flow,
    /// Jobs that may be leased, or done and not committed.
    most_at_risk: usize,
    /// Whoever commits sleeps and wants to be woken.
    pub(crate) committer_sleeps: bool,
    /// It is making commits.
    pub(crate) is_committing: bool,
}

impl<J: Send + Sync + 'static> Partitions<J> {
    pub(crate) fn new(most: Level, most_at_risk: usize) -> Self {
        Self {
            shell: QueueShell::new(),
            lanes: BTreeMap::new(),
            by_place: BTreeMap::new(),
            next: 0,
            turn: LaneNumber(0),
            flow: Flow::new(most),
            most_at_risk,
            committer_sleeps: false,
            is_committing: false,
        }
    }

    /// A partition was assigned.
    pub(crate) fn insert(&mut self, partition: Partition<J>) -> LaneNumber {
        let number = LaneNumber(self.next);
        // 26 bits of a lease: at a rebalance a second with a hundred partitions it begins again after a week, and then the
        // lanes of a week ago are gone.
        self.next = (self.next + 1) & 0x03ff_ffff;
        let place = (Arc::clone(&partition.topic), partition.number);
        self.by_place.insert(place, number);
        self.lanes.insert(number, partition);
        number
    }

    /// A partition has gone.
    pub(crate) fn remove(&mut self, number: LaneNumber) -> Option<Partition<J>> {
        let partition = self.lanes.remove(&number)?;
        self.by_place
            .remove(&(Arc::clone(&partition.topic), partition.number));
        Some(partition)
    }

    pub(crate) fn find(&self, topic: &str, partition: i32) -> Option<LaneNumber> {
        self.by_place.get(&(Arc::from(topic), partition)).copied()
    }

    pub(crate) fn get_mut(&mut self, number: LaneNumber) -> Option<&mut Partition<J>> {
        self.lanes.get_mut(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Partition<J>> {
        self.lanes.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LaneNumber, &mut Partition<J>)> {
        self.lanes
            .iter_mut()
            .map(|(number, partition)| (*number, partition))
    }

    /// What waits to be leased.
    pub(crate) fn level(&self) -> Level {
        let mut level = Level::default();
        for partition in self.lanes.values() {
            level.jobs += partition.lane.jobs().ready();
            level.bytes += partition.lane.jobs().bytes();
        }
        level
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        let mut counts = QueueCounts::default();
        for partition in self.lanes.values() {
            counts.ready += partition.lane.jobs().ready();
            counts.leased += partition.lane.jobs().leased();
        }
        counts
    }

    /// Every lease is taken back, because a new supervisor comes.
    pub(crate) fn take_back(&mut self) -> usize {
        self.lanes
            .values_mut()
            .map(|partition| partition.lane.take_back())
            .sum()
    }

    /// Leases as many jobs as the supervisor takes and the bound of those at risk allows, some of each partition in turn, and hands
    /// them out. Records that are no
    /// jobs come back.
    pub(crate) fn hand_out(&mut self) -> Vec<Dying> {
        let at_risk: usize = self
            .lanes
            .values()
            .map(|partition| partition.lane.at_risk())
            .sum();
        let mut credit = self.shell.credit().min(self.most_at_risk.saturating_sub(at_risk));
        let (mut jobs, mut dying) = (Vec::new(), Vec::new());
        while credit > 0 {
            let waits =
                |partition: &Partition<J>| partition.lane.is_owned() && partition.lane.jobs().ready() > 0;
            let after = (std::ops::Bound::Excluded(self.turn), std::ops::Bound::Unbounded);
            let next = self.lanes.range(after).chain(self.lanes.iter());
            let Some(number) = next
                .filter(|(_, lane)| waits(lane))
                .map(|(number, _)| *number)
                .next()
            else {
                break;
            };
            self.turn = number;
            let Some(partition) = self.lanes.get_mut(&number) else {
                break;
            };
            for _ in 0..A_TURN.min(credit) {
                let Some((place, held)) = partition.lane.lease() else {
                    break;
                };
                match &held.job {
                    Some(job) => {
                        jobs.push(Leased::one(number.lease(place), 1, JobRef::clone(job)));
                        credit -= 1;
                    }
                    None => dying.push(Dying {
                        place: Place {
                            lane: number,
                            number: place,
                        },
                        reason: DeadReason::Unreadable("".into()),
                    }),
                }
            }
        }
        self.shell.hand_out(jobs);
        dying
    }

    /// Applies the verdicts. Jobs that shall become dead letters come back and are not done before that is confirmed.
    pub(crate) fn settle(&mut self, settle: &Settle) -> (SettleReply, Vec<Dying>) {
        let mut dying = Vec::new();
        if !self.shell.is_attached(settle.epoch) {
            return (settle.superseded(), dying);
        }
        let mut refused = Vec::new();
        for item in settle.items.iter() {
            if let Err(why) = self.settle_one(item.lease, &item.verdict, &mut dying) {
                refused.push(RefusedSettle {
                    lease: item.lease,
                    attempt: item.attempt,
                    why,
                });
            }
        }
        (SettleReply::Applied { refused }, dying)
    }

    fn settle_one(
        &mut self,
        lease: LeaseId,
        verdict: &Verdict,
        dying: &mut Vec<Dying>,
    ) -> Result<(), SettleRefusal> {
        let (lane, number) = LaneNumber::of_lease(lease);
        let partition = self.lanes.get_mut(&lane).ok_or(SettleRefusal::Unknown)?;
        if !partition.lane.is_leased(number) {
            return Err(SettleRefusal::Unknown);
        }
        match verdict {
            Verdict::Ack => {
                if let Some(done) = partition.lane.done(number) {
                    partition.outputs.extend(done.outputs);
                }
            }
            Verdict::Reject(rejection) => {
                ended(partition.lane.job_mut(number), rejection.record.as_ref());
                let reason = rejection.reason.clone();
                let place = Place { lane, number };
                dying.push(Dying { place, reason });
            }
            Verdict::Renew(renewal) => ended(partition.lane.job_mut(number), renewal.record.as_ref()),
            // The group keeps the lease over all attempts, so it never asks for a retry.
            Verdict::Retry(_) | Verdict::Extend | Verdict::Begin(_) => {}
        }
        Ok(())
    }

    /// A job is done in another way than by a verdict. `None` if that counts no more.
    pub(crate) fn done(&mut self, place: Place) -> Option<Held<J>> {
        self.lanes.get_mut(&place.lane)?.lane.done(place.number)
    }
}

/// An attempt has not succeeded: what it put into the outbox is void.
fn ended<J>(held: Option<&mut Held<J>>, record: Option<&AttemptRecord>) {
    let Some(held) = held else { return };
    held.outputs.clear();
    let Some(record) = record else { return };
    if held.history.len() >= MOST_HISTORY {
        held.history.remove(1);
    }
    held.history.push(record.clone());
}
