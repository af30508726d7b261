//! What is promised to the jobs of one key.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Judged};
use crate::sim::history::{Attempt, Happening};
use crate::words::{DeliveryNumber, Epoch, EventKind, Incarnation, Role, SlotId};

/// Verdicts that may be lost: the queue died with the word on the job's end in its mailbox, and so did the supervisor that
/// would have repeated it. Such a job comes again, and may come after later ones of its key.
struct LostVerdicts {
    supervisors: usize,
    queues: usize,
    /// The last attempt that a job can have.
    attempts: u32,
    /// Who is at work on the last attempt of a job.
    last: Vec<Option<Attempt>>,
    /// Deaths of supervisors and queues when each job first came to its end: by an ack, or after its last attempt.
    ended: Vec<Option<(usize, usize)>>,
}

impl LostVerdicts {
    fn new(facts: &Facts<'_>) -> Self {
        Self {
            supervisors: 0,
            queues: 0,
            attempts: facts.history.config.retry.attempts,
            last: facts.for_each_job(None),
            ended: facts.for_each_job(None),
        }
    }

    fn note(&mut self, what: &Happening, facts: &Facts<'_>) {
        match what {
            Happening::Begun(attempt) if attempt.attempt >= self.attempts => {
                if let Some(last) = self.last.get_mut(attempt.job) {
                    *last = Some(*attempt);
                }
            }
            Happening::Failed(attempt) if attempt.attempt >= self.attempts => self.ends(attempt.job),
            Happening::Group(EventKind::ConsumerDown {
                slot, incarnation, ..
            }) => {
                let held = (*slot, *incarnation);
                let was_there =
                    |last: &Option<Attempt>| last.is_some_and(|at| (at.slot, at.incarnation) == held);
                for job in 0..self.last.len() {
                    if self.last.get(job).is_some_and(was_there) {
                        self.ends(job);
                    }
                }
            }
            Happening::Group(EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            }) => self.supervisors += 1,
            Happening::Group(EventKind::RoleDown {
                role: Role::Queue, ..
            }) => self.queues += 1,
            Happening::Group(EventKind::Acked { job, .. }) => {
                if let Some(place) = facts.place(*job) {
                    self.ends(place);
                }
            }
            _ => {}
        }
    }

    fn ends(&mut self, job: usize) {
        let deaths = (self.supervisors, self.queues);
        if let Some(ended) = self.ended.get_mut(job) {
            ended.get_or_insert(deaths);
        }
    }

    fn may_come_again(&self, job: usize) -> bool {
        let ended = self.ended.get(job).copied().flatten();
        ended.is_some_and(|(supervisors, queues)| supervisors < self.supervisors && queues < self.queues)
    }
}

/// The order in which the jobs were sent, by place in the plan.
fn ranks(facts: &Facts<'_>) -> Vec<usize> {
    let sent = facts.history.entries.iter().filter_map(|entry| match entry.what {
        Happening::Sent { job } => Some(job),
        _ => None,
    });
    let mut ranks = facts.for_each_job(0);
    for (rank, job) in sent.enumerate() {
        if let Some(of) = ranks.get_mut(job) {
            *of = rank;
        }
    }
    ranks
}

/// Effects of one key come in order, and so do acks. A sink refuses a token that is smaller than one that it has seen; so an
/// effect of a zombie does not count.
pub(super) fn order_per_key(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    if !history.config.order_by_key {
        return Ok(());
    }
    let ranks = ranks(facts);
    let rank = |job: usize| ranks.get(job).copied().unwrap_or(0);
    let mut tokens: BTreeMap<u32, (Epoch, DeliveryNumber)> = BTreeMap::new();
    let mut effects: BTreeMap<u32, usize> = BTreeMap::new();
    let mut acks: BTreeMap<u32, usize> = BTreeMap::new();
    let mut lost = LostVerdicts::new(facts);
    for entry in &history.entries {
        lost.note(&entry.what, facts);
        match &entry.what {
            Happening::Worked(Attempt {
                job, epoch, number, ..
            }) => {
                let Some(key) = facts.key(*job) else { continue };
                let token = (*epoch, *number);
                if tokens.get(&key).is_some_and(|seen| *seen > token) {
                    continue;
                }
                tokens.insert(key, token);
                if let Some(before) = effects.insert(key, *job)
                    && rank(before) > rank(*job)
                    && !lost.may_come_again(*job)
                {
                    return Err(format!(
                        "key {key}: job {job} took effect at {} after job {before}, which was sent later",
                        entry.at
                    ));
                }
            }
            Happening::Group(EventKind::Acked { job, .. }) => {
                let Some(job) = facts.place(*job) else { continue };
                let Some(key) = facts.key(job) else { continue };
                if let Some(before) = acks.insert(key, job)
                    && rank(before) > rank(job)
                    && !lost.may_come_again(job)
                {
                    return Err(format!(
                        "key {key}: job {job} was acked at {} after job {before}, which was sent later",
                        entry.at
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// No two consumers that both count are at work on jobs of one key.
pub(super) fn one_consumer_per_key(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    if !history.config.order_by_key {
        return Ok(());
    }
    let mut at_work: BTreeMap<u32, Attempt> = BTreeMap::new();
    let mut ended: BTreeSet<(SlotId, Incarnation, Epoch)> = BTreeSet::new();
    let mut latest = Epoch(0);
    for entry in &history.entries {
        match &entry.what {
            Happening::Begun(attempt) => {
                let Some(key) = facts.key(attempt.job) else {
                    continue;
                };
                latest = latest.max(attempt.epoch);
                if ended.contains(&(attempt.slot, attempt.incarnation, attempt.epoch))
                    || attempt.epoch < latest
                {
                    return Err(format!(
                        "key {key}: {} began job {} at {} after it had been given up",
                        attempt.slot, attempt.job, entry.at
                    ));
                }
                if let Some(other) = at_work.insert(key, *attempt)
                    && other.number != attempt.number
                {
                    return Err(format!(
                        "key {key}: {} began job {} at {} while {} was at work on job {}",
                        attempt.slot, attempt.job, entry.at, other.slot, other.job
                    ));
                }
            }
            Happening::Worked(attempt) | Happening::Failed(attempt) => {
                at_work.retain(|_, other| other.number != attempt.number);
            }
            Happening::Group(EventKind::ConsumerDown {
                slot, incarnation, ..
            }) => {
                at_work.retain(|_, other| (other.slot, other.incarnation) != (*slot, *incarnation));
                ended.insert((*slot, *incarnation, latest));
            }
            Happening::Group(EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            }) => at_work.clear(),
            _ => {}
        }
    }
    Ok(())
}
