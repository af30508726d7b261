//! Dead letters of a queue that has none: kept on the group's own shelf, with the history that such a queue does not keep.
//!
//! First the letter lies on the shelf, then the job is acked at the queue: a supervisor that dies in between makes the job
//! come again, never vanish.

use std::collections::BTreeMap;

use super::Supervisor;
use crate::words::{AttemptRecord, DeadLetter, EventKind, LeaseId, Sealed, SettleItem, Verdict};

/// What is known of the leased jobs of such a queue. An entry lives as long as its lease.
pub(super) struct Histories<J> {
    leases: BTreeMap<LeaseId, (Sealed<J>, Vec<AttemptRecord>)>,
    /// How many records one job may have: the first and the latest are kept.
    most: usize,
}

impl<J> Histories<J> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            leases: BTreeMap::new(),
            most,
        }
    }

    pub(super) fn begin(&mut self, lease: LeaseId, job: &Sealed<J>) {
        self.leases.insert(lease, (Sealed::clone(job), Vec::new()));
    }

    fn note(&mut self, lease: LeaseId, record: Option<AttemptRecord>) {
        if let (Some((_, history)), Some(record)) = (self.leases.get_mut(&lease), record) {
            if history.len() >= self.most && self.most > 1 {
                history.remove(1);
            }
            history.push(record);
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Turns rejections into dead letters on the shelf and acks at the queue, if the queue has no dead letters.
    pub(super) fn bury(&mut self) {
        let Some(shelf) = self.wiring.shelf.clone() else {
            return;
        };
        let at = self.now();
        let mut dead = Vec::new();
        for item in &mut self.effects.settle {
            let SettleItem { lease, verdict, .. } = item;
            match verdict {
                Verdict::Renew(renewal) => self.histories.note(*lease, renewal.record.clone()),
                Verdict::Reject(rejection) => {
                    self.histories.note(*lease, rejection.record.take());
                    if let Some((job, history)) = self.histories.leases.remove(lease) {
                        dead.push(DeadLetter {
                            job,
                            reason: rejection.reason.clone(),
                            history,
                            at,
                        });
                    }
                    *verdict = Verdict::Ack;
                }
                Verdict::Ack | Verdict::Retry(_) => {
                    self.histories.leases.remove(lease);
                }
                Verdict::Extend | Verdict::Begin(_) => {}
            }
        }
        for letter in &dead {
            let (job, reason) = (letter.id(), letter.reason.clone());
            self.wiring.bus.tell(EventKind::DeadLettered { job, reason });
            for job in shelf.keep(letter.clone()) {
                self.wiring.bus.tell(EventKind::DeadLetterDropped { job });
            }
        }
        self.wiring.mailboxes.bury(dead);
    }
}
