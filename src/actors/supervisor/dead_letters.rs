//! Dead letters of a queue that has none: kept in the group's own store, with the history that such a queue does not keep.
//!
//! First the letter lies in the dead letter store, then the job is acked at the queue: a supervisor that dies in between makes the job
//! come again, never vanish.

use std::collections::BTreeMap;

use super::Supervisor;
use crate::types::invariant::invariant;
use crate::types::{AttemptRecord, DeadLetter, EventKind, LeaseId, SettleItem, Verdict};

/// The attempts of leased jobs of such a queue that did not succeed. A history lives as long as its lease.
pub(super) struct Histories {
    leases: BTreeMap<LeaseId, Vec<AttemptRecord>>,
    /// How many records one job may have: the first and the latest are kept.
    most: usize,
}

impl Histories {
    pub(super) fn new(most: usize) -> Self {
        Self {
            leases: BTreeMap::new(),
            most,
        }
    }

    fn note(&mut self, lease: LeaseId, record: AttemptRecord) {
        let history = self.leases.entry(lease).or_default();
        if history.len() >= self.most && self.most > 1 {
            history.remove(1);
        }
        history.push(record);
    }

    /// The lease has ended, however that was.
    pub(super) fn forget(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Turns rejections into dead letters in the dead letter store and acks at the queue, if the queue has no dead letters.
    pub(super) fn bury(&mut self) {
        let Some(dead_letter_store) = self.group.dead_letter_store.clone() else {
            return;
        };
        let at = self.now();
        let mut ended: BTreeMap<_, _> = self.effects.ended.iter().cloned().collect();
        let mut dead = Vec::new();
        for item in &mut self.effects.settle {
            let SettleItem { lease, verdict, .. } = item;
            match verdict {
                Verdict::Renew(renewal) => {
                    if let Some(record) = renewal.record.clone() {
                        self.histories.note(*lease, record);
                    }
                }
                Verdict::Reject(rejection) => {
                    if let Some(record) = rejection.record.take() {
                        self.histories.note(*lease, record);
                    }
                    dead.push(DeadLetter {
                        job: invariant!(ended.remove(lease), "a job that is rejected has ended"),
                        reason: rejection.reason.clone(),
                        history: self.histories.leases.remove(lease).unwrap_or_default(),
                        at,
                    });
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
            self.group.bus.tell(EventKind::DeadLettered { job, reason });
            for job in dead_letter_store.keep(letter.clone()) {
                self.group.bus.tell(EventKind::DeadLetterDropped { job });
            }
        }
        self.group.mailboxes.bury(dead);
    }
}
