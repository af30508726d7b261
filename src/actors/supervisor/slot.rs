//! What the supervisor keeps of one slot, beside what the ledger knows.

use std::sync::Arc;

use crate::actors::arbiter_pool::{ArbiterId, ArbiterSlot};
use crate::actors::cell::CellHandle;
use crate::protocol::{ConsumerAddr, ConsumerInfo, Parcel};
use crate::rules::hang_detector::HangDetector;
use crate::types::{Cause, Incarnation, Moment, SlotState};

/// A slot with the consumer that sits in it.
pub(super) struct SlotActor<J: Send + Sync + 'static, O: Send + 'static> {
    pub(super) state: SlotState,
    /// When `state` last changed.
    pub(super) since: Moment,
    /// The present consumer. Set when one is made, cleared when it has ended.
    pub(super) info: Option<Arc<ConsumerInfo>>,
    /// Ends the present consumer; ends it by itself when it is dropped.
    pub(super) cell: Option<CellHandle>,
    /// Where deliveries go. Set when the consumer says that it is up.
    pub(super) address: Option<ConsumerAddr<J, O>>,
    /// Where consumers of this slot live. A replacement moves in where its predecessor lived, unless that was given up.
    pub(super) arbiter: Option<(ArbiterId, ArbiterSlot)>,
    pub(super) watch: HangDetector,
    /// As `watch`, of the deliveries alone: a sign of life is no move.
    pub(super) moves: HangDetector,
    /// Whether the present consumer has settled anything yet.
    pub(super) worked: bool,
    /// Deliveries of the present turn.
    pub(super) outgoing: Vec<Parcel<J>>,
    /// Since when the consumer is asked to stop in its own way.
    pub(super) stopping: Option<Moment>,
    /// Since when the consumer is asked to end; if it does not, its thread is blocked.
    pub(super) ending: Option<Moment>,
    /// Since when the consumer works on what it has not told of: for doors at which nobody measures the work itself.
    pub(super) busy_since: Moment,
    /// Whether the last start found no thread or descriptor left. Set by that start, taken by what follows from it.
    pub(super) is_starved: bool,
    pub(super) restarts: u64,
    pub(super) last_cause: Option<Cause>,
}

/// A supervisor that dies drops its slots, and with them everything that their consumers could still say.
impl<J: Send + Sync + 'static, O: Send + 'static> Drop for SlotActor<J, O> {
    fn drop(&mut self) {
        self.forget_consumer();
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> SlotActor<J, O> {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            state: SlotState::Starting,
            since: now,
            info: None,
            cell: None,
            address: None,
            arbiter: None,
            watch: HangDetector::default(),
            moves: HangDetector::default(),
            worked: false,
            outgoing: Vec::new(),
            stopping: None,
            ending: None,
            busy_since: now,
            is_starved: false,
            restarts: 0,
            last_cause: None,
        }
    }

    pub(super) fn enter(&mut self, state: SlotState, now: Moment) {
        self.state = state;
        self.since = now;
    }

    /// Whether its consumer has been asked to go, in one way or the other.
    pub(super) fn is_leaving(&self) -> bool {
        self.stopping.is_some() || self.ending.is_some()
    }

    /// Whether its first consumer is starting.
    pub(super) fn is_first_start(&self) -> bool {
        let is_first = |info: &Arc<ConsumerInfo>| info.incarnation == Incarnation(1);
        self.state == SlotState::Starting && self.info.as_ref().is_some_and(is_first)
    }

    /// Forgets the present consumer: from here on nothing that it says counts, and its cell ends.
    pub(super) fn forget_consumer(&mut self) {
        if let Some(info) = self.info.take() {
            info.heartbeat.end();
        }
        self.cell = None;
        self.address = None;
        self.stopping = None;
        self.ending = None;
        self.watch = HangDetector::default();
        self.moves = HangDetector::default();
        self.outgoing.clear();
    }
}
