//! The room: permits are always the capacity without what is in the queue and without what is on its way.

use tokio::sync::Semaphore;

use super::super::room::Account;
use super::*;
use crate::rules::store::Bound;

fn small(capacity: usize) -> Rig<MemoryStore<u64>> {
    Rig::new(QueueConfig {
        capacity,
        overflow: Overflow::Reject,
        ..QueueConfig::default()
    })
}

fn semaphore(rig: &Rig<MemoryStore<u64>>) -> Arc<Semaphore> {
    rig.source.room().unwrap().semaphore
}

/// Sends as a producer does: first takes permits, then sends.
async fn send(rig: &Rig<MemoryStore<u64>>, jobs: Vec<JobRef<u64>>) -> Pushed<u64> {
    let wanted = u32::try_from(jobs.len()).unwrap();
    semaphore(rig).try_acquire_many(wanted).unwrap().forget();
    rig.push(jobs).await
}

/// Nothing is on its way, so permits and unfinished jobs make up the capacity.
async fn check(rig: &Rig<MemoryStore<u64>>, unfinished: usize) {
    let room = rig.source.room().unwrap();
    assert_eq!(rig.counts().await.unfinished(), unfinished);
    assert_eq!(room.semaphore.available_permits(), room.capacity - unfinished);
}

#[test]
fn permits_follow_every_push_and_every_verdict() {
    run(async {
        let mut rig = small(8);
        rig.attach(1).await.unwrap();
        send(&rig, rig.plain(0..5)).await;
        check(&rig, 5).await;
        rig.demand(1, 4);
        let leased = rig.expect(0..4).await;
        check(&rig, 5).await;
        rig.settle(1, &leased[0], Verdict::Ack).await;
        check(&rig, 4).await;
        rig.settle(1, &leased[0], Verdict::Ack).await;
        rig.settle(1, &leased[1], retry(0)).await;
        rig.settle(1, &leased[2], Verdict::Extend).await;
        check(&rig, 4).await;
        rig.settle(1, &leased[3], reject()).await;
        check(&rig, 3).await;
        rig.attach(2).await.unwrap();
        check(&rig, 3).await;
    });
}

#[test]
fn jobs_that_are_not_taken_give_their_permits_back() {
    run(async {
        let rig = small(4);
        let twin = |number| rig.sealed(number, |job| job.dedup("twin"));
        let pushed = send(&rig, vec![twin(1), twin(2), twin(3)]).await;
        assert_eq!(pushed.refused.len(), 2);
        check(&rig, 1).await;
        let expired = rig.sealed(4, |job| job.expires_after(Duration::ZERO));
        assert!(send(&rig, vec![expired]).await.refused.is_empty());
        check(&rig, 1).await;
        rig.command(QueueCommand::Close).await;
        check(&rig, 1).await;
        assert_eq!(send(&rig, rig.plain([5, 6])).await.refused.len(), 2);
        check(&rig, 1).await;
    });
}

#[test]
fn jobs_that_expire_give_their_permits_back_at_their_time() {
    run(async {
        let mut rig = small(4);
        rig.attach(1).await.unwrap();
        let job = rig.sealed(1, |job| job.expires_after(Duration::from_millis(10)));
        send(&rig, vec![job]).await;
        check(&rig, 1).await;
        let all = semaphore(&rig);
        let permits = all.acquire_many(4).await.unwrap();
        assert_eq!(rig.clock.now(), Moment::from_millis(10));
        drop(permits);
        assert_eq!(rig.dead.recv().await.unwrap().id(), name(1));
        check(&rig, 0).await;
    });
}

#[test]
fn requeued_jobs_take_permits_and_never_more_than_there_are() {
    run(async {
        let mut rig = small(4);
        rig.attach(1).await.unwrap();
        rig.demand(1, 3);
        send(&rig, rig.plain(0..3)).await;
        for leased in rig.expect(0..3).await {
            rig.settle(1, &leased, reject()).await;
        }
        check(&rig, 0).await;
        let semaphore = semaphore(&rig);
        // Three jobs are on their way.
        semaphore.try_acquire_many(3).unwrap().forget();
        let asked = DeadSelection::Jobs(vec![name(7), name(2), name(1)]);
        assert_eq!(rig.requeue(asked).await, [name(1)]);
        assert_eq!(rig.requeue(DeadSelection::All).await, []);
        assert_eq!(semaphore.available_permits(), 0);
        rig.push(rig.plain(10..13)).await;
        check(&rig, 4).await;
        rig.command(QueueCommand::TakeUnfinished).await;
        check(&rig, 0).await;
        assert_eq!(rig.requeue(DeadSelection::All).await, [name(0), name(2)]);
        check(&rig, 2).await;
        rig.command(QueueCommand::Purge(DeadSelection::All)).await;
        check(&rig, 2).await;
    });
}

#[test]
fn a_job_that_came_without_a_permit_gives_none_back() {
    let bound = Bound::of_jobs(4, Overflow::Wait);
    let mut account = Account::new(Some(bound));
    account.open(0);
    let semaphore = account.room().unwrap().semaphore;
    semaphore.try_acquire().unwrap().forget();
    account.charge(1);
    for held in [2, 1] {
        account.settle(|| held);
        assert_eq!(semaphore.available_permits(), 3);
    }
    account.settle(|| 0);
    assert_eq!(semaphore.available_permits(), 4);
}

#[test]
fn a_store_that_is_overfull_from_the_start_gives_permits_once_it_has_room() {
    let bound = Bound::of_jobs(2, Overflow::Wait);
    let mut account = Account::new(Some(bound));
    account.open(5);
    let semaphore = account.room().unwrap().semaphore;
    for (held, permits) in [(4, 0), (2, 0), (1, 1), (0, 2)] {
        account.settle(|| held);
        assert_eq!(semaphore.available_permits(), permits);
    }
}

#[test]
fn a_queue_that_drops_has_no_room_to_wait_for() {
    run(async {
        for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
            let rig = Rig::new(QueueConfig {
                capacity: 1,
                overflow,
                ..QueueConfig::default()
            });
            assert!(rig.source.room().is_none());
            assert!(rig.push(rig.plain([1, 2])).await.refused.is_empty());
        }
    });
}
