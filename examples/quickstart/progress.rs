//! What is told while the work goes on: one line on the standard error stream, if that is a terminal.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use consumer_group::{EventKind, Events};

/// How long a line stands at least.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Progress {
    sent: Cell<u64>,
    retries: Cell<u64>,
    deaths: Cell<u64>,
    /// When the next line is due; nothing if nobody would see it.
    next: Option<Cell<Instant>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let next = io::stderr().is_terminal().then(|| Cell::new(Instant::now()));
        Self {
            sent: Cell::default(),
            retries: Cell::default(),
            deaths: Cell::default(),
            next,
        }
    }

    pub(crate) fn sent(&self) {
        self.sent.update(|sent| sent + 1);
    }

    pub(crate) fn look(&self, events: &mut Events, ended: u64) {
        while let Some(event) = events.try_next() {
            match event.kind {
                EventKind::Retried { .. } => self.retries.update(|retries| retries + 1),
                EventKind::ConsumerDown { .. } => self.deaths.update(|deaths| deaths + 1),
                _ => {}
            }
        }
        let Some(next) = self.next.as_ref().filter(|next| Instant::now() >= next.get()) else {
            return;
        };
        next.set(Instant::now() + PAUSE);
        let (sent, retries, deaths) = (self.sent.get(), self.retries.get(), self.deaths.get());
        // A terminal that is gone is no reason to stop.
        let line = format!("\r{ended} of {sent} files, {retries} retries, {deaths} consumers replaced");
        let _ = io::stderr().write_all(line.as_bytes());
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.next.is_some() {
            let _ = io::stderr().write_all(b"\r\x1b[2K");
        }
    }
}
