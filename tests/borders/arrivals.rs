//! Jobs that come from outside of the process: what their consumer sees of them, and by what they are known.

use std::sync::{Arc, Mutex};

use consumer_group::events::{Moment, QueueCounts};
use consumer_group::queue::{
    Arrival, Bound, Capabilities, DeadSelection, HeaderValue, Headers, Lane, LeaseId, Leased, News, Origin,
    Refused, Run, Settled, Store, Verdict, queue_of,
};
use consumer_group::{DeadLetter, Delivery, FencingToken, Group, GroupBuilder, Job, JobId, Key, Placement};
use tokio::sync::mpsc;

/// A queue of a broker: hands runs of arrivals out, and hears what became of them.
pub(crate) struct Broker {
    arriving: Vec<Run<u64>>,
    next: u64,
    capabilities: Capabilities,
    settled: mpsc::UnboundedSender<(u64, Verdict)>,
}

impl Broker {
    fn new(
        arrivals: impl IntoIterator<Item = (Arrival, Job<u64>)>,
    ) -> (Self, mpsc::UnboundedReceiver<(u64, Verdict)>) {
        let (settled, hears) = mpsc::unbounded_channel();
        let mut arriving = Run::of_arrivals(arrivals, Moment::START);
        arriving.reverse();
        let broker = Self {
            arriving,
            next: 0,
            capabilities: Capabilities::LEAST,
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

    fn lease(&mut self, _: Moment, most: usize, leased: &mut Vec<Leased<u64>>, _: &mut News<u64>) {
        let mut left = most;
        while let Some(run) = self.arriving.pop_if(|run| run.len() <= left) {
            left -= run.len();
            leased.push(Leased::new(LeaseId(self.next << 6), 1, run));
            self.next += 1;
        }
    }

    fn settle(&mut self, _: Moment, lease: LeaseId, _: u32, verdict: &Verdict, _: &mut News<u64>) -> Settled {
        // An error means that the test hears no more.
        let _ = self.settled.send((lease.0, verdict.clone()));
        Settled::Applied
    }

    fn counts(&self) -> QueueCounts {
        QueueCounts::default()
    }

    fn take_unfinished(&mut self) -> Vec<consumer_group::queue::JobRef<u64>> {
        Vec::new()
    }

    fn take_back(&mut self, _: Moment) -> usize {
        0
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

fn arrival(position: u64) -> Arrival {
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
                (1, 1) => Err(consumer_group::Failure::retry_after(
                    std::time::Duration::ZERO,
                    "once",
                )),
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
