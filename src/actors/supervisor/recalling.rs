//! No job waits for a consumer that does not move while another one has room.
//!
//! A look at the consumers that hold something, while another one has room and nothing waits for that room: so never in a
//! group that is full, nor in one that rests. Who has not moved for two targets of the window (2 ms) loses what it has not
//! begun. That takes no word of the consumer's, so it works also while its thread is blocked: the mark of each job decides.
//!
//! The same look lets an urgent job through where nobody has room. While a consumer moves on, that one will have room in a
//! moment. If none does, what they have not begun is taken back from all of them, and the first that ends the job in its hand
//! says so and gets the urgent one. With strict affinity an urgent job waits for its own consumer, and only what that one has
//! not begun makes way for it.
//!
//! What is in the mailbox of an actor stays there: nobody but the actor can take it out, and it may look at several deliveries
//! side by side. Only what is parked for an actor goes elsewhere.

use std::time::Duration;

use actix::{AsyncContext, Context};

use super::Supervisor;
use crate::protocol::ConsumerAddr;
use crate::rules::ledger::Recalled;
use crate::types::{
    DeliveryNumber, EventKind, JobId, JobRef, JobView, Moment, Places, Priority, SlotId, Ticket,
};

/// For how many targets of the window a consumer may stand still.
const TARGETS: u32 = 2;

/// How much time a look at one slot may take of the time between two looks: with ten thousand slots a look every 5 ms.
const EACH_SLOT: Duration = Duration::from_nanos(500);

/// The shortest time between two looks, which is what timers can tell apart.
const SHORTEST: Duration = Duration::from_millis(1);

/// What a look found.
#[derive(Default)]
struct Found {
    /// Who has not moved for long.
    still: Vec<SlotId>,
    /// Who moves.
    moving: Vec<SlotId>,
    /// When the next one has not moved for long, if it goes on like that.
    next: Option<Moment>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Makes sure that a look is due while there is something to take back and somebody who has room for it.
    pub(super) fn keep_recalling(&mut self, context: &mut Context<Self>) {
        if self.looks.recall_is_planned || !self.could_recall() {
            return;
        }
        self.plan_recall(SHORTEST, context);
    }

    /// Whether somebody has room for what another one holds, or an urgent job may have to wait for what has not begun.
    fn could_recall(&self) -> bool {
        let has_room = self.group.recalls && self.ledger.may_recall();
        has_room || (self.ledger.has_urgent() && !self.ledger.is_held_up())
    }

    fn plan_recall(&mut self, wait: Duration, context: &mut Context<Self>) {
        self.looks.recall_is_planned = true;
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let pause = wait.max(SHORTEST).max(EACH_SLOT.saturating_mul(slots));
        context.run_later(pause, |this, context| {
            this.looks.recall_is_planned = false;
            this.take_settles();
            if this.could_recall() {
                this.recall(context);
            }
            // What this look left where it is needs no other one before somebody says a word: a consumer may hold what it has
            // begun for days.
            let is_planned = std::mem::replace(&mut this.looks.recall_is_planned, true);
            this.turn(context);
            this.looks.recall_is_planned = is_planned;
        });
    }

    fn recall(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let found = self.find_still(now);
        let is_for_room =
            self.group.recalls && self.ledger.may_recall() && self.ledger.room_beside(&found.still) > 0;
        let makes_way = !is_for_room && self.all_make_way(&found);
        for &slot in &found.still {
            if is_for_room || makes_way || self.makes_way(slot, &found.moving) {
                let recalled = self.take_unbegun(slot, self.ledger.recallable(slot), usize::MAX);
                self.note_recalled(slot, &recalled);
                self.ledger.recalled(slot, &recalled, &mut self.effects);
            }
        }
        for &slot in &found.still {
            self.take_excess(slot, is_for_room, true);
        }
        for &slot in &found.moving {
            self.take_excess(slot, is_for_room, false);
        }
        // Whoever stands still and keeps what it has began it all, or nobody else has room; any word of anybody brings the next
        // look. So the timer is only for those whose time is not over.
        if let Some(next) = found.next {
            self.plan_recall(next.since(now), context);
        }
    }

    /// What a consumer holds beyond its window goes back if others have room for it, and one more if an urgent job waits for this
    /// room.
    fn take_excess(&mut self, slot: SlotId, is_for_room: bool, is_still: bool) {
        let excess = self.ledger.excess(slot);
        let parked = self.ledger.urgent_parked_at(slot);
        let waits = self
            .ledger
            .urgent_without_room()
            .filter(|_| is_still || excess > 0);
        let (all, most) = match parked.max(waits) {
            Some(urgent) => (self.ledger.less_urgent_at(slot, urgent), excess + 1),
            None if is_for_room && excess > 0 => (self.ledger.recallable(slot), excess),
            None => return,
        };
        let recalled = self.take_unbegun(slot, all, most);
        self.note_recalled(slot, &recalled);
        self.ledger.take_back(slot, &recalled, &mut self.effects);
    }

    /// Whether all that has not begun makes way for an urgent job: nobody has room and none moves, so nobody knows who will be
    /// the first to end what it has in hand.
    fn all_make_way(&self, found: &Found) -> bool {
        let at_these = found.still.iter().filter_map(|slot| self.urgent_at(*slot));
        let most_urgent = at_these.max().max(self.ledger.urgent_without_room());
        let mut still = found.still.iter();
        self.group.recalls
            && found.moving.is_empty()
            && most_urgent
                .is_some_and(|urgent| still.any(|slot| self.ledger.holds_less_urgent(*slot, urgent)))
    }

    /// Whether what has not begun makes way at a consumer that stands still, so that the urgent job that lies with it comes to
    /// one that moves, before what that one holds.
    fn makes_way(&self, slot: SlotId, moving: &[SlotId]) -> bool {
        let mut moving = moving.iter();
        self.group.recalls
            && self
                .urgent_at(slot)
                .is_some_and(|urgent| moving.any(|slot| self.ledger.holds_less_urgent(*slot, urgent)))
    }

    /// How urgent the most urgent job is that waits for this consumer, or lies with it and has not begun.
    fn urgent_at(&self, slot: SlotId) -> Option<Priority> {
        let may_begin = |job: &JobRef<J>, number| job.view().begun().may_begin(number);
        self.ledger
            .urgent_held_at(slot, may_begin)
            .max(self.ledger.urgent_parked_at(slot))
    }

    fn find_still(&mut self, now: Moment) -> Found {
        let limit = self.group.config.window.target.saturating_mul(TARGETS);
        let mut found = Found::default();
        for (id, slot) in self.slots.iter_mut() {
            let Some(info) = slot.info.as_ref().filter(|_| self.ledger.can_recall_from(id)) else {
                continue;
            };
            if info.heartbeat.is_resting(now) {
                continue;
            }
            if slot.moves.look(now, info.heartbeat.moved(), true) >= limit {
                found.still.push(id);
                continue;
            }
            found.moving.push(id);
            found.next = found.next.into_iter().chain(slot.moves.due(limit)).min();
        }
        found
    }

    /// Takes back up to `most` of these deliveries, from the last one on; those that have begun stay.
    fn take_unbegun(&self, slot: SlotId, all: Recalled, most: usize) -> Recalled {
        let mut taken = Recalled::default();
        if !matches!(self.slots.get(slot).address, Some(ConsumerAddr::Shell(_))) {
            return taken;
        }
        let is_taken = |job: Option<JobView<'_, J>>, number| {
            job.is_some_and(|job| job.begun().recall(number) || self.ledger.recalls_begun(number))
        };
        let mut left = most;
        for (ticket, first, places) in all.pieces.into_iter().rev() {
            let mut unbegun = Places::NONE;
            if let Some(block) = self.ledger.block(ticket) {
                for place in places.iter().collect::<Vec<_>>().into_iter().rev() {
                    let number = first.at(place);
                    if left > 0 && (is_taken(JobView::in_block(block, place), number)) {
                        unbegun.add(Places::only(place));
                        left -= 1;
                    }
                }
            }
            if !unbegun.is_empty() {
                taken.pieces.push((ticket, first, unbegun));
            }
        }
        for ticket in all.entries.into_iter().rev() {
            let number = self.ledger.number_of(ticket);
            let job = self.ledger.job(ticket).map(JobRef::view);
            if left > 0 && number.is_some_and(|number| is_taken(job, number)) {
                taken.entries.push(ticket);
                left -= 1;
            }
        }
        taken.entries.reverse();
        taken.pieces.reverse();
        taken
    }

    /// What goes back is told, and may expire while it waits for the next consumer.
    fn note_recalled(&mut self, slot: SlotId, recalled: &Recalled) {
        for &ticket in &recalled.entries {
            self.note_expiry(ticket);
        }
        if !self.group.bus.wants_jobs() {
            return;
        }
        for &(ticket, first, places) in &recalled.pieces {
            if let Some(block) = self.ledger.block(ticket) {
                for place in places.iter() {
                    self.tell_recalled(block.id(place), slot, first.at(place));
                }
            }
        }
        for &ticket in &recalled.entries {
            if let (Some(job), Some(number)) = (self.job_id(ticket), self.ledger.number_of(ticket)) {
                self.tell_recalled(job, slot, number);
            }
        }
    }

    pub(super) fn tell_recalled(&self, job: JobId, slot: SlotId, number: DeliveryNumber) {
        self.group.bus.tell(EventKind::Recalled {
            job,
            slot,
            incarnation: self.ledger.incarnation(slot),
            number,
        });
    }

    /// A consumer looked at a delivery that it must not begin. After a recall this is the word that it moves again, and as a
    /// word on the delivery it is late, rightly. Else the source delivered the job twice and the other delivery has begun: this
    /// one goes back.
    pub(super) fn not_begun_there(&mut self, slot: SlotId, ticket: Ticket, number: DeliveryNumber) {
        if self.ledger.not_begun_there(ticket, number, &mut self.effects) == Ok(())
            && self.group.bus.wants_jobs()
            && let Some(job) = self.job_id(ticket)
        {
            self.tell_recalled(job, slot, number);
        }
    }
}
