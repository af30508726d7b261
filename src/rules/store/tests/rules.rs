//! Each rule of the memory store by itself.

use super::*;
use crate::rules::store::{Refusal, SettleRefusal};
use crate::types::{DeadReason, DeliveryNumber, EventKind};
use std::time::Duration;

const UNKNOWN: Settled = Settled::Refused(SettleRefusal::Unknown);

/// A store with what it told since it was last asked.
struct Bench {
    store: MemoryStore<u64>,
    news: News<u64>,
    now: Moment,
}

impl Bench {
    fn new(config: QueueConfig) -> Self {
        Self {
            store: MemoryStore::new(&config),
            news: News::default(),
            now: Moment::START,
        }
    }

    fn holding(capacity: usize, overflow: Overflow) -> Self {
        Self::new(QueueConfig {
            capacity,
            overflow,
            ..QueueConfig::default()
        })
    }

    fn push(&mut self, number: u64) -> Vec<Refused<u64>> {
        self.push_with(number, |job| job)
    }

    fn push_with(&mut self, number: u64, wishes: impl FnOnce(Job<u64>) -> Job<u64>) -> Vec<Refused<u64>> {
        let job = sealed(number, self.now, wishes);
        self.store.push(self.now, vec![job.into()], &mut self.news)
    }

    fn lease(&mut self, most: usize) -> Vec<Leased<u64>> {
        let mut leased = Vec::new();
        self.store.lease(self.now, most, &mut leased, &mut self.news);
        leased
    }

    fn lease_numbers(&mut self, most: usize) -> Vec<u64> {
        numbers(&self.lease(most))
    }

    fn settle(&mut self, leased: &Leased<u64>, verdict: &Verdict) -> Settled {
        self.settle_as(leased.lease, leased.attempt, verdict)
    }

    fn settle_as(&mut self, lease: LeaseId, attempt: u32, verdict: &Verdict) -> Settled {
        self.store
            .settle(self.now, lease, attempt, verdict, &mut self.news)
    }

    fn wake_at(&mut self, milliseconds: u64) {
        self.now = at(milliseconds);
        self.store.wake(self.now, &mut self.news);
    }

    fn requeue(&mut self, which: &DeadSelection) -> Vec<JobId> {
        self.store.requeue(self.now, which, &mut self.news)
    }

    fn events(&mut self) -> Vec<EventKind> {
        std::mem::take(&mut self.news.events)
    }

    fn dead(&mut self) -> Vec<(u64, DeadReason)> {
        let dead = std::mem::take(&mut self.news.dead);
        dead.into_iter()
            .map(|letter| (*letter.job.payload(), letter.reason))
            .collect()
    }
}

fn numbers(leased: &[Leased<u64>]) -> Vec<u64> {
    leased.iter().map(|leased| *leased.job().payload()).collect()
}

fn refusals(refused: &[Refused<u64>]) -> Vec<Refusal> {
    refused.iter().map(|refused| refused.refusal).collect()
}

#[test]
fn a_waiting_job_alone_costs_32_bytes_besides_its_block_and_a_full_block_no_more() {
    assert_eq!(size_of::<crate::rules::store::entry::Entry<u64>>(), 32);
}

#[test]
fn the_most_urgent_job_is_leased_first_and_then_the_oldest() {
    let mut bench = Bench::new(QueueConfig::default());
    for (number, priority) in [(1, 0), (2, 5), (3, 0), (4, 9), (5, 5)] {
        bench.push_with(number, |job| job.priority(priority));
    }
    assert_eq!(bench.lease_numbers(4), [4, 2, 5, 1]);
    assert_eq!(bench.lease_numbers(4), [3]);
}

#[test]
fn attempts_are_counted_when_leased_and_a_retry_takes_its_old_place() {
    let mut bench = Bench::new(QueueConfig::default());
    for number in 1..=4 {
        bench.push(number);
    }
    let leased = bench.lease(3);
    bench.settle(&leased[1], &retry(0, true, 1));
    bench.settle(&leased[0], &retry(0, false, 1));
    let again = bench.lease(3);
    assert_eq!(numbers(&again), [1, 2, 4]);
    let attempts: Vec<u32> = again.iter().map(|leased| leased.attempt).collect();
    assert_eq!(attempts, [1, 2, 1]);
}

#[test]
fn a_renewed_lease_goes_on_and_its_earlier_attempt_is_stale() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push(1);
    let leased = bench.lease(1).remove(0);
    assert_eq!(bench.settle(&leased, &renew(true, 1)), Settled::Applied);
    assert_eq!(
        bench.settle(&leased, &Verdict::Ack),
        Settled::Refused(SettleRefusal::Stale)
    );
    assert_eq!(
        bench.settle_as(leased.lease, 2, &renew(false, 2)),
        Settled::Applied
    );
    assert_eq!(
        bench.settle_as(leased.lease, 2, &Verdict::Extend),
        Settled::Applied
    );
    assert_eq!(bench.settle_as(leased.lease, 2, &Verdict::Ack), Settled::Applied);
    assert_eq!(bench.store.counts().unfinished(), 0);
}

#[test]
fn a_lease_that_ended_is_unknown_for_ever_even_when_its_place_is_used_again() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push(1);
    let first = bench.lease(1).remove(0);
    bench.settle(&first, &retry(0, false, 1));
    let second = bench.lease(1).remove(0);
    assert_eq!(second.attempt, first.attempt);
    for verdict in [Verdict::Ack, Verdict::Extend, retry(0, true, 1), reject(1)] {
        assert_eq!(bench.settle(&first, &verdict), UNKNOWN);
    }
    assert_eq!(bench.settle(&second, &Verdict::Ack), Settled::Applied);
    assert_eq!(bench.settle_as(LeaseId(u64::MAX), 1, &Verdict::Ack), UNKNOWN);
}

#[test]
fn a_rejected_job_becomes_a_dead_letter_with_its_history() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push(1);
    for attempt in 1..=2 {
        let leased = bench.lease(1).remove(0);
        bench.settle(&leased, &retry(0, true, attempt));
    }
    let leased = bench.lease(1).remove(0);
    bench.settle(&leased, &reject(3));
    let reason = DeadReason::Rejected("no".into());
    assert_eq!(bench.dead(), [(1, reason.clone())]);
    assert_eq!(bench.events(), [EventKind::DeadLettered { job: name(1), reason }]);
    let letters = bench.store.dead_letters(10);
    let history: Vec<u32> = letters[0].history.iter().map(|record| record.attempt).collect();
    assert_eq!(history, [1, 2, 3]);
}

#[test]
fn a_history_keeps_the_first_attempt_and_the_latest_ones() {
    let mut bench = Bench::new(QueueConfig {
        history: 3,
        ..QueueConfig::default()
    });
    bench.push(1);
    let leased = bench.lease(1).remove(0);
    for attempt in 1..=5 {
        bench.settle_as(leased.lease, attempt, &renew(true, attempt));
    }
    bench.settle_as(leased.lease, 6, &reject(6));
    let letters = bench.store.dead_letters(1);
    let history: Vec<u32> = letters[0].history.iter().map(|record| record.attempt).collect();
    assert_eq!(history, [1, 5, 6]);
}

#[test]
fn a_delayed_job_is_leased_at_its_time_and_at_its_old_place() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push_with(1, |job| job.delay(Duration::from_millis(10)));
    bench.push(2);
    assert_eq!(bench.store.next_due(), Some(at(10)));
    assert_eq!(bench.store.counts().delayed, 1);
    bench.now = at(9);
    assert_eq!(bench.lease_numbers(0), Vec::<u64>::new());
    bench.wake_at(10);
    assert_eq!(bench.store.next_due(), None);
    assert_eq!(bench.lease_numbers(2), [1, 2]);
}

#[test]
fn a_retry_with_a_delay_waits_on_the_shelf() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push(1);
    bench.push(2);
    let leased = bench.lease(1).remove(0);
    bench.settle(&leased, &retry(5, true, 1));
    assert_eq!(bench.store.next_due(), Some(at(5)));
    assert_eq!(bench.store.counts().delayed, 1);
    bench.now = at(5);
    let again = bench.lease(2);
    assert_eq!(numbers(&again), [1, 2]);
    assert_eq!(again[0].attempt, 2);
}

#[test]
fn an_expired_job_becomes_a_dead_letter_at_its_moment_and_is_never_leased() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push_with(1, |job| job.expires_after(Duration::from_millis(10)));
    bench.push_with(2, |job| {
        job.expires_after(Duration::from_millis(10))
            .delay(Duration::from_millis(5))
    });
    bench.push_with(3, |job| {
        job.expires_after(Duration::from_millis(10))
            .delay(Duration::from_millis(50))
    });
    bench.push(4);
    assert_eq!(bench.store.next_due(), Some(at(5)));
    bench.now = at(10);
    assert_eq!(bench.lease_numbers(9), [4]);
    assert_eq!(
        bench.dead(),
        [
            (1, DeadReason::Expired),
            (2, DeadReason::Expired),
            (3, DeadReason::Expired)
        ]
    );
    assert_eq!(bench.store.next_due(), None);
}

#[test]
fn a_job_that_has_expired_before_it_comes_takes_no_room() {
    let mut bench = Bench::holding(1, Overflow::Reject);
    bench.push(1);
    let late = sealed(2, at(0), |job| job.expires_after(Duration::from_millis(1)));
    bench.now = at(5);
    let refused = bench.store.push(bench.now, vec![late.into()], &mut bench.news);
    assert!(refused.is_empty());
    assert_eq!(bench.dead(), [(2, DeadReason::Expired)]);
}

#[test]
fn a_job_that_is_taken_back_expires_unless_it_has_begun() {
    for has_begun in [false, true] {
        let mut bench = Bench::new(QueueConfig::default());
        bench.push_with(1, |job| job.expires_after(Duration::from_millis(10)));
        let leased = bench.lease(1).remove(0);
        if has_begun {
            assert!(leased.job().view().begin(DeliveryNumber(1)));
        }
        assert_eq!(bench.store.take_back(bench.now), 1);
        bench.wake_at(20);
        let expected: &[_] = if has_begun {
            &[]
        } else {
            &[(1, DeadReason::Expired)]
        };
        assert_eq!(bench.dead(), expected);
    }
}

#[test]
fn a_job_that_expired_and_is_sent_back_does_not_expire_again() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push_with(1, |job| job.expires_after(Duration::from_millis(10)));
    bench.wake_at(20);
    assert_eq!(bench.requeue(&DeadSelection::All), [name(1)]);
    let again = bench.lease(1).remove(0);
    assert_eq!(again.job().expires_at(), None);
}

#[test]
fn a_job_that_was_leased_does_not_expire_any_more() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push_with(1, |job| job.expires_after(Duration::from_millis(10)));
    let leased = bench.lease(1).remove(0);
    bench.settle(&leased, &retry(0, false, 1));
    assert_eq!(bench.store.next_due(), None);
    bench.wake_at(20);
    assert_eq!(bench.lease_numbers(1), [1]);
}

#[test]
fn a_duplicate_is_refused_within_the_window_and_accepted_after_it() {
    let mut bench = Bench::new(QueueConfig {
        dedup_window: Duration::from_millis(10),
        ..QueueConfig::default()
    });
    assert!(bench.push_with(1, |job| job.dedup("a")).is_empty());
    bench.now = at(9);
    let refused = bench.push_with(2, |job| job.dedup("a"));
    assert_eq!(refusals(&refused), [Refusal::Duplicate { of: name(1) }]);
    assert_eq!(
        bench.events(),
        [EventKind::Duplicate {
            job: name(2),
            of: name(1)
        }]
    );
    assert!(bench.push_with(3, |job| job.dedup("b")).is_empty());
    bench.now = at(10);
    assert!(bench.push_with(4, |job| job.dedup("a")).is_empty());
}

#[test]
fn past_their_number_the_oldest_deduplication_key_is_forgotten() {
    let mut bench = Bench::new(QueueConfig {
        dedup_keys: 2,
        ..QueueConfig::default()
    });
    for key in 1..=3 {
        assert!(bench.push_with(key, |job| job.dedup(key)).is_empty());
    }
    assert!(bench.push_with(4, |job| job.dedup(1)).is_empty());
    assert_eq!(bench.push_with(5, |job| job.dedup(3)).len(), 1);
}

#[test]
fn a_job_that_was_refused_for_lack_of_room_leaves_no_deduplication_key() {
    let mut bench = Bench::holding(1, Overflow::Wait);
    bench.push(1);
    assert_eq!(refusals(&bench.push_with(2, |job| job.dedup(7))), [Refusal::Full]);
    let leased = bench.lease(1).remove(0);
    bench.settle(&leased, &Verdict::Ack);
    assert!(bench.push_with(2, |job| job.dedup(7)).is_empty());
}

#[test]
fn ready_delayed_and_leased_jobs_fill_the_capacity() {
    for overflow in [Overflow::Wait, Overflow::Reject] {
        let mut bench = Bench::holding(3, overflow);
        bench.push(1);
        let leased = bench.lease(1).remove(0);
        bench.push(2);
        bench.push_with(3, |job| job.delay(Duration::from_millis(5)));
        let refused = bench.push(4);
        assert_eq!(refusals(&refused), [Refusal::Full]);
        assert_eq!(*refused[0].job.payload(), 4);
        bench.settle(&leased, &Verdict::Ack);
        assert!(bench.push(4).is_empty());
    }
}

#[test]
fn drop_oldest_drops_the_oldest_ready_job_of_the_least_urgent_priority() {
    let mut bench = Bench::holding(3, Overflow::DropOldest);
    bench.push_with(1, |job| job.priority(9));
    bench.push_with(2, |job| job.priority(1));
    bench.push_with(3, |job| job.priority(1).expires_after(Duration::from_millis(10)));
    assert!(bench.push_with(4, |job| job.priority(9)).is_empty());
    assert!(bench.push_with(5, |job| job.priority(1)).is_empty());
    let dropped = DeadReason::DroppedByOverflow;
    assert_eq!(bench.dead(), [(2, dropped.clone()), (3, dropped)]);
    assert_eq!(bench.store.next_due(), None);
    assert_eq!(bench.lease_numbers(9), [1, 4, 5]);
}

#[test]
fn drop_oldest_drops_the_new_job_if_nothing_else_may_go() {
    let mut bench = Bench::holding(1, Overflow::DropOldest);
    bench.push_with(1, |job| job.priority(5));
    assert!(bench.push_with(2, |job| job.priority(4)).is_empty());
    bench.lease(1);
    assert!(bench.push_with(3, |job| job.priority(9)).is_empty());
    let dropped = DeadReason::DroppedByOverflow;
    assert_eq!(bench.dead(), [(2, dropped.clone()), (3, dropped)]);
}

#[test]
fn drop_newest_drops_the_new_job() {
    let mut bench = Bench::holding(1, Overflow::DropNewest);
    bench.push(1);
    assert!(bench.push(2).is_empty());
    assert_eq!(bench.dead(), [(2, DeadReason::DroppedByOverflow)]);
    assert_eq!(bench.lease_numbers(9), [1]);
}

#[test]
fn past_their_bound_the_oldest_dead_letter_goes_and_is_told() {
    let mut bench = Bench::new(QueueConfig {
        dead_letters: 1,
        capacity: 1,
        overflow: Overflow::DropNewest,
        ..QueueConfig::default()
    });
    for number in 1..=3 {
        bench.push(number);
    }
    assert_eq!(bench.dead().len(), 2);
    assert!(
        bench
            .events()
            .contains(&EventKind::DeadLetterDropped { job: name(2) })
    );
    assert_eq!(bench.store.counts().dead, 1);
    assert_eq!(bench.store.dead_letters(9)[0].id(), name(3));
}

#[test]
fn a_requeued_job_goes_to_the_end_with_fresh_attempts_and_its_history() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push_with(1, |job| job.expires_after(Duration::from_millis(10)));
    let leased = bench.lease(1).remove(0);
    bench.settle(&leased, &retry(0, true, 1));
    let leased = bench.lease(1).remove(0);
    bench.settle(&leased, &reject(2));
    bench.push(2);
    bench.events();
    bench.now = at(20);
    assert_eq!(bench.requeue(&DeadSelection::All), [name(1)]);
    assert_eq!(bench.events(), [EventKind::Requeued { job: name(1) }]);
    let again = bench.lease(9);
    assert_eq!(numbers(&again), [2, 1]);
    assert_eq!(again[1].attempt, 1);
    bench.settle(&again[1], &reject(1));
    assert_eq!(bench.store.dead_letters(1)[0].history.len(), 3);
}

#[test]
fn a_requeue_stops_where_the_room_ends() {
    let mut bench = Bench::holding(3, Overflow::Reject);
    for number in 1..=3 {
        bench.push(number);
    }
    for leased in bench.lease(3) {
        bench.settle(&leased, &reject(1));
    }
    bench.push(4);
    assert_eq!(bench.requeue(&DeadSelection::Jobs(vec![name(3)])), [name(3)]);
    assert_eq!(bench.requeue(&DeadSelection::All), [name(1)]);
    assert_eq!(bench.store.counts().dead, 1);
    assert_eq!(bench.store.counts().unfinished(), 3);
}

#[test]
fn purged_dead_letters_are_forgotten() {
    let mut bench = Bench::new(QueueConfig::default());
    for number in 1..=3 {
        bench.push(number);
    }
    for leased in bench.lease(3) {
        bench.settle(&leased, &reject(1));
    }
    assert_eq!(bench.store.purge(&DeadSelection::Jobs(vec![name(2), name(9)])), 1);
    let left: Vec<JobId> = bench
        .store
        .dead_letters(9)
        .iter()
        .map(|letter| letter.id())
        .collect();
    assert_eq!(left, [name(1), name(3)]);
    assert_eq!(bench.store.purge(&DeadSelection::All), 2);
}

#[test]
fn taking_back_returns_every_lease_to_its_old_place_and_counts_no_attempt() {
    let mut bench = Bench::new(QueueConfig::default());
    for number in 1..=5 {
        bench.push_with(number, |job| job.priority(if number == 5 { 1 } else { 0 }));
    }
    let leased = bench.lease(4);
    bench.settle(&leased[1], &Verdict::Ack);
    bench.settle(&leased[2], &renew(true, 1));
    assert_eq!(bench.store.take_back(bench.now), 3);
    assert_eq!(bench.settle(&leased[0], &Verdict::Ack), UNKNOWN);
    let again = bench.lease(9);
    assert_eq!(numbers(&again), [5, 2, 3, 4]);
    let attempts: Vec<u32> = again.iter().map(|leased| leased.attempt).collect();
    assert_eq!(attempts, [1, 2, 1, 1]);
}

#[test]
fn unfinished_jobs_are_handed_out_oldest_first() {
    let mut bench = Bench::new(QueueConfig::default());
    bench.push_with(1, |job| job.delay(Duration::from_millis(5)));
    bench.push(2);
    bench.push_with(3, |job| job.priority(7).expires_after(Duration::from_millis(9)));
    bench.push(4);
    let leased = bench.lease(2);
    assert_eq!(numbers(&leased), [3, 2]);
    let taken: Vec<u64> = bench
        .store
        .take_unfinished()
        .iter()
        .map(|job| *job.payload())
        .collect();
    assert_eq!(taken, [1, 2, 3, 4]);
    assert_eq!(bench.store.counts().unfinished(), 0);
    assert_eq!(bench.store.next_due(), None);
    assert_eq!(bench.settle(&leased[0], &Verdict::Ack), UNKNOWN);
}

#[test]
fn an_empty_store_keeps_no_memory_of_a_large_one() {
    let mut bench = Bench::new(QueueConfig::default());
    let jobs = (0..500_000)
        .map(|number| sealed(number, at(0), |job| job).into())
        .collect();
    bench.store.push(at(0), jobs, &mut bench.news);
    assert!(bench.store.reserved() >= 500_000);
    while let leased = bench.lease(10_000)
        && !leased.is_empty()
    {
        for leased in &leased {
            bench.settle(leased, &Verdict::Ack);
        }
    }
    assert!(bench.store.reserved() <= 65_536, "{}", bench.store.reserved());
}
