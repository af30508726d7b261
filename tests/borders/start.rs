//! The border of a start: in which runtimes groups and trees can be started, and what is said where they cannot; the host, for
//! programs that are not actix.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

#[cfg(unix)]
mod signal;

use std::cell::RefCell;
use std::future::Future;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
use consumer_group::host::{HostRunError, NoArbiter};
use consumer_group::supervision::{Child, Ending, SupervisorSpec, SupervisorStartError};
use consumer_group::{Cause, Delivery, Failure, Group, GroupBuilder, Host, Placement, StartError};
use tokio::runtime::Builder as Tokio;

use crate::common::{Block, Gate, calm, within};

// Where nothing can be started.

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Two;

impl Handler<Two> for Idle {
    type Result = u32;

    fn handle(&mut self, _: Two, _: &mut Context<Self>) -> u32 {
        2
    }
}

fn doubles() -> GroupBuilder<u64, u64> {
    Group::builder()
        .configure(calm)
        .consume_with(2, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
}

/// What every door says here, which must be the same.
async fn refused() -> NoArbiter {
    let StartError::NoArbiter(of_group) = doubles().start().unwrap_err() else {
        panic!("another error");
    };
    let mut child = Child::new("idle", || Idle);
    let handle = child.handle();
    let waits = handle.send(Two);
    let tree = SupervisorSpec::new("tree").child(child).start();
    let SupervisorStartError::NoArbiter(of_tree) = tree.await.unwrap_err() else {
        panic!("another error");
    };
    // Whoever had a handle already is told as well.
    waits.await.unwrap_err();
    assert_eq!(of_group, of_tree);
    of_group
}

/// Polls a future that is ready at once, without any runtime.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match future
        .as_mut()
        .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn on_a_bare_thread_every_door_names_the_cure() {
    let refused = at_once(refused());
    assert_eq!(refused, NoArbiter::NoSystem);
    assert!(refused.to_string().contains("start_on(&host)"), "{refused}");
}

#[test]
fn under_tokio_main_every_door_names_the_cure() {
    let runtimes = [Tokio::new_multi_thread(), Tokio::new_current_thread()];
    for mut runtime in runtimes {
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        assert_eq!(runtime.block_on(refused()), NoArbiter::NoSystem);
    }
}

#[test]
fn in_a_local_set_of_plain_tokio_every_door_names_the_cure() {
    let runtime = Tokio::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    assert_eq!(local.block_on(&runtime, refused()), NoArbiter::NoSystem);
}

#[test]
fn beside_a_system_that_does_not_run_every_door_names_the_cure() {
    let beside = System::new();
    let said = at_once(refused());
    assert_eq!(said, NoArbiter::NotRunning);
    assert!(said.to_string().contains("block_on"), "{said}");
    // With another runtime at work on the thread of that system.
    let runtime = Tokio::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(refused()), NoArbiter::OutsideOfArbiter);
    // Once it runs, everything works.
    beside.block_on(async {
        let group = doubles().start().unwrap();
        assert_eq!(within("an answer", group.producer().call(4)).await.unwrap(), 8);
        group.stop().await;
    });
}

#[test]
fn after_the_end_of_its_system_every_door_names_the_cure() {
    System::new().block_on(async {});
    assert_eq!(at_once(refused()), NoArbiter::Ended);
    let runtime = Tokio::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(refused()), NoArbiter::Ended);
}

#[test]
fn in_a_task_of_tokio_under_actix_main_every_door_names_the_cure() {
    crate::common::system(async {
        // A future of tokio's own: it is never on another thread here, but it could be.
        let (give, given) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let StartError::NoArbiter(said) = doubles().start().unwrap_err() else {
                panic!("another error");
            };
            let tree = at_once(SupervisorSpec::new("tree").start());
            let _ = give.send((said, tree.unwrap_err()));
        });
        let (group, tree) = within("the refusal", given).await.unwrap();
        assert_eq!(group, NoArbiter::OutsideOfArbiter);
        assert!(group.to_string().contains("actix::spawn"), "{group}");
        assert_eq!(tree, SupervisorStartError::NoArbiter(group));
        // In a task of the arbiter it works.
        let started = actix::spawn(async { doubles().start().map(|group| group.state()) });
        started.await.unwrap().unwrap();
    });
}

#[test]
fn a_refused_start_prints_no_panic() {
    let output = again("a_refused_start_in_its_own_process", None);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}");
    assert!(!printed.contains("panicked"), "{printed}");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn a_refused_start_in_its_own_process() {
    crate::common::system(async {
        let refused = tokio::spawn(async { doubles().start().map(drop).unwrap_err() });
        assert_eq!(
            refused.await.unwrap(),
            StartError::NoArbiter(NoArbiter::OutsideOfArbiter)
        );
    });
}

/// Runs a test of this module in a process of its own, with at most so many descriptors.
fn again(test: &str, descriptors: Option<u32>) -> std::process::Output {
    let this = std::env::current_exe().unwrap();
    let limit = descriptors.map_or(String::new(), |most| format!("ulimit -n {most} && "));
    let line = format!(
        "{limit}exec '{}' --exact start::{test} --ignored --nocapture --test-threads 1",
        this.display()
    );
    Command::new("sh").arg("-c").arg(line).output().unwrap()
}

#[cfg(feature = "testing")]
#[test]
fn a_paused_test_inside_of_a_runtime_is_a_panic_that_names_the_cure_and_no_abort() {
    let runtime = Tokio::new_current_thread().enable_all().build().unwrap();
    let caught = std::panic::catch_unwind(|| {
        runtime.block_on(async { consumer_group::testing::paused(async {}) });
    });
    let panic = caught.unwrap_err();
    let said = panic.downcast_ref::<&str>().copied().unwrap_or_default();
    assert!(said.contains("plain #[test]"), "{said}");
}

// The host.

/// Notes the end of the thread on which it was set.
struct Tells(#[allow(dead_code, reason = "it tells by being dropped")] std::sync::mpsc::Sender<()>);

thread_local! {
    static AT_THE_END: RefCell<Option<Tells>> = const { RefCell::new(None) };
}

/// A receiver that is cut off when the host's thread has ended.
async fn end_of_thread(host: &Host) -> std::sync::mpsc::Receiver<()> {
    let (tells, end) = std::sync::mpsc::channel();
    host.run(async move || AT_THE_END.set(Some(Tells(tells))))
        .await
        .unwrap();
    end
}

/// Whether the thread has ended by now.
fn has_ended(end: &std::sync::mpsc::Receiver<()>) -> bool {
    end.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected)
}

/// Starts a group and a tree on a host, uses them from here, and ends the host.
async fn a_whole_life() {
    let host = Host::start().unwrap();
    let end = end_of_thread(&host).await;
    let group = doubles().start_on(&host).await.unwrap();
    assert_eq!(within("an answer", group.producer().call(21)).await.unwrap(), 42);
    let mut idle = Child::new("idle", || Idle);
    let idle_handle = idle.handle();
    let tree = SupervisorSpec::new("tree")
        .child(idle)
        .start_on(&host)
        .await
        .unwrap();
    assert_eq!(within("an answer", idle_handle.send(Two)).await.unwrap(), 2);
    assert!(!host.is_over() && !has_ended(&end));

    let report = host.shutdown(Duration::from_secs(60)).await;
    assert!(report.is_clean(), "{report}");
    assert!(has_ended(&end), "the thread is joined");
    assert!(host.is_over() && tree.is_over());
    assert_eq!(tree.ended().await, Ending::Stopped);
    assert!(group.producer().send(1).await.is_err());
    assert_eq!(host.run(async || ()).await, Err(HostRunError::Ended));
    let refused = doubles().start_on(&host).await;
    assert_eq!(
        refused.map(drop).unwrap_err(),
        StartError::Host(HostRunError::Ended)
    );
    let refused = SupervisorSpec::new("late").start_on(&host).await;
    assert_eq!(
        refused.map(drop).unwrap_err(),
        SupervisorStartError::Host(HostRunError::Ended)
    );
}

#[test]
fn from_a_plain_main_a_host_is_started_used_and_joined() {
    let host = Host::builder().name("main's").start().unwrap();
    host.block_on(a_whole_life());
    let report = host.block_on(host.shutdown(Duration::ZERO));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn from_tokio_a_host_is_started_used_and_joined() {
    let runtimes = [Tokio::new_multi_thread(), Tokio::new_current_thread()];
    for mut runtime in runtimes {
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        // Spawned, so that all of it can move between threads.
        runtime.block_on(async { tokio::spawn(a_whole_life()).await.unwrap() });
    }
}

#[test]
fn from_actix_a_host_is_started_used_and_joined() {
    crate::common::system(a_whole_life());
}

#[test]
fn consumers_of_a_group_on_a_host_live_where_their_placement_says() {
    let host = Host::start().unwrap();
    host.block_on(async {
        for placement in [Placement::Local, Placement::Arbiters(2), Placement::Dedicated] {
            let group = doubles().placement(placement).start_on(&host).await.unwrap();
            for job in 0..20 {
                assert_eq!(
                    within("an answer", group.producer().call(job)).await.unwrap(),
                    job * 2
                );
            }
        }
    });
}

#[test]
fn work_on_a_host_gives_its_value_and_a_panic_in_it_is_an_error() {
    let host = Host::start().unwrap();
    host.block_on(async {
        let name = host
            .run(async || std::thread::current().name().map(str::to_owned))
            .await;
        assert_eq!(name.unwrap().as_deref(), Some("host"));
        // What it makes stays there, so it need not be sendable.
        let three = async || {
            let count = std::rc::Rc::new(3);
            tokio::task::yield_now().await;
            *count
        };
        assert_eq!(host.run(three).await, Ok(3));
        let panics = host
            .run(async || std::panic::resume_unwind(Box::new("of the work")))
            .await;
        let Err(HostRunError::Panicked(report)) = panics else {
            panic!("{panics:?}");
        };
        assert_eq!(&*report.message, "of the work");
        assert_eq!(host.run(async || 1).await, Ok(1));
    });
}

#[test]
fn a_shutdown_finishes_what_was_accepted() {
    let host = Host::start().unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&done);
    host.block_on(async {
        let group = Group::builder()
            .configure(calm)
            .consume_with(2, async move |_: &Delivery<u64>| {
                tokio::task::yield_now().await;
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .start_on(&host)
            .await
            .unwrap();
        for job in 0..500 {
            group.producer().send(job).await.unwrap();
        }
        let report = host.shutdown(Duration::from_secs(60)).await;
        assert!(report.is_clean(), "{report}");
    });
    assert_eq!(done.load(Ordering::Relaxed), 500);
}

#[test]
fn a_shutdown_names_what_was_not_finished_in_time() {
    let host = Host::start().unwrap();
    host.block_on(async {
        let gate = Gate::shut();
        let waits = gate.clone();
        let group = Group::builder()
            .configure(calm)
            .consume_with(1, async move |_: &Delivery<u64>| {
                waits.pass().await;
                Ok(())
            })
            .start_on(&host)
            .await
            .unwrap();
        let id = group.producer().send(7).await.unwrap();
        let report = host.shutdown(Duration::from_millis(1)).await;
        assert!(!report.is_clean());
        assert!(!report.is_thread_blocked);
        assert_eq!(report.left.len(), 1);
        assert_eq!(&*report.left[0].what, "group 1");
        assert_eq!(report.left[0].unfinished, [id]);
        assert!(report.to_string().contains(&id.to_string()), "{report}");
        // A second one has nothing to say.
        let again = host.shutdown(Duration::ZERO).await;
        assert!(again.is_clean(), "{again}");
    });
}

#[test]
fn a_shutdown_ends_what_was_started_last_first() {
    let host = Host::start().unwrap();
    let (note, mut noted) = crate::common::probe();
    host.block_on(async {
        for name in ["elder", "younger"] {
            let note = note.clone();
            let child = Child::new("noting", move || Noting(note.clone(), name));
            SupervisorSpec::new(name)
                .child(child)
                .start_on(&host)
                .await
                .unwrap();
        }
        assert!(host.shutdown(Duration::from_secs(60)).await.is_clean());
    });
    assert_eq!(noted.so_far(), ["younger", "elder"]);
}

struct Noting(tokio::sync::mpsc::UnboundedSender<&'static str>, &'static str);

impl Actor for Noting {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        let _ = self.0.send(self.1);
    }
}

#[test]
fn two_shutdowns_at_once_wait_for_the_same_end() {
    let host = Host::start().unwrap();
    let end = host.block_on(end_of_thread(&host));
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let runtime = Tokio::new_current_thread().build().unwrap();
                let report = runtime.block_on(host.shutdown(Duration::from_secs(60)));
                assert!(!report.is_thread_blocked);
                assert!(host.is_over());
            });
        }
    });
    assert!(has_ended(&end));
}

#[test]
fn a_host_whose_thread_is_blocked_for_ever_is_left_to_itself_within_the_limit() {
    let host = Host::start().unwrap();
    let block = Block::new();
    let blocks = block.clone();
    host.block_on(async {
        let group = Group::builder()
            .placement(Placement::Local)
            .configure(calm)
            .consume_with(1, async move |_: &Delivery<u64>| {
                blocks.wait();
                Ok(())
            })
            .start_on(&host)
            .await
            .unwrap();
        group.producer().send(1).await.unwrap();
        let began = Instant::now();
        let report = host.shutdown(Duration::ZERO).await;
        assert!(began.elapsed() < Duration::from_secs(60));
        assert!(report.is_thread_blocked, "{report}");
        assert_eq!(&*report.left[0].what, "group 1");
        assert!(!report.left[0].has_ended);
    });
    block.release();
}

#[test]
fn a_dropped_host_drains_and_is_joined() {
    let host = Host::builder()
        .drop_within(Duration::from_secs(60))
        .start()
        .unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&done);
    let (group, end) = host.block_on(async {
        let group = Group::builder()
            .configure(calm)
            .consume_with(1, async move |_: &Delivery<u64>| {
                tokio::task::yield_now().await;
                counted.fetch_add(1, Ordering::Relaxed);
                Ok::<(), Failure>(())
            })
            .start_on(&host)
            .await
            .unwrap();
        for job in 0..100 {
            group.producer().send(job).await.unwrap();
        }
        (group, end_of_thread(&host).await)
    });
    drop(host);
    assert!(has_ended(&end));
    assert_eq!(done.load(Ordering::Relaxed), 100);
    drop(group);
}

#[test]
fn a_dropped_host_gives_up_at_its_limit() {
    let host = Host::builder()
        .drop_within(Duration::from_millis(1))
        .start()
        .unwrap();
    let (group, end) = host.block_on(async {
        let group = Group::builder()
            .configure(calm)
            .consume_with(1, async |_: &Delivery<u64>| {
                std::future::pending::<()>().await;
                Ok(())
            })
            .start_on(&host)
            .await
            .unwrap();
        group.producer().send(1).await.unwrap();
        (group, end_of_thread(&host).await)
    });
    drop(host);
    assert!(has_ended(&end));
    drop(group);
}

#[test]
fn a_host_that_is_dropped_in_an_async_task_ends_without_a_deadlock() {
    let runtime = Tokio::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::builder()
            .drop_within(Duration::from_millis(10))
            .start()
            .unwrap();
        let end = end_of_thread(&host).await;
        // Its consumer waits for a task of this very thread, which the drop holds up: at the limit it is given up.
        let gate = Gate::shut();
        let waits = gate.clone();
        let group = Group::builder()
            .configure(calm)
            .consume_with(1, async move |_: &Delivery<u64>| {
                waits.pass().await;
                Ok(())
            })
            .start_on(&host)
            .await
            .unwrap();
        group.producer().send(1).await.unwrap();
        tokio::spawn(async move { gate.open() });
        drop(host);
        assert!(has_ended(&end));
    });
}

#[test]
fn a_host_that_is_dropped_on_itself_ends_without_a_deadlock() {
    let host = Host::start().unwrap();
    let end = host.block_on(end_of_thread(&host));
    let runtime = Tokio::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (give, given) = tokio::sync::oneshot::channel::<Host>();
        // A task on the host that holds the host itself, as a consumer could.
        host.run(async move || {
            actix::spawn(async move { drop(given.await) });
        })
        .await
        .unwrap();
        give.send(host).unwrap();
    });
    assert_eq!(
        end.recv_timeout(Duration::from_secs(120)),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    );
}

#[test]
fn a_host_whose_system_is_stopped_from_within_is_over() {
    let host = Host::start().unwrap();
    host.block_on(async {
        let tree = SupervisorSpec::new("tree")
            .child(Child::new("idle", || Idle))
            .start_on(&host)
            .await
            .unwrap();
        let end = end_of_thread(&host).await;
        host.run(async || System::current().stop()).await.unwrap();
        assert_eq!(
            within("the end", tree.ended()).await,
            Ending::Down(Cause::ArbiterEnded)
        );
        let report = host.shutdown(Duration::from_secs(60)).await;
        assert!(!report.is_thread_blocked, "{report}");
        assert!(has_ended(&end) && host.is_over());
        assert_eq!(host.run(async || ()).await, Err(HostRunError::Ended));
    });
}

#[test]
fn where_no_host_can_be_had_that_is_an_error() {
    let output = again("without_descriptors_no_host", Some(12));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn without_descriptors_no_host() {
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let error = Host::start().unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
    drop(taken);
    // Nothing is left of the one that failed, so the next one has all it needs.
    let host = Host::start().unwrap();
    assert!(host.block_on(host.shutdown(Duration::from_secs(60))).is_clean());
}
