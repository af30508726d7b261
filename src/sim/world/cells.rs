//! The cells of a run and the arbiters in which they live.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use crate::protocol::faults::{Marks, Order, Who};
use crate::types::{Cause, Role, SlotId};

/// A cell.
pub(super) struct Room {
    who: Who,
    arbiter: Option<u64>,
    /// Set at its first poll.
    waker: Option<Waker>,
    /// Which faults hold it up: it is not polled, but hears that it was ended.
    frozen: Vec<usize>,
    /// An order for its next poll.
    once: Option<Order>,
    /// What it can see of this without asking: whether it must ask, and whether it blocks its arbiter.
    marks: Arc<Marks>,
    /// Whether it comes back from blocking its arbiter: it goes on before it hears that it was ended.
    comes_back: bool,
}

/// A thread: that of an arbiter, or `None` for the one on which the group was started.
pub(super) type Thread = Option<u64>;

#[derive(Default)]
struct House {
    has_ended: bool,
    /// The faults that block it, with the cell in which each of them does.
    blocked: Vec<(usize, u64)>,
}

/// The cells by their numbers, and the arbiters by theirs. Both are counted from 0 and never used again within a run.
#[derive(Default)]
pub(super) struct Rooms {
    cells: Vec<Option<Room>>,
    /// Where those live that have no arbiter of their own: the arbiter on which the group was started.
    host: House,
    houses: Vec<House>,
    /// The threads that stand still, with the faults that stopped them.
    still: Vec<(usize, Thread)>,
}

impl Rooms {
    /// A cell is made.
    pub(super) fn add(&mut self, who: Who, arbiter: Option<u64>, marks: Arc<Marks>) -> u64 {
        self.cells.push(Some(Room {
            who,
            arbiter,
            waker: None,
            frozen: Vec::new(),
            once: None,
            marks,
            comes_back: false,
        }));
        self.cells.len() as u64 - 1
    }

    /// A cell has ended. What it left is to be dropped without the lock: there is a waker in it.
    #[must_use]
    pub(super) fn remove(&mut self, cell: u64) -> Option<Room> {
        self.cells.get_mut(usize::try_from(cell).ok()?)?.take()
    }

    fn get(&self, cell: u64) -> Option<&Room> {
        self.cells.get(usize::try_from(cell).ok()?)?.as_ref()
    }

    fn get_mut(&mut self, cell: u64) -> Option<&mut Room> {
        self.cells.get_mut(usize::try_from(cell).ok()?)?.as_mut()
    }

    fn live(&self) -> impl Iterator<Item = &Room> {
        self.cells.iter().flatten()
    }

    /// Who lives there.
    pub(super) fn who(&self, cell: u64) -> Option<Who> {
        self.get(cell).map(|room| room.who)
    }

    /// The cell of the present consumer of a slot.
    pub(super) fn consumer_in(&self, slot: SlotId) -> Option<u64> {
        self.last(|who| matches!(who, Who::Consumer(of, _) if of == slot))
    }

    /// The cell of the present actor of a role.
    pub(super) fn role(&self, role: Role) -> Option<u64> {
        self.last(|who| who == Who::Role(role))
    }

    /// The youngest cell of such a one.
    fn last(&self, is_wanted: impl Fn(Who) -> bool) -> Option<u64> {
        let is_such = |room: &Option<Room>| room.as_ref().is_some_and(|room| is_wanted(room.who));
        self.cells.iter().rposition(is_such).map(|cell| cell as u64)
    }

    /// What a cell shall do instead of being polled. Keeps the waker, to wake it when that changes.
    pub(super) fn order_of(&mut self, cell: u64, waker: &Waker) -> Order {
        let arbiter = self.get(cell).and_then(|room| room.arbiter);
        let is_blocked = self.house(arbiter).is_some_and(|house| !house.blocked.is_empty())
            || (arbiter.is_none() && self.host.has_ended)
            || self.still.iter().any(|(_, thread)| *thread == arbiter);
        let Some(room) = self.get_mut(cell) else {
            return Order::Go;
        };
        if !room.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            room.waker = Some(waker.clone());
        }
        if is_blocked {
            return Order::WaitDeaf;
        }
        if let Some(order) = room.once.take() {
            return order;
        }
        if !room.frozen.is_empty() {
            return Order::Wait;
        }
        if std::mem::take(&mut room.comes_back) {
            return Order::GoFirst;
        }
        room.marks.asks.store(false, Ordering::Relaxed);
        Order::Go
    }

    /// Gives a cell an order for its next poll, which comes at once.
    pub(super) fn give(&mut self, cell: u64, order: Order) {
        if let Some(room) = self.get_mut(cell) {
            room.once = Some(order);
            room.mark();
            room.wake();
        }
    }

    /// A fault holds this cell up.
    pub(super) fn freeze(&mut self, cell: u64, fault: usize) {
        if let Some(room) = self.get_mut(cell) {
            room.frozen.push(fault);
            room.mark();
        }
    }

    /// This fault holds nothing up any more. What no other one holds up goes on.
    pub(super) fn thaw(&mut self, fault: usize) {
        for room in self.cells.iter_mut().flatten() {
            let count = room.frozen.len();
            room.frozen.retain(|of| *of != fault);
            if room.frozen.is_empty() && count > 0 {
                room.wake();
            }
        }
        let arbiters = 0..self.houses.len() as u64;
        for thread in arbiters.map(Some).chain([None]) {
            self.unblock(thread, fault);
        }
    }

    fn unblock(&mut self, thread: Thread, fault: usize) {
        let Some(house) = self.house_mut(thread) else {
            return;
        };
        let Some(index) = house.blocked.iter().position(|(of, _)| *of == fault) else {
            return;
        };
        let (_, cell) = house.blocked.swap_remove(index);
        let is_free = house.blocked.is_empty();
        let comes_back = house.blocked.iter().all(|(_, of)| *of != cell);
        if let Some(room) = self.get_mut(cell)
            && comes_back
        {
            room.marks.blocks.store(false, Ordering::Relaxed);
            room.comes_back = true;
            room.mark();
        }
        if is_free {
            self.live()
                .filter(|room| room.arbiter == thread)
                .for_each(Room::wake);
        }
    }

    /// Blocks the thread of a cell. One without an arbiter takes all of the group's own actors along.
    pub(super) fn block(&mut self, cell: u64, fault: usize) -> Option<()> {
        let room = self.get(cell)?;
        let thread = room.arbiter;
        room.marks.blocks.store(true, Ordering::Relaxed);
        self.house_mut(thread)?.blocked.push((fault, cell));
        self.live()
            .filter(|room| room.arbiter == thread)
            .for_each(Room::mark);
        Some(())
    }

    /// Every thread stands still from here on. The answer names them.
    pub(super) fn stand_still(&mut self, fault: usize) -> Vec<Thread> {
        let arbiters = (0..).zip(&self.houses).filter(|(_, house)| !house.has_ended);
        let threads: Vec<Thread> = std::iter::once(None)
            .chain(arbiters.map(|(arbiter, _)| Some(arbiter)))
            .collect();
        self.still.extend(threads.iter().map(|thread| (fault, *thread)));
        self.live().for_each(Room::mark);
        threads
    }

    /// A thread that this fault stopped goes on.
    pub(super) fn go_on(&mut self, fault: usize, thread: Thread) {
        self.still.retain(|still| *still != (fault, thread));
        self.live()
            .filter(|room| room.arbiter == thread)
            .for_each(Room::wake);
    }

    /// A new host, on which nobody lives yet. The cells of the old one are gone, or are about to go.
    pub(super) fn begin_again(&mut self) {
        self.host = House::default();
        self.still.clear();
    }

    /// The arbiter on which the group was started ends. Nobody there is polled any more; whoever runs it drops them.
    pub(super) fn end_host(&mut self) {
        self.host.has_ended = true;
        self.live()
            .filter(|room| room.arbiter.is_none())
            .for_each(Room::mark);
    }

    /// Ends the arbiter of a cell and everyone in it.
    pub(super) fn crash_home(&mut self, cell: u64) -> Option<()> {
        let arbiter = self.get(cell)?.arbiter?;
        self.houses.get_mut(usize::try_from(arbiter).ok()?)?.has_ended = true;
        let neighbours = self.cells.iter_mut().flatten();
        for room in neighbours.filter(|room| room.arbiter == Some(arbiter)) {
            room.once = Some(Order::End(Cause::ArbiterEnded));
            room.mark();
            room.wake();
        }
        Some(())
    }

    /// A new arbiter.
    pub(super) fn add_home(&mut self) -> u64 {
        self.houses.push(House::default());
        self.houses.len() as u64 - 1
    }

    /// Whether an arbiter still takes consumers.
    pub(super) fn home_lives(&self, arbiter: u64) -> bool {
        self.house(Some(arbiter)).is_some_and(|house| !house.has_ended)
    }

    fn house(&self, thread: Thread) -> Option<&House> {
        match thread {
            None => Some(&self.host),
            Some(arbiter) => self.houses.get(usize::try_from(arbiter).ok()?),
        }
    }

    fn house_mut(&mut self, thread: Thread) -> Option<&mut House> {
        match thread {
            None => Some(&mut self.host),
            Some(arbiter) => self.houses.get_mut(usize::try_from(arbiter).ok()?),
        }
    }
}

impl Room {
    /// The cell asks before its next poll.
    fn mark(&self) {
        self.marks.asks.store(true, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
