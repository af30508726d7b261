//! What a group asks of a queue now and then.

use super::rig::{Rig, reject, wrong};
use crate::actors::queue::QueueSource;
use crate::protocol::{QueueCommand, QueueReply};
use crate::rules::store::{DeadSelection, Refusal};
use crate::testing::conformance::runner::{Held, Stop, claimed, ensure};

pub(super) async fn a_closed_queue_refuses_jobs_and_hands_out_the_rest<S: QueueSource<u64>>(
    rig: &mut Rig<S>,
) -> Held {
    rig.attach(1).await?;
    rig.push(1..=2).await?;
    match rig.command(QueueCommand::Close).await? {
        QueueReply::Done => {}
        other => return Err(wrong("Close", &other)),
    }
    let jobs = vec![rig.seal(3, |job| job), rig.seal(4, |job| job)];
    let refused = rig.push_sealed(jobs).await?;
    let as_closed: Vec<u64> = refused
        .iter()
        .filter(|refused| refused.refusal == Refusal::Closed)
        .map(|refused| *refused.job.payload())
        .collect();
    ensure(as_closed == [3, 4], || {
        format!("the jobs 3 and 4 were pushed to a closed queue, and it refused {refused:?}")
    })?;
    let leased = rig.expect(1..=2).await?;
    rig.ack(&leased).await
}

pub(super) async fn counts_are_right<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.counts().await?.is_some(), "QueueCommand::Counts")?;
    rig.attach(1).await?;
    rig.push(1..=6).await?;
    let leased = rig.expect(1..=3).await?;
    let (first, rest) = leased.split_at(1);
    rig.ack(first).await?;
    let mut dead = 0;
    if rig.claims.dead_letter {
        let (second, _) = rest.split_at(1);
        rig.settle(second, &reject()).await?;
        dead = 1;
    }
    let Some(counts) = rig.counts().await? else {
        return Err(Stop::Broken("the queue counted at first and then no more".into()));
    };
    let found = (counts.ready, counts.delayed, counts.leased, counts.dead);
    let wanted = (3, 0, 2 - dead, dead);
    ensure(found == wanted, || {
        format!("(ready, delayed, leased, dead) are {wanted:?}, and it says {found:?}")
    })
}

pub(super) async fn unfinished_jobs_are_handed_out_once<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=5).await?;
    let leased = rig.expect(1..=2).await?;
    let (first, _) = leased.split_at(1);
    rig.ack(first).await?;
    let unfinished = match rig.command(QueueCommand::TakeUnfinished).await? {
        QueueReply::Unfinished(unfinished) => unfinished,
        QueueReply::Unsupported(why) if !rig.claims.volatile => return Err(Stop::NotClaimed(why.into())),
        other => return Err(wrong("TakeUnfinished", &other)),
    };
    let mut found: Vec<u64> = unfinished.iter().map(|job| *job.payload()).collect();
    if !rig.traits.fifo {
        found.sort_unstable();
    }
    ensure(found == [2, 3, 4, 5], || {
        format!("the jobs 2 to 5 are unfinished, and these were handed out: {found:?}")
    })?;
    rig.attach(2).await?;
    rig.demand(10);
    rig.quiet("every unfinished job was handed out").await?;
    match rig.command(QueueCommand::TakeUnfinished).await? {
        QueueReply::Unfinished(none) if none.is_empty() => Ok(()),
        other => Err(wrong("a second TakeUnfinished", &other)),
    }
}

pub(super) async fn dead_letters_are_listed_sent_back_and_purged<S: QueueSource<u64>>(
    rig: &mut Rig<S>,
) -> Held {
    claimed(rig.claims.dead_letter, "Capabilities::dead_letter")?;
    rig.attach(1).await?;
    rig.push(1..=3).await?;
    let leased = rig.expect(1..=3).await?;
    rig.settle(&leased, &reject()).await?;
    let letters = rig.letters().await?;
    let found: Vec<u64> = letters.iter().map(|letter| *letter.job.payload()).collect();
    ensure(found == [1, 2, 3], || {
        format!("the jobs 1 to 3 were rejected in this order, and the dead letters are {found:?}")
    })?;
    let second = letters.get(1).map(|letter| letter.id()).into_iter().collect();
    match rig
        .command(QueueCommand::Requeue(DeadSelection::Jobs(second)))
        .await?
    {
        QueueReply::Requeued(jobs) if jobs.len() == 1 => {}
        other => return Err(wrong("Requeue", &other)),
    }
    let again = rig.expect([2]).await?;
    if rig.claims.attempts {
        let attempt = again.first().map_or(0, |leased| leased.attempt);
        ensure(attempt == 1, || {
            format!("a dead letter that went back begins at attempt 1, and the lease says {attempt}")
        })?;
    }
    rig.ack(&again).await?;
    match rig.command(QueueCommand::Purge(DeadSelection::All)).await? {
        QueueReply::Purged(2) => {}
        other => return Err(wrong("Purge of two dead letters", &other)),
    }
    ensure(rig.letters().await?.is_empty(), || {
        "purged dead letters are still there".into()
    })?;
    rig.demand(10);
    rig.quiet("purged dead letters do not come back").await
}
