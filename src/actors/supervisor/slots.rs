//! The slots of a group, with those who decide over them: the child set (who is started when) and the arbiters (who lives where).

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;

use super::slot::SlotActor;
use crate::actors::arbiter_pool::{ArbiterId, ArbiterPool, ArbiterSlot, NothingLeft};
use crate::rules::supervision::{ChildSet, Exit, Member, Order};
use crate::types::invariant::invariant;
use crate::types::{Moment, Restart, SlotId, SlotState};

/// How long the first jobs wait for consumers that are still starting. The watch looks about as often while any is.
const OPENING: Duration = Duration::from_millis(250);

pub(super) struct Slots<J: Send + Sync + 'static, O: Send + 'static> {
    /// By slot number; as long as the ledger's list of slots, and as the child set. All three only ever grow.
    list: Vec<SlotActor<J, O>>,
    /// Which slot gets its next consumer when. A slot is the child of the same number.
    child_set: ChildSet,
    /// What the child set decided and nobody has carried out yet; empty between two messages.
    orders: Vec<Order>,
    arbiters: ArbiterPool,
    /// Cloned into every consumer's cell; see `SpawnParams::exists`.
    exists: mpsc::Sender<Infallible>,
    /// Slots that have deliveries ready to be sent; empty between two messages.
    sending: Vec<SlotId>,
    /// Slots whose consumer is starting, or asked to go, as of the last look; they decide how often to look.
    starting: usize,
    leaving: usize,
    /// Whether the first consumers have come up, so that work can begin with fair shares. Set once, never cleared.
    has_opened: bool,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Slots<J, O> {
    pub(super) fn new(child_set: ChildSet, arbiters: ArbiterPool, exists: mpsc::Sender<Infallible>) -> Self {
        Self {
            list: Vec::new(),
            child_set,
            orders: Vec::new(),
            arbiters,
            exists,
            sending: Vec::new(),
            starting: 0,
            leaving: 0,
            has_opened: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// A slot that there is. The numbers of slots come from here, from the ledger and from consumers of this supervisor.
    #[inline]
    pub(super) fn get(&self, slot: SlotId) -> &SlotActor<J, O> {
        invariant!(
            self.list.get(slot.0 as usize),
            "slots stay, so a number of one is a slot"
        )
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: SlotId) -> &mut SlotActor<J, O> {
        invariant!(
            self.list.get_mut(slot.0 as usize),
            "slots stay, so a number of one is a slot"
        )
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &SlotActor<J, O>)> {
        (0_u32..).map(SlotId).zip(&self.list)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SlotId, &mut SlotActor<J, O>)> {
        (0_u32..).map(SlotId).zip(&mut self.list)
    }

    /// The number of the next slot.
    pub(super) fn next(&self) -> SlotId {
        SlotId(u32::try_from(self.list.len()).unwrap_or(u32::MAX))
    }

    /// Adds a slot; the child set orders its first consumer.
    pub(super) fn add(&mut self, now: Moment) {
        self.list.push(SlotActor::new(now));
        let child = self.child_set.add(Restart::Permanent, false);
        self.child_set.start(child, &mut self.orders);
    }

    /// A slot that was taken away has lost its last consumer.
    pub(super) fn remove(&mut self, slot: SlotId, now: Moment) {
        self.child_set.remove(slot.0, &mut self.orders);
        self.orders.clear();
        let found = self.get_mut(slot);
        found.forget_consumer();
        found.enter(SlotState::Gone, now);
        if let Some((id, _)) = found.arbiter.take() {
            self.arbiters.move_out(id);
        }
    }

    /// Where the consumers of this slot live. A replacement moves in where its predecessor lived, unless that was given up.
    ///
    /// # Errors
    /// If no thread or descriptor is left for another arbiter: then this start has failed, and the slot remembers why.
    pub(super) fn arbiter_of(&mut self, slot: SlotId) -> Result<ArbiterSlot, NothingLeft> {
        let found = invariant!(
            self.list.get_mut(slot.0 as usize),
            "slots stay, so a number of one is a slot"
        );
        if let Some((_, arbiter)) = &found.arbiter {
            return Ok(arbiter.clone());
        }
        match self.arbiters.move_in() {
            Ok((id, arbiter)) => {
                found.arbiter = Some((id, arbiter.clone()));
                Ok(arbiter)
            }
            Err(nothing_left) => {
                found.is_starved = true;
                Err(nothing_left)
            }
        }
    }

    /// The arbiter of this slot has ended; the next consumer moves in elsewhere.
    pub(super) fn leave_arbiter(&mut self, slot: SlotId) {
        if let Some((id, _)) = self.get_mut(slot).arbiter.take() {
            self.arbiters.abandon(id);
        }
    }

    /// The thread of this arbiter does not come back. Returns who lived there.
    pub(super) fn give_up_arbiter(&mut self, arbiter: ArbiterId) -> Vec<SlotId> {
        self.arbiters.abandon(arbiter);
        let lives_there =
            |slot: &SlotActor<J, O>| slot.arbiter.as_ref().is_some_and(|(id, _)| *id == arbiter);
        let inhabitants = self.iter().filter(|(_, slot)| lives_there(slot));
        inhabitants.map(|(slot, _)| slot).collect()
    }

    /// Whether all consumers live on the arbiter of the supervisor, so that a blocked thread blocks this code as well.
    pub(super) fn are_here(&self) -> bool {
        self.arbiters.is_here()
    }

    fn life(&self, slot: SlotId) -> u64 {
        self.child_set.member(slot.0).map_or(0, Member::life)
    }

    /// The consumer of this slot takes deliveries.
    pub(super) fn up(&mut self, slot: SlotId, now: Moment) {
        let life = self.life(slot);
        self.child_set.up(slot.0, life, now, &mut self.orders);
    }

    /// The consumer of this slot has ended: the child set decides when the next one follows. `unit`: a random number below one.
    pub(super) fn down(&mut self, slot: SlotId, now: Moment, unit: f64) {
        let life = self.life(slot);
        let found = self.get_mut(slot);
        found.restarts += 1;
        let worked = std::mem::take(&mut found.worked);
        let exit = match std::mem::take(&mut found.is_starved) {
            true => Exit::Starved,
            false => Exit::Fault,
        };
        if worked {
            self.child_set.worked(slot.0);
        }
        self.child_set
            .down(slot.0, life, exit, now, unit, &mut self.orders);
    }

    /// The wait of this slot, in this life, is over.
    pub(super) fn due(&mut self, slot: SlotId, life: u64) {
        self.child_set.due(slot.0, life, &mut self.orders);
    }

    /// What the child set decided. To be given back by [`carried_out`](Self::carried_out), since the memory is used again.
    pub(super) fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Nothing was ordered meanwhile: a start answers by a message.
    pub(super) fn carried_out(&mut self, orders: Vec<Order>) {
        self.orders = orders;
    }

    /// For the cell of a consumer: it ends when the supervisor does.
    pub(super) fn exists(&self) -> mpsc::Sender<Infallible> {
        self.exists.clone()
    }

    /// A consumer was made, which is not up yet.
    pub(super) fn note_starting(&mut self) {
        self.starting += 1;
    }

    /// A consumer was asked to stop, or to end.
    pub(super) fn note_leaving(&mut self) {
        self.leaving += 1;
    }

    /// Whether there is a consumer.
    pub(super) fn have_consumers(&self) -> bool {
        self.list.iter().any(|slot| slot.info.is_some())
    }

    /// Counts anew who is starting and who was asked to go.
    pub(super) fn count(&mut self) {
        let is_starting = |slot: &&SlotActor<J, O>| slot.state == SlotState::Starting;
        self.starting = self.list.iter().filter(is_starting).count();
        self.leaving = self.list.iter().filter(|slot| slot.is_leaving()).count();
    }

    pub(super) fn has_starting(&self) -> bool {
        self.starting > 0
    }

    pub(super) fn has_leaving(&self) -> bool {
        self.leaving > 0
    }

    /// Whether work can begin: the first jobs wait until every first consumer is up or has failed, so that whoever is up first
    /// does not get them all. A start that takes long holds the others up for no more than [`OPENING`].
    pub(super) fn opens(&mut self, now: impl FnOnce() -> Moment) -> bool {
        if !self.has_opened {
            let now = now();
            let is_awaited =
                |slot: &SlotActor<J, O>| slot.is_first_start() && now.since(slot.since) < OPENING;
            self.has_opened = !self.list.iter().any(is_awaited);
        }
        self.has_opened
    }

    /// This slot has something to be sent.
    #[inline]
    pub(super) fn note_sending(&mut self, slot: SlotId) {
        self.sending.push(slot);
    }

    /// The next slot that has something to be sent.
    pub(super) fn next_sending(&mut self) -> Option<SlotId> {
        self.sending.pop()
    }
}
