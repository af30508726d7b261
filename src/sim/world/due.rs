//! Which faults meet which delivery.

use crate::sim::fault::When;
use crate::sim::plan::Plan;
use crate::types::SlotId;

/// The faults of a plan that wait for a delivery, by their places in it.
#[derive(Default)]
pub(super) struct Due {
    /// Job, attempt and fault, in order.
    by_attempt: Vec<(usize, u32, usize)>,
    /// Slot, number of the delivery there and fault, in the order of the plan.
    by_delivery: Vec<(u32, u32, usize)>,
    /// Deliveries that each slot began.
    begun: Vec<u32>,
}

impl Due {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut due = Self {
            by_attempt: Vec::with_capacity(plan.faults.len()),
            ..Self::default()
        };
        for (index, fault) in plan.faults.iter().enumerate() {
            match fault.when {
                When::Attempt { job, attempt } => due.by_attempt.push((job, attempt, index)),
                When::Delivery { slot, number } => due.by_delivery.push((slot, number, index)),
                When::Slot { .. } | When::Time { .. } => {}
            }
        }
        due.by_attempt.sort_unstable();
        due
    }

    /// The faults of this attempt on a job, in the order of the plan.
    pub(super) fn at_attempt(&self, job: usize, attempt: u32) -> impl Iterator<Item = usize> {
        let first = self
            .by_attempt
            .partition_point(|(of, nth, _)| (*of, *nth) < (job, attempt));
        let behind = self.by_attempt.get(first..).unwrap_or_default();
        let here = behind
            .iter()
            .take_while(move |(of, nth, _)| (*of, *nth) == (job, attempt));
        here.map(|(.., fault)| *fault)
    }

    /// A slot begins a delivery; the answer is its number there, counted from one.
    pub(super) fn begins(&mut self, slot: SlotId) -> u32 {
        let place = slot.0 as usize;
        if self.begun.len() <= place {
            self.begun.resize(place + 1, 0);
        }
        self.begun.get_mut(place).map_or(0, |begun| {
            *begun += 1;
            *begun
        })
    }

    /// The faults of the delivery of this number to a slot, in the order of the plan.
    pub(super) fn at_delivery(&self, slot: SlotId, number: u32) -> impl Iterator<Item = usize> {
        let here = move |(of, nth, _): &&(u32, u32, usize)| (*of, *nth) == (slot.0, number);
        self.by_delivery.iter().filter(here).map(|(.., fault)| *fault)
    }
}
