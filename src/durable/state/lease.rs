//! Leasing and settling.

use super::ready::Next;
use super::{Entry, Needed, State};
use crate::durable::engine::Change;
use crate::durable::format::Held;
use crate::protocol::{Attach, AttachError, Attached, Settle, SettleReply};
use crate::rules::store::{Leased, RefusedSettle, SettleRefusal, Settled};
use crate::types::{Moment, SettleItem, Verdict};

impl<J: Send + Sync + 'static> State<J> {
    /// Lets a supervisor in, and takes back what was leased to an earlier one.
    pub(in crate::durable) fn attach(
        &mut self,
        attach: Attach<J>,
        out: &mut Vec<Change>,
    ) -> Result<Attached, AttachError> {
        let mut returned = 0;
        if self.shell.takes_back(attach.epoch)? {
            returned = self.take_back(out);
            self.note_attached(attach.epoch, out);
        }
        self.shell.attached(attach);
        Ok(Attached { returned })
    }

    /// Leases ready jobs, as many as there is credit for. If the next job is not in memory, stops there; either way `needed`
    /// names the chunks that will be wanted next.
    pub(in crate::durable) fn lease(
        &mut self,
        now: Moment,
        out: &mut Vec<Change>,
        needed: &mut Needed,
    ) -> Vec<Leased<J>> {
        let mut leased = Vec::new();
        let most_urgent = self.ready.priorities().first().copied().unwrap_or_default();
        if self.shell.credit_for(most_urgent) == 0 {
            return leased;
        }
        self.wake(now, out);
        if self.suspects.any() {
            self.lease_suspects(self.shell.credit(), &mut leased, out);
            return leased;
        }
        'lanes: for priority in self.ready.priorities() {
            while leased.len() < self.shell.credit_for(priority) {
                match self.ready.take_next(priority) {
                    Next::Nothing => continue 'lanes,
                    Next::Absent => break 'lanes,
                    Next::Job(entry) => leased.push(self.begin(entry, out)),
                }
            }
        }
        self.ready.read_ahead(needed);
        leased
    }

    /// Begins a lease. The attempt is noted on disk: in the mark of the chunk, or in a line of its own.
    pub(super) fn begin(&mut self, mut entry: Entry<J>, out: &mut Vec<Change>) -> Leased<J> {
        self.shelf.strike(entry.job.view(), entry.number);
        entry.tried = true;
        Self::write_leased(&mut entry, out);
        self.must_flush |= self.suspects.are_careful(entry.number);
        let (attempt, job, suspect) = (entry.attempt(), entry.job.clone(), entry.suspect);
        let mut leased = Leased::one(self.leases.begin(entry), attempt, job);
        leased.suspect = suspect;
        leased
    }

    /// Notes that the job is leased. Of a job in a chunk the mark tells it.
    fn write_leased(entry: &mut Entry<J>, out: &mut Vec<Change>) {
        let held = (entry.chunk.is_none() || entry.suspect).then_some(Held::Leased);
        Self::write_held(entry, held, out);
    }

    /// Applies verdicts in order.
    pub(in crate::durable) fn settle(
        &mut self,
        now: Moment,
        settle: &Settle,
        out: &mut Vec<Change>,
    ) -> SettleReply {
        if !self.shell.is_attached(settle.epoch) {
            return settle.superseded();
        }
        let refused = settle.items.iter().filter_map(|item| {
            let SettleItem { lease, attempt, .. } = *item;
            match self.settle_one(now, item, out) {
                Settled::Applied => None,
                Settled::Refused(why) => Some(RefusedSettle { lease, attempt, why }),
            }
        });
        SettleReply::Applied {
            refused: refused.collect(),
        }
    }

    fn settle_one(&mut self, now: Moment, item: &SettleItem, out: &mut Vec<Change>) -> Settled {
        let entry = match self.leases.get_mut(item.lease) {
            Some(entry) if entry.attempt() == item.attempt => entry,
            Some(_) => return Settled::Refused(SettleRefusal::Stale),
            None => return Settled::Refused(SettleRefusal::Unknown),
        };
        match &item.verdict {
            Verdict::Extend => {}
            Verdict::Begin(begin) => {
                let held = Held::Begun {
                    with: *begin,
                    at: now.as_millis(),
                };
                Self::write_held(entry, Some(held), out);
                // The job begins when this is answered, and whatever happens to the process then must be known.
                self.must_flush = true;
            }
            _ => {
                if let Some(entry) = self.leases.end(item.lease) {
                    self.end_attempt(now, entry, item, out);
                }
            }
        }
        Settled::Applied
    }

    /// The attempt that was made under a lease is over; if it is renewed, the lease goes on.
    fn end_attempt(&mut self, now: Moment, mut entry: Entry<J>, item: &SettleItem, out: &mut Vec<Change>) {
        match &item.verdict {
            Verdict::Renew(renewal) => {
                entry.end_attempt(renewal.counts, renewal.record.as_ref(), self.history);
                if renewal.counts {
                    self.suspects.cleared(&mut entry);
                }
                self.write_single(&mut entry, None, out);
                Self::write_leased(&mut entry, out);
                self.leases.resume(item.lease, entry);
            }
            Verdict::Retry(retry) => {
                entry.end_attempt(retry.counts, retry.record.as_ref(), self.history);
                if entry.suspect && !retry.counts {
                    self.suspects.given_back();
                    return self.wait_suspected(entry, out);
                }
                self.suspects.cleared(&mut entry);
                let due = (!retry.after.is_zero()).then(|| now.after(retry.after));
                self.write_single(&mut entry, due, out);
                Self::release(&mut entry, out);
                match due {
                    Some(due) => self.shelf.put(due, entry.number, entry),
                    None => self.ready.put(entry),
                }
            }
            Verdict::Reject(rejection) => {
                entry.end_attempt(true, rejection.record.as_ref(), self.history);
                self.suspects.cleared(&mut entry);
                self.bury(now, entry, rejection.reason.clone(), out);
            }
            Verdict::Ack | Verdict::Extend | Verdict::Begin(_) => {
                self.suspects.cleared(&mut entry);
                self.erase(&entry, out);
            }
        }
    }

    /// The lease of a job ended and the attempt is told in its record.
    pub(super) fn release(entry: &mut Entry<J>, out: &mut Vec<Change>) {
        // The mark of a chunk cannot tell it.
        let held = entry.chunk.map(|_| Held::Released);
        Self::write_held(entry, held, out);
    }

    /// Takes back every lease, each to its old place. The attempts do not count.
    pub(super) fn take_back(&mut self, out: &mut Vec<Change>) -> usize {
        // One that was cleared waits among the suspects while there are any: they go before everything else, and a later job of
        // its key would overtake it.
        let has_suspects = self.suspects.any();
        let leases = self.leases.end_all();
        let returned = leases.len();
        self.suspects.all_given_back();
        for mut entry in leases {
            if entry.suspect || has_suspects {
                self.wait_suspected(entry, out);
                continue;
            }
            Self::release(&mut entry, out);
            // Nobody has begun one that still expires, and it may have to go before the next supervisor comes.
            if !self.shelf.note_expiry(entry.job.view(), entry.number) && entry.job.expiry().is_some() {
                // It has begun, which the next process must know as well.
                self.write_single(&mut entry, None, out);
            }
            self.ready.put(entry);
        }
        returned
    }
}
