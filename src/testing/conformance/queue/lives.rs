//! Lives: of supervisors (epochs) and of the queue actor.

use std::time::Duration;

use super::rig::{Rig, item, numbers, retry};
use crate::actors::queue::QueueSource;
use crate::protocol::AttachError;
use crate::testing::conformance::runner::{Held, claimed, ensure};
use crate::types::{Epoch, JobRef, Run, Verdict};

pub(super) async fn a_later_epoch_takes_leases_back_in_order<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=8).await?;
    let leased = rig.expect(1..=5).await?;
    if let Some(second) = leased.get(1..2) {
        rig.ack(second).await?;
    }
    let returned = rig.attach(2).await?;
    ensure(returned == 4, || {
        format!("4 leases were out, and {returned} were taken back")
    })?;
    let leased = rig.expect([1, 3, 4, 5, 6, 7, 8]).await?;
    rig.ack(&leased).await?;
    rig.demand(10);
    rig.quiet("every job was acked").await
}

pub(super) async fn a_job_that_comes_again_has_its_name<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    let jobs: Vec<_> = (1..=3).map(|number| rig.seal(number, |job| job)).collect();
    let pushed: Vec<_> = jobs.iter().map(JobRef::id).collect();
    rig.push_all(jobs).await?;
    for epoch in 2..=3 {
        let leased = rig.expect(1..=3).await?;
        let come: Vec<_> = leased.iter().map(|leased| leased.job().id()).collect();
        ensure(come == pushed, || format!("the jobs {pushed:?} came as {come:?}"))?;
        rig.attach(epoch).await?;
    }
    Ok(())
}

pub(super) async fn a_later_epoch_ends_what_the_earlier_one_said<S: QueueSource<u64>>(
    rig: &mut Rig<S>,
) -> Held {
    rig.attach(1).await?;
    rig.push(1..=2).await?;
    let leased = rig.expect(1..=2).await?;
    rig.demand(100);
    rig.attach(2).await?;
    rig.quiet("the credit of the earlier epoch is void").await?;
    rig.demand_as(1, 100);
    rig.quiet("the earlier epoch has no credit to give").await?;
    let late = leased.iter().map(|leased| item(leased, &Verdict::Ack)).collect();
    let stale = rig.settle_as(1, late).await?;
    if rig.claims.fencing {
        ensure(stale == 2, || {
            format!("of 2 verdicts of the earlier epoch {stale} were refused")
        })?;
    }
    rig.expect(1..=2).await.map(|_| ())
}

pub(super) async fn the_same_epoch_takes_nothing_back<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=4).await?;
    let leased = rig.expect(1..=2).await?;
    rig.demand(100);
    let rest = rig.expect_come(vec![3, 4]).await?;
    let returned = rig.attach(1).await?;
    ensure(returned == 0, || {
        format!("an attach in the same epoch took {returned} leases back")
    })?;
    rig.push([5]).await?;
    rig.quiet("an attach voids the credit that was given before it")
        .await?;
    rig.ack(&leased).await?;
    let new = rig.expect([5]).await?;
    rig.demand(100);
    rig.quiet("every other job is leased").await?;
    rig.ack(&rest).await?;
    rig.ack(&new).await
}

pub(super) async fn an_earlier_epoch_is_superseded<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(5).await?;
    let answer = rig.try_attach(4).await?;
    ensure(answer == Err(AttachError::Superseded(Epoch(5))), || {
        format!("epoch 5 is attached, and epoch 4 was answered {answer:?}")
    })?;
    rig.push([1]).await?;
    rig.expect([1]).await?;
    if rig.claims.fencing {
        rig.end().await?;
        rig.start_again()?;
        let answer = rig.try_attach(4).await?;
        ensure(answer == Err(AttachError::Superseded(Epoch(5))), || {
            format!("in its next life the queue knew nothing of epoch 5: epoch 4 was answered {answer:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn a_new_life_has_lost_nothing<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.push(1..=2).await?;
    rig.end().await?;
    rig.start_again()?;
    rig.attach(1).await?;
    rig.push(3..=6).await?;
    rig.kill().await?;
    rig.kill().await?;
    rig.push(7..=8).await?;
    let leased = rig.expect(1..=3).await?;
    rig.kill().await?;
    // The supervisor itself dies as well: whatever is not acked comes again.
    let (acked, _) = leased.split_at(1);
    rig.ack(acked).await?;
    rig.end().await?;
    rig.start_again()?;
    rig.attach(2).await?;
    let leased = rig.expect(2..=8).await?;
    rig.settle(&leased, &retry(Duration::ZERO, true)).await?;
    rig.kill().await?;
    rig.expect(2..=8).await.map(|_| ())
}

pub(super) async fn leases_outlive_the_actor<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=5).await?;
    let leased = rig.expect(1..=3).await?;
    rig.kill().await?;
    rig.demand(10);
    let rest = rig.expect_come(vec![4, 5]).await?;
    rig.quiet("the supervisor still holds the other leases").await?;
    rig.ack(&leased).await?;
    rig.ack(&rest).await?;
    let returned = rig.attach(2).await?;
    ensure(returned == 0, || format!("{returned} acked jobs were taken back"))
}

pub(super) async fn an_acked_job_stays_forgotten_in_a_new_life<S: QueueSource<u64>>(
    rig: &mut Rig<S>,
) -> Held {
    rig.attach(1).await?;
    rig.push(1..=3).await?;
    let leased = rig.expect(1..=2).await?;
    rig.ack(&leased).await?;
    rig.kill().await?;
    let returned = rig.attach(2).await?;
    ensure(returned == 0, || format!("{returned} acked jobs were taken back"))?;
    rig.demand(10);
    let last = rig.expect_come(vec![3]).await?;
    rig.quiet("the other jobs were acked").await?;
    rig.ack(&last).await
}

pub(super) async fn attempts_outlive_the_actor<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.claims.attempts, "Capabilities::attempts")?;
    rig.attach(1).await?;
    rig.push([1]).await?;
    let leased = rig.expect([1]).await?;
    rig.settle(&leased, &retry(Duration::ZERO, true)).await?;
    rig.kill().await?;
    let leased = rig.expect([1]).await?;
    let found = leased.first().map_or(0, |leased| leased.attempt);
    ensure(found == 2, || {
        format!("one attempt was made before the actor died; the lease after it says attempt {found}")
    })
}

/// The actor dies at every moment around a push.
pub(super) async fn a_push_is_taken_or_handed_back_when_the_actor_dies<S: QueueSource<u64>>(
    rig: &mut Rig<S>,
) -> Held {
    rig.attach(1).await?;
    let mut wanted = Vec::new();
    let mut handed_back = 0_usize;
    for round in 0..6_u64 {
        let numbers_of_round = round * 4..round * 4 + 4;
        let jobs = numbers_of_round
            .map(|number| rig.seal(number, |job| job))
            .collect::<Vec<_>>();
        let all: Vec<u64> = jobs.iter().map(|job| *job.payload()).collect();
        let (back, answer) = rig.push_and_go(jobs).await?;
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        rig.end().await?;
        let answer = rig.pace.wait("the end of a push to a dead actor", answer).await?;
        let back = rig.pace.wait("the end of a push to a dead actor", back).await?;
        let refused = answer.map(|pushed| pushed.refused).unwrap_or_default();
        let mut returned: Vec<u64> = back
            .unwrap_or_default()
            .iter()
            .flat_map(Run::handles)
            .map(|job| *job.payload())
            .collect();
        returned.extend(refused.iter().map(|refused| *refused.job.payload()));
        handed_back += returned.len();
        wanted.extend(all.into_iter().filter(|number| !returned.contains(number)));
        rig.start_again()?;
        rig.attach(1).await?;
    }
    rig.demand(100);
    let mut come = numbers(&rig.take(wanted.len()).await?);
    come.sort_unstable();
    ensure(come == wanted, || {
        format!("the jobs {wanted:?} were taken, and these came out: {come:?}")
    })?;
    rig.quiet("what was handed back is not in the queue as well")
        .await?;
    rig.remarks.add(format!(
        "of 24 jobs that were on their way when the actor died {handed_back} were handed back"
    ));
    Ok(())
}
