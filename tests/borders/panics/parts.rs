//! Strategies, stores, queues and codecs of the user.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use consumer_group::config::QueueConfig;
use consumer_group::events::{Moment, QueueCounts};
use consumer_group::queue::{
    ActorQueue, Bound, Capabilities, DeadSelection, JobRef, LeaseId, Leased, MemoryStore, News, QueueActor,
    QueueCore, Refused, Run, Settled, Store, StoreQueue, Verdict, queue_of,
};
use consumer_group::strategy::{AssignJob, Choice, Roster, Strategy};
use consumer_group::{DeadLetter, Delivery, EventKind, Group, JobId, Role};

use super::{Bomb, Bombs, in_a_process};
use crate::common::{local, next_outcome, system, told, within};

/// Panics at every so many calls; more than belong together, so that a test gets to its end.
#[derive(Clone)]
struct NowAndThen(Arc<AtomicU64>, u64);

impl NowAndThen {
    fn every(calls: u64) -> Self {
        Self(Arc::default(), calls)
    }

    #[track_caller]
    fn panics(&self, what: &str) {
        let calls = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(!calls.is_multiple_of(self.1), "in {what}");
    }
}

/// Sends jobs one by one and all at once, and sees each of them done, by the first lives of the consumers.
async fn all_are_done(group: &Group<u64, u64>, role: Role) {
    let mut events = group.events();
    for job in 0..40 {
        assert_eq!(within("a job", group.producer().call(job)).await.unwrap(), job);
    }
    let (producers, mut results) = group.producer_group();
    producers.send_batch(100..200).await.unwrap();
    let mut done = Vec::new();
    for _ in 0..100 {
        done.push(next_outcome(&mut results, "a job ends").await.result.unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (100..200).collect::<Vec<_>>());
    let mut ended = 0;
    for event in told(&mut events) {
        match event {
            EventKind::RoleDown { role: of, .. } if of == role => ended += 1,
            EventKind::RoleDown { role, cause, .. } => panic!("{role:?} ended: {cause}"),
            EventKind::ConsumerDown { cause, .. } => panic!("a consumer ended: {cause}"),
            _ => {}
        }
    }
    assert!(ended > 0, "nothing panicked");
}

async fn echo(delivery: &Delivery<'_, u64>) -> Result<u64, consumer_group::Failure> {
    Ok(*delivery.job())
}

struct FragileChooser(NowAndThen, #[allow(dead_code, reason = "it is dropped")] Bomb);

impl Strategy for FragileChooser {
    fn roster_changed(&mut self, _: &Roster) {
        self.0.panics("roster_changed");
    }

    fn choose(&mut self, _: &AssignJob, roster: &Roster) -> Choice {
        self.0.panics("choose");
        let first = roster.next_open(0).and_then(|index| roster.seat(index));
        first.map_or(Choice::Hold, |seat| Choice::Slot(seat.slot))
    }
}

#[test]
fn a_strategy_that_panics_in_its_methods_its_factory_and_its_drop_is_replaced_alone() {
    in_a_process(
        "parts::a_strategy_that_panics_in_its_methods_its_factory_and_its_drop_is_replaced_alone",
        || {
            system(async {
                let (bombs, panics, factory) =
                    (Bombs::default(), NowAndThen::every(131), NowAndThen::every(2));
                let makes = bombs.clone();
                let group = local()
                    .consume_with(2, echo)
                    .strategy(move || {
                        factory.panics("the factory");
                        FragileChooser(panics.clone(), makes.bomb())
                    })
                    .start()
                    .unwrap();
                all_are_done(&group, Role::Strategy).await;
                assert!(within("the stop", group.stop()).await.unfinished.is_empty());
                assert!(bombs.dropped() > 1);
            });
        },
    );
}

/// A store that panics before it does what it was asked. What it is handed it takes first.
struct FragileStore {
    inner: MemoryStore<u64>,
    panics: NowAndThen,
    _bomb: Bomb,
}

impl Store<u64> for FragileStore {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn bound(&self) -> Option<Bound> {
        self.inner.bound()
    }

    fn push(&mut self, now: Moment, runs: Vec<Run<u64>>, news: &mut News<u64>) -> Vec<Refused<u64>> {
        let refused = self.inner.push(now, runs, news);
        self.panics.panics("push");
        refused
    }

    fn lease(&mut self, now: Moment, most: usize, leased: &mut Vec<Leased<u64>>, news: &mut News<u64>) {
        self.panics.panics("lease");
        self.inner.lease(now, most, leased, news);
    }

    fn settle(
        &mut self,
        now: Moment,
        lease: LeaseId,
        attempt: u32,
        verdict: &Verdict,
        news: &mut News<u64>,
    ) -> Settled {
        self.panics.panics("settle");
        self.inner.settle(now, lease, attempt, verdict, news)
    }

    fn take_back(&mut self, now: Moment) -> usize {
        self.inner.take_back(now)
    }

    fn next_due(&self) -> Option<Moment> {
        self.inner.next_due()
    }

    fn wake(&mut self, now: Moment, news: &mut News<u64>) {
        self.panics.panics("wake");
        self.inner.wake(now, news);
    }

    fn counts(&self) -> QueueCounts {
        self.inner.counts()
    }

    fn dead_letters(&self, most: usize) -> Vec<DeadLetter<u64>> {
        self.inner.dead_letters(most)
    }

    fn requeue(&mut self, now: Moment, which: &DeadSelection, news: &mut News<u64>) -> Vec<JobId> {
        self.inner.requeue(now, which, news)
    }

    fn purge(&mut self, which: &DeadSelection) -> usize {
        self.inner.purge(which)
    }

    fn take_unfinished(&mut self) -> Vec<JobRef<u64>> {
        self.inner.take_unfinished()
    }
}

#[test]
fn a_store_that_panics_in_its_methods_and_its_drop_loses_no_job_and_ends_no_consumer() {
    in_a_process(
        "parts::a_store_that_panics_in_its_methods_and_its_drop_loses_no_job_and_ends_no_consumer",
        || {
            system(async {
                let bombs = Bombs::default();
                let group = local()
                    .consume_with(2, echo)
                    .queue(queue_of(FragileStore {
                        inner: MemoryStore::new(&QueueConfig::default()),
                        panics: NowAndThen::every(7),
                        _bomb: bombs.bomb(),
                    }))
                    .start()
                    .unwrap();
                all_are_done(&group, Role::Queue).await;
                within("the stop", group.stop()).await;
                drop(group);
                while bombs.dropped() == 0 {
                    tokio::task::yield_now().await;
                }
            });
        },
    );
}

/// Makes the queue of the user, and panics now and then.
fn fragile_queue(
    factory: NowAndThen,
    held: Bomb,
) -> ActorQueue<u64, impl Fn() -> StoreQueue<u64, MemoryStore<u64>> + Send + 'static> {
    fn is_queue<A: QueueActor<u64>>(actor: A) -> A {
        actor
    }
    let core = Arc::new(QueueCore::new(MemoryStore::new(&QueueConfig::default())));
    let clock = consumer_group::queue::Clock::start();
    ActorQueue::new(Capabilities::MEMORY, move || {
        let _ = &held;
        factory.panics("the factory of a queue");
        is_queue(StoreQueue::new(Arc::clone(&core), clock))
    })
}

#[test]
fn a_factory_of_queues_that_panics_is_called_again_and_its_captures_may_panic_in_their_drop() {
    in_a_process(
        "parts::a_factory_of_queues_that_panics_is_called_again_and_its_captures_may_panic_in_their_drop",
        || {
            system(async {
                let bombs = Bombs::default();
                let factory = NowAndThen::every(7);
                factory.0.store(6, Ordering::SeqCst);
                let group = local()
                    .consume_with(2, echo)
                    .queue(fragile_queue(factory, bombs.bomb()))
                    .start()
                    .unwrap();
                for job in 0..10 {
                    assert_eq!(within("a job", group.producer().call(job)).await.unwrap(), job);
                }
                assert!(within("the stop", group.stop()).await.unfinished.is_empty());
                drop(group);
                while bombs.dropped() == 0 {
                    tokio::task::yield_now().await;
                }
            });
        },
    );
}

#[cfg(feature = "durable")]
mod codecs {
    use consumer_group::codec::{Codec, CodecError};
    use consumer_group::durable::DurableQueue;
    use consumer_group::durable::inspect::QueueFile;
    use consumer_group::{Failure, Job, SendErrorKind};

    use super::*;

    /// Panics over 13 when it writes, and in its `Drop`. Once it is broken it panics over 14 when it reads, and its error
    /// over 15 panics when it is read.
    struct FragileCodec {
        bombs: Bombs,
        is_broken: bool,
        _bomb: Bomb,
    }

    #[derive(Debug)]
    struct Unreadable;

    impl std::fmt::Display for Unreadable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("in the Display of an error of a codec")
        }
    }

    impl std::error::Error for Unreadable {}

    impl Codec<u64> for FragileCodec {
        fn name(&self) -> &'static str {
            "fragile"
        }

        fn encode(&self, payload: &u64, into: &mut Vec<u8>) -> Result<(), CodecError> {
            into.extend(payload.to_le_bytes());
            if *payload == 13 {
                std::panic::panic_any(self.bombs.bomb());
            }
            Ok(())
        }

        fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
            let payload = bytes
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(CodecError::new)?;
            match payload {
                14 if self.is_broken => panic!("in decode"),
                15 if self.is_broken => Err(CodecError::new(Unreadable)),
                payload => Ok(payload),
            }
        }
    }

    #[test]
    fn a_codec_that_panics_refuses_one_job_and_leaves_its_neighbours_alone() {
        in_a_process(
            "parts::codecs::a_codec_that_panics_refuses_one_job_and_leaves_its_neighbours_alone",
            || {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("jobs.queue");
                let bombs = Bombs::default();
                let open = |is_broken| {
                    let codec = FragileCodec {
                        bombs: bombs.clone(),
                        is_broken,
                        _bomb: bombs.bomb(),
                    };
                    DurableQueue::at(&path, codec).open().unwrap()
                };
                let group = |is_broken| -> Group<u64, u64> {
                    let consumed = async |delivery: &Delivery<u64>| Ok::<_, Failure>(*delivery.job());
                    local()
                        .consume_with(1, consumed)
                        .queue(open(is_broken))
                        .start()
                        .unwrap()
                };
                system(async {
                    let group = group(false);
                    let mut events = group.events();
                    let refused = within("it is refused", group.producer().send(13))
                        .await
                        .unwrap_err();
                    assert_eq!(
                        (refused.job, refused.kind),
                        (Some(Job::new(13)), SendErrorKind::NotEncoded)
                    );
                    for job in 0..10 {
                        assert_eq!(within("a job", group.producer().call(job)).await.unwrap(), job);
                    }
                    for event in told(&mut events) {
                        assert!(!matches!(event, EventKind::RoleDown { .. }), "{event:?}");
                    }
                    group.pause();
                    group.producer().send_batch([1, 14, 2, 15, 3]).await.unwrap();
                    within("the stop", group.stop()).await;
                });
                system(async {
                    let group = group(true);
                    let mut events = group.events();
                    let neighbours = async {
                        while group.health().await.unwrap().slots[0].acked < 3 {
                            tokio::task::yield_now().await;
                        }
                    };
                    within("the neighbours are done", neighbours).await;
                    for event in told(&mut events) {
                        assert!(!matches!(event, EventKind::RoleDown { .. }), "{event:?}");
                    }
                    within("the stop", group.stop()).await;
                });
                let mut file = QueueFile::open(&path).unwrap();
                assert_eq!(file.summary().unwrap().dead, 2);
                assert!(bombs.dropped() >= 3);
            },
        );
    }
}
