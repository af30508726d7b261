//! The rules of the memory store, one by one (`rules`) and all together against a naive model (`model`).

mod model;
mod rules;

use std::time::Duration;

use uuid::Uuid;

use super::{DeadSelection, Leased, MemoryStore, News, Refused, SettleRefusal, Settled, Store};
use crate::types::{
    AttemptRecord, Cause, Incarnation, Job, JobId, JobRef, LeaseId, Moment, Overflow, QueueConfig, Rejection,
    Renewal, Retry, SlotId, Verdict,
};

fn at(milliseconds: u64) -> Moment {
    Moment::from_millis(milliseconds)
}

fn name(number: u64) -> JobId {
    JobId::from_uuid(Uuid::from_u128(u128::from(number)))
}

/// A job whose name and payload are the same number.
fn sealed(number: u64, now: Moment, wishes: impl FnOnce(Job<u64>) -> Job<u64>) -> JobRef<u64> {
    JobRef::new(name(number), wishes(Job::new(number)), None, now)
}

fn attempt_record(attempt: u32) -> AttemptRecord {
    AttemptRecord {
        attempt,
        slot: SlotId(0),
        incarnation: Incarnation(1),
        cause: Cause::Stopped,
        at: Moment::START,
    }
}

fn retry(after_ms: u64, counts: bool, attempt: u32) -> Verdict {
    Verdict::Retry(Box::new(Retry {
        after: Duration::from_millis(after_ms),
        counts,
        record: Some(attempt_record(attempt)),
    }))
}

fn renew(counts: bool, attempt: u32) -> Verdict {
    Verdict::Renew(Box::new(Renewal {
        counts,
        record: Some(attempt_record(attempt)),
    }))
}

fn reject(attempt: u32) -> Verdict {
    Verdict::Reject(Box::new(Rejection {
        reason: crate::types::DeadReason::Rejected("no".into()),
        record: Some(attempt_record(attempt)),
    }))
}
