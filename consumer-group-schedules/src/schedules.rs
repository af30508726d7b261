//! The handle of all plans: what is planned can be looked at and changed while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use consumer_group::Producer;
use consumer_group::events::Moment;
use tokio::sync::watch;

use crate::plan::{Make, Missed, Plan, PlanView, looks_back_to};
use crate::runner;
use crate::schedule::Schedule;

/// Plans that run by the clock, and send their jobs by one producer. Clones are the same plans; they end with the last of them,
/// and when the group takes no more jobs.
///
/// Runs are sent one after the other: while the queue is full and its policy is to wait, the others wait too, and come by their
/// policy for runs that were [`Missed`].
pub struct Schedules<J> {
    pub(crate) table: Arc<Table<J>>,
    /// Wakes the task after a change; the task ends when it is dropped.
    changed: Arc<watch::Sender<()>>,
}

/// What all handles and the task share.
pub(crate) struct Table<J> {
    plans: Mutex<BTreeMap<Arc<str>, Entry<J>>>,
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
}

/// A plan that was added.
pub(crate) struct Entry<J> {
    pub(crate) view: PlanView,
    pub(crate) make: Make<J>,
    /// Planned moments up to here have come, or never will.
    pub(crate) handled: Moment,
    /// Runs that were asked for by hand.
    pub(crate) asked: u32,
}

/// A plan that could not be added or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is a plan of that name.
    #[error("there is a plan `{0}` already; change it, or remove it first")]
    NameTaken(Arc<str>),
    /// There is no plan of that name.
    #[error("there is no plan `{0}`")]
    Unknown(String),
}

/// The plans could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("schedules need a tokio runtime: start them in one, or in an actix system")]
pub struct StartError;

impl<J: Send + Sync + 'static> Schedules<J> {
    /// No plans yet, on the runtime of this thread.
    ///
    /// # Errors
    /// [`StartError`] outside of a tokio runtime.
    pub fn start<O: Send + 'static>(producer: Producer<J, O>) -> Result<Self, StartError> {
        Self::start_by(producer, SystemTime::now)
    }

    /// As [`start`](Self::start), by a clock of your own: for tests.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_by<O: Send + 'static>(
        producer: Producer<J, O>,
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError)?;
        let (changed, wakes) = watch::channel(());
        let table = Arc::new(Table {
            plans: Mutex::default(),
            now: Box::new(now),
        });
        runtime.spawn(runner::run(producer, Arc::clone(&table), wakes));
        Ok(Self {
            table,
            changed: Arc::new(changed),
        })
    }

    /// Adds a plan.
    ///
    /// # Errors
    /// [`PlanError::NameTaken`].
    pub fn add(&self, plan: Plan<J>) -> Result<(), PlanError> {
        let Plan {
            name,
            schedule,
            missed,
            make,
        } = plan;
        let now = self.table.now();
        let mut plans = self.table.plans();
        if plans.contains_key(&name) {
            return Err(PlanError::NameTaken(name));
        }
        let view = PlanView {
            name: Arc::clone(&name),
            next: schedule.next_after(now),
            schedule,
            missed,
            is_paused: false,
            last: None,
            sent: 0,
            duplicates: 0,
            skipped: 0,
        };
        let entry = Entry {
            view,
            make,
            handled: looks_back_to(missed, now),
            asked: 0,
        };
        plans.insert(name, entry);
        drop(plans);
        self.wake();
        Ok(())
    }

    /// All plans, by name.
    pub fn list(&self) -> Vec<PlanView> {
        self.table
            .plans()
            .values()
            .map(|entry| entry.view.clone())
            .collect()
    }

    /// The plan of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<PlanView> {
        self.table.plans().get(name).map(|entry| entry.view.clone())
    }

    /// From now on a plan runs by another schedule.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn change(&self, name: &str, schedule: Schedule) -> Result<(), PlanError> {
        self.alter(name, |entry, now| {
            entry.view.schedule = schedule;
            entry.begin_at(now);
        })
    }

    /// From now on missed runs of a plan come by another policy.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn change_missed(&self, name: &str, missed: Missed) -> Result<(), PlanError> {
        self.alter(name, |entry, _| entry.view.missed = missed)
    }

    /// A plan rests: what it would have run meanwhile never comes.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn pause(&self, name: &str) -> Result<(), PlanError> {
        self.alter(name, |entry, _| {
            entry.view.is_paused = true;
            entry.view.next = None;
        })
    }

    /// A plan that rests goes on.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn resume(&self, name: &str) -> Result<(), PlanError> {
        self.alter(name, |entry, now| {
            if std::mem::take(&mut entry.view.is_paused) {
                entry.begin_at(now);
            }
        })
    }

    /// A plan runs once at once, beside its schedule, also if it rests.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn run_now(&self, name: &str) -> Result<(), PlanError> {
        self.alter(name, |entry, _| entry.asked = entry.asked.saturating_add(1))
    }

    /// Removes a plan. A run of it that is being sent may still come.
    ///
    /// # Errors
    /// [`PlanError::Unknown`].
    pub fn remove(&self, name: &str) -> Result<(), PlanError> {
        let removed = self.table.plans().remove(name);
        removed
            .map(drop)
            .ok_or_else(|| PlanError::Unknown(name.to_owned()))
    }

    fn alter(&self, name: &str, change: impl FnOnce(&mut Entry<J>, Moment)) -> Result<(), PlanError> {
        let now = self.table.now();
        let mut plans = self.table.plans();
        let entry = plans.get_mut(name);
        change(entry.ok_or_else(|| PlanError::Unknown(name.to_owned()))?, now);
        drop(plans);
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        self.changed.send_replace(());
    }
}

impl<J> Entry<J> {
    /// It counts from now on.
    fn begin_at(&mut self, now: Moment) {
        // A clock that was set back is no reason to run again.
        self.handled = self.handled.max(now);
        self.view.next = match self.view.is_paused {
            true => None,
            false => self.view.schedule.next_after(self.handled),
        };
    }
}

impl<J> Table<J> {
    pub(crate) fn plans(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Entry<J>>> {
        // No code of users runs under this lock, so what it guards is whole.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Moment {
        let since = (self.now)().duration_since(SystemTime::UNIX_EPOCH);
        Moment::START.after(since.unwrap_or_default())
    }
}

impl<J> Clone for Schedules<J> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            changed: Arc::clone(&self.changed),
        }
    }
}

impl<J> fmt::Debug for Schedules<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.table.plans().values().map(|entry| &entry.view))
            .finish()
    }
}
