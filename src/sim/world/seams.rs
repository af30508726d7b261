//! What the code of production asks the world at its seams.

use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::{BEGINNING, RunWorld};
use crate::protocol::faults::{
    Act, Fate, Marks, NewHome, Order, Seen, Visitor, Who, World, WorldBroker, WorldDisk,
};
use crate::rules::ledger::Plant;
use crate::sim::fault::FaultKind;
use crate::sim::history::Occurrence;
use crate::types::{DeliveryNumber, Epoch, EventKind, JobId, Moment};

impl World for RunWorld {
    fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    fn plant(&self) -> Option<Plant> {
        self.plant
    }

    fn wall_clock(&self) -> Option<Moment> {
        let is_virtual = self.is_virtual;
        is_virtual.then(|| BEGINNING.after(self.now().since(Moment::START)))
    }

    fn told(&self, kind: &EventKind) {
        let at = self.now();
        let mut state = self.lock();
        state.write(at, Occurrence::Group(kind.clone()));
        let is_news = state.note_event(at, kind);
        drop(state);
        if is_news {
            self.news.notify_one();
        }
    }

    fn cell_made(&self, who: Who, arbiter: Option<u64>, marks: Arc<Marks>) -> u64 {
        self.lock().rooms.add(who, arbiter, marks)
    }

    fn cell_gone(&self, cell: u64) {
        let room = self.lock().rooms.remove(cell);
        // Dropped without the lock: it holds a waker.
        drop(room);
    }

    fn order(&self, cell: u64, waker: &Waker) -> Order {
        self.lock().rooms.order_of(cell, waker)
    }

    fn over(&self, fault: usize) {
        let at = self.now();
        let mut state = self.lock();
        state.rooms.thaw(fault);
        state.without_threads.retain(|of| *of != fault);
        state.disks.let_go();
        state.write(at, Occurrence::Over { fault });
    }

    fn woken_from_outside(&self, who: Who) {
        let actor = match who {
            Who::Role(role) => format!("the {role}"),
            Who::Consumer(slot, incarnation) => format!("the consumer of {slot}, {incarnation}"),
            Who::Unnamed => "an actor".to_owned(),
        };
        self.write(Occurrence::ForeignWake { actor });
    }

    fn begins(&self, seen: Seen, shell: Option<u64>) -> Act {
        let at = self.now();
        let mut state = self.lock();
        let Some(attempt) = state.attempt(&seen) else {
            return Act::Go;
        };
        state.write(at, Occurrence::Begun(attempt));
        state.progress = at;
        let number = state.due.begins(seen.slot);
        let of_attempt = state.due.at_attempt(attempt.job, seen.attempt);
        let of_delivery = state.due.at_delivery(seen.slot, number);
        let due: Vec<usize> = of_attempt.chain(of_delivery).collect();
        if due.is_empty() {
            return Act::Go;
        }
        let cell = shell.or_else(|| state.rooms.consumer_in(seen.slot));
        let in_shell = shell.is_some();
        let mut act = Act::Go;
        let mut afters = Vec::new();
        for fault in due {
            if act != Act::Go {
                break;
            }
            let (next, after) = state.fire(at, fault, cell, Some(seen), in_shell, self.is_virtual);
            act = next;
            afters.push(after);
        }
        drop(state);
        for after in afters {
            self.carry_out(after);
        }
        act
    }

    fn ends(&self, seen: Seen, is_done: bool, shell: Option<u64>) -> Act {
        let at = self.now();
        let mut state = self.lock();
        let Some(attempt) = state.attempt(&seen) else {
            return Act::Go;
        };
        let what = if is_done {
            Occurrence::Worked
        } else {
            Occurrence::Failed
        };
        state.write(at, what(attempt));
        let delivery = seen.delivery();
        state.failpoints.retain(|armed| armed.seen.delivery() != delivery);
        let Some((armed, act)) = state.at_end.remove(&delivery) else {
            return Act::Go;
        };
        match (act, shell) {
            _ if !state.go_off(at, armed) => Act::Go,
            (Act::Panic, Some(cell)) => {
                state.rooms.give(cell, Order::Panic);
                Act::Pause
            }
            (act, _) => act,
        }
    }

    fn settles(&self, epoch: Epoch, number: DeliveryNumber) -> Fate {
        let at = self.now();
        let mut state = self.lock();
        match state.dead_lettered.remove(&(epoch, number)) {
            Some((armed, fate)) if state.go_off(at, armed) => fate,
            _ => Fate::Arrive,
        }
    }

    fn repeats(&self, job: JobId, attempt: u32) -> bool {
        let mut state = self.lock();
        let Some(place) = state.jobs.place(job) else {
            return false;
        };
        let planned = |fault: &usize| {
            state.faults.get(*fault).is_some_and(|planned| {
                planned.fired.is_none() && planned.fault.kind == FaultKind::RepeatDelivery
            })
        };
        let due = state.due.at_attempt(place, attempt).find(planned);
        let Some(fault) = due else { return false };
        let at = self.now();
        state.note_fired(at, fault, None, None);
        if let Some(planned) = state.faults.get_mut(fault) {
            planned.job = Some(place);
        }
        state.write(at, Occurrence::SourceRepeated { job: place });
        true
    }

    fn home_made(&self) -> NewHome {
        if !self.is_virtual {
            return NewHome::Arbiter;
        }
        let at = self.now();
        let mut state = self.lock();
        if state.without_threads.is_empty() {
            return NewHome::Simulated(state.rooms.add_home());
        }
        state.write(at, Occurrence::NoThread);
        NewHome::NothingLeft
    }

    fn home_lives(&self, arbiter: u64) -> bool {
        self.lock().rooms.home_lives(arbiter)
    }

    fn disk(&self, path: &Path) -> Option<Arc<dyn WorldDisk>> {
        if !self.is_virtual {
            return None;
        }
        let disk = self.lock().disks.at(path);
        Some(disk)
    }

    fn broker(&self, make: &dyn Fn() -> Arc<dyn WorldBroker>) -> Arc<dyn WorldBroker> {
        Arc::clone(self.lock().broker.get_or_insert_with(make))
    }

    fn leases_lost(&self, jobs: Vec<JobId>) {
        let at = self.now();
        let mut state = self.lock();
        // A queue that died has lost what was under way, as one whose link breaks.
        state.jobs.leave_in_doubt();
        let jobs: Vec<usize> = jobs.into_iter().filter_map(|job| state.jobs.place(job)).collect();
        if !jobs.is_empty() {
            state.write(at, Occurrence::LeasesLost { jobs });
        }
    }

    fn visited_by(&self, visitor: Visitor) {
        self.lock().disks.visit_by(visitor);
    }

    fn commit_takes(&self) -> Duration {
        self.lock().disks.commit_takes()
    }

    fn fails_at(&self, cell: Option<u64>, place: &str) -> bool {
        let Some(cell) = cell else { return false };
        let mut state = self.lock();
        let is_here = |fault: usize| match state.faults.get(fault).map(|planned| &planned.fault.kind) {
            Some(FaultKind::Failpoint { place: planned }) => planned == place,
            _ => false,
        };
        let found = state
            .failpoints
            .iter()
            .position(|armed| armed.cell == Some(cell) && is_here(armed.fault));
        let Some(index) = found else { return false };
        let armed = state.failpoints.swap_remove(index);
        let at = self.now();
        state.go_off(at, armed)
    }

    fn note(&self, text: String) {
        self.write(Occurrence::Note(text));
    }
}
