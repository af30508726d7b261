//! A gate: the test decides when others go on.

use std::sync::Arc;

use tokio::sync::watch;

/// A gate at which consumers (or anyone) wait until the test lets them go on. Clones are the same gate.
///
/// Use it in the place of a sleep: the test waits until somebody stands at the gate, looks at the world in that very
/// moment, and opens.
///
/// ```
/// use consumer_group::testing::{Gate, paused};
///
/// paused(async {
///     let gate = Gate::new();
///     let passer = actix::spawn({
///         let gate = gate.clone();
///         async move { gate.pass().await }
///     });
///     gate.until_waiting(1).await;
///     assert!(!passer.is_finished());
///     gate.open();
///     passer.await.unwrap();
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    /// How many more may pass while it is closed.
    admitted: usize,
    waiting: usize,
}

impl State {
    fn lets_pass(&mut self) -> bool {
        if self.is_open {
            return true;
        }
        let admitted = self.admitted > 0;
        self.admitted = self.admitted.saturating_sub(1);
        admitted
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
        }
    }

    /// Lets everyone pass, those who wait and those who come.
    pub fn open(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }

    /// Whoever comes from now on waits.
    pub fn close(&self) {
        self.state.send_modify(|state| {
            state.is_open = false;
            state.admitted = 0;
        });
    }

    /// Lets exactly this many pass, those who wait or the next to come; the gate stays closed for the others.
    pub fn admit(&self, passers: usize) {
        self.state.send_modify(|state| state.admitted += passers);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.state.borrow().is_open
    }

    /// How many wait at it right now.
    pub fn waiting(&self) -> usize {
        self.state.borrow().waiting
    }

    /// Waits until the gate lets the caller pass. Cancel safe: whoever is dropped at the gate no longer counts as waiting.
    pub async fn pass(&self) {
        let mut changes = self.state.subscribe();
        if self.try_pass() {
            return;
        }
        let _place = Place::take(&self.state);
        while !self.try_pass() {
            // An error would mean that the gate is gone; `self` holds it.
            let _ = changes.changed().await;
        }
    }

    /// Waits until at least this many wait at the gate.
    pub async fn until_waiting(&self, passers: usize) {
        let mut changes = self.state.subscribe();
        // An error would mean that the gate is gone; `self` holds it.
        let _ = changes.wait_for(|state| state.waiting >= passers).await;
    }

    fn try_pass(&self) -> bool {
        let mut passed = false;
        self.state.send_if_modified(|state| {
            passed = state.lets_pass();
            false
        });
        passed
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A place in front of the gate; counted while it lives.
struct Place<'g> {
    state: &'g watch::Sender<State>,
}

impl<'g> Place<'g> {
    fn take(state: &'g watch::Sender<State>) -> Self {
        state.send_modify(|state| state.waiting += 1);
        Self { state }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.state
            .send_modify(|state| state.waiting = state.waiting.saturating_sub(1));
    }
}
