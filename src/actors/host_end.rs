//! The end of a host: what lives there is drained, the system ends, the thread is joined, each within a limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_rt::System;

use crate::types::{HostReport, LeftOnHost};

/// What one resident may take to end after its time to drain is over.
const TO_END: Duration = Duration::from_secs(1);

/// What all of them may take after the limit.
const ALL_TO_END: Duration = Duration::from_secs(2);

/// What the thread may take to end once its system was stopped.
const THREAD_TO_END: Duration = Duration::from_secs(1);

/// Drains a resident within the time it is given.
pub(crate) type Drain = Box<dyn FnOnce(Duration) -> Pin<Box<dyn Future<Output = Drained>>> + Send>;

/// Something on a host that is drained at its end.
pub(crate) struct Resident {
    /// What it is, for people.
    pub(crate) what: Arc<str>,
    /// Whether it has ended by itself, so that it need not be kept in mind.
    pub(crate) is_over: Box<dyn Fn() -> bool + Send>,
    pub(crate) drain: Drain,
}

/// How a resident ended.
pub(crate) struct Drained {
    /// The jobs that were not finished.
    pub(crate) unfinished: Vec<crate::types::JobId>,
    pub(crate) has_ended: bool,
}

/// What a host and those who wait for its end share.
pub(super) struct Ending {
    state: Mutex<State>,
    /// Told when `state` has changed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    residents: Vec<Resident>,
    /// Whether nothing is taken in any more.
    has_begun: bool,
    /// Residents whose drain has not ended, the last one first.
    draining: Vec<Arc<str>>,
    left: Vec<LeftOnHost>,
    is_drained: bool,
    has_thread_ended: bool,
    thread: Option<JoinHandle<()>>,
}

/// Tells, when it is dropped, that the thread of the host has done everything else.
pub(super) struct TellsThreadEnd(Arc<Ending>);

impl Drop for TellsThreadEnd {
    fn drop(&mut self) {
        self.0.change(|state| state.has_thread_ended = true);
    }
}

impl Ending {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn tell_thread_end(self: &Arc<Self>) -> TellsThreadEnd {
        TellsThreadEnd(Arc::clone(self))
    }

    pub(super) fn keep_thread(&self, thread: JoinHandle<()>) {
        open(&self.state).thread = Some(thread);
    }

    pub(super) fn has_begun(&self) -> bool {
        open(&self.state).has_begun
    }

    /// False if the end has begun.
    pub(super) fn take_in(&self, resident: Resident) -> bool {
        let over = {
            let mut state = open(&self.state);
            if state.has_begun {
                return false;
            }
            let (over, residents): (Vec<_>, Vec<_>) = std::mem::take(&mut state.residents)
                .into_iter()
                .partition(|resident| (resident.is_over)());
            state.residents = residents;
            state.residents.push(resident);
            over
        };
        // Handles of groups that have ended; dropped without the lock.
        drop(over);
        true
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut open(&self.state));
        self.changed.notify_all();
    }

    /// Waits until `is_done`, at most so long; blocks the thread.
    fn wait(&self, limit: Duration, is_done: impl Fn(&State) -> bool) {
        // A limit beyond what the platform can tell is none.
        let until = Instant::now().checked_add(limit);
        let mut state = open(&self.state);
        while !is_done(&state) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            state = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Ends the host and says what was left. Blocks the thread, which must not be one of the host's.
    pub(super) fn finish(self: &Arc<Self>, system: &System, within: Duration) -> HostReport {
        let is_first = {
            let mut state = open(&self.state);
            !std::mem::replace(&mut state.has_begun, true)
        };
        if is_first {
            let ending = Arc::clone(self);
            let is_alive = system.arbiter().spawn_fn(move || {
                actix_rt::spawn(ending.drain(within));
            });
            if is_alive {
                let limit = within.saturating_add(ALL_TO_END);
                self.wait(limit, |state| state.is_drained || state.has_thread_ended);
            }
            system.stop();
            self.wait(THREAD_TO_END, |state| state.has_thread_ended);
        } else {
            let limit = within.saturating_add(ALL_TO_END).saturating_add(THREAD_TO_END);
            self.wait(limit, |state| state.has_thread_ended);
        }
        self.report()
    }

    /// Drains all residents, the last one first, since it may need those before it. Runs on the host.
    async fn drain(self: Arc<Self>, within: Duration) {
        let until = Instant::now().checked_add(within);
        let residents = {
            let mut state = open(&self.state);
            let residents = std::mem::take(&mut state.residents);
            state.draining = residents
                .iter()
                .rev()
                .map(|resident| Arc::clone(&resident.what))
                .collect();
            residents
        };
        for Resident { what, drain, .. } in residents.into_iter().rev() {
            let left = until.map_or(Duration::MAX, |until| {
                until.saturating_duration_since(Instant::now())
            });
            let drained = tokio::time::timeout(left.saturating_add(TO_END), drain(left)).await;
            self.change(|state| {
                // One that took too long is still there when the system ends, and named as such.
                if let Ok(Drained {
                    unfinished,
                    has_ended,
                }) = drained
                {
                    state.draining.retain(|draining| !Arc::ptr_eq(draining, &what));
                    if !unfinished.is_empty() || !has_ended {
                        state.left.push(LeftOnHost {
                            what,
                            unfinished,
                            has_ended,
                        });
                    }
                }
            });
        }
        self.change(|state| state.is_drained = true);
    }

    /// What was left. Told once.
    fn report(&self) -> HostReport {
        let (thread, report) = {
            let mut state = open(&self.state);
            let mut left = std::mem::take(&mut state.left);
            let waiting = std::mem::take(&mut state.residents);
            let draining = std::mem::take(&mut state.draining).into_iter();
            // Those whose turn never came, because the thread is blocked or the system had ended by itself.
            let never = waiting
                .into_iter()
                .rev()
                .filter(|resident| !(resident.is_over)())
                .map(|resident| resident.what);
            left.extend(draining.chain(never).map(|what| LeftOnHost {
                what,
                unfinished: Vec::new(),
                has_ended: false,
            }));
            let report = HostReport {
                left,
                is_thread_blocked: !state.has_thread_ended,
            };
            (state.thread.take().filter(|_| state.has_thread_ended), report)
        };
        if let Some(thread) = thread {
            join(thread);
        }
        report
    }
}

/// Nobody panics while holding one of these locks.
fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Joins a thread that has done its last act.
pub(super) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the thread of a host panicked");
    }
}
