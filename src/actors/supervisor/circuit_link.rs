//! The circuit: a group whose jobs fail one after the other pauses by itself, and tries again with one job.

use super::Supervisor;
use crate::rules::circuit::Circuit;
use crate::rules::ledger::Report;
use crate::types::{CircuitConfig, CircuitState, EventKind, Moment};

/// The circuit of a group, if it has one, and what was done about it.
#[derive(Debug)]
pub(super) struct CircuitLink {
    circuit: Option<Circuit>,
    /// The state that was told and carried out.
    followed: CircuitState,
}

impl CircuitLink {
    pub(super) fn new(config: &CircuitConfig) -> Self {
        Self {
            circuit: Circuit::new(config),
            followed: CircuitState::Closed,
        }
    }

    /// What it is, as it was carried out.
    pub(super) fn state(&self) -> CircuitState {
        self.followed
    }

    /// A consumer settled a delivery like this, and it was not done.
    pub(super) fn heard(&mut self, report: &Report, now: Moment) {
        match report {
            Report::Failed { .. } => self.failed(now),
            Report::Done | Report::Rejected(_) => self.succeeded(),
            Report::Expired | Report::Snoozed { .. } => {}
        }
    }

    /// An attempt failed, or a consumer died.
    pub(super) fn failed(&mut self, now: Moment) {
        if let Some(circuit) = &mut self.circuit {
            circuit.failed(now);
        }
    }

    /// A job was done.
    pub(super) fn succeeded(&mut self) {
        if let Some(circuit) = &mut self.circuit {
            circuit.succeeded();
        }
    }

    /// When the pause is over.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.circuit.as_ref()?.next_due()
    }

    /// Time has passed.
    pub(super) fn due(&mut self, now: Moment) {
        if let Some(circuit) = &mut self.circuit {
            circuit.due(now);
        }
    }

    /// What it has become since it was followed last, as an event.
    fn follow(&mut self) -> Option<EventKind> {
        let circuit = self.circuit.as_ref()?;
        if circuit.state() == self.followed {
            return None;
        }
        self.followed = circuit.state();
        Some(match self.followed {
            CircuitState::Open => EventKind::CircuitOpened {
                pause: circuit.pause(),
            },
            CircuitState::Probing => EventKind::CircuitProbing,
            CircuitState::Closed => EventKind::CircuitClosed,
        })
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Carries out what the circuit has become.
    pub(super) fn follow_circuit(&mut self) {
        if let Some(event) = self.circuit.follow() {
            self.group.bus.tell(event);
            let probes = self.circuit.state() == CircuitState::Probing;
            self.ledger.set_probing(probes);
            self.pause_or_resume();
            self.tell_complete();
        }
    }
}
