//! Which files this process has open as queues.
//!
//! The lock on a file tells everybody else to keep off, but not why: an owner in this process that has gone and is still
//! writing its last changes is worth a short wait; one that is alive is not, because it may live on the very thread that
//! would wait.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The owners of this process. Locks are a matter of the whole process, so this is as well; an entry lives as long as the
/// file is locked.
static OWNERS: Mutex<BTreeMap<FileId, Weak<Owner>>> = Mutex::new(BTreeMap::new());

/// A file, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// What the file system calls it; `None` where the standard library cannot tell.
    pub(super) fn of(found: &Metadata) -> Option<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            Some(Self {
                device: found.dev(),
                number: found.ino(),
            })
        }
        #[cfg(not(unix))]
        {
            let _ = found;
            None
        }
    }
}

/// The queue of this process that has a file.
#[derive(Debug)]
pub(super) struct Owner {
    file: Option<FileId>,
    /// Its last handle has gone: it writes what is left, and then lets go of the file.
    is_leaving: AtomicBool,
}

impl Owner {
    /// Registers the owner of a file that was just locked.
    pub(super) fn of(file: Option<FileId>) -> Arc<Self> {
        let owner = Arc::new(Self {
            file,
            is_leaving: AtomicBool::new(false),
        });
        if let Some(file) = file {
            owners().insert(file, Arc::downgrade(&owner));
        }
        owner
    }

    /// The last handle has gone.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
    }

    /// Whether the owner of this file is one of this process that lets go of it without anybody's help.
    pub(super) fn is_leaving(file: FileId) -> bool {
        let owner = owners().get(&file).and_then(Weak::upgrade);
        owner.is_some_and(|owner| owner.is_leaving.load(Ordering::Acquire))
    }
}

impl Drop for Owner {
    /// Comes after the lock was given up. By then the next owner may have registered itself: its entry stays.
    fn drop(&mut self) {
        if let Some(file) = self.file {
            let mut owners = owners();
            if owners.get(&file).is_some_and(|owner| owner.strong_count() == 0) {
                owners.remove(&file);
            }
        }
    }
}

fn owners() -> MutexGuard<'static, BTreeMap<FileId, Weak<Owner>>> {
    // A map of numbers is whole whenever its lock is free.
    OWNERS.lock().unwrap_or_else(PoisonError::into_inner)
}
