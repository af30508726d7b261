//! Jobs in, jobs out, and credit.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rig::{Rig, numbers, retry};
use crate::actors::queue::QueueSource;
use crate::testing::conformance::runner::{Held, claimed, ensure};

pub(super) async fn jobs_come_out_as_they_went_in<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    let jobs = vec![
        rig.seal(7, |job| job.key("host-7")),
        rig.seal(u64::MAX, |job| job.key(9)),
        rig.seal(0, |job| job),
    ];
    rig.push_all(jobs.clone()).await?;
    let leased = rig.expect([7, u64::MAX, 0]).await?;
    for sent in &jobs {
        let same = leased
            .iter()
            .any(|found| found.job().id() == sent.id() && found.job().key() == sent.key());
        ensure(same, || {
            format!("{sent:?} did not come out with its name and its key")
        })?;
    }
    Ok(())
}

pub(super) async fn jobs_come_out_in_order<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.traits.fifo, "QueueTraits::fifo")?;
    rig.attach(1).await?;
    rig.push(1..=3).await?;
    rig.push(4..=4).await?;
    rig.push(5..=20).await?;
    rig.expect(1..=7).await?;
    rig.push(21..=25).await?;
    rig.expect(8..=25).await.map(|_| ())
}

pub(super) async fn jobs_of_one_key_come_out_in_order<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    claimed(rig.claims.order_by_key, "Capabilities::order_by_key")?;
    rig.attach(1).await?;
    for number in 0..30 {
        let job = rig.seal(number, |job| job.key(number % 3));
        rig.push_all(vec![job]).await?;
    }
    rig.demand(30);
    let come = numbers(&rig.take(30).await?);
    for key in 0..3 {
        let of_key: Vec<_> = come.iter().copied().filter(|number| number % 3 == key).collect();
        ensure(of_key.is_sorted(), || {
            format!("the jobs of one key came in the order {of_key:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn nothing_is_leased_without_credit<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.push(1..=2).await?;
    rig.attach(1).await?;
    rig.push(3..=4).await?;
    rig.quiet("no credit was given").await?;
    rig.demand_as(2, 10);
    rig.quiet("only an epoch that is not attached gave credit").await
}

pub(super) async fn credit_is_never_exceeded<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=20).await?;
    let first = rig.expect(1..=3).await?;
    rig.quiet("a credit of 3 was used up").await?;
    rig.ack(&first).await?;
    rig.quiet("an ack gives no credit").await?;
    rig.demand(2);
    rig.demand(2);
    rig.expect_come((4..=7).collect()).await?;
    rig.quiet("credits of 2 and 2 were used up").await
}

pub(super) async fn a_smaller_total_takes_credit_back<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.demand(10);
    rig.take_back_credit(7);
    rig.push(1..=8).await?;
    rig.expect_come((1..=3).collect()).await?;
    rig.quiet("of a credit of 10 for no jobs 7 were taken back")
        .await?;
    rig.take_back_credit(2);
    rig.quiet("more was taken back than is left").await?;
    rig.demand(4);
    rig.expect_come((4..=5).collect()).await?;
    rig.quiet("a total of 5 was used up").await
}

pub(super) async fn credit_waits_for_jobs<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.demand(5);
    rig.quiet("there are no jobs").await?;
    rig.push(1..=2).await?;
    rig.expect_come(vec![1, 2]).await?;
    rig.push(3..=12).await?;
    rig.expect_come(vec![3, 4, 5]).await?;
    rig.quiet("the credit was used up").await
}

pub(super) async fn a_leased_job_is_not_leased_again<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push(1..=3).await?;
    rig.expect(1..=3).await?;
    rig.demand(10);
    rig.quiet("every job is leased").await
}

pub(super) async fn pushes_of_every_size_are_taken<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    rig.attach(1).await?;
    rig.push([]).await?;
    rig.push([1]).await?;
    rig.push(2..=60).await?;
    rig.demand(1_000);
    rig.expect_come((1..=60).collect()).await?;
    rig.push([]).await?;
    rig.quiet("an empty push holds nothing").await
}

pub(super) async fn room_comes_back<S: QueueSource<u64>>(rig: &mut Rig<S>) -> Held {
    let before = rig.room();
    claimed(before.is_some(), "QueueSource::room")?;
    rig.attach(1).await?;
    rig.push(1..=10).await?;
    let leased = rig.expect(1..=10).await?;
    let (retried, acked) = leased.split_at(2);
    rig.settle(retried, &retry(Duration::ZERO, true)).await?;
    ensure(rig.room() == before.map(|room| room - 10), || {
        format!(
            "10 unfinished jobs take the room from {before:?} to {:?}",
            rig.room()
        )
    })?;
    rig.ack(acked).await?;
    let again = rig.expect([1, 2]).await?;
    let leases: BTreeSet<_> = leased.iter().chain(&again).map(|leased| leased.lease).collect();
    ensure(leases.len() == 12, || "a lease was named twice".into())?;
    rig.ack(&again).await?;
    ensure(rig.room() == before, || {
        format!(
            "after the last ack the room is {:?} and was {before:?}",
            rig.room()
        )
    })
}
