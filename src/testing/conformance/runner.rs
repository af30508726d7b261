//! Runs checks: each in a thread of its own, on a fresh actix system, with a watchdog.
//!
//! A thread of its own, because a part under test may block it for ever; because a panic in a user's factory must name the
//! check and not end the suite; and because a suite can then be called from anywhere, inside a runtime too.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::report::{CheckReport, Finding};
use crate::testing::runtime;

/// Why a check stopped before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Broken(String),
    NotClaimed(String),
}

pub(super) type Held<T = ()> = Result<T, Stop>;

/// The steps of a check, on their thread.
pub(super) type Steps = Pin<Box<dyn Future<Output = Held>>>;

/// Stops the check as broken unless `holds`.
pub(super) fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(Stop::Broken(seen())) }
}

/// Stops the check unless the part claims what it is about.
pub(super) fn claimed(claims: bool, what: &str) -> Held {
    if claims {
        Ok(())
    } else {
        Err(Stop::NotClaimed(what.into()))
    }
}

/// How time goes by in a suite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) is_paused: bool,
    /// How long something that must come may take.
    pub(super) patience: Duration,
    /// How long nothing must come before it counts as nothing.
    pub(super) quiet: Duration,
    /// The delays that are asked of a part.
    pub(super) delay: Duration,
}

impl Pace {
    pub(super) const PAUSED: Self = Self {
        is_paused: true,
        patience: Duration::from_secs(60),
        quiet: Duration::from_millis(100),
        delay: Duration::from_secs(2),
    };

    pub(super) const REAL: Self = Self {
        is_paused: false,
        patience: Duration::from_secs(10),
        quiet: Duration::from_millis(40),
        delay: Duration::from_millis(300),
    };

    /// Waits for something that must come.
    pub(super) async fn wait<T>(&self, what: &str, work: impl Future<Output = T>) -> Held<T> {
        tokio::time::timeout(self.patience, work)
            .await
            .map_err(|_| Stop::Broken(self.too_late(what)))
    }

    fn too_late(&self, what: &str) -> String {
        let hint = if self.is_paused {
            " of a paused clock; a part that waits for a disk, a network or other threads needs `.real_time()`"
        } else {
            ""
        };
        format!("{what} did not come within {:?}{hint}", self.patience)
    }

    /// How long a whole check may take by the clock on the wall.
    fn limit(&self) -> Duration {
        let patience = if self.is_paused {
            Duration::from_secs(10)
        } else {
            self.patience
        };
        patience * 6
    }
}

/// What a check wants to have said besides. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Remarks(Rc<RefCell<Vec<String>>>);

impl Remarks {
    pub(super) fn add(&self, remark: String) {
        self.0.borrow_mut().push(remark);
    }
}

/// Runs one check. `steps` makes its future on the thread where it runs.
pub(super) fn run(
    name: &'static str,
    pace: Pace,
    steps: impl FnOnce(Remarks) -> Steps + Send + 'static,
) -> CheckReport {
    let (tell, told) = sync_channel(1);
    let work = move || {
        let (held, remarks) = runtime::run(pace.is_paused, async {
            let remarks = Remarks::default();
            let held = steps(remarks.clone()).await;
            (held, remarks.0.take())
        });
        // An error means that the watchdog has given this check up.
        let _ = tell.send((held, remarks));
    };
    let (held, remarks) = match std::thread::Builder::new().name(name.into()).spawn(work) {
        Ok(thread) => match told.recv_timeout(pace.limit()) {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => {
                let limit = pace.limit();
                let seen = format!("the check did not end within {limit:?}: something blocks its thread");
                (Err(Stop::Broken(seen)), Vec::new())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let panic = thread.join().err();
                (Err(Stop::Broken(panicked(panic))), Vec::new())
            }
        },
        Err(error) => {
            let seen = format!("the check has no thread to run on: {error}");
            (Err(Stop::Broken(seen)), Vec::new())
        }
    };
    let finding = match held {
        Ok(()) => Finding::Kept,
        Err(Stop::Broken(seen)) => Finding::Broken(seen),
        Err(Stop::NotClaimed(why)) => Finding::NotClaimed(why),
    };
    CheckReport {
        name,
        finding,
        remarks,
    }
}

fn panicked(panic: Option<Box<dyn Any + Send>>) -> String {
    let text = panic.and_then(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&'static str>().map(|&text| text.into()))
    });
    match text {
        Some(text) => format!("a panic outside of every actor: {text}"),
        None => "a panic outside of every actor, whose payload is no text".into(),
    }
}
