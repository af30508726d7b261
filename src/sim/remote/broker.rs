//! The broker: messages in lanes, as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::QueueReply;
use crate::rules::store::{DeadSelection, LeaseTable, Leased, Selected, SettleRefusal, Settled};
use crate::types::{
    AttemptRecord, Begin, Capabilities, Cause, DeadLetter, JobId, JobRef, LeaseId, Moment, QueueCounts,
    Rejection, SettleItem, Verdict,
};

/// How many lanes there are.
pub(super) const LANES: u32 = 3;

/// What a broker that keeps attempts, delays and dead letters can do.
const RICH: Capabilities = Capabilities {
    delay: Some(Duration::MAX),
    dead_letter: true,
    attempts: true,
    fencing: true,
    order_by_key: true,
    ..Capabilities::LEAST
};

/// What one can do that only hands out what was not acked.
const POOR: Capabilities = Capabilities {
    order_by_key: true,
    ..Capabilities::LEAST
};

pub(super) struct Broker<J> {
    is_rich: bool,
    random: fastrand::Rng,
    /// By place: older jobs first, over all deliveries.
    messages: BTreeMap<u64, Message<J>>,
    next: u64,
    /// The places of what is leased.
    leases: LeaseTable<u64>,
    /// Lanes that are with somebody else.
    away: BTreeMap<u32, Away>,
    dead: Vec<DeadLetter<J>>,
    /// Counts processes, from one.
    process: u64,
}

/// A lane that is with somebody else.
#[derive(Default)]
struct Away {
    /// Words that it is to be given back, to which there is no answer yet. Nothing of it is handed out before.
    unanswered: u32,
    until: Moment,
}

struct Message<J> {
    job: JobRef<J>,
    lane: u32,
    /// Attempts that ended and count.
    attempts: u32,
    history: Vec<AttemptRecord>,
    not_before: Moment,
    is_out: bool,
    is_suspect: bool,
    /// Set when a suspect is about to begin, alone.
    begun: Option<(Begin, Moment)>,
}

impl<J: Send + Sync + 'static> Broker<J> {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            is_rich: seed.is_multiple_of(2),
            random: fastrand::Rng::with_seed(seed ^ 0x4252_4f4b),
            messages: BTreeMap::new(),
            next: 0,
            leases: LeaseTable::new(),
            away: BTreeMap::new(),
            dead: Vec::new(),
            process: 0,
        }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        if self.is_rich { RICH } else { POOR }
    }

    pub(super) fn flips_a_coin(&mut self) -> bool {
        self.random.bool()
    }

    pub(super) fn keep(&mut self, job: JobRef<J>) {
        let of_key = job.key_hash().map(|key| key.0);
        let lane = of_key.unwrap_or_else(|| self.random.u64(..)) % u64::from(LANES);
        let message = Message {
            lane: u32::try_from(lane).unwrap_or(0),
            attempts: 0,
            history: Vec::new(),
            not_before: job.not_before().unwrap_or_default(),
            is_out: false,
            is_suspect: false,
            begun: None,
            job,
        };
        self.messages.insert(self.next, message);
        self.next += 1;
    }

    /// A process begins. What is leased was leased by one that ended without a goodbye: the job that had begun alone has lost an
    /// attempt by it; without one, each of them may have ended it.
    pub(super) fn process_begins(&mut self) {
        let life = self.process;
        self.process += 1;
        let culprit = self.messages.values().any(|message| message.begun.is_some());
        for place in self.leases.end_all() {
            let Some(message) = self.messages.get_mut(&place) else {
                continue;
            };
            message.is_out = false;
            message.is_suspect |= self.is_rich && !culprit;
            let Some((Begin { slot, incarnation }, begun)) = message.begun.take() else {
                continue;
            };
            message.attempts += 1;
            message.history.push(AttemptRecord {
                attempt: message.attempts,
                slot,
                incarnation,
                cause: Cause::ProcessEnded { life, begun },
                at: begun,
            });
        }
        self.away.clear();
    }

    /// Every lease ends; what was leased is handed out again, in its old place.
    pub(super) fn requeue_all(&mut self) -> Vec<JobId> {
        let places: Vec<_> = self.leases.end_all().collect();
        places.into_iter().filter_map(|place| self.back(place)).collect()
    }

    /// The same for one lane.
    pub(super) fn requeue_lane(&mut self, lane: u32) -> Vec<JobId> {
        let leases = self.leases_of(lane).into_iter();
        let places: Vec<_> = leases.filter_map(|lease| self.leases.end(lease)).collect();
        places.into_iter().filter_map(|place| self.back(place)).collect()
    }

    fn back(&mut self, place: u64) -> Option<JobId> {
        let message = self.messages.get_mut(&place)?;
        (message.is_out, message.begun) = (false, None);
        Some(message.job.id())
    }

    /// A lane is to be given to somebody else. Returns its leases, and the process that has them.
    pub(super) fn take_lane_away(&mut self, lane: u32) -> (Vec<LeaseId>, u64) {
        self.away.entry(lane).or_default().unanswered += 1;
        (self.leases_of(lane), self.process)
    }

    /// It was given back, and comes again then.
    /// False if another word that it is to be given back has no answer yet: then what is leased of it may still be finished.
    pub(super) fn is_given_back(&mut self, lane: u32, again: Moment) -> bool {
        let away = self.away.entry(lane).or_default();
        away.unanswered = away.unanswered.saturating_sub(1);
        away.until = away.until.max(again);
        away.unanswered == 0
    }

    pub(super) fn process(&self) -> u64 {
        self.process
    }

    fn leases_of(&self, lane: u32) -> Vec<LeaseId> {
        let is_of_lane = |place: &u64| self.messages.get(place).is_some_and(|of| of.lane == lane);
        let of_lane = self.leases.iter().filter(|(_, place)| is_of_lane(place));
        of_lane.map(|(lease, _)| lease).collect()
    }

    /// Leases up to so many jobs.
    pub(super) fn lease(&mut self, now: Moment, most: usize) -> Vec<Leased<J>> {
        self.away
            .retain(|_, away| away.unanswered > 0 || away.until > now);
        let mut lanes: Vec<Vec<u64>> = (0..LANES)
            .filter(|lane| !self.away.contains_key(lane))
            .map(|lane| self.ready(lane, now))
            .filter(|ready| !ready.is_empty())
            .collect();
        lanes.iter_mut().for_each(|ready| ready.reverse());
        let mut leased = Vec::new();
        while leased.len() < most && !lanes.is_empty() {
            let index = self.random.usize(0..lanes.len());
            let place = lanes.get_mut(index).and_then(Vec::pop);
            let Some(place) = place else {
                lanes.swap_remove(index);
                continue;
            };
            leased.extend(self.lease_at(place));
        }
        leased
    }

    /// What of a lane can be leased, in its order: nothing overtakes a job of its key that waits for its time.
    fn ready(&self, lane: u32, now: Moment) -> Vec<u64> {
        let mut waits = BTreeSet::new();
        let mut ready = Vec::new();
        for (place, message) in self.messages.iter().filter(|(_, message)| message.lane == lane) {
            let key = message.job.key_hash();
            let has_to_wait = message.not_before > now || key.is_some_and(|key| waits.contains(&key));
            if has_to_wait {
                waits.extend(key);
            } else if !message.is_out {
                ready.push(*place);
            }
        }
        ready
    }

    fn lease_at(&mut self, place: u64) -> Option<Leased<J>> {
        let message = self.messages.get_mut(&place)?;
        message.is_out = true;
        let attempt = if self.is_rich { message.attempts + 1 } else { 1 };
        let lease = self.leases.begin(place);
        let mut leased = Leased::one(lease, attempt, JobRef::clone(&message.job));
        leased.suspect = message.is_suspect;
        Some(leased)
    }

    /// When something that waits can be leased.
    pub(super) fn next_due(&self, now: Moment) -> Option<Moment> {
        let delayed = self.messages.values().filter(|message| !message.is_out);
        let due = delayed.map(|message| message.not_before).filter(|due| *due > now);
        let back = self.away.values().filter(|away| away.unanswered == 0);
        due.chain(back.map(|away| away.until).filter(|until| *until > now))
            .min()
    }

    /// A dead letter, if the verdict makes one.
    pub(super) fn settle(&mut self, now: Moment, item: &SettleItem) -> (Settled, Option<DeadLetter<J>>) {
        let Some(place) = self.leases.get_mut(item.lease).copied() else {
            return (Settled::Refused(SettleRefusal::Unknown), None);
        };
        let Some(message) = self.messages.get_mut(&place) else {
            return (Settled::Refused(SettleRefusal::Unknown), None);
        };
        if self.is_rich && message.attempts + 1 != item.attempt {
            return (Settled::Refused(SettleRefusal::Stale), None);
        }
        match &item.verdict {
            Verdict::Extend => {}
            Verdict::Begin(begin) => message.begun = Some((*begin, now)),
            Verdict::Renew(renewal) => {
                message.ends_attempt(renewal.counts, renewal.record.as_ref());
            }
            Verdict::Ack => {
                self.messages.remove(&place);
                self.leases.end(item.lease);
            }
            Verdict::Retry(retry) => {
                message.ends_attempt(retry.counts, retry.record.as_ref());
                message.is_out = false;
                message.not_before = now.after(retry.after);
                self.leases.end(item.lease);
            }
            Verdict::Reject(rejection) => {
                self.leases.end(item.lease);
                return (Settled::Applied, self.give_up(now, place, rejection));
            }
        }
        (Settled::Applied, None)
    }

    fn give_up(&mut self, now: Moment, place: u64, rejection: &Rejection) -> Option<DeadLetter<J>> {
        let mut message = self.messages.remove(&place)?;
        message.ends_attempt(true, rejection.record.as_ref());
        let letter = DeadLetter {
            job: message.job,
            reason: rejection.reason.clone(),
            history: message.history,
            at: now,
        };
        self.dead.push(letter.clone());
        Some(letter)
    }

    pub(super) fn counts(&self, now: Moment) -> QueueCounts {
        let waiting = self.messages.values().filter(|message| !message.is_out);
        let (delayed, ready): (Vec<_>, Vec<_>) = waiting.partition(|message| message.not_before > now);
        QueueCounts {
            ready: ready.len(),
            delayed: delayed.len(),
            leased: self.leases.len(),
            dead: self.dead.len(),
        }
    }

    pub(super) fn take_unfinished(&mut self) -> Vec<JobRef<J>> {
        self.leases.end_all().for_each(drop);
        let all = std::mem::take(&mut self.messages);
        all.into_values().map(|message| message.job).collect()
    }

    pub(super) fn dead_letters(&self, most: usize) -> QueueReply<J> {
        QueueReply::DeadLetters(self.dead.iter().take(most).cloned().collect())
    }

    pub(super) fn take_dead(&mut self, which: &DeadSelection) -> Vec<DeadLetter<J>> {
        let which = Selected::new(which);
        self.dead
            .extract_if(.., |letter| which.means(letter.id()))
            .collect()
    }
}

impl<J> Message<J> {
    fn ends_attempt(&mut self, counts: bool, record: Option<&AttemptRecord>) {
        self.attempts += u32::from(counts);
        self.history.extend(record.cloned());
        // Its end was told, so it ended no process.
        (self.is_suspect, self.begun) = (false, None);
    }
}
