//! What is checked of a consumer.

use std::future::Future;
use std::pin::Pin;

use super::rig::{How, Rig};
use crate::testing::conformance::runner::{Held, ensure};

type Steps<'r> = Pin<Box<dyn Future<Output = Held> + 'r>>;

pub(super) struct Check<J: Send + Sync + 'static, O: Send + 'static> {
    pub(super) name: &'static str,
    pub(super) steps: for<'r> fn(&'r mut Rig<J, O>) -> Steps<'r>,
}

macro_rules! checks {
    ($($name:ident,)*) => {
        vec![$(Check {
            name: stringify!($name),
            steps: |rig| Box::pin($name(rig)),
        }),*]
    };
}

pub(super) fn all<J: Send + Sync + 'static, O: Send + 'static>() -> Vec<Check<J, O>> {
    checks![
        the_samples_are_enough,
        a_consumer_starts_and_ends_when_told,
        each_delivery_is_settled_once,
        a_large_batch_is_settled,
        an_empty_batch_changes_nothing,
        deliveries_may_come_one_by_one,
        a_job_may_come_again,
        a_consumer_ends_in_the_middle_of_its_work,
        the_next_life_settles_what_the_last_one_held,
        many_lives_follow_each_other,
        equals_work_side_by_side,
    ]
}

async fn the_samples_are_enough<J: Send + Sync + 'static, O: Send + 'static>(rig: &mut Rig<J, O>) -> Held {
    ensure(!rig.jobs.is_empty(), || {
        "the suite was given no sample jobs".into()
    })
}

async fn a_consumer_starts_and_ends_when_told<J: Send + Sync + 'static, O: Send + 'static>(
    rig: &mut Rig<J, O>,
) -> Held {
    let life = rig.start(0, 1).await?;
    rig.rest().await;
    rig.work(&life, &[], 1).await?;
    rig.end(life).await
}

async fn each_delivery_is_settled_once<J: Send + Sync + 'static, O: Send + 'static>(
    rig: &mut Rig<J, O>,
) -> Held {
    let life = rig.start(0, 1).await?;
    let jobs = rig.jobs.clone();
    let numbers = rig.deliver(&life, &jobs, 1);
    rig.all_settled(&life, &numbers).await?;
    rig.rest().await;
    rig.all_settled(&life, &numbers).await?;
    let mut failed = 0;
    for number in &numbers {
        failed += usize::from(rig.how(*number) == Some(How::Failed));
    }
    if failed > 0 {
        let all = numbers.len();
        rig.remarks
            .add(format!("{failed} of {all} samples were failed by the consumer"));
    }
    rig.end(life).await?;
    rig.nothing_twice()
}

async fn a_large_batch_is_settled<J: Send + Sync + 'static, O: Send + 'static>(rig: &mut Rig<J, O>) -> Held {
    let life = rig.start(0, 1).await?;
    let jobs = rig.many(rig.large);
    rig.work(&life, &jobs, 1).await?;
    rig.work(&life, &jobs, 1).await?;
    rig.end(life).await
}

async fn an_empty_batch_changes_nothing<J: Send + Sync + 'static, O: Send + 'static>(
    rig: &mut Rig<J, O>,
) -> Held {
    let life = rig.start(0, 1).await?;
    rig.work(&life, &[], 1).await?;
    rig.rest().await;
    rig.work(&life, &rig.jobs.clone(), 1).await?;
    rig.work(&life, &[], 1).await?;
    rig.rest().await;
    rig.end(life).await
}

async fn deliveries_may_come_one_by_one<J: Send + Sync + 'static, O: Send + 'static>(
    rig: &mut Rig<J, O>,
) -> Held {
    let life = rig.start(0, 1).await?;
    for job in rig.jobs.clone() {
        rig.work(&life, &[job], 1).await?;
    }
    let mut numbers = Vec::new();
    for job in rig.jobs.clone() {
        numbers.extend(rig.deliver(&life, &[job], 1));
        tokio::task::yield_now().await;
    }
    rig.all_settled(&life, &numbers).await?;
    rig.end(life).await
}

async fn a_job_may_come_again<J: Send + Sync + 'static, O: Send + 'static>(rig: &mut Rig<J, O>) -> Held {
    let life = rig.start(0, 1).await?;
    let jobs = rig.jobs.clone();
    for attempt in 1..=4 {
        rig.work(&life, &jobs, attempt).await?;
    }
    // The same job twice at once: a redelivery can overtake the news that the first was done.
    let mut numbers = rig.deliver(&life, &jobs, 1);
    numbers.extend(rig.deliver(&life, &jobs, 2));
    rig.all_settled(&life, &numbers).await?;
    rig.end(life).await
}

/// Ended at every moment around a batch.
async fn a_consumer_ends_in_the_middle_of_its_work<J: Send + Sync + 'static, O: Send + 'static>(
    rig: &mut Rig<J, O>,
) -> Held {
    for moment in 0..6 {
        let life = rig.start(0, moment + 1).await?;
        let jobs = rig.jobs.clone();
        rig.deliver(&life, &jobs, 1);
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        rig.end(life).await?;
        rig.nothing_twice()?;
    }
    Ok(())
}

async fn the_next_life_settles_what_the_last_one_held<J: Send + Sync + 'static, O: Send + 'static>(
    rig: &mut Rig<J, O>,
) -> Held {
    let first = rig.start(0, 1).await?;
    let jobs = rig.many(rig.jobs.len() * 2);
    rig.deliver(&first, &jobs, 1);
    rig.end(first).await?;
    let second = rig.start(0, 2).await?;
    rig.work(&second, &jobs, 2).await?;
    rig.end(second).await
}

async fn many_lives_follow_each_other<J: Send + Sync + 'static, O: Send + 'static>(
    rig: &mut Rig<J, O>,
) -> Held {
    for incarnation in 1..=10 {
        let life = rig.start(0, incarnation).await?;
        rig.work(&life, &rig.jobs.clone(), incarnation).await?;
        rig.end(life).await?;
    }
    Ok(())
}

async fn equals_work_side_by_side<J: Send + Sync + 'static, O: Send + 'static>(rig: &mut Rig<J, O>) -> Held {
    let mut lives = Vec::new();
    for slot in 0..3 {
        let life = rig.start(slot, 1).await?;
        let jobs = rig.jobs.clone();
        let numbers = rig.deliver(&life, &jobs, 1);
        lives.push((life, numbers));
    }
    for (life, numbers) in &lives {
        rig.all_settled(life, numbers).await?;
    }
    for (life, _) in lives {
        rig.end(life).await?;
    }
    Ok(())
}
