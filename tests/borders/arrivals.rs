//! Jobs that come from outside of the process: what their consumer sees of them, and by what they are known.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_group::events::{Moment, QueueCounts};
use consumer_group::queue::{
    Arrival, Bound, Capabilities, DeadSelection, HeaderValue, Headers, JobRef, Lane, LeaseId, Leased, News,
    Origin, Refused, Run, Settled, Store, UnreadableJob, Verdict, queue_of,
};
use consumer_group::{
    DeadLetter, DeadReason, Delivery, EventKind, Failure, FencingToken, Group, GroupBuilder, Job, JobId, Key,
    Placement, StartError,
};
use tokio::sync::mpsc;

/// A queue of a broker: hands runs of arrivals out, and hears what became of them.
pub(crate) struct Broker {
    arriving: Vec<Run<u64>>,
    /// The jobs of runs of one, by lease: they come again when the supervisor ends.
    alone: BTreeMap<u64, JobRef<u64>>,
    /// Messages that its codec cannot read.
    unreadable: Vec<UnreadableJob>,
    next: u64,
    pub(crate) capabilities: Capabilities,
    /// What its leases say of the attempt.
    attempt: u32,
    /// Whether its leases are of jobs that were leased when a process ended.
    suspects: bool,
    settled: mpsc::UnboundedSender<(u64, Verdict)>,
}

impl Broker {
    pub(crate) fn new(
        arrivals: impl IntoIterator<Item = (Arrival, Job<u64>)>,
    ) -> (Self, mpsc::UnboundedReceiver<(u64, Verdict)>) {
        let (settled, hears) = mpsc::unbounded_channel();
        let mut arriving = Run::of_arrivals(arrivals, Moment::START);
        arriving.reverse();
        let broker = Self {
            arriving,
            alone: BTreeMap::new(),
            unreadable: Vec::new(),
            next: 0,
            capabilities: Capabilities::LEAST,
            attempt: 1,
            suspects: false,
            settled,
        };
        (broker, hears)
    }
}

impl Store<u64> for Broker {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn bound(&self) -> Option<Bound> {
        None
    }

    fn push(&mut self, _: Moment, _: Vec<Run<u64>>, _: &mut News<u64>) -> Vec<Refused<u64>> {
        Vec::new()
    }

    fn lease(&mut self, _: Moment, most: usize, leased: &mut Vec<Leased<u64>>, news: &mut News<u64>) {
        self.unreadable
            .drain(..)
            .for_each(|job| news.give_up_unreadable(job));
        let mut left = most;
        while let Some(run) = self.arriving.pop_if(|run| run.len() <= left) {
            left -= run.len();
            if run.len() == 1 {
                self.alone.extend(run.handles().map(|job| (self.next << 6, job)));
            }
            let mut lease = Leased::new(LeaseId(self.next << 6), self.attempt, run);
            lease.suspect = self.suspects;
            leased.push(lease);
            self.next += 1;
        }
    }

    fn settle(&mut self, _: Moment, lease: LeaseId, _: u32, verdict: &Verdict, _: &mut News<u64>) -> Settled {
        if matches!(verdict, Verdict::Ack | Verdict::Reject(_)) {
            self.alone.remove(&lease.0);
        }
        // An error means that the test hears no more.
        let _ = self.settled.send((lease.0, verdict.clone()));
        Settled::Applied
    }

    fn counts(&self) -> QueueCounts {
        QueueCounts::default()
    }

    fn take_unfinished(&mut self) -> Vec<JobRef<u64>> {
        Vec::new()
    }

    fn take_back(&mut self, _: Moment) -> usize {
        let back = std::mem::take(&mut self.alone);
        let count = back.len();
        self.arriving.extend(back.into_values().rev().map(Run::from));
        count
    }

    fn next_due(&self) -> Option<Moment> {
        None
    }

    fn wake(&mut self, _: Moment, _: &mut News<u64>) {}

    fn dead_letters(&self, _: usize) -> Vec<DeadLetter<u64>> {
        Vec::new()
    }

    fn requeue(&mut self, _: Moment, _: &DeadSelection, _: &mut News<u64>) -> Vec<JobId> {
        Vec::new()
    }

    fn purge(&mut self, _: &DeadSelection) -> usize {
        0
    }
}

pub(crate) fn arrival(position: u64) -> Arrival {
    let lane = Lane::new("orders", 3);
    let mut origin = Origin::new(lane.clone(), position);
    origin.fence = 7;
    origin.redelivered = position == 1;
    origin.time = Some(Moment::from_millis(position));
    origin.headers = Headers::from_iter([("number", position as i64)]);
    Arrival {
        id: JobId::of_place(&lane, position),
        origin,
    }
}

/// What a consumer sees of a delivery.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    id: JobId,
    job: u64,
    key: Option<Key>,
    origin: Option<Origin>,
    lane: Option<Lane>,
    number: Option<i64>,
    token: FencingToken,
}

impl Seen {
    fn of(delivery: &Delivery<'_, u64>) -> Self {
        Self {
            id: delivery.id(),
            job: *delivery.job(),
            key: delivery.key().cloned(),
            origin: delivery.origin().cloned(),
            lane: delivery.lane().cloned(),
            number: delivery.headers().get("number").and_then(HeaderValue::as_number),
            token: delivery.token(),
        }
    }
}

/// A group that notes what its one consumer sees.
fn noting() -> (GroupBuilder<u64, ()>, Arc<Mutex<Vec<Seen>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let builder = Group::builder().placement(Placement::Local).consume_with(
        1,
        async move |delivery: &Delivery<u64>| {
            noted.lock().unwrap().push(Seen::of(delivery));
            Ok(())
        },
    );
    (builder, seen)
}

#[actix::test]
async fn a_consumer_sees_the_name_lane_origin_headers_and_the_brokers_fence_of_a_job_that_came_in_a_run() {
    let jobs = (0..100).map(|position| (arrival(position), Job::new(position).key(position)));
    let (broker, mut settled) = Broker::new(jobs);
    let (builder, seen) = noting();
    let mut group = builder.queue(queue_of(broker));
    group = group.configure(|config| config.window.min = 100);
    let _group = group.start().unwrap();
    for _ in 0..100 {
        assert_eq!(settled.recv().await.unwrap().1, Verdict::Ack);
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 100);
    for (position, seen) in (0..).zip(&seen) {
        let Arrival { id, origin } = arrival(position);
        assert_eq!(
            (seen.id, seen.job, seen.number),
            (id, position, Some(position as i64))
        );
        assert_eq!((seen.token.fence, &seen.key), (7, &Some(position.into())));
        assert_eq!(seen.lane, Some(origin.lane.clone()));
        assert_eq!(seen.origin, Some(origin));
    }
    assert!(seen.is_sorted_by_key(|seen| seen.token));
}

#[actix::test]
async fn a_job_that_was_sent_here_has_no_origin_and_no_headers() {
    let (builder, seen) = noting();
    let group = builder.start().unwrap();
    group.producer().call(5).await.unwrap();
    let seen = seen.lock().unwrap().remove(0);
    assert_eq!(
        (seen.job, seen.origin, seen.lane, seen.number),
        (5, None, None, None)
    );
    assert_eq!(seen.token.fence, 0);
}

#[actix::test]
async fn an_arrival_that_fails_keeps_its_name_and_its_origin_in_its_next_attempt() {
    let (broker, mut settled) = Broker::new((0..3).map(|position| (arrival(position), Job::new(position))));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let _group = Group::builder()
        .placement(Placement::Local)
        .queue(queue_of(broker))
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            noted.lock().unwrap().push(Seen::of(delivery));
            match (delivery.job(), delivery.attempt()) {
                (1, 1) => Err(Failure::retry_after(Duration::ZERO, "once")),
                _ => Ok(()),
            }
        })
        .start()
        .unwrap();
    let mut acked = 0;
    while acked < 3 {
        acked += usize::from(settled.recv().await.unwrap().1 == Verdict::Ack);
    }
    let seen = seen.lock().unwrap().clone();
    let of_one: Vec<_> = seen.iter().filter(|seen| seen.job == 1).collect();
    let [first, second] = of_one[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (first.id, &first.origin),
        (arrival(1).id, &Some(arrival(1).origin))
    );
    assert_eq!((first.id, &first.origin), (second.id, &second.origin));
    assert!(first.token < second.token);
}

/// A group over a broker with these capabilities whose consumer fails each job once, which then waits for as many seconds as
/// the job says. What the broker hears of the first attempts.
async fn first_verdicts(capabilities: Capabilities, seconds: impl IntoIterator<Item = u64>) -> Vec<Verdict> {
    let seconds: Vec<u64> = seconds.into_iter().collect();
    let jobs = seconds
        .iter()
        .map(|seconds| (arrival(*seconds), Job::new(*seconds)));
    let (mut broker, mut settled) = Broker::new(jobs);
    broker.capabilities = capabilities;
    let _group = Group::builder()
        .placement(Placement::Local)
        .queue(queue_of(broker))
        .consume_with(1, async |delivery: &Delivery<u64>| -> Result<(), Failure> {
            Err(Failure::retry_after(
                Duration::from_secs(*delivery.job()),
                "not yet",
            ))
        })
        .start()
        .unwrap();
    let mut verdicts = Vec::new();
    for _ in &seconds {
        verdicts.push(settled.recv().await.unwrap().1);
    }
    verdicts
}

#[actix::test]
async fn a_retry_goes_back_to_the_queue_if_its_delay_is_not_longer_than_the_queue_can_and_else_keeps_its_lease()
 {
    let minute = Capabilities {
        delay: Some(Duration::from_secs(60)),
        attempts: true,
        dead_letter: true,
        ..Capabilities::LEAST
    };
    let verdicts = first_verdicts(minute, [30, 60, 61]).await;
    assert!(matches!(
        verdicts[..],
        [Verdict::Retry(_), Verdict::Retry(_), Verdict::Renew(_)]
    ));
    // It would forget how often a job was tried, or what happened to it.
    for forgets in [
        Capabilities {
            attempts: false,
            ..minute
        },
        Capabilities {
            dead_letter: false,
            ..minute
        },
        Capabilities {
            delay: None,
            ..minute
        },
    ] {
        let verdicts = first_verdicts(forgets, [30]).await;
        assert!(matches!(verdicts[..], [Verdict::Renew(_)]), "{verdicts:?}");
    }
}

#[actix::test]
async fn an_attempt_count_that_a_queue_does_not_claim_is_not_believed() {
    let (mut broker, mut settled) = Broker::new([(arrival(0), Job::new(0))]);
    broker.attempt = 99;
    let (builder, seen) = noting();
    let _group = builder.queue(queue_of(broker)).start().unwrap();
    assert_eq!(settled.recv().await.unwrap().1, Verdict::Ack);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[actix::test]
async fn a_queue_whose_leases_end_hears_which_ones_are_held() {
    let (mut broker, mut settled) = Broker::new([(arrival(0), Job::new(0))]);
    broker.capabilities.lease_lasts = Some(Duration::from_millis(90));
    let _group = Group::builder()
        .placement(Placement::Local)
        .queue(queue_of(broker))
        .consume_with(1, async |_: &Delivery<u64>| -> Result<(), Failure> {
            std::future::pending().await
        })
        .start()
        .unwrap();
    for _ in 0..3 {
        assert_eq!(settled.recv().await.unwrap(), (0, Verdict::Extend));
    }
}

#[actix::test]
async fn a_group_that_keeps_order_by_key_does_not_start_over_a_queue_that_cannot() {
    let ordered = Capabilities {
        order_by_key: true,
        ..Capabilities::LEAST
    };
    let start = |capabilities| {
        let (mut broker, _) = Broker::new([]);
        broker.capabilities = capabilities;
        noting().0.queue(queue_of(broker)).order_by_key().start()
    };
    let shared = Capabilities {
        competing: true,
        ..ordered
    };
    for (capabilities, says) in [
        (Capabilities::LEAST, "in their order"),
        (shared, "others lease from it"),
    ] {
        let error = start(capabilities).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(matches!(error, StartError::OrderNotKept { .. }));
    }
    assert!(start(ordered).is_ok());
}

/// A message that no codec can read.
fn unreadable(position: u64) -> UnreadableJob {
    let Arrival { id, origin } = arrival(position);
    let mut job = UnreadableJob::new(id, "no such variant", *b"{}");
    job.origin = Some(origin);
    job
}

#[actix::test]
async fn a_job_that_cannot_be_read_is_a_dead_letter_with_its_bytes_its_headers_and_the_reason() {
    for dead_letter in [false, true] {
        let (mut broker, mut settled) = Broker::new([(arrival(9), Job::new(9))]);
        broker.capabilities.dead_letter = dead_letter;
        broker.unreadable = (0..5).map(unreadable).collect();
        let (builder, _) = noting();
        let builder = builder.configure(|config| config.queue.dead_letters = 3);
        let group = builder.queue(queue_of(broker)).start().unwrap();
        let mut events = group.events();
        let mut told = 0;
        while told < 5 {
            told += usize::from(matches!(
                events.next().await.unwrap().kind,
                EventKind::DeadLettered { reason: DeadReason::Unreadable(why), .. } if &*why == "no such variant"
            ));
        }
        assert_eq!(settled.recv().await.unwrap().1, Verdict::Ack);
        // A queue with dead letters keeps them itself. Of the group's own the oldest had to go.
        let letters = group.dead_letters();
        let wanted: Vec<_> = (2..5).map(unreadable).filter(|_| !dead_letter).collect();
        assert_eq!(letters.unreadable(9), wanted);
        assert_eq!(letters.requeue_all().await.unwrap(), []);
        let purged = letters.purge([arrival(3).id]).await.unwrap();
        assert_eq!(
            (purged, letters.unreadable(9).len()),
            if dead_letter { (0, 0) } else { (1, 2) }
        );
    }
}

#[actix::test]
async fn suspects_of_a_broker_begin_one_at_a_time_each_when_the_broker_has_heard_of_it() {
    // A broker that counts deliveries says of each that it came for the fourth time: it was only near.
    let (mut broker, mut settled) =
        Broker::new((0..100).map(|position| (arrival(position), Job::new(position))));
    (broker.attempt, broker.suspects) = (4, true);
    let (builder, seen) = noting();
    let group = builder.configure(|config| (config.consumers, config.window.min) = (4, 100));
    let group = group.queue(queue_of(broker)).start().unwrap();
    let (mut begun, mut acked) = (Vec::new(), Vec::new());
    while acked.len() < 100 {
        match settled.recv().await.unwrap() {
            (lease, Verdict::Begin(_)) => begun.push(lease),
            (lease, verdict) => {
                assert_eq!(verdict, Verdict::Ack);
                assert_eq!(begun.last(), Some(&lease), "it had begun, and no other one since");
                acked.push(lease);
            }
        }
        assert!(begun.len() <= acked.len() + 1);
    }
    assert_eq!(seen.lock().unwrap().len(), 100);
    assert!(group.dead_letters().list(9).await.unwrap().is_empty());
}
