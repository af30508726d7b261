//! Deaths: of the supervisor, of the queue actor, in the middle of an operation.

use super::super::{ActorQueue, QueueCore, queue_of};
use super::*;
use crate::rules::store::{Bound, News, Refused, Settled};
use crate::types::{Capabilities, LeaseId, Run};

#[test]
fn a_later_supervisor_gets_the_leases_of_the_one_before_in_their_old_order() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.push(rig.plain(0..5)).await;
        rig.demand(1, 3);
        let leased = rig.expect(0..3).await;
        rig.settle(1, &leased[1], Verdict::Ack).await;
        assert_eq!(rig.attach(2).await, Ok(Attached { returned: 2 }));
        rig.demand(2, 10);
        let again = rig.expect([0, 2, 3, 4]).await;
        assert!(again.iter().all(|leased| leased.attempt == 1));
    });
}

#[test]
fn an_earlier_supervisor_is_told_so_and_changes_nothing() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.push(rig.plain(0..4)).await;
        rig.demand(1, 2);
        let old = rig.expect(0..2).await;
        rig.attach(2).await.unwrap();
        rig.demand(2, 1);
        let new = rig.expect([0]).await;
        assert_eq!(rig.settle(1, &old[0], Verdict::Ack).await, 1);
        assert_eq!(rig.settle(1, &new[0], Verdict::Ack).await, 1);
        rig.demand(1, 10);
        rig.expect_nothing().await;
        assert_eq!(rig.attach(1).await, Err(AttachError::Superseded(Epoch(2))));
        assert_eq!(rig.settle(2, &new[0], Verdict::Ack).await, 0);
        assert_eq!(rig.counts().await.unfinished(), 3);
    });
}

#[test]
fn a_second_attach_in_one_epoch_takes_nothing_back_and_voids_the_credit() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.push(rig.plain([0])).await;
        rig.demand(1, 5);
        let leased = rig.expect([0]).await;
        assert_eq!(rig.attach(1).await, Ok(Attached { returned: 0 }));
        rig.push(rig.plain([1])).await;
        rig.expect_nothing().await;
        assert_eq!(rig.settle(1, &leased[0], Verdict::Ack).await, 0);
        rig.demand(1, 5);
        rig.expect([1]).await;
    });
}

#[test]
fn a_new_actor_over_the_same_core_has_lost_nothing() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(2).await.unwrap();
        rig.push(rig.plain(0..4)).await;
        let late = rig.sealed(9, |job| job.delay(Duration::from_millis(50)));
        rig.push(vec![late]).await;
        rig.demand(2, 3);
        let leased = rig.expect(0..3).await;
        rig.kill().await;
        assert_eq!(rig.attach(1).await, Err(AttachError::Superseded(Epoch(2))));
        assert_eq!(rig.settle(2, &leased[0], Verdict::Ack).await, 0);
        assert_eq!(rig.attach(2).await, Ok(Attached { returned: 0 }));
        let counts = rig.counts().await;
        assert_eq!((counts.ready, counts.delayed, counts.leased), (1, 1, 2));
        rig.demand(2, 10);
        rig.expect([3]).await;
        rig.expect([9]).await;
        assert_eq!(rig.clock.now(), Moment::from_millis(50));
    });
}

#[test]
fn what_happened_while_nobody_was_attached_is_told_at_the_attach() {
    run(async {
        let mut rig = Rig::new(QueueConfig {
            capacity: 1,
            overflow: Overflow::DropNewest,
            ..QueueConfig::default()
        });
        rig.push(rig.plain(0..2)).await;
        rig.kill().await;
        rig.push(rig.plain([2])).await;
        rig.attach(1).await.unwrap();
        assert_eq!(rig.dead.recv().await.unwrap().id(), name(1));
        assert_eq!(rig.dead.recv().await.unwrap().id(), name(2));
        assert!(rig.events.recv().await.is_some());
    });
}

#[test]
fn fates_wait_for_the_next_attach_while_their_recipient_is_gone() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        let (sender, _) = unbounded_channel();
        let gone = Desk {
            batches: sender,
            events: unbounded_channel().0,
            dead: unbounded_channel().0,
        };
        // An address whose actor never lives.
        let context = Context::<Desk>::new();
        let address = context.address();
        drop((context, gone));
        let attach = Attach {
            epoch: Epoch(1),
            ceiling: 64,
            batches: rig.desk.clone().recipient(),
            revoke: address.clone().recipient(),
            tell: address.clone().recipient(),
            dead_lettered: address.recipient(),
        };
        rig.queue.send(attach).await.unwrap().unwrap();
        rig.demand(1, 1);
        rig.push(rig.plain([1])).await;
        let leased = rig.expect([1]).await;
        rig.settle(1, &leased[0], reject()).await;
        rig.attach(1).await.unwrap();
        assert_eq!(rig.dead.recv().await.unwrap().id(), name(1));
    });
}

#[test]
fn any_actor_that_speaks_the_protocol_is_a_queue() {
    run(async {
        let core = Arc::new(QueueCore::new(MemoryStore::<u64>::new(&QueueConfig::default())));
        let source = ActorQueue::new(Capabilities::LEAST, move || {
            StoreQueue::new(Arc::clone(&core), Clock::start())
        });
        assert_eq!(source.capabilities(), Capabilities::LEAST);
        assert!(source.room().is_none());
        let queue = source.create(Clock::start()).start();
        let counts = queue
            .send(Command::<u64>::new(QueueCommand::Counts))
            .await
            .unwrap();
        assert!(matches!(counts, QueueReply::Counts(_)));
    });
}

/// A store of a user's, with an error: it panics after it took the job 13.
struct Fragile(MemoryStore<u64>);

impl Store<u64> for Fragile {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn bound(&self) -> Option<Bound> {
        self.0.bound()
    }
    fn push(&mut self, now: Moment, runs: Vec<Run<u64>>, news: &mut News<u64>) -> Vec<Refused<u64>> {
        let bad = runs.iter().flat_map(Run::handles).any(|job| *job.payload() == 13);
        let refused = self.0.push(now, runs, news);
        assert!(!bad, "13 is too much for me");
        refused
    }
    fn lease(&mut self, now: Moment, most: usize, leased: &mut Vec<Leased<u64>>, news: &mut News<u64>) {
        self.0.lease(now, most, leased, news);
    }
    fn settle(
        &mut self,
        now: Moment,
        lease: LeaseId,
        attempt: u32,
        verdict: &Verdict,
        news: &mut News<u64>,
    ) -> Settled {
        self.0.settle(now, lease, attempt, verdict, news)
    }
    fn take_back(&mut self, now: Moment) -> usize {
        self.0.take_back(now)
    }
    fn next_due(&self) -> Option<Moment> {
        self.0.next_due()
    }
    fn wake(&mut self, now: Moment, news: &mut News<u64>) {
        self.0.wake(now, news);
    }
    fn counts(&self) -> QueueCounts {
        self.0.counts()
    }
    fn dead_letters(&self, most: usize) -> Vec<DeadLetter<u64>> {
        self.0.dead_letters(most)
    }
    fn requeue(&mut self, now: Moment, which: &DeadSelection, news: &mut News<u64>) -> Vec<JobId> {
        self.0.requeue(now, which, news)
    }
    fn purge(&mut self, which: &DeadSelection) -> usize {
        self.0.purge(which)
    }
    fn take_unfinished(&mut self) -> Vec<JobRef<u64>> {
        self.0.take_unfinished()
    }
}

#[test]
fn a_store_that_panics_ends_the_actor_and_not_the_queue() {
    run(async {
        let config = QueueConfig {
            capacity: 5,
            ..QueueConfig::default()
        };
        let mut rig = Rig::over(queue_of(Fragile(MemoryStore::new(&config))));
        let semaphore = rig.source.room().unwrap().semaphore;
        semaphore.try_acquire_many(3).unwrap().forget();
        rig.push(rig.plain([1])).await;
        let (push, _back) = Push::new(rig.plain([12, 13]));
        assert!(rig.queue.send(push).await.is_err());
        rig.kill().await;
        rig.attach(1).await.unwrap();
        assert_eq!(semaphore.available_permits(), 2);
        rig.demand(1, 9);
        for leased in rig.expect([1, 12, 13]).await {
            rig.settle(1, &leased, Verdict::Ack).await;
        }
        assert_eq!(semaphore.available_permits(), 5);
    });
}
