//! The place of a job in its block, with the payload and the rules for looking at it and dropping it.
//!
//! A payload is dropped when its own job ends, not when its block does, although the others of the block live on. So each
//! stands under a lock of its own, and there are two rules:
//! 1. **Read, never take.** Whoever works on a job holds the lock for reading, for this one place, until the work has ended. A
//!    thread that blocks for ever keeps its read lock, and the next consumer reads beside it. A panic leaves the payload there.
//! 2. **Clear without waiting.** The last holder of a place clears it, if nobody reads at that moment (`try_write`: a writer
//!    that waited would stop all readers). If somebody does, it was given up on: its job was settled by another. It looks
//!    again when it is done ([`Block::sweep`](super::Block::sweep)), and clears the place itself.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::Guarded;
use super::begun::BegunMark;

/// One job of a block.
pub(crate) struct Place<J> {
    begun: BegunMark,
    payload: Payload<J>,
}

enum Payload<J> {
    /// Nobody can notice when a payload without a destructor is dropped, so it needs no lock and stays as long as its block.
    Bare(Guarded<J>),
    /// Who holds the job: its way through the group in the block is one, each handle another; and what they hold.
    Locked(AtomicU32, RwLock<Kept<J>>),
}

/// What stands under the lock of a place.
enum Kept<J> {
    Here(Guarded<J>),
    /// Moved out of the block, since somebody wanted to keep it without holding the lock.
    Shared(Arc<Guarded<J>>),
    Gone,
}

impl<J> Payload<J> {
    fn into_inner(self) -> Option<J> {
        match self {
            Self::Bare(payload) => Some(payload.into_inner()),
            Self::Locked(_, lock) => match lock.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Kept::Here(payload) => Some(payload.into_inner()),
                Kept::Shared(shared) => Arc::into_inner(shared).map(Guarded::into_inner),
                Kept::Gone => None,
            },
        }
    }
}

impl<J> Place<J> {
    pub(super) fn new(payload: J) -> Self {
        let payload = Guarded::new(payload);
        Self {
            begun: BegunMark::default(),
            payload: if std::mem::needs_drop::<J>() {
                Payload::Locked(AtomicU32::new(1), RwLock::new(Kept::Here(payload)))
            } else {
                Payload::Bare(payload)
            },
        }
    }

    /// Whether a delivery of the job has begun.
    #[inline]
    pub(super) fn begun(&self) -> &BegunMark {
        &self.begun
    }

    /// The payload, for as long as the reader keeps it. None if its job was settled and has gone.
    #[inline]
    pub(super) fn read(&self) -> Option<PayloadRef<'_, J>> {
        let lock = match &self.payload {
            Payload::Bare(payload) => return Some(PayloadRef(Reading::Plain(payload))),
            Payload::Locked(_, lock) => lock,
        };
        // Nothing panics while it writes, so the lock is never poisoned. Nobody waits to write, so this waits for a move.
        let kept = lock.read().unwrap_or_else(PoisonError::into_inner);
        (!matches!(*kept, Kept::Gone)).then_some(PayloadRef(Reading::Locked(kept)))
    }

    /// The lock for changing what is there, unless somebody reads.
    fn change(&self) -> Option<RwLockWriteGuard<'_, Kept<J>>> {
        let Payload::Locked(_, lock) = &self.payload else {
            return None;
        };
        match lock.try_write() {
            Ok(kept) => Some(kept),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Drops what is there, unless somebody reads. For its last holder, after a fence: see [`Block::end`](super::Block::end).
    pub(super) fn clear(&self) {
        let gone = self
            .change()
            .map(|mut kept| std::mem::replace(&mut *kept, Kept::Gone));
        // The payload is dropped here, when the lock has been given back: its `Drop` is the user's.
        drop(gone);
    }

    /// Takes the payload out for its only holder, unless somebody reads or keeps it, or it stays as long as its block.
    pub(super) fn take(&self) -> Option<J> {
        let Payload::Locked(holders, _) = &self.payload else {
            return None;
        };
        if holders.load(Ordering::Acquire) != 1 {
            return None;
        }
        let mut kept = self.change()?;
        match std::mem::replace(&mut *kept, Kept::Gone) {
            Kept::Here(payload) => Some(payload.into_inner()),
            Kept::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(payload) => Some(payload.into_inner()),
                Err(shared) => {
                    *kept = Kept::Shared(shared);
                    None
                }
            },
            Kept::Gone => None,
        }
    }

    /// As [`take`](Self::take), for whoever holds the block alone.
    pub(super) fn take_alone(&mut self) -> Option<J> {
        let gone = Payload::Locked(AtomicU32::new(0), RwLock::new(Kept::Gone));
        std::mem::replace(&mut self.payload, gone).into_inner()
    }

    /// One more holder.
    pub(super) fn hold(&self) {
        if let Payload::Locked(holders, _) = &self.payload {
            holders.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One holder less. Whether it was the last one, who is to clear the place.
    #[inline]
    pub(super) fn let_go(&self) -> bool {
        match &self.payload {
            Payload::Locked(holders, _) => holders.fetch_sub(1, Ordering::AcqRel) == 1,
            Payload::Bare(_) => false,
        }
    }

    /// Drops the payload if nobody holds it any more.
    pub(super) fn sweep(&self) {
        if let Payload::Locked(holders, _) = &self.payload
            && holders.load(Ordering::Acquire) == 0
        {
            self.clear();
        }
    }

    /// The payload, if it stands under no lock.
    #[inline]
    pub(super) fn bare(&self) -> Option<&J> {
        match &self.payload {
            Payload::Bare(payload) => Some(payload),
            Payload::Locked(..) => None,
        }
    }

    /// The payload for somebody who keeps it without the lock. None if it has gone, or somebody reads it now.
    pub(super) fn share(&self) -> Option<Arc<Guarded<J>>> {
        let Payload::Locked(_, lock) = &self.payload else {
            return None;
        };
        if let Kept::Shared(shared) = &*lock.read().unwrap_or_else(PoisonError::into_inner) {
            return Some(Arc::clone(shared));
        }
        let mut kept = self.change()?;
        let shared = match std::mem::replace(&mut *kept, Kept::Gone) {
            Kept::Here(payload) => Arc::new(payload),
            Kept::Shared(shared) => shared,
            Kept::Gone => return None,
        };
        *kept = Kept::Shared(Arc::clone(&shared));
        Some(shared)
    }
}

/// A payload that is being looked at. While it is, the payload stays, also if the job is done meanwhile.
pub struct PayloadRef<'a, J>(Reading<'a, J>);

enum Reading<'a, J> {
    Plain(&'a J),
    Locked(RwLockReadGuard<'a, Kept<J>>),
}

impl<'a, J> PayloadRef<'a, J> {
    pub(crate) fn plain(payload: &'a J) -> Self {
        Self(Reading::Plain(payload))
    }
}

impl<J> std::ops::Deref for PayloadRef<'_, J> {
    type Target = J;

    #[inline]
    fn deref(&self) -> &J {
        match &self.0 {
            Reading::Plain(payload) => payload,
            Reading::Locked(kept) => match &**kept {
                Kept::Here(payload) => payload,
                Kept::Shared(payload) => payload,
                Kept::Gone => super::invariant::broken("whoever looks keeps the payload there"),
            },
        }
    }
}

impl<J: fmt::Debug> fmt::Debug for PayloadRef<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<J: fmt::Display> fmt::Display for PayloadRef<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
