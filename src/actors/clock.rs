//! The one clock of a group. It is read in this floor only; rules get the moment as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::protocol::faults;
use crate::types::Moment;

/// No timer is set for later: beyond it some platforms can tell no instant.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The instant after this wait. One that nobody lives to see the end of ends in a century.
pub(crate) fn instant_after(wait: Duration) -> Instant {
    Instant::now() + wait.min(CENTURY)
}

/// Tells moments. It looks at the wall clock once, when it begins. Under tokio's paused clock it goes on by virtual time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    beginning: Moment,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        let wall = || {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH);
            Moment::START.after(unix.unwrap_or_default())
        };
        Self::beginning_at(
            faults::ask(|world| world.wall_clock())
                .flatten()
                .unwrap_or_else(wall),
        )
    }

    /// A clock that begins now and shows this moment.
    pub(crate) fn beginning_at(beginning: Moment) -> Self {
        Self {
            began: Instant::now(),
            beginning,
        }
    }

    /// The moment at which it began.
    pub fn beginning(&self) -> Moment {
        self.beginning
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        self.beginning
            .after(faults::elapsed(self.began, || self.began.elapsed()))
    }

    /// The instant of a moment, to sleep until it. A moment beyond what the platform can tell is a century away.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.began + moment.since(self.beginning).min(CENTURY)
    }
}
