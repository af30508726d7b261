//! The watermark of a partition: everything below it is done.
//!
//! ```text
//! offsets    41 42 43 44 45 46 47 48 49
//!             ✓  ✓  ·  ✓  ✓  ·  ✓            ✓ done   · at work
//!                   ▲              ▲
//!              watermark: 43    delivered up to here
//! ```
//!
//! Only what was delivered counts: transactions and compacted topics leave gaps between the offsets, and nothing waits for an
//! offset at which there is nothing.

use std::collections::VecDeque;

/// A job between its delivery and the moment when the watermark passes it.
#[derive(Debug)]
struct Slot<T> {
    offset: i64,
    bytes: usize,
    /// None once it is done.
    job: Option<T>,
}

/// The jobs of one partition, in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Watermark<T> {
    /// From the oldest one that is not done. Its bound is kept by whoever delivers: see `Flow`.
    slots: VecDeque<Slot<T>>,
    /// The number of the oldest slot. Numbers count deliveries and wrap; a slot keeps its number.
    first: u32,
    /// The number of the next job that was not leased. Never before `first`.
    next: u32,
    /// Where reading goes on if nothing is at work.
    end: i64,
    /// Jobs that are not done, and their bytes.
    unfinished: usize,
    bytes: usize,
    /// Of those, the ones from `next` on.
    ready: usize,
}

impl<T> Watermark<T> {
    /// Nothing was delivered, and reading begins at this offset.
    pub(crate) fn starting_at(offset: i64) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            next: 0,
            end: offset,
            unfinished: 0,
            bytes: 0,
            ready: 0,
        }
    }

    /// A job has come. `None`, with the job, if its offset was delivered before: an offset is never delivered twice.
    pub(crate) fn deliver(&mut self, offset: i64, bytes: usize, job: T) -> Option<T> {
        if offset < self.end {
            return Some(job);
        }
        self.push(offset, bytes, Some(job));
        (self.unfinished, self.bytes, self.ready) = (self.unfinished + 1, self.bytes + bytes, self.ready + 1);
        None
    }

    /// What stands at this offset is done already.
    pub(crate) fn pass(&mut self, offset: i64) {
        if offset >= self.end {
            self.push(offset, 0, None);
            self.advance();
        }
    }

    fn push(&mut self, offset: i64, bytes: usize, job: Option<T>) {
        self.slots.push_back(Slot { offset, bytes, job });
        self.end = offset.saturating_add(1);
    }

    /// The oldest job that was not leased, with its number. It is leased from here on.
    pub(crate) fn lease(&mut self) -> Option<(u32, &T)> {
        while self.ready > 0 {
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            let place = number.wrapping_sub(self.first) as usize;
            // After a `take_back` there are done ones among them.
            if self.slots.get(place).is_some_and(|slot| slot.job.is_some()) {
                self.ready -= 1;
                return self.job(number).map(|job| (number, job));
            }
        }
        None
    }

    /// Every job that was leased and is not done can be leased again, in order. Returns how many there were.
    pub(crate) fn take_back(&mut self) -> usize {
        let leased = self.leased();
        (self.next, self.ready) = (self.first, self.unfinished);
        leased
    }

    /// The job of this number, if it is leased or waits for that.
    pub(crate) fn job(&self, number: u32) -> Option<&T> {
        self.slots.get(self.place(number)?)?.job.as_ref()
    }

    /// The job of this number, to be changed.
    pub(crate) fn job_mut(&mut self, number: u32) -> Option<&mut T> {
        let place = self.place(number)?;
        self.slots.get_mut(place)?.job.as_mut()
    }

    /// The leased job at an offset, to be changed.
    pub(crate) fn at_offset(&mut self, offset: i64) -> Option<&mut T> {
        let place = self
            .slots
            .binary_search_by_key(&offset, |slot| slot.offset)
            .ok()?;
        let is_leased = u32::try_from(place).is_ok_and(|place| place < self.next.wrapping_sub(self.first));
        self.slots.get_mut(place).filter(|_| is_leased)?.job.as_mut()
    }

    /// A leased job is done. `None` if there is none of this number: then nothing has changed.
    pub(crate) fn done(&mut self, number: u32) -> Option<T> {
        let place = self.place(number)?;
        let slot = self.slots.get_mut(place)?;
        let job = slot.job.take()?;
        self.unfinished -= 1;
        self.bytes -= slot.bytes;
        self.advance();
        Some(job)
    }

    /// The place in the window of a leased job. A number that has left the window is past its end, since numbers wrap.
    fn place(&self, number: u32) -> Option<usize> {
        let place = number.wrapping_sub(self.first);
        (place < self.next.wrapping_sub(self.first)).then_some(place as usize)
    }

    fn advance(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.job.is_none()) {
            self.slots.pop_front();
            // The pointer to what is leased next does not stay behind.
            if self.next == self.first {
                self.next = self.next.wrapping_add(1);
            }
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Where reading would have to begin for nothing to be lost: the offset to commit. It never goes back, since offsets come
    /// in order and what is done stays done.
    pub(crate) fn position(&self) -> i64 {
        self.slots.front().map_or(self.end, |slot| slot.offset)
    }

    /// The offset after everything that was delivered.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// The oldest job that is not done: the one that holds the watermark.
    pub(crate) fn oldest(&self) -> Option<(i64, &T)> {
        let slot = self.slots.front()?;
        slot.job.as_ref().map(|job| (slot.offset, job))
    }

    /// How many jobs stand between the watermark and the end, done or not.
    pub(crate) fn width(&self) -> usize {
        self.slots.len()
    }

    /// Jobs that are not done.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Jobs that wait to be leased.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// Jobs that are leased and not done.
    pub(crate) fn leased(&self) -> usize {
        self.unfinished - self.ready
    }

    /// From the watermark on: how many offsets in a row are not done, how many are, and so on, up to the last that is done.
    /// An offset at which there is nothing goes with what stands before it.
    pub(crate) fn runs(&self) -> Runs<'_, T> {
        Runs {
            slots: self.slots.iter(),
            from: self.position(),
            is_done: false,
            end: self.end,
        }
    }
}

/// See [`Watermark::runs`].
pub(crate) struct Runs<'a, T> {
    slots: std::collections::vec_deque::Iter<'a, Slot<T>>,
    /// Where the next run begins.
    from: i64,
    /// Whether what is in it is done.
    is_done: bool,
    /// Where the last run ends.
    end: i64,
}

impl<T> Iterator for Runs<'_, T> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let was_done = self.is_done;
        let until = match self.slots.find(|slot| slot.job.is_none() != was_done) {
            Some(slot) => slot.offset,
            // The last run is told if it is done: what is not told is not done anyway.
            None if was_done => self.end,
            None => return None,
        };
        self.is_done = !was_done;
        let run = until.saturating_sub(self.from).unsigned_abs();
        self.from = until;
        Some(run)
    }
}
