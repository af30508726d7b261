//! ArbiterPool: the arbiters on which consumers live.
//!
//! An arbiter is a thread with an event loop, and a machine can have none left: then whoever wanted to move in has not
//! started, and that is all.

use std::io;

use actix_rt::{Arbiter, ArbiterHandle, System};

use crate::protocol::faults::{self, NewHome};
use crate::types::{Cause, Placement};

/// No thread is left for one more arbiter, or no descriptor for its event loop.
#[derive(Debug, thiserror::Error)]
#[error("no thread or no descriptor is left for another arbiter")]
pub(crate) struct NothingLeft(#[source] io::Error);

impl NothingLeft {
    /// Why the life did not begin that wanted to move in.
    pub(crate) fn cause(&self) -> Cause {
        Cause::StartFailed(format!("{self}: {}", self.0).into())
    }
}

/// Where one or more consumers live.
#[derive(Debug, Clone)]
pub(crate) enum ArbiterSlot {
    /// On the arbiter of the supervisor.
    Here,
    /// On an arbiter, a thread, of its own.
    There(ArbiterHandle),
    /// On an arbiter of a simulation, which is no thread.
    Simulated(u64),
}

impl ArbiterSlot {
    /// Runs `work` on the slot's arbiter. False if that arbiter has ended.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) -> bool {
        match self {
            Self::Here => {
                work();
                true
            }
            Self::There(arbiter) => {
                let world = faults::world();
                arbiter.spawn_fn(move || {
                    faults::adopt(world);
                    work();
                })
            }
            Self::Simulated(arbiter) => faults::at_home(*arbiter, work),
        }
    }
}

/// The number of an arbiter. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArbiterId(usize);

/// One arbiter that is in use.
#[derive(Debug)]
struct Inhabited {
    id: ArbiterId,
    arbiter: ArbiterSlot,
    /// How many consumers live there.
    inhabitants: usize,
}

/// All arbiters of a group. Dropping it ends the arbiters, and with them everyone who lives there.
#[derive(Debug)]
pub(crate) struct ArbiterPool {
    /// How many arbiters there may be; more consumers share them.
    most: usize,
    local: bool,
    arbiters: Vec<Inhabited>,
    next: usize,
}

impl ArbiterPool {
    /// No arbiters yet; they are made as consumers come.
    pub(crate) fn new(placement: Placement) -> Self {
        let most = match placement {
            Placement::Local => 1,
            Placement::Arbiters(count) => count.max(1),
            Placement::Processors => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            Placement::Dedicated => usize::MAX,
        };
        Self {
            most,
            local: placement == Placement::Local,
            arbiters: Vec::new(),
            next: 0,
        }
    }

    /// An arbiter for one more consumer: a new one while there may be more, then the one with the fewest inhabitants.
    ///
    /// # Errors
    /// [`NothingLeft`] if a new one has to be made and cannot be. Nothing of it stays behind.
    pub(crate) fn move_in(&mut self) -> Result<(ArbiterId, ArbiterSlot), NothingLeft> {
        if self.arbiters.len() < self.most {
            let arbiter = if self.local {
                ArbiterSlot::Here
            } else {
                ArbiterSlot::elsewhere()?
            };
            let id = ArbiterId(self.next);
            self.next += 1;
            self.arbiters.push(Inhabited {
                id,
                arbiter: arbiter.clone(),
                inhabitants: 1,
            });
            return Ok((id, arbiter));
        }
        Ok(
            match self
                .arbiters
                .iter_mut()
                .min_by_key(|arbiter| (arbiter.inhabitants, arbiter.id))
            {
                Some(found) => {
                    found.inhabitants += 1;
                    (found.id, found.arbiter.clone())
                }
                // `most` is at least one, so there is an arbiter; this line keeps the promise without a panic.
                None => (ArbiterId(0), ArbiterSlot::Here),
            },
        )
    }

    /// A consumer has gone for good. An arbiter without inhabitants ends.
    pub(crate) fn move_out(&mut self, id: ArbiterId) {
        if let Some(index) = self.arbiters.iter().position(|arbiter| arbiter.id == id)
            && let Some(found) = self.arbiters.get_mut(index)
        {
            found.inhabitants -= 1;
            if found.inhabitants == 0 {
                found.arbiter.stop();
                self.arbiters.swap_remove(index);
            }
        }
    }

    /// Whether this arbiter shares the supervisor's thread: then the supervisor would be blocked with it.
    pub(crate) fn is_here(&self) -> bool {
        self.local
    }

    /// Gives an arbiter up: its thread does not come back. Everyone who lived there must move in elsewhere. The thread ends by
    /// itself if it ever comes back.
    pub(crate) fn abandon(&mut self, id: ArbiterId) {
        if let Some(index) = self.arbiters.iter().position(|arbiter| arbiter.id == id) {
            self.arbiters.swap_remove(index).arbiter.stop();
        }
    }
}

impl ArbiterSlot {
    fn elsewhere() -> Result<Self, NothingLeft> {
        match faults::ask(|world| world.home_made()) {
            Some(NewHome::Simulated(arbiter)) => return Ok(Self::Simulated(arbiter)),
            Some(NewHome::NothingLeft) => {
                return Err(NothingLeft(io::Error::other(faults::PLANNED)));
            }
            Some(NewHome::Arbiter) | None => {}
        }
        // Without a system around it, which is never so for a supervisor that runs, making an arbiter panics.
        if System::try_current().is_none() {
            return Err(NothingLeft(io::Error::other(
                "there is no actix system on this thread",
            )));
        }
        // If the thread is there and its event loop cannot be made, the thread is joined before this returns.
        let arbiter = Arbiter::try_new().map_err(NothingLeft)?;
        Ok(Self::There(arbiter.handle()))
    }

    fn stop(&self) {
        if let Self::There(arbiter) = self {
            arbiter.stop();
        }
    }
}

impl Drop for ArbiterPool {
    fn drop(&mut self) {
        for inhabited in &self.arbiters {
            inhabited.arbiter.stop();
        }
    }
}
