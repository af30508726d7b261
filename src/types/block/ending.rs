//! How the jobs of a block end, or leave it, and what becomes of its memory.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::{Block, Terms};
use crate::types::few::Few;
use crate::types::place::Place;
use crate::types::{Moment, Places};

impl<J> Block<J> {
    /// The ways of these jobs in the block have ended.
    pub(crate) fn end(&self, places: Places) {
        if !std::mem::needs_drop::<J>() {
            return;
        }
        let is_last = |place: &u8| self.place(*place).is_some_and(Place::let_go);
        let mut without_holders = Places::NONE;
        for place in places.iter().filter(is_last) {
            without_holders.add(Places::only(place));
        }
        if !without_holders.is_empty() {
            // One for all of them, since it costs as much as the rest: either this look finds no reader, or the reader finds no
            // holder. See `sweep`.
            fence(Ordering::SeqCst);
            let jobs = without_holders.iter().filter_map(|place| self.place(place));
            jobs.for_each(Place::clear);
        }
    }

    /// Drops what was let go while somebody read it. For whoever read it and was given up on meanwhile, after the last read.
    ///
    /// The one who let go lowered the count of holders first and looked for readers then; here the lock was given back first and the
    /// holders are counted now. Between both steps stands a fence on either side, so at least one of the two sees the other.
    pub(crate) fn sweep(&self, places: Places) {
        if std::mem::needs_drop::<J>() {
            fence(Ordering::SeqCst);
            let jobs = places.iter().filter_map(|place| self.place(place));
            jobs.for_each(Place::sweep);
        }
    }

    /// Takes the payload at this place for its only holder. None if somebody else holds or reads it; a payload without a
    /// destructor stays while anybody else holds the block.
    pub(in crate::types) fn take(self: &mut Arc<Self>, place: u8) -> Option<J> {
        match Arc::get_mut(self) {
            Some(block) => block.jobs.get_mut(usize::from(place))?.take_alone(),
            None => self.place(place)?.take(),
        }
    }

    /// A block of its own for the job at this place, whose payload was taken out. No delivery of it has begun there.
    pub(in crate::types) fn alone(&self, place: u8, payload: J) -> Self {
        let mut wishes = self.wishes().cloned().unwrap_or_default();
        wishes.expires_at = self.expires_at(place);
        let (payload, key) = (Place::new(payload), self.key(place).cloned());
        if let Some(arrival) = self.arrival(place) {
            let keys = key.into_iter().collect();
            return Self::of_arrivals(vec![payload], keys, wishes, vec![arrival.clone()]);
        }
        Self::of_place((self.id(place), self.reply_to()), payload, key, wishes)
    }

    /// For another group: what was to come `then`, by the clock of its own, is as far away `now`, by that of the other, and
    /// nobody waits for an outcome.
    pub(in crate::types) fn move_to_group(&mut self, then: Moment, now: Moment) {
        if let Some(Terms { wishes, reply_to, .. }) = self.terms.as_deref_mut() {
            *reply_to = None;
            let moved = |moment: Moment| now.after(moment.since(then));
            wishes.not_before = wishes.not_before.map(moved);
            wishes.expires_at = wishes.expires_at.map(moved);
            if wishes.not_before.or(wishes.expires_at).is_some() {
                wishes.since = now;
            }
        }
    }

    /// Whether the jobs say nothing that only their own group understands: a moment, or who waits for the outcome.
    pub(in crate::types) fn is_bound_to_no_group(&self) -> bool {
        self.reply_to().is_none() && self.not_before().is_none() && self.expiry().is_none()
    }

    /// Every job of the block has ended: its memory is used again, if nobody else holds it. Drops what is left in it.
    pub(crate) fn recycle(mut self: Arc<Self>) {
        if let Some(block) = Arc::get_mut(&mut self)
            && let Few::Many(jobs) = &mut block.jobs
            && let Some(terms) = &mut block.terms
            && let Some(spares) = terms.spares.take()
        {
            if std::mem::needs_drop::<J>() {
                jobs.clear();
            } else {
                // Nothing in them is to be dropped, and that is not to be looked at for each.
                jobs.drain(..).for_each(std::mem::forget);
            }
            terms.keys.clear();
            *terms.no_longer_expire.get_mut() = 0;
            spares.put(self);
        }
    }
}
