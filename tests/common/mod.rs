//! What the behaviour tests share: a system with a limit of time, gates, probes and a way to wait for an event.
//!
//! No test sleeps to let something happen: it waits for a gate, an event, a result, or for the paused clock.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail, and no test uses every helper"
)]

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::System;
use consumer_group::queue::QueueSource;
use consumer_group::{
    CallError, DeadLetter, Delivery, EventKind, Events, Group, GroupBuilder, GroupConfig, Outcome, Placement,
    Results,
};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc};

/// Far beyond what any test needs, so that only a test that hangs ever reaches it.
const LIMIT: Duration = Duration::from_secs(120);

/// The same on a paused clock, where a test may let days pass.
const VIRTUAL_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs a test in an actix system on the clock of the machine.
pub(crate) fn system(test: impl Future<Output = ()>) {
    System::new().block_on(async {
        let ended = tokio::time::timeout(LIMIT * 2, test).await;
        assert!(ended.is_ok(), "the test hangs");
    });
}

/// Runs a test in an actix system on a paused clock: time passes only when nothing else can happen.
pub(crate) fn paused(test: impl Future<Output = ()>) {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    System::with_tokio_rt(runtime).block_on(async {
        let ended = tokio::time::timeout(VIRTUAL_LIMIT, test).await;
        assert!(
            ended.is_ok(),
            "the test hangs: a year passed and nothing happened"
        );
    });
}

/// Waits for `work`, which must come to its end by itself. On a paused clock the limit is virtual time.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: did not happen"),
    }
}

/// Waits, at most a year of virtual time.
pub(crate) async fn within_a_year<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(VIRTUAL_LIMIT / 2, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: did not happen in half a year"),
    }
}

/// Lets everything that can happen on this thread without time or other threads happen.
pub(crate) async fn settle_down() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// Whether this future is not ready now; polls it once.
pub(crate) fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    future.now_or_never().is_none()
}

/// Waits for an event, passing over others.
pub(crate) async fn event<T>(
    events: &mut Events,
    what: &str,
    mut pick: impl FnMut(&EventKind) -> Option<T>,
) -> T {
    let mut seen = Vec::new();
    let found = tokio::time::timeout(LIMIT, async {
        while let Some(event) = events.next().await {
            if let Some(found) = pick(&event.kind) {
                return Some(found);
            }
            seen.push(event);
        }
        None
    });
    match found.await {
        Ok(Some(found)) => found,
        Ok(None) => panic!("{what}: the events ended; seen: {seen:#?}"),
        Err(_) => panic!("{what}: did not happen; seen: {seen:#?}"),
    }
}

/// The next outcome of a producer group, which must come.
pub(crate) async fn next_outcome<J: Send + Sync + 'static, O: Send + 'static>(
    results: &mut Results<J, O>,
    what: &str,
) -> Outcome<J, O> {
    within(what, results.next())
        .await
        .unwrap_or_else(|| panic!("{what}: the group ended before"))
}

/// The dead letter that a caller got, because its job was given up.
#[track_caller]
pub(crate) fn given_up<J, O>(called: Result<O, CallError<J>>) -> Arc<DeadLetter<J>> {
    match called {
        Err(CallError::Failed(letter)) => letter,
        Err(error) => panic!("the job was not given up: {error:?}"),
        Ok(_) => panic!("the job was done"),
    }
}

/// Every event that is there already.
pub(crate) fn told(events: &mut Events) -> Vec<EventKind> {
    std::iter::from_fn(|| events.try_next())
        .map(|event| event.kind)
        .collect()
}

/// A gate that consumers pass one by one.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.available_permits() > 0
    }

    /// Lets this many through.
    pub(crate) fn let_through(&self, count: usize) {
        self.0.add_permits(count);
    }

    /// Lets everyone through from now on.
    pub(crate) fn open(&self) {
        self.0.add_permits(1 << 30);
    }
}

/// Two ends: consumers note what happens, the test waits for it.
pub(crate) fn probe<T>() -> (mpsc::UnboundedSender<T>, Probe<T>) {
    let (note, noted) = mpsc::unbounded_channel();
    (note, Probe(noted))
}

/// What consumers noted.
pub(crate) struct Probe<T>(mpsc::UnboundedReceiver<T>);

impl<T> Probe<T> {
    pub(crate) async fn next(&mut self, what: &str) -> T {
        within(what, self.0.recv())
            .await
            .unwrap_or_else(|| panic!("{what}: nobody is left to note it"))
    }

    /// What is there already.
    pub(crate) fn so_far(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// A list that consumers on any thread append to.
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn note(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Blocks a thread until the test lets it go, as a consumer that hangs in a system call does.
#[derive(Clone)]
pub(crate) struct Block(Arc<(Mutex<bool>, std::sync::Condvar)>, Arc<AtomicBool>);

impl Block {
    pub(crate) fn new() -> Self {
        Self(Arc::default(), Arc::default())
    }

    /// True for the first one who asks.
    pub(crate) fn is_first(&self) -> bool {
        !self.1.swap(true, Ordering::Relaxed)
    }

    /// Blocks the calling thread; gives up after a long time, so that a failed test does not leave it hanging.
    pub(crate) fn wait(&self) {
        let (free, changed) = &*self.0;
        let guard = free.lock().unwrap();
        drop(changed.wait_timeout_while(guard, LIMIT, |free| !*free).unwrap());
    }

    pub(crate) fn release(&self) {
        let (free, changed) = &*self.0;
        *free.lock().unwrap() = true;
        changed.notify_all();
    }
}

/// A configuration for tests: quiet panics, no waits, and as many restarts as a test may need.
pub(crate) fn calm(config: &mut GroupConfig) {
    config.quiet_panics = true;
    config.seed = Some(1);
    config.restart.intensity = 1_000_000;
    config.retry.backoff.min = Duration::from_millis(1);
    config.retry.backoff.max = Duration::from_millis(5);
    // Threads of a loaded machine can stand still for long; only tests of hangs set shorter ones.
    config.deadline = Duration::from_millis(60_000);
    config.restart.kill_grace = Duration::from_millis(30_000);
}

/// A calm group on the thread of the test, so that nothing in it happens at the same time.
pub(crate) fn local<J: Send + Sync + 'static, O: Send + 'static>() -> GroupBuilder<J, O> {
    Group::builder().placement(Placement::Local).configure(calm)
}

/// A group over this queue that begins no job: it is paused before the first one can come.
pub(crate) fn idle<J: Send + Sync + 'static>(queue: &(impl QueueSource<J> + Clone)) -> Group<J, ()> {
    let group = Group::builder()
        .queue(queue.clone())
        .consume_with(1, async |_: &Delivery<J>| Ok(()))
        .start()
        .unwrap();
    group.pause();
    group
}

/// A window that does not adapt.
pub(crate) fn window(config: &mut GroupConfig, size: u32) {
    config.window.min = size;
    config.window.max = size;
}
