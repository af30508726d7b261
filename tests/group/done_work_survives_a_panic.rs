//! What a consumer has done stays done when it panics at a later job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use consumer_group::{Delivery, Group, GroupConfig, Placement};

const JOBS: usize = 20_000;
const PANIC_EVERY: usize = 1_000;

fn config() -> GroupConfig {
    let mut config = GroupConfig {
        consumers: 1,
        placement: Placement::Local,
        quiet_panics: true,
        ..GroupConfig::default()
    };
    config.restart.intensity = u32::MAX;
    config
}

#[test]
fn jobs_that_were_done_before_a_panic_are_not_done_again() {
    let calls: Arc<Vec<AtomicU32>> = Arc::new((0..JOBS).map(|_| AtomicU32::new(0)).collect());
    let (counted, panics) = (Arc::clone(&calls), |job: usize| {
        job % PANIC_EVERY == PANIC_EVERY / 2
    });
    let attempts: Vec<(usize, u32)> = actix::System::new().block_on(async move {
        let group = Group::builder()
            .consume_with(1, async move |delivery: &Delivery<usize>| {
                let job = *delivery.job();
                counted[job].fetch_add(1, Ordering::Relaxed);
                assert!(!panics(job) || delivery.attempt() > 1, "as ordered");
                Ok((job, delivery.attempt()))
            })
            .configure(|of_the_group| *of_the_group = config())
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..JOBS).await.unwrap();
        let mut attempts = Vec::new();
        while attempts.len() < JOBS {
            attempts.push(results.next().await.unwrap().result.unwrap());
        }
        attempts
    });
    for (job, attempt) in attempts {
        let expected = if panics(job) { 2 } else { 1 };
        assert_eq!(attempt, expected, "the attempt that did job {job}");
        assert_eq!(
            calls[job].load(Ordering::Relaxed),
            expected,
            "calls for job {job}"
        );
    }
}
