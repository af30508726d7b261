//! The one clock of a group. It is read in this floor only; rules get the moment as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::protocol::faults;
use crate::words::Moment;

/// No timer is set for later: beyond it some platforms can tell no instant.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The instant after this wait. One that nobody lives to see the end of ends in a century.
pub(crate) fn instant_after(wait: Duration) -> Instant {
    Instant::now() + wait.min(CENTURY)
}

/// Tells moments since the group began. Under tokio's paused clock it tells virtual time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    unix_ms: u64,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        let unix_ms = faults::ask(|world| world.unix_ms()).flatten().unwrap_or(unix_ms);
        Self {
            began: Instant::now(),
            unix_ms,
        }
    }

    /// The present moment.
    pub fn now(&self) -> Moment {
        let read = || Moment::START.after(self.began.elapsed());
        faults::present(self.began, read)
    }

    /// The instant of a moment, to sleep until it. A moment beyond what the platform can tell is a century away.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.began + moment.since(Moment::START).min(CENTURY)
    }

    /// A moment as milliseconds since the Unix epoch, for names and for people. Wall-clock jumps after the start do not
    /// show.
    pub fn unix_millis(&self, moment: Moment) -> u64 {
        self.unix_ms.saturating_add(moment.as_millis())
    }
}
