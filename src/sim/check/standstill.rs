//! What a standstill may cost: nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Facts, Judged};
use crate::rules::hang_detector;
use crate::sim::fault::FaultKind;
use crate::sim::history::{History, Occurrence};
use crate::types::{Cause, DeliveryNumber, EventKind, JobId, Moment, Placement, Role, SlotId};

/// What the watcher takes for a timer that is late.
const GRAIN: Duration = Duration::from_millis(2);

/// The deadline of a consumer, or of the strategy, passes while it is awake. Time in which the process stood still, or in which
/// the thread of the supervisor was blocked, is nobody's: in it the one who watches did not run either.
///
/// The time of a consumer begins with its last word on a delivery, or with the first delivery that it got when it held none. When
/// the watcher lost its patience is not in the history, since a consumer whose thread is blocked ends later than that. So
/// what is looked for is a consumer that never was without a word for so long.
pub(super) fn is_nobodys_fault(facts: &Facts<'_>) -> Judged {
    let history = facts.history;
    if !history
        .faults
        .iter()
        .any(|planned| planned.fired.is_some() && stops_the_watch(history, &planned.fault.kind))
    {
        return Ok(());
    }
    let mut still = Still::default();
    let mut slots: BTreeMap<SlotId, Slot> = BTreeMap::new();
    let mut repeated: Vec<usize> = Vec::new();
    for entry in &history.entries {
        let at = entry.at;
        match &entry.what {
            Occurrence::Fired { fault } => still.note(history, *fault, at),
            Occurrence::Worked(attempt) | Occurrence::Failed(attempt) => {
                let slot = slots.entry(attempt.slot).or_default();
                // A zombie's word says nothing of the one that has its place.
                if slot.held.iter().any(|(_, number)| *number == attempt.number) {
                    slot.gets_on(at, &still);
                }
            }
            Occurrence::Group(EventKind::ConsumerDown {
                slot,
                cause: Cause::DeadlinePassed(deadline),
                ..
            }) => {
                let mut found = slots.remove(slot).unwrap_or_default();
                found.gets_on(at, &still);
                if found.longest < *deadline {
                    return Err(format!(
                        "the deadline of {slot} passed at {at}, and it was never awake for more than {} ms without a word",
                        found.longest.as_millis()
                    ));
                }
            }
            // No fault holds a strategy up for itself.
            Occurrence::Group(EventKind::RoleDown {
                role: Role::Strategy,
                cause: Cause::DeadlinePassed(_),
                ..
            }) => {
                return Err(format!(
                    "at {at} the strategy was replaced, which had not been awake"
                ));
            }
            Occurrence::SourceRepeated { job } => repeated.push(*job),
            // One of its deliveries is meant, and nobody knows which: all stay, which charges nobody.
            Occurrence::Group(EventKind::DeadLettered { job, .. })
                if facts.place(*job).is_some_and(|place| repeated.contains(&place)) => {}
            Occurrence::Group(kind) => note(&mut slots, kind, at, &still),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the watcher of consumers does not run while this lasts.
fn stops_the_watch(history: &History, kind: &FaultKind) -> bool {
    match kind {
        FaultKind::ClockJump { .. } | FaultKind::Freeze { .. } => true,
        FaultKind::Block { .. } => history.config.placement == Placement::Local,
        _ => false,
    }
}

/// What the supervisor knows of a slot.
#[derive(Default)]
struct Slot {
    held: Vec<(JobId, DeliveryNumber)>,
    /// Whether all that it held was taken back: it owes a word, that it moves again. That word is not in the history, so this
    /// lasts until it gets a delivery.
    owes: bool,
    /// When it last got on.
    since: Moment,
    /// For how long it was awake at most, held something and did not get on.
    longest: Duration,
}

impl Slot {
    fn gets_on(&mut self, at: Moment, still: &Still) {
        self.held_until(at, still);
        self.since = at;
    }

    /// Up to here it held something and was without a word. That the supervisor hears of the end of a delivery is no word of
    /// the consumer's: it may come long after that one's.
    fn held_until(&mut self, at: Moment, still: &Still) {
        if !self.held.is_empty() || self.owes {
            self.longest = self.longest.max(still.awake(self.since, at));
        }
    }

    /// A delivery of this job has ended. Of one that the source delivered twice nobody knows which one was meant: both stay,
    /// which charges nobody.
    fn lets_go(&mut self, job: JobId, at: Moment, still: &Still) {
        self.held_until(at, still);
        if self.of_job(job) == 1 {
            self.held.retain(|(held, _)| *held != job);
        }
    }

    /// How many deliveries of this job it holds.
    fn of_job(&self, job: JobId) -> usize {
        self.held.iter().filter(|(held, _)| *held == job).count()
    }
}

fn note(slots: &mut BTreeMap<SlotId, Slot>, kind: &EventKind, at: Moment, still: &Still) {
    match kind {
        EventKind::Delivered {
            job, slot, number, ..
        } => {
            let slot = slots.entry(*slot).or_default();
            if slot.held.is_empty() {
                slot.held_until(at, still);
                slot.owes = false;
                slot.since = at;
            }
            slot.held.push((*job, *number));
        }
        EventKind::Recalled { number, slot, .. } => {
            let slot = slots.entry(*slot).or_default();
            slot.held_until(at, still);
            slot.held.retain(|(_, held)| held != number);
            slot.owes = slot.held.is_empty();
        }
        EventKind::Acked { number, slot, .. } => {
            let slot = slots.entry(*slot).or_default();
            slot.held_until(at, still);
            slot.held.retain(|(_, held)| held != number);
        }
        EventKind::Returned { job, slot, .. } => {
            slots.entry(*slot).or_default().lets_go(*job, at, still);
        }
        EventKind::Retried { job, record, .. } => {
            if let Some(slot) = slots.get_mut(&record.slot) {
                slot.lets_go(*job, at, still);
            }
        }
        EventKind::DeadLettered { job, .. } => {
            for slot in slots.values_mut().filter(|slot| slot.of_job(*job) > 0) {
                slot.lets_go(*job, at, still);
            }
        }
        EventKind::ConsumerDown { slot, .. } => drop(slots.remove(slot)),
        EventKind::RoleDown {
            role: Role::Supervisor,
            ..
        } => slots.clear(),
        _ => {}
    }
}

/// When nobody ran, or the supervisor did not.
#[derive(Default)]
struct Still {
    /// In the order of their beginnings. They may overlap.
    times: Vec<(Moment, Moment)>,
    /// When the clock was last moved, and to where.
    jumped: (Moment, Moment),
}

impl Still {
    fn note(&mut self, history: &History, fault: usize, at: Moment) {
        let Some(kind) = history.faults.get(fault).map(|planned| &planned.fault.kind) else {
            return;
        };
        if !stops_the_watch(history, kind) {
            return;
        }
        let (from, ms) = match kind {
            // Of two at one moment the second one begins when the first is over: each moves the clock by itself.
            FaultKind::ClockJump { ms } | FaultKind::Freeze { ms } => {
                let from = if self.jumped.0 == at { self.jumped.1 } else { at };
                self.jumped = (at, from.after(Duration::from_millis(*ms)));
                (from, *ms)
            }
            FaultKind::Block { ms } => (at, *ms),
            _ => return,
        };
        // Of a standstill the watcher sees how late its look is, and it looks this often.
        let unseen = hang_detector::pause(history.config.deadline, hang_detector::LOOKS) + GRAIN;
        let to = from.after(Duration::from_millis(ms).saturating_sub(unseen));
        self.times.push((from, to));
        self.times.sort_unstable();
    }

    /// How much of this time somebody ran.
    fn awake(&self, from: Moment, to: Moment) -> Duration {
        let (mut awake, mut until) = (Duration::ZERO, from);
        for (begin, end) in &self.times {
            awake += (*begin).min(to).since(until);
            until = until.max(*end);
        }
        awake + to.since(until)
    }
}
