//! Admission: whether a queue takes a job, and what goes if it does not fit.

use super::Refusal;
use crate::types::{DeadReason, JobId, Overflow};

/// How much a queue takes, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Ready, delayed and leased jobs together.
    pub capacity: usize,
    /// Their bytes together, for a queue that counts them; `u64::MAX` for one that does not.
    pub bytes: u64,
    /// What happens to a job that does not fit.
    pub overflow: Overflow,
}

/// What is known of a job that asks to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asking {
    /// The job that was accepted with the same deduplication key, if one was.
    pub duplicate_of: Option<JobId>,
    /// Whether its time has run out on the way.
    pub is_expired: bool,
    /// Its bytes, as they count for the bound.
    pub bytes: u64,
}

/// What is done with a job that asks to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is taken.
    Take,
    /// It is asked about again when something has left: its sender waits for room for its bytes.
    Wait,
    /// It goes back to its sender.
    Refuse(Refusal),
    /// It is taken and becomes a dead letter at once.
    Bury(DeadReason),
    /// The oldest ready job of the least urgent priority goes, if that is not more urgent than this one; then it is asked about
    /// again. If there is none to go, this one is buried ([`DeadReason::DroppedByOverflow`]).
    DropOldest,
}

impl Bound {
    /// A bound on the number of jobs alone.
    pub const fn of_jobs(capacity: usize, overflow: Overflow) -> Self {
        Self {
            capacity,
            bytes: u64::MAX,
            overflow,
        }
    }

    /// Decides about one job, for a queue that holds so many ready, delayed and leased jobs of so many bytes together. The first
    /// reason that holds counts:
    ///
    /// | the job | `Wait` | `Reject` | `DropNewest` | `DropOldest` |
    /// |---|---|---|---|---|
    /// | is a duplicate | refused | refused | refused | refused |
    /// | has expired | buried | buried | buried | buried |
    /// | fits | taken | taken | taken | taken |
    /// | is larger than all the room there is | refused | refused | buried | buried |
    /// | is one too many | refused: its sender has no permit | refused | buried | the oldest goes |
    /// | has too many bytes at present | waits | refused | buried | the oldest goes |
    #[inline]
    pub fn admit(&self, job: Asking, jobs: usize, bytes: u64) -> Admission {
        if let Some(of) = job.duplicate_of {
            return Admission::Refuse(Refusal::Duplicate { of });
        }
        if job.is_expired {
            return Admission::Bury(DeadReason::Expired);
        }
        let has_place = jobs < self.capacity;
        if has_place && bytes.saturating_add(job.bytes) <= self.bytes {
            return Admission::Take;
        }
        let is_too_large = job.bytes > self.bytes;
        match self.overflow {
            // Places are waited for by permits, bytes are not: nobody knows them before the job is written.
            Overflow::Wait if has_place && !is_too_large => Admission::Wait,
            Overflow::Wait | Overflow::Reject => Admission::Refuse(Refusal::Full),
            Overflow::DropOldest if !is_too_large => Admission::DropOldest,
            Overflow::DropOldest | Overflow::DropNewest => Admission::Bury(DeadReason::DroppedByOverflow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: [Overflow; 4] = [
        Overflow::Wait,
        Overflow::Reject,
        Overflow::DropNewest,
        Overflow::DropOldest,
    ];

    /// The answers for each policy, to a job of so many bytes at a queue with 10 places and 100 bytes.
    fn row(bytes: u64, held: (usize, u64)) -> [Admission; 4] {
        let job = Asking {
            bytes,
            ..Asking::default()
        };
        POLICIES.map(|overflow| {
            let bound = Bound {
                bytes: 100,
                ..Bound::of_jobs(10, overflow)
            };
            bound.admit(job, held.0, held.1)
        })
    }

    #[test]
    fn the_table_of_policies_is_kept() {
        let full = || Admission::Refuse(Refusal::Full);
        let dropped = || Admission::Bury(DeadReason::DroppedByOverflow);
        let fits = [const { Admission::Take }; 4];
        assert_eq!(row(1, (9, 99)), fits, "the last place and the last byte");
        assert_eq!(row(100, (0, 0)), fits, "as large as all the room");
        let too_large = [full(), full(), dropped(), dropped()];
        assert_eq!(row(101, (0, 0)), too_large);
        let one_too_many = [full(), full(), dropped(), Admission::DropOldest];
        assert_eq!(row(1, (10, 10)), one_too_many);
        let too_many_bytes = [Admission::Wait, full(), dropped(), Admission::DropOldest];
        assert_eq!(row(2, (9, 99)), too_many_bytes);
        assert_eq!(row(u64::MAX, (0, u64::MAX)), too_large, "no sum overflows");
    }

    #[test]
    fn a_duplicate_is_refused_and_an_expired_job_buried_whatever_room_there_is() {
        let of = JobId::from_uuid(uuid::Uuid::nil());
        for overflow in POLICIES {
            for jobs in [0, 10] {
                let mut job = Asking {
                    is_expired: true,
                    ..Asking::default()
                };
                let bound = Bound::of_jobs(10, overflow);
                assert_eq!(bound.admit(job, jobs, 0), Admission::Bury(DeadReason::Expired));
                job.duplicate_of = Some(of);
                let refused = Admission::Refuse(Refusal::Duplicate { of });
                assert_eq!(bound.admit(job, jobs, 0), refused);
            }
        }
    }
}
