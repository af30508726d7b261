//! The suite for strategies.

mod checks;
mod rig;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Addr, Recipient};

use crate::testing::conformance::report::Report;
use crate::testing::conformance::runner::{self, Pace};
use checks::{Check, all};
use rig::Rig;

use crate::actors::StrategyShell;
use crate::actors::cell::{CellHandle, CellHooks, spawn_in_cell};
use crate::protocol::{Assign, StrategyActor};
use crate::rules::strategies::Strategy;
use crate::types::Cause;

/// The suite for a strategy; see [`strategy`].
#[must_use = "a suite checks nothing until `.assert()` or `.run()`"]
pub struct StrategySuite {
    make: Make,
    subject: &'static str,
    claims: Claims,
    pace: Pace,
}

/// Makes one life of the strategy on the thread of the check.
type Make = Arc<dyn Fn(&Hearing) -> Option<(CellHandle, Recipient<Assign>)> + Send + Sync>;

/// Where the cause of the actor's end is noted.
type Hearing = Rc<RefCell<Option<Cause>>>;

#[derive(Debug, Clone, Copy)]
struct Claims {
    pub(super) keeps_keys: bool,
    pub(super) never_parks: bool,
    pub(super) is_random: bool,
}

/// Checks that a strategy actor keeps the promises of its role: every check makes a fresh actor and asks it as a
/// supervisor does.
///
/// To name a full slot is allowed, and means that the job waits for that very slot; the report remarks on it, and
/// [`never_parks`](StrategySuite::never_parks) forbids it.
pub fn strategy<A: StrategyActor>(make: impl Fn() -> A + Send + Sync + 'static) -> StrategySuite {
    suite(std::any::type_name::<A>(), make)
}

/// Checks a pure strategy, in the stock actor, as [`strategy`] does.
///
/// ```
/// use consumer_group::strategy::TwoChoices;
/// use consumer_group::testing::conformance;
///
/// conformance::chooser(|| TwoChoices::new(7)).never_parks().assert();
/// ```
pub fn chooser<C: Strategy + Unpin>(make: impl Fn() -> C + Send + Sync + 'static) -> StrategySuite {
    suite(std::any::type_name::<C>(), move || StrategyShell::new(make()))
}

fn suite<A: StrategyActor>(
    subject: &'static str,
    make: impl Fn() -> A + Send + Sync + 'static,
) -> StrategySuite {
    let make = move |hearing: &Hearing| {
        let (cell, seed) = CellHandle::new();
        let heard = Rc::clone(hearing);
        let hooks = CellHooks {
            ended: Box::new(|_| {}),
            down: Box::new(move |cause| drop(heard.replace(Some(cause)))),
        };
        let address = spawn_in_cell(seed, hooks, true, |_| make())?;
        Some((cell, Addr::recipient(address)))
    };
    StrategySuite {
        make: Arc::new(make),
        subject,
        claims: Claims {
            keeps_keys: false,
            never_parks: false,
            is_random: false,
        },
        pace: Pace::PAUSED,
    }
}

impl StrategySuite {
    /// The strategy gives all jobs of one key to one consumer while the membership stays as it is.
    pub fn keeps_keys(mut self) -> Self {
        self.claims.keeps_keys = true;
        self
    }

    /// The strategy never names a slot that has no room.
    pub fn never_parks(mut self) -> Self {
        self.claims.never_parks = true;
        self
    }

    /// The strategy draws anew in each of its lives, so two of them need not answer alike.
    pub fn draws_at_random(mut self) -> Self {
        self.claims.is_random = true;
        self
    }

    /// Runs on the real clock: for a strategy that asks a disk, a network or other threads.
    pub fn real_time(mut self) -> Self {
        self.pace = Pace::REAL;
        self
    }

    /// Runs every check and reports.
    #[must_use = "a report fails no test by itself; call `.assert()`"]
    pub fn run(self) -> Report {
        let Self {
            make,
            subject,
            claims,
            pace,
        } = self;
        let mut checks = Vec::new();
        for Check { name, steps } in all() {
            let make = Arc::clone(&make);
            checks.push(runner::run(name, pace, move |remarks| {
                Box::pin(async move {
                    let mut rig = Rig::new(make, claims, pace, remarks)?;
                    steps(&mut rig).await
                })
            }));
        }
        Report { subject, checks }
    }

    /// Runs every check and fails the test if a promise is broken.
    ///
    /// # Panics
    /// If a promise is broken; the text names it.
    #[track_caller]
    pub fn assert(self) -> Report {
        self.run().assert()
    }
}

impl std::fmt::Debug for StrategySuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StrategySuite")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
