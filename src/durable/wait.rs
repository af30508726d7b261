//! Waiting for a file that is in use.

use std::path::Path;
use std::time::{Duration, Instant};

use super::disk::{FileDisk, Purpose};
use super::error::FileError;
use super::owner::{FileId, Owner};

/// How long an opening that must not wait for an owner waits for one of this process that is just letting go of the file.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What an opening does about a file that is in use.
pub(super) enum Wait {
    /// It waits a moment for a queue of this process whose last handle has gone, and for nobody else: another owner may live
    /// on the thread that waits.
    ForOneThatLeaves,
    /// It waits for any owner so long, and while this says that somebody still waits for the opening. Not for an arbiter.
    ForAll(Duration, Box<dyn Fn() -> bool + Send>),
}

impl Wait {
    /// Whether a file that is in use is tried again.
    fn goes_on(&self, began: Instant, path: &Path) -> bool {
        match self {
            Self::ForOneThatLeaves => {
                let file = std::fs::metadata(path).ok().as_ref().and_then(FileId::of);
                began.elapsed() < PATIENCE && file.is_none_or(Owner::is_leaving)
            }
            Self::ForAll(within, is_wanted) => began.elapsed() < *within && is_wanted(),
        }
    }

    /// Opens and locks the file.
    pub(super) fn open(&self, path: &Path, purpose: Purpose) -> Result<FileDisk, FileError> {
        let began = Instant::now();
        let mut is_last = false;
        loop {
            match FileDisk::open(path, purpose) {
                Err(FileError::InUse) if !is_last => {
                    // An owner that has just gone may have left the register after we found its lock: hence once more.
                    is_last = !self.goes_on(began, path);
                    std::thread::sleep(LOOK_AGAIN);
                }
                other => return other,
            }
        }
    }
}
