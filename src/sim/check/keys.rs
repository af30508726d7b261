//! What is promised to the jobs of one key.

use super::{Facts, Judged};
use crate::sim::history::{Attempt, Occurrence};
use crate::types::{DeliveryNumber, Epoch, EventKind, Incarnation, Moment, Role, SlotId};

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
    /// Whether a lease of each job ended at a broker before the word on it had come.
    leases_lost: Vec<bool>,
}

impl LostVerdicts {
    fn new(facts: &Facts<'_>) -> Self {
        Self {
            supervisors: 0,
            queues: 0,
            attempts: facts.history.config.retry.attempts,
            last: facts.for_each_job(None),
            ended: facts.for_each_job(None),
            leases_lost: facts.for_each_job(false),
        }
    }

    fn note(&mut self, what: &Occurrence, facts: &Facts<'_>) {
        match what {
            Occurrence::Begun(attempt) if attempt.attempt >= self.attempts => {
                if let Some(last) = self.last.get_mut(attempt.job) {
                    *last = Some(*attempt);
                }
            }
            Occurrence::Failed(attempt) if attempt.attempt >= self.attempts => self.ends(attempt.job),
            Occurrence::LeasesLost { jobs } => {
                for job in jobs {
                    if let Some(is_lost) = self.leases_lost.get_mut(*job) {
                        *is_lost = true;
                    }
                }
            }
            Occurrence::Group(EventKind::ConsumerDown {
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
            Occurrence::HostEnded | Occurrence::ProcessEnded => {
                for job in 0..self.last.len() {
                    if self.last.get(job).is_some_and(Option::is_some) {
                        self.ends(job);
                    }
                }
                self.supervisors += 1;
                self.queues += 1;
            }
            Occurrence::Group(EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            }) => self.supervisors += 1,
            Occurrence::Group(EventKind::RoleDown {
                role: Role::Queue, ..
            }) => self.queues += 1,
            Occurrence::Group(EventKind::Acked { job, .. }) => {
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
        let word_was_lost = self.leases_lost.get(job) == Some(&true);
        ended.is_some_and(|(supervisors, queues)| {
            word_was_lost || (supervisors < self.supervisors && queues < self.queues)
        })
    }
}

/// The order in which the jobs were sent, by place in the plan.
fn ranks(facts: &Facts<'_>) -> Vec<usize> {
    let sent = facts.history.entries.iter().filter_map(|entry| match entry.what {
        Occurrence::Sent { job } => Some(job),
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
    let mut order = Order {
        facts,
        ranks: ranks(facts),
        lost: LostVerdicts::new(facts),
    };
    let mut tokens: Vec<(Epoch, DeliveryNumber)> = facts.for_each_job((Epoch(0), DeliveryNumber(0)));
    let mut effects: Vec<Option<usize>> = facts.for_each_job(None);
    let mut acks: Vec<Option<usize>> = facts.for_each_job(None);
    for entry in &history.entries {
        order.lost.note(&entry.what, facts);
        match &entry.what {
            Occurrence::Worked(Attempt {
                job, epoch, number, ..
            }) => {
                let family = facts.family(*job);
                let Some(seen) = family.and_then(|family| tokens.get_mut(family)) else {
                    continue;
                };
                let token = (*epoch, *number);
                if *seen <= token {
                    *seen = token;
                    order.next(&mut effects, *job, entry.at, "took effect")?;
                }
            }
            Occurrence::Group(EventKind::Acked { job, .. }) => {
                if let Some(job) = facts.place(*job) {
                    order.next(&mut acks, job, entry.at, "was acked")?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The order in which jobs of a key may follow each other.
struct Order<'f> {
    facts: &'f Facts<'f>,
    ranks: Vec<usize>,
    lost: LostVerdicts,
}

impl Order<'_> {
    /// This job is the next one of its key; `last` has the one before.
    fn next(&self, last: &mut [Option<usize>], job: usize, at: Moment, what: &str) -> Judged {
        let family = self.facts.family(job);
        let Some(last) = family.and_then(|family| last.get_mut(family)) else {
            return Ok(());
        };
        let rank = |job: usize| self.ranks.get(job).copied().unwrap_or(0);
        match *last {
            // One that is excused does not excuse others: what was sent last of all stays the measure.
            Some(before) if rank(before) > rank(job) => {
                if self.lost.may_come_again(job) {
                    return Ok(());
                }
                let key = self.facts.key(job).unwrap_or_default();
                Err(format!(
                    "key {key}: job {job} {what} at {at} after job {before}, which was sent later"
                ))
            }
            _ => {
                *last = Some(job);
                Ok(())
            }
        }
    }
}

/// No two consumers that both count are at work on jobs of one key.
pub(super) fn one_consumer_per_key(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    if !history.config.order_by_key {
        return Ok(());
    }
    // By key. There are never more at work than consumers, and few that ended, so lists do.
    let mut at_work: Vec<(u32, Attempt)> = Vec::new();
    let mut ended: Vec<(SlotId, Incarnation, Epoch)> = Vec::new();
    let mut latest = Epoch(0);
    for entry in &history.entries {
        match &entry.what {
            Occurrence::Begun(attempt) => {
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
                let Some((_, other)) = at_work.iter_mut().find(|(of, _)| *of == key) else {
                    at_work.push((key, *attempt));
                    continue;
                };
                let other = std::mem::replace(other, *attempt);
                if other.number != attempt.number {
                    return Err(format!(
                        "key {key}: {} began job {} at {} while {} was at work on job {}",
                        attempt.slot, attempt.job, entry.at, other.slot, other.job
                    ));
                }
            }
            Occurrence::Worked(attempt) | Occurrence::Failed(attempt) => {
                at_work.retain(|(_, other)| other.number != attempt.number);
            }
            Occurrence::Group(EventKind::ConsumerDown {
                slot, incarnation, ..
            }) => {
                at_work.retain(|(_, other)| (other.slot, other.incarnation) != (*slot, *incarnation));
                ended.push((*slot, *incarnation, latest));
            }
            Occurrence::HostEnded
            | Occurrence::ProcessEnded
            | Occurrence::StartedAgain
            | Occurrence::Group(EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            }) => at_work.clear(),
            _ => {}
        }
    }
    Ok(())
}
