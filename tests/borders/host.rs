//! The host: the system, the arbiter or the thread under a group or a tree ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]

use std::future::Future;
use std::process::{Command as Process, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use actix::{Arbiter, System};
use consumer_group::queue::{ActorQueue, Capabilities, Clock, MemoryQueue, QueueSource, queue_of};
use consumer_group::{
    CallError, Consumer, Delivery, EventKind, Failure, Group, GroupBuilder, GroupState, Job, Placement,
    SendErrorKind, SlotId, StoppedError,
};

use crate::common::{calm, paused, settle_down, window, within};

use queues::{DURABLE, Silent, Stack};

mod queues;

/// Far beyond what any step needs, so that only one that hangs ever reaches it.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a group failed whose host ended.
const REASON: &str = "the arbiter under the group ended";

/// How a host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The future given to `System::block_on` returns, and the runner is dropped.
    BlockOnReturns,
    /// `Arbiter::stop` of the arbiter on which the group was started.
    ArbiterStops,
    /// `System::stop` under `SystemRunner::run`.
    SystemStops,
    /// The thread panics.
    ThreadPanics,
}

const WAYS: [Way; 4] = [
    Way::BlockOnReturns,
    Way::ArbiterStops,
    Way::SystemStops,
    Way::ThreadPanics,
];

const PLACEMENTS: [Placement; 3] = [Placement::Local, Placement::Arbiters(2), Placement::Dedicated];

/// A thread with a system on which a group lives.
struct Host {
    end: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Host {
    /// A host, and the group that was started on it.
    fn start<J, O>(
        way: Way,
        build: impl FnOnce() -> GroupBuilder<J, O> + Send + 'static,
    ) -> (Group<J, O>, Self)
    where
        J: Send + Sync + 'static,
        O: Send + 'static,
    {
        let (hand_out, group) = mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let start = move || {
            let _ = hand_out.send(build().start().unwrap());
        };
        let thread = thread::spawn(move || match way {
            Way::BlockOnReturns => System::new().block_on(async {
                start();
                let _ = ended.await;
            }),
            Way::ThreadPanics => System::new().block_on(async {
                start();
                let _ = ended.await;
                std::panic::resume_unwind(Box::new("a host that panics"));
            }),
            Way::ArbiterStops => System::new().block_on(async {
                let arbiter = Arbiter::new();
                arbiter.spawn_fn(start);
                let _ = ended.await;
                arbiter.stop();
                arbiter.join().unwrap();
            }),
            Way::SystemStops => {
                let system = System::new();
                system.runtime().spawn(async move {
                    start();
                    let _ = ended.await;
                    System::current().stop();
                });
                system.run().unwrap();
            }
        });
        let group = group.recv_timeout(LIMIT).expect("the group starts");
        (group, Self { end, thread })
    }

    /// Ends the host, and waits until it has ended.
    fn end(self) {
        // An error means that the host has ended by itself.
        let _ = self.end.send(());
        // An error is the planned panic.
        let _ = self.thread.join();
    }
}

/// Wakes a thread that has no runtime.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A future that is worked on by a bare thread, without any runtime, and waits already.
struct Waiting<T> {
    what: &'static str,
    done: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Waiting<T> {
    /// Returns when the future was polled once and waits.
    fn on(what: &'static str, future: impl Future<Output = T> + Send + 'static) -> Self {
        let (tell_waiting, waits) = mpsc::channel();
        let (tell, done) = mpsc::channel();
        thread::spawn(move || {
            let mut future = Box::pin(future);
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            let mut context = Context::from_waker(&waker);
            loop {
                match future.as_mut().poll(&mut context) {
                    Poll::Ready(value) => {
                        let _ = tell.send(value);
                        return;
                    }
                    Poll::Pending => {
                        let _ = tell_waiting.send(());
                        thread::park();
                    }
                }
            }
        });
        // An error means that it was ready at once.
        let _ = waits.recv_timeout(LIMIT);
        Self { what, done }
    }

    /// What came of it.
    fn end(self) -> T {
        self.done
            .recv_timeout(LIMIT)
            .unwrap_or_else(|_| panic!("{}: hangs", self.what))
    }
}

/// Does this on a bare thread, without any runtime.
fn bare<T: Send + 'static>(what: &'static str, future: impl Future<Output = T> + Send + 'static) -> T {
    Waiting::on(what, future).end()
}

/// Waits on this thread until something is true that other threads make true.
fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < LIMIT, "{what}: does not happen");
        thread::yield_now();
    }
}

/// The payloads of the jobs that a group hands out, each as often as it is there.
fn handed_out<J: Send + Sync + 'static + Copy + Ord, O: Send + 'static>(group: &Group<J, O>) -> Vec<J> {
    let group = group.clone();
    let drained = bare("stop", async move { group.stop().await });
    let mut jobs: Vec<J> = drained.unfinished.iter().map(|rest| *rest.payload()).collect();
    jobs.sort_unstable();
    jobs
}

/// A group of two consumers that note which job they begin and then never finish it.
fn stuck(
    placement: Placement,
    begun: &Arc<Mutex<Vec<u64>>>,
) -> impl FnOnce() -> GroupBuilder<u64, u64> + Send + 'static + use<> {
    let begun = Arc::clone(begun);
    move || {
        Group::builder()
            .configure(calm)
            .configure(|config| window(config, 1))
            .placement(placement)
            .consume_with(2, async move |delivery: &Delivery<u64>| {
                begun.lock().unwrap().push(*delivery.job());
                std::future::pending().await
            })
    }
}

#[test]
fn whoever_waits_when_the_host_ends_gets_an_error_with_the_job_and_the_rest_is_handed_out() {
    for way in WAYS {
        for placement in PLACEMENTS {
            let begun = Arc::default();
            let build = stuck(placement, &begun);
            let (group, host) =
                Host::start(way, move || build().configure(|config| config.queue.capacity = 4));
            let mut events = group.events();
            let (members, mut results) = group.producer_group();
            let producer = group.producer();
            let sent = {
                let members = members.clone();
                bare("a send", async move { members.send(1).await })
            };
            sent.unwrap();
            let call = {
                let producer = producer.clone();
                Waiting::on("a call", async move { producer.call(2).await })
            };
            until("both consumers begin", || begun.lock().unwrap().len() == 2);
            let sent = {
                let producer = producer.clone();
                bare("a batch", async move { producer.send_batch([3, 4]).await })
            };
            sent.unwrap();
            let waits = {
                let producer = producer.clone();
                Waiting::on(
                    "a send that waits for room",
                    async move { producer.send(5).await },
                )
            };
            let called = {
                let producer = producer.clone();
                Waiting::on(
                    "a call that waits for room",
                    async move { producer.call(6).await },
                )
            };
            let next = Waiting::on("the next result", async move { (results.next().await, results) });
            let stopped = {
                let group = group.clone();
                Waiting::on("stopped", async move { group.stopped().await })
            };
            let told = Waiting::on("events", async move {
                let mut kinds = Vec::new();
                while let Some(event) = events.next().await {
                    kinds.push(event.kind);
                }
                kinds
            });
            host.end();
            let case = format!("{way:?}, {placement:?}");
            assert_eq!(stopped.end().as_deref(), Some(REASON), "{case}");
            assert_eq!(group.state(), GroupState::Failed, "{case}");
            assert!(!producer.is_open(), "{case}");
            let Err(CallError::Stopped(Some(job))) = call.end() else {
                panic!("{case}: the call gets its job back")
            };
            assert_eq!(*job.payload(), 2, "{case}");
            let error = waits.end().unwrap_err();
            assert_eq!(
                (error.job, error.kind),
                (Some(Job::new(5)), SendErrorKind::Closed),
                "{case}"
            );
            let Err(CallError::Send(error)) = called.end() else {
                panic!("{case}: the call that waits for room gets its job back")
            };
            assert_eq!(
                (error.job, error.kind),
                (Some(Job::new(6)), SendErrorKind::Closed),
                "{case}"
            );
            let (outcome, mut results) = next.end();
            assert!(outcome.is_none(), "{case}: the results end");
            let told = told.end();
            let failed = EventKind::GroupFailed {
                reason: REASON.into(),
            };
            assert!(told.contains(&failed), "{case}: {told:?}");
            assert_eq!(told.last(), Some(&EventKind::Stopped), "{case}: {told:?}");

            // Every door after the end.
            let error = bare("a late send", async move { members.send(7).await }).unwrap_err();
            assert_eq!(
                (error.job, error.kind),
                (Some(Job::new(7)), SendErrorKind::Closed),
                "{case}"
            );
            let late = producer.clone();
            let error = bare("a late batch", async move { late.send_batch([8, 9]).await }).unwrap_err();
            assert!(error.accepted.is_empty() && error.refused.len() == 2, "{case}");
            let late = producer.clone();
            let error = bare("a late call", async move { late.call(10).await }).unwrap_err();
            assert_eq!(error.payload().as_deref(), Some(&10), "{case}");
            assert!(
                bare("results", async move { results.next().await }).is_none(),
                "{case}"
            );
            let letters = group.dead_letters();
            let listed = bare("dead letters", async move { letters.list(10).await });
            assert_eq!(listed.unwrap_err(), StoppedError, "{case}");
            let letters = group.dead_letters();
            let requeued = bare("requeue", async move { letters.requeue_all().await });
            assert_eq!(requeued.unwrap_err(), StoppedError, "{case}");
            let asked = group.clone();
            let health = bare("health", async move { asked.health().await });
            assert_eq!(health.unwrap_err(), StoppedError, "{case}");
            let mut events = group.events();
            assert!(
                bare("late events", async move { events.next().await }).is_none(),
                "{case}"
            );
            group.scale(3);
            group.set_weight(SlotId(0), 2);
            group.pause();
            group.resume();
            let asked = group.clone();
            let (members, mut results) = asked.producer_group();
            let error = bare("a new producer group", async move { members.send(11).await }).unwrap_err();
            assert_eq!(error.job, Some(Job::new(11)), "{case}");
            assert!(
                bare("its results", async move { results.next().await }).is_none(),
                "{case}"
            );

            assert_eq!(handed_out(&group), [1, 2, 3, 4], "{case}");
            assert!(handed_out(&group).is_empty(), "{case}: once");
            let drained = bare("a late drain", async move { group.drain(LIMIT).await });
            assert!(drained.unfinished.is_empty(), "{case}");
        }
    }
}

#[test]
fn a_drain_and_a_stop_that_wait_when_the_host_ends_hand_the_jobs_out() {
    for way in WAYS {
        for drains in [true, false] {
            let begun = Arc::default();
            let (group, host) = Host::start(way, stuck(Placement::Local, &begun));
            let producer = group.producer();
            bare("a batch", async move { producer.send_batch(0..100).await }).unwrap();
            until("both consumers begin", || begun.lock().unwrap().len() == 2);
            let ending = group.clone();
            let waits = Waiting::on("the end", async move {
                if drains {
                    ending.drain(Duration::MAX).await
                } else {
                    ending.stop().await
                }
            });
            host.end();
            let drained = waits.end();
            let mut jobs: Vec<u64> = drained.unfinished.iter().map(|rest| *rest.payload()).collect();
            jobs.sort_unstable();
            assert_eq!(jobs, (0..100).collect::<Vec<_>>(), "{way:?}");
        }
    }
}

#[test]
fn a_consumer_that_stops_the_system_takes_no_accepted_job_with_it() {
    for placement in PLACEMENTS {
        let (hand_out, group) = mpsc::channel();
        let thread = thread::spawn(move || {
            let system = System::new();
            system.runtime().spawn(async move {
                let group = Group::builder()
                    .configure(calm)
                    .placement(placement)
                    .consume_with(1, async |delivery: &Delivery<u64>| {
                        if *delivery.job() == 0 {
                            System::current().stop();
                            std::future::pending::<()>().await;
                        }
                        Ok(())
                    })
                    .start()
                    .unwrap();
                let _ = hand_out.send(group);
            });
            system.run().unwrap();
        });
        let group = group.recv_timeout(LIMIT).expect("the group starts");
        let producer = group.producer();
        let sent = bare("a batch", async move { producer.send_batch(0..10).await });
        thread.join().unwrap();
        let stopped = group.clone();
        let reason = bare("stopped", async move { stopped.stopped().await });
        assert_eq!(reason.as_deref(), Some(REASON));
        let sent = match sent {
            Ok(ids) => ids.len(),
            Err(error) => error.accepted.len(),
        };
        assert_eq!(handed_out(&group).len(), sent, "{placement:?}");
    }
}

#[test]
fn a_consumer_at_work_on_another_arbiter_is_ended_and_what_it_says_later_is_refused() {
    let gate = crate::common::Block::new();
    let (begun, ended) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::<AtomicBool>::default());
    let (block, noted, at_end) = (gate.clone(), Arc::clone(&begun), Arc::clone(&ended));
    let (group, host) = Host::start(Way::ArbiterStops, move || {
        Group::builder()
            .configure(calm)
            .placement(Placement::Dedicated)
            .consumers(1, move || Blocking {
                block: block.clone(),
                begun: Arc::clone(&noted),
                ended: Arc::clone(&at_end),
            })
    });
    let producer = group.producer();
    let call = Waiting::on("a call", async move { producer.call(1).await });
    until("the consumer begins", || !begun.lock().unwrap().is_empty());
    host.end();
    let Err(CallError::Stopped(Some(job))) = call.end() else {
        panic!("the call gets its job back")
    };
    let asked = group.clone();
    let drained = bare("stop", async move { asked.stop().await });
    drop(job);
    let rest: Vec<_> = drained.unfinished.into_iter().collect();
    assert_eq!(rest.iter().map(|rest| *rest.payload()).collect::<Vec<_>>(), [1]);
    assert!(
        rest.into_iter().all(|rest| rest.into_job().is_err()),
        "the thread still has the job"
    );
    gate.release();
    until("the consumer ends", || ended.load(Ordering::Relaxed));
    assert!(handed_out(&group).is_empty(), "what it says later is refused");
}

/// A consumer that blocks its thread, and notes its end.
struct Blocking {
    block: crate::common::Block,
    begun: Arc<Mutex<Vec<u64>>>,
    ended: Arc<AtomicBool>,
}

impl Consumer for Blocking {
    type Job = u64;
    type Output = u64;

    async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
        self.begun.lock().unwrap().push(*delivery.job());
        self.block.wait();
        Ok(*delivery.job())
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Starts a group over a queue of the kind that `queue` makes.
fn over<S: QueueSource<u64>>(
    queue: impl FnOnce() -> S + Send + 'static,
    begun: &Arc<Mutex<Vec<u64>>>,
) -> (Group<u64, u64>, Host) {
    let build = stuck(Placement::Local, begun);
    Host::start(Way::BlockOnReturns, move || build().queue(queue()))
}

fn all_come_back<S: QueueSource<u64>>(what: &str, queue: impl FnOnce() -> S + Send + 'static) {
    let begun = Arc::default();
    let (group, host) = over(queue, &begun);
    let producer = group.producer();
    bare("a batch", async move { producer.send_batch(0..100).await }).unwrap();
    until("both consumers begin", || begun.lock().unwrap().len() == 2);
    host.end();
    assert_eq!(handed_out(&group), (0..100).collect::<Vec<_>>(), "{what}");
}

#[test]
fn a_queue_in_memory_hands_its_jobs_out_and_so_does_a_clone_that_somebody_keeps() {
    all_come_back("in memory", || MemoryQueue::bounded(1_000));
    let queue = MemoryQueue::bounded(1_000);
    let kept = queue.clone();
    all_come_back("kept", move || queue);
    drop(kept);
}

#[test]
fn a_store_of_ones_own_hands_its_jobs_out() {
    all_come_back("a store", || queue_of(Stack::default()));
}

#[test]
fn an_actor_of_ones_own_hands_its_jobs_out_by_what_outlives_it() {
    all_come_back("an actor", || {
        let kept = MemoryQueue::<u64>::bounded(1_000);
        let rest = kept.clone();
        let capabilities = Capabilities::MEMORY;
        ActorQueue::new(capabilities, move || kept.create(Clock::start()))
            .rest_by(move || rest.take_rest().expect("a queue in memory has its rest"))
    });
}

#[test]
fn a_send_whose_queue_never_answers_is_an_error_with_the_job_when_the_host_ends() {
    for kept in [None, Some(Arc::default())] {
        let begun = Arc::default();
        let taken = Arc::<AtomicUsize>::default();
        let (keeps, counts) = (kept.clone(), Arc::clone(&taken));
        let queue = move || {
            ActorQueue::new(DURABLE, move || Silent {
                kept: keeps.clone(),
                taken: Arc::clone(&counts),
            })
        };
        let (group, host) = over(queue, &begun);
        let producer = group.producer();
        let sender = producer.clone();
        let send = Waiting::on("a send", async move { sender.send(1).await });
        until("the queue takes it", || taken.load(Ordering::Relaxed) == 1);
        let sender = producer.clone();
        let later = Waiting::on("a second send", async move { sender.send_batch([2, 3]).await });
        let call = Waiting::on("a call", async move { producer.call(4).await });
        // Pushes to a queue outside of the process do not wait for each other's word.
        until("the queue takes all", || taken.load(Ordering::Relaxed) == 4);
        host.end();
        let error = send.end().unwrap_err();
        assert!(
            matches!(error.kind, SendErrorKind::Unanswered { .. }),
            "{error:?}"
        );
        // A queue that keeps what it did not accept is the one case in which the job does not come back.
        assert_eq!(error.job, kept.is_none().then(|| Job::new(1)));
        let error = later.end().unwrap_err();
        assert!(error.accepted.is_empty(), "{error:?}");
        let back: Vec<_> = error.refused.into_iter().map(|error| error.job).collect();
        assert_eq!(back, [2, 3].map(|job| kept.is_none().then(|| Job::new(job))));
        assert!(matches!(call.end(), Err(CallError::Send(_))));
        assert!(handed_out(&group).is_empty());
    }
}

#[test]
fn a_send_whose_queue_never_answers_is_an_error_with_the_job_when_the_group_stops() {
    paused(async {
        let group: Group<u64, u64> = Group::builder()
            .configure(calm)
            .placement(Placement::Local)
            .queue(ActorQueue::new(DURABLE, || Silent {
                kept: None,
                taken: Arc::default(),
            }))
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .start()
            .unwrap();
        let producer = group.producer();
        let (sender, unsent) = (producer.clone(), producer.clone());
        let send = actix::spawn(async move { sender.send(1).await });
        settle_down().await;
        let later = actix::spawn(async move { unsent.send(2).await });
        settle_down().await;
        let drained = within("the stop", group.stop()).await;
        assert!(drained.unfinished.is_empty());
        let error = within("the send", send).await.unwrap().unwrap_err();
        assert!(
            matches!(error.kind, SendErrorKind::Unanswered { .. }),
            "{error:?}"
        );
        assert_eq!(error.job, Some(Job::new(1)));
        let error = within("the later send", later).await.unwrap().unwrap_err();
        assert_eq!(
            (error.job, matches!(error.kind, SendErrorKind::Unanswered { .. })),
            (Some(Job::new(2)), true),
            "pushes to such a queue do not wait for each other's word"
        );
    });
}

#[test]
fn a_deduplicated_send_is_answered_or_handed_back_once_and_not_both_when_the_host_ends() {
    for _ in 0..20 {
        let begun = Arc::default();
        let (group, host) = over(|| MemoryQueue::bounded(1_000), &begun);
        let producer = group.producer();
        let sends: Vec<_> = (0..20)
            .map(|number: u64| {
                let producer = producer.clone();
                Waiting::on("a send", async move {
                    producer.send(Job::new(number).dedup(format!("{number}"))).await
                })
            })
            .collect();
        host.end();
        let mut back = Vec::new();
        for (number, send) in (0..).zip(sends) {
            match send.end() {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.job, Some(Job::new(number).dedup(format!("{number}"))));
                    back.push(number);
                }
            }
        }
        let mut jobs = handed_out(&group);
        jobs.extend(back);
        jobs.sort_unstable();
        assert_eq!(jobs, (0..20).collect::<Vec<_>>());
    }
}

/// Runs one of the ignored tests below in a process of its own; gives what it wrote to its standard error stream.
fn in_a_process_of_its_own(test: &str) -> String {
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    errors
}

#[test]
fn whoever_returns_early_after_the_start_sees_the_own_error_and_no_panic_of_others() {
    let errors = in_a_process_of_its_own("host::a_program_that_returns_early");
    assert!(errors.contains("the error of the user"), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
#[ignore = "the process of `whoever_returns_early_after_the_start_sees_the_own_error_and_no_panic_of_others`"]
fn a_program_that_returns_early() {
    fn program(placement: Placement, turns: usize) -> Result<(), Box<dyn std::error::Error>> {
        System::new().block_on(async {
            let group = Group::builder()
                .placement(placement)
                .consume_with(2, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
                .start()?;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let sent = group.producer().send(1).await;
            sent?;
            Err("the error of the user")?;
            group.stop().await;
            Ok(())
        })
    }
    for placement in PLACEMENTS {
        for turns in [0, 1, 2, 3, 4, 5, 10, 100] {
            eprintln!("{}", program(placement, turns).unwrap_err());
        }
    }
}

#[cfg(feature = "durable")]
#[test]
fn a_durable_queue_keeps_its_jobs_in_the_file_when_the_host_ends() {
    use consumer_group::durable::DurableQueue;

    for way in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.queue");
        let (begun, file) = (Arc::default(), path.clone());
        let build = stuck(Placement::Arbiters(2), &begun);
        let (group, host) = Host::start(way, move || build().queue(DurableQueue::open(file).unwrap()));
        let producer = group.producer();
        let sent = bare("a batch", async move { producer.send_batch(0..50).await }).unwrap();
        until("both consumers begin", || begun.lock().unwrap().len() == 2);
        let sends: Vec<_> = (50..60)
            .map(|job: u64| {
                let producer = group.producer();
                Waiting::on("a send", async move { producer.send(job).await })
            })
            .collect();
        host.end();
        let mut accepted = sent.len();
        for (job, send) in (50..).zip(sends) {
            match send.end() {
                Ok(_) => accepted += 1,
                Err(error) => assert_eq!(error.job, Some(Job::new(job)), "{way:?}"),
            }
        }
        assert!(handed_out(&group).is_empty(), "{way:?}: they stay in the file");
        // The thread that writes closes the file when the last hold on the queue has gone.
        let opened = System::new().block_on(async { DurableQueue::<u64>::open(&path) });
        let counts = opened.unwrap().counts();
        assert!(
            (accepted..=60).contains(&counts.unfinished()),
            "{way:?}: {accepted} were accepted, and the file has {counts:?}"
        );
    }
}
