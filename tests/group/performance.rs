//! What a group may cost while it works and while it does not. Measured in the processor time of the test's own thread, on
//! which the whole group lives, so that other programs on the machine cannot spoil it. Linux tells that time; elsewhere
//! these tests do not exist.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::common::system;
use consumer_group::queue::MemoryQueue;
use consumer_group::{Delivery, Group, Placement};

/// A build without optimization is about ten times slower, and its bounds are as much wider.
const SLOWER: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

/// The processor time that this thread has used. The kernel brings it up to date at each tick, so within some milliseconds.
fn processor_time() -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = schedule.split_whitespace().next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}

fn group() -> Group<u64, ()> {
    Group::builder()
        .placement(Placement::Local)
        .queue(MemoryQueue::bounded(16_384))
        .consume_with(4, async |_: &Delivery<u64>| Ok(()))
        .start()
        .unwrap()
}

#[test]
fn an_idle_group_uses_no_processor_time() {
    system(async {
        let group = group();
        // It has worked, so whatever could go on turning has begun to turn.
        for job in 0..1_000 {
            group.producer().call(job).await.unwrap();
        }
        let before = processor_time();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let used = processor_time() - before;
        assert!(used < Duration::from_millis(10) * SLOWER, "{used:?} in a second");
        group.stop().await;
    });
}

#[test]
fn timers_on_an_arbiter_at_full_load_fire_within_ten_milliseconds() {
    system(async {
        let group = group();
        let goes_on = Rc::new(Cell::new(true));
        let load = actix_rt::spawn({
            let (producer, goes_on) = (group.producer(), Rc::clone(&goes_on));
            async move {
                let mut sent = 0;
                while goes_on.get() {
                    sent += producer.send_batch(0..256).await.unwrap().len();
                }
                sent
            }
        });
        let mut latest = Duration::ZERO;
        for _ in 0..100 {
            let pause = Duration::from_millis(1);
            let before = processor_time();
            tokio::time::sleep(pause).await;
            latest = latest.max((processor_time() - before).saturating_sub(pause));
        }
        goes_on.set(false);
        let sent = load.await.unwrap();
        assert!(sent > 10_000, "this was no full load: {sent} jobs");
        assert!(
            latest < Duration::from_millis(10) * SLOWER,
            "a timer was {latest:?} late"
        );
        group.stop().await;
    });
}
