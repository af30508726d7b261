//! A signal from outside: the program drains its host within a limit, and what was accepted is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use consumer_group::{Delivery, Group, Host};
use tokio::signal::unix::{SignalKind, signal};

use crate::child::{self, Other};
use crate::common::Gate;

const JOBS: u64 = 100;
/// What the program says when it has accepted all of its jobs and begun the first ones.
const AT_WORK: &str = "all were accepted";

#[test]
fn a_signal_drains_what_was_accepted_and_the_program_ends_well() {
    for (name, program) in [
        ("-TERM", "under_tokio_until_a_signal"),
        ("-INT", "in_a_plain_main_until_a_signal"),
    ] {
        let mut other = Other::ignored(&format!("start::signal::{program}"));
        other.says(AT_WORK);
        other.signal(name);
        other.ends_well();
    }
}

/// Accepts jobs of which none can end before the signal, and waits for it. Gives the group and how many are done.
async fn work_until_the_signal(host: &Host, kind: SignalKind) -> (Group<u64, ()>, Arc<AtomicU64>) {
    let mut signals = signal(kind).unwrap();
    let (gate, done) = (Gate::shut(), Arc::new(AtomicU64::new(0)));
    let (at_work, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let (passes, counts) = (gate.clone(), done.clone());
    let group = Group::builder()
        .consume_with(4, async move |_: &Delivery<u64>| {
            // Only the first one is waited for.
            at_work.send(()).ok();
            passes.pass().await;
            counts.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .start_on(host)
        .await
        .unwrap();
    group.producer().send_batch(0..JOBS).await.unwrap();
    begun.recv().await.unwrap();
    child::say(AT_WORK, "");
    signals.recv().await.unwrap();
    assert_eq!(done.load(Ordering::Relaxed), 0);
    gate.open();
    (group, done)
}

fn check(report: &consumer_group::host::HostReport, done: &AtomicU64) {
    assert!(report.is_clean(), "{report}");
    assert_eq!(done.load(Ordering::Relaxed), JOBS);
}

#[test]
#[ignore = "runs in a process of its own"]
fn under_tokio_until_a_signal() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let host = Host::start().unwrap();
        let (_group, done) = work_until_the_signal(&host, SignalKind::terminate()).await;
        check(&host.shutdown(Duration::from_secs(60)).await, &done);
    });
}

#[test]
#[ignore = "runs in a process of its own"]
fn in_a_plain_main_until_a_signal() {
    let host = Host::start().unwrap();
    let (_group, done) = host.block_on(work_until_the_signal(&host, SignalKind::interrupt()));
    check(&host.block_on(host.shutdown(Duration::from_secs(60))), &done);
}
