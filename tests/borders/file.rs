//! The file of a durable queue: failed commits, second openers, broken files. Foreign files: tests/checks/foreign_files.rs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail"
)]

mod flips;
mod opening;
mod owners;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

/// Longer than anything takes; a test that reaches it hangs.
const LONG: Duration = Duration::from_secs(100);

/// A folder that goes with the test, and where the queue is in it.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.queue");
    (folder, path)
}
