//! Verdicts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rig::{Rig, item, reject, renew, retry};
use crate::actors::queue::QueueSource;
use crate::rules::store::Leased;
use crate::testing::conformance::runner::{Held, claimed, ensure};
use crate::types::{DeadReason, LeaseId, SettleItem, Verdict};

/// The only job of a list that must hold one.
fn only(leased: &[Leased<u64>]) -> Option<&Leased<u64>> {
    leased.first()
}

fn attempt(leased: &[Leased<u64>]) -> u32 {
    only(leased).map_or(0, |leased| leased.attempt)
}

pub(super) async fn an_acked_job_is_forgotten<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=3).await?;
    let leased = rig.expect(1..=3).await?;
    rig.ack(&leased).await?;
    rig.demand(10);
    rig.quiet("every job was acked").await?;
    let returned = rig.attach(2).await?;
    ensure(returned == 0, || {
        format!("{returned} acked jobs were taken back as leased")
    })?;
    rig.demand(10);
    rig.quiet("every job was acked").await
}

pub(super) async fn a_retried_job_comes_again_at_its_old_place<S: QueueSource<u64>>(
    rig: &mut Rig<S>,
) -> Held {
    rig.attach(1).await?;
    rig.push(1..=4).await?;
    let leased = rig.expect(1..=2).await?;
    rig.settle(&leased, &retry(Duration::ZERO, true)).await?;
    let leased = rig.expect(1..=4).await?;
    rig.ack(&leased).await?;
    rig.demand(10);
    rig.quiet("every job was acked").await
}

pub(super) async fn a_retry_waits_for_its_delay<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.claims.delay >= Some(rig.pace.delay), "Capabilities::delay")?;
    rig.attach(1).await?;
    rig.push(1..=2).await?;
    let leased = rig.expect([1]).await?;
    rig.settle(&leased, &retry(rig.pace.delay, true)).await?;
    rig.demand(10);
    rig.expect_come(vec![2]).await?;
    rig.quiet("the delay of the retry is not over").await?;
    let began = tokio::time::Instant::now();
    rig.expect_come(vec![1]).await?;
    let waited = began.elapsed() + rig.pace.quiet;
    // Half of it: the clock of a broker is not ours.
    ensure(waited >= rig.pace.delay / 2, || {
        format!("a retry after {:?} came after {waited:?}", rig.pace.delay)
    })
}

pub(super) async fn attempts_are_counted<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.claims.attempts, "Capabilities::attempts")?;
    rig.attach(1).await?;
    rig.push([1]).await?;
    for expected in 1..=3 {
        let leased = rig.expect([1]).await?;
        let found = attempt(&leased);
        ensure(found == expected, || {
            format!("the lease of attempt {expected} says attempt {found}")
        })?;
        rig.settle(&leased, &retry(Duration::ZERO, true)).await?;
    }
    let leased = rig.expect([1]).await?;
    rig.settle(&leased, &retry(Duration::ZERO, false)).await?;
    let found = attempt(&rig.expect([1]).await?);
    ensure(found == 4, || {
        format!("attempt 4 was given back and does not count; the next lease says attempt {found}")
    })
}

pub(super) async fn a_renewed_lease_goes_on<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=2).await?;
    let mut leased = rig.expect(1..=2).await?;
    rig.settle(&leased, &renew(true)).await?;
    rig.demand(10);
    rig.quiet("a renewed lease stays with the supervisor").await?;
    // The supervisor counts on from the attempt that it got.
    for leased in &mut leased {
        leased.attempt += 1;
    }
    let (first, second) = leased.split_at(1);
    rig.settle(first, &retry(Duration::ZERO, true)).await?;
    let again = rig.expect_come(vec![1]).await?;
    if rig.claims.attempts {
        let found = attempt(&again);
        ensure(found == 3, || {
            format!("attempts 1 (renewed) and 2 (retried) were made; the next lease says attempt {found}")
        })?;
    }
    rig.ack(second).await?;
    rig.ack(&again).await?;
    let returned = rig.attach(2).await?;
    ensure(returned == 0, || {
        format!("{returned} acked jobs were still leased")
    })
}

pub(super) async fn an_extended_lease_goes_on<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.claims.lease_lasts.is_some(), "Capabilities::lease_lasts")?;
    rig.attach(1).await?;
    rig.push([1]).await?;
    let leased = rig.expect([1]).await?;
    rig.settle(&leased, &Verdict::Extend).await?;
    rig.demand(10);
    rig.quiet("an extended lease stays with the supervisor").await?;
    rig.settle(&leased, &Verdict::Extend).await?;
    rig.ack(&leased).await
}

pub(super) async fn leases_are_never_named_twice<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=5).await?;
    let mut names = BTreeSet::new();
    for round in 1..=4_u64 {
        let leased = rig.expect(1..=5).await?;
        for leased in &leased {
            ensure(names.insert(leased.lease), || {
                format!("{} was used twice", leased.lease)
            })?;
        }
        if round == 2 {
            rig.kill().await?;
        }
        if round == 3 {
            rig.attach(2).await?;
        } else {
            rig.settle(&leased, &retry(Duration::ZERO, true)).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_settle_sent_twice_is_harmless<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=6).await?;
    let leased = rig.expect(1..=4).await?;
    let mut items = Vec::new();
    for (nth, leased) in leased.iter().enumerate() {
        let verdict = match nth {
            0 | 1 => Verdict::Ack,
            2 => retry(Duration::ZERO, true),
            _ if rig.claims.dead_letter => reject(),
            _ => Verdict::Ack,
        };
        items.push(item(leased, &verdict));
    }
    let stale = rig.settle_as(1, items.clone()).await?;
    ensure(stale == 0, || {
        format!("{stale} verdicts on living leases were stale")
    })?;
    let stale = rig.settle_as(1, items.clone()).await?;
    if rig.claims.fencing {
        ensure(stale == 4, || {
            format!("of 4 verdicts that came twice {stale} were refused")
        })?;
    }
    // Also while the job is out again under another lease, and after the actor died.
    let again = rig.expect([3]).await?;
    rig.settle_as(1, items.clone()).await?;
    rig.kill().await?;
    rig.settle_as(1, items).await?;
    let rest = rig.expect([5, 6]).await?;
    rig.demand(10);
    rig.quiet("the third job is leased and comes once").await?;
    if rig.claims.dead_letter {
        let dead = rig.letters().await?.len();
        ensure(dead == 1, || {
            format!("one job was rejected, and there are {dead} dead letters")
        })?;
    }
    rig.ack(&again).await?;
    rig.ack(&rest).await
}

pub(super) async fn stale_settles_are_refused<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.claims.fencing, "Capabilities::fencing")?;
    rig.attach(1).await?;
    rig.push(1..=2).await?;
    let leased = rig.expect(1..=2).await?;
    let unknown = SettleItem {
        lease: LeaseId(u64::MAX),
        attempt: 1,
        verdict: Verdict::Ack,
    };
    let stale = rig.settle_as(1, vec![unknown]).await?;
    ensure(stale == 1, || {
        "a verdict on a lease that never was counted".into()
    })?;
    if rig.claims.attempts {
        rig.settle(&leased, &renew(true)).await?;
        let old = leased.iter().map(|leased| item(leased, &Verdict::Ack)).collect();
        let stale = rig.settle_as(1, old).await?;
        ensure(stale == 2, || {
            format!("of 2 verdicts on attempts that are over {stale} were refused")
        })?;
    }
    let returned = rig.attach(2).await?;
    ensure(returned == 2, || {
        format!("2 jobs are unfinished after stale acks, and {returned} were taken back")
    })
}

pub(super) async fn a_rejected_job_becomes_a_dead_letter<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.claims.dead_letter, "Capabilities::dead_letter")?;
    rig.attach(1).await?;
    rig.push(1..=2).await?;
    let leased = rig.expect([1]).await?;
    rig.settle(&leased, &reject()).await?;
    let told = rig.told_dead().await?;
    let wanted = DeadReason::Rejected("by the suite".into());
    ensure(*told.job.payload() == 1 && told.reason == wanted, || {
        format!("job 1 was rejected by the suite, and this was told: {told:?}")
    })?;
    rig.expect([2]).await?;
    rig.demand(10);
    rig.quiet("a rejected job is not tried again").await
}
