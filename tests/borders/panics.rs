//! Panics in code of the user that is not a handler: one failed attempt or one dead child, never the end of the process,
//! never a neighbour.
//!
//! Where a fault would end the process, the test runs itself once more in a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

mod children;
mod group;
mod parts;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Set in the process of its own.
const OWN_PROCESS: &str = "CONSUMER_GROUP_TEST_IN_A_PROCESS";

/// Runs a test in a process of its own, so that a process that is aborted is a test that fails. `name` is the name of the
/// test below this module.
#[track_caller]
fn in_a_process(name: &str, test: impl FnOnce()) {
    if std::env::var_os(OWN_PROCESS).is_some() {
        return test();
    }
    let own = std::env::current_exe().unwrap();
    let name = format!("panics::{name}");
    let ran = Command::new(own)
        .args(["--exact", &name, "--nocapture"])
        .env(OWN_PROCESS, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{}\n{out}\n{err}", ran.status);
    assert!(out.contains("1 passed"), "{name} is no test: {out}");
}

/// Counts its drops and panics in each.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("a drop that panics");
    }
}

/// Makes bombs and knows how many went off.
#[derive(Clone, Default)]
struct Bombs(Arc<AtomicUsize>);

impl Bombs {
    fn bomb(&self) -> Bomb {
        Bomb(Arc::clone(&self.0))
    }

    fn dropped(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
