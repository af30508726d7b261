//! How jobs flow: credit, batches, time.

use super::*;

#[test]
fn no_more_jobs_are_handed_on_than_there_is_credit_for() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.push(rig.plain(0..10)).await;
        rig.expect_nothing().await;
        rig.demand(1, 3);
        rig.expect(0..3).await;
        rig.expect_nothing().await;
        rig.demand(1, 2);
        rig.demand(1, 2);
        rig.expect(3..5).await;
        rig.expect(5..7).await;
        rig.expect_nothing().await;
    });
}

#[test]
fn credit_that_is_left_waits_for_the_next_jobs() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.demand(1, 3);
        rig.push(rig.plain(0..2)).await;
        rig.expect(0..2).await;
        rig.push(rig.plain(2..4)).await;
        rig.expect([2]).await;
        rig.expect_nothing().await;
    });
}

#[test]
fn all_pushes_of_one_poll_make_one_batch() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.demand(1, 1_000);
        for number in 0..200 {
            let (push, _back) = Push::new(rig.plain([number]));
            rig.queue.do_send(push);
        }
        rig.expect(0..200).await;
    });
}

#[test]
fn a_poll_that_does_not_end_holds_up_no_more_than_a_batch() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.demand(1, 1_000);
        for number in 0..300 {
            let (push, _back) = Push::new(rig.plain([number]));
            rig.queue.do_send(push);
        }
        rig.expect(0..256).await;
        rig.expect(256..300).await;
    });
}

#[test]
fn an_idle_queue_hands_a_single_job_on_at_once_and_sets_no_timer() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.demand(1, 10);
        rig.push(rig.plain([1])).await;
        rig.expect([1]).await;
        assert_eq!(rig.clock.now(), Moment::START);
        assert_eq!(rig.timer().await, None);
    });
}

#[test]
fn a_delayed_job_comes_exactly_at_its_time() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.demand(1, 10);
        let late = rig.sealed(1, |job| job.delay(Duration::from_secs(7_200)));
        let soon = rig.sealed(2, |job| job.delay(Duration::from_millis(20)));
        rig.push(vec![late]).await;
        rig.push(vec![soon]).await;
        rig.expect([2]).await;
        assert_eq!(rig.clock.now(), Moment::from_millis(20));
        rig.expect([1]).await;
        assert_eq!(rig.clock.now(), Moment::from_millis(7_200_000));
        assert_eq!(rig.timer().await, None);
    });
}

#[test]
fn a_retried_job_comes_back_at_once_or_exactly_after_its_delay() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.demand(1, 10);
        rig.push(rig.plain([1])).await;
        let leased = rig.expect([1]).await;
        assert_eq!(rig.settle(1, &leased[0], retry(0)).await, 0);
        let again = rig.expect([1]).await;
        assert_eq!(again[0].attempt, 2);
        assert_eq!(rig.settle(1, &again[0], retry(30)).await, 0);
        let again = rig.expect([1]).await;
        assert_eq!(rig.clock.now(), Moment::from_millis(30));
        assert_eq!(again[0].attempt, 3);
    });
}

#[test]
fn an_expired_job_is_told_exactly_at_its_time() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        let job = rig.sealed(1, |job| job.expires_after(Duration::from_millis(15)));
        rig.push(vec![job]).await;
        let letter = rig.dead.recv().await.unwrap();
        assert_eq!(rig.clock.now(), Moment::from_millis(15));
        assert_eq!((letter.id(), letter.reason), (name(1), DeadReason::Expired));
        let reason = DeadReason::Expired;
        let job = name(1);
        assert_eq!(
            rig.events.recv().await,
            Some(EventKind::DeadLettered { job, reason })
        );
    });
}

#[test]
fn a_timer_ends_when_what_it_waits_for_is_gone() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        let job = rig.sealed(1, |job| job.expires_after(Duration::from_millis(15)));
        rig.push(vec![job]).await;
        assert_eq!(rig.timer().await, Some(Moment::from_millis(15)));
        rig.demand(1, 1);
        rig.expect([1]).await;
        assert_eq!(rig.timer().await, None);
    });
}

#[test]
fn a_closed_queue_refuses_jobs_and_hands_out_those_that_it_has() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.push(rig.plain([1, 2])).await;
        assert!(matches!(rig.command(QueueCommand::Close).await, QueueReply::Done));
        let pushed = rig.push(rig.plain([3])).await;
        assert_eq!(pushed.refused.len(), 1);
        assert_eq!(pushed.refused[0].refusal, Refusal::Closed);
        rig.demand(1, 1);
        rig.expect([1]).await;
        match rig.command(QueueCommand::TakeUnfinished).await {
            QueueReply::Unfinished(jobs) => {
                let jobs: Vec<u64> = jobs.iter().map(|job| *job.payload()).collect();
                assert_eq!(jobs, [1, 2]);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_requeued_dead_letter_is_handed_on_without_another_demand() {
    run(async {
        let mut rig = Rig::new(QueueConfig::default());
        rig.attach(1).await.unwrap();
        rig.demand(1, 10);
        rig.push(rig.plain([1, 2])).await;
        let leased = rig.expect([1, 2]).await;
        rig.settle(1, &leased[0], reject()).await;
        match rig.command(QueueCommand::DeadLetters { most: 9 }).await {
            QueueReply::DeadLetters(letters) => assert_eq!(letters.len(), 1),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.requeue(DeadSelection::All).await, [name(1)]);
        rig.expect([1]).await;
        rig.settle(1, &leased[1], reject()).await;
        let purged = rig.command(QueueCommand::Purge(DeadSelection::All)).await;
        assert!(matches!(purged, QueueReply::Purged(1)));
    });
}
