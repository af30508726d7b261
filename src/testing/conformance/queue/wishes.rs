//! Wishes of single jobs.

use super::rig::Rig;
use crate::actors::queue::QueueSource;
use crate::rules::store::Refusal;
use crate::testing::conformance::runner::{Held, Stop, claimed, ensure};
use crate::types::DeadReason;

pub(super) async fn urgent_jobs_come_first<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.traits.priorities, "QueueTraits::priorities")?;
    rig.attach(1).await?;
    let jobs = [(1, 0), (2, 9), (3, 3), (4, 9), (5, 0)]
        .map(|(number, priority)| rig.seal(number, |job| job.priority(priority)));
    rig.push_all(jobs.into()).await?;
    rig.expect([2, 4, 3, 1, 5]).await.map(|_| ())
}

pub(super) async fn a_delayed_job_waits<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.traits.delayed_jobs, "QueueTraits::delayed_jobs")?;
    rig.attach(1).await?;
    let delay = rig.pace.delay;
    let jobs = vec![rig.seal(1, |job| job.delay(delay)), rig.seal(2, |job| job)];
    rig.push_all(jobs).await?;
    rig.demand(10);
    rig.expect_come(vec![2]).await?;
    rig.quiet("the delay of the other job is not over").await?;
    rig.expect_come(vec![1]).await.map(|_| ())
}

pub(super) async fn an_expired_job_becomes_a_dead_letter<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.traits.expiry, "QueueTraits::expiry")?;
    rig.attach(1).await?;
    let age = rig.pace.delay;
    let jobs = vec![rig.seal(1, |job| job.expires_after(age)), rig.seal(2, |job| job)];
    rig.push_all(jobs).await?;
    let told = rig.told_dead().await?;
    ensure(
        *told.job.payload() == 1 && told.reason == DeadReason::Expired,
        || format!("job 1 expired, and this was told: {told:?}"),
    )?;
    rig.demand(10);
    rig.expect_come(vec![2]).await?;
    rig.quiet("an expired job is not leased").await
}

pub(super) async fn a_duplicate_is_refused<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.traits.dedup, "QueueTraits::dedup")?;
    rig.attach(1).await?;
    let first = rig.seal(1, |job| job.dedup("one"));
    rig.push_all(vec![first.clone()]).await?;
    let second = rig.seal(2, |job| job.dedup("one"));
    let refused = rig.push_sealed(vec![second]).await?;
    match refused.first().map(|refused| refused.refusal) {
        Some(Refusal::Duplicate { of }) if of == first.id() => {}
        other => {
            return Err(Stop::Broken(format!(
                "a duplicate of job 1 was pushed, and the answer is {other:?}"
            )));
        }
    }
    rig.demand(10);
    rig.expect_come(vec![1]).await?;
    rig.quiet("a refused duplicate is not leased").await
}
