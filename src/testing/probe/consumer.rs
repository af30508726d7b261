//! The consumer that does what its probe tells it.

use std::fmt;
use std::future::pending;

use super::*;
use crate::protocol::{Consumer, ConsumerInfo, Delivery};
use crate::types::Failure;

/// A consumer that acts by the script of its [`Probe`] and writes down what it sees.
pub struct ProbeConsumer<J> {
    pub(super) probe: Probe<J>,
}

impl<J> fmt::Debug for ProbeConsumer<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeConsumer").finish_non_exhaustive()
    }
}

impl<J: Clone + Send + Sync + 'static> Consumer for ProbeConsumer<J> {
    type Job = J;
    type Output = Seen<J>;

    async fn started(&mut self, consumer: &ConsumerInfo) -> Result<(), Failure> {
        let mut fails = false;
        self.probe.note(|notes| {
            fails = notes.starts_to_fail > 0;
            notes.starts_to_fail = notes.starts_to_fail.saturating_sub(1);
            if !fails {
                notes.lives.push((consumer.slot, consumer.incarnation));
            }
        });
        if fails {
            return Err(Failure::retry("the probe was told not to start"));
        }
        Ok(())
    }

    async fn consume(&mut self, delivery: &Delivery<'_, J>) -> Result<Seen<J>, Failure> {
        let seen = Seen {
            job: delivery.job().clone(),
            id: delivery.id(),
            key: delivery.key().cloned(),
            attempt: delivery.attempt(),
            slot: delivery.slot(),
            incarnation: delivery.incarnation(),
            token: delivery.token(),
        };
        let mut line = Line::begin(&self.probe, &seen);
        let mut act = self.probe.act(&seen.job, seen.attempt);
        while let Act::Wait(gate, then) = act {
            gate.pass().await;
            act = *then;
        }
        let failure = match act {
            Act::Ack | Act::Wait(..) => {
                line.end = Step::Acked;
                return Ok(seen);
            }
            Act::Fail => Failure::retry("the probe was told to fail"),
            Act::FailAfter(delay) => Failure::retry_after(delay, "the probe was told to fail"),
            Act::Reject => Failure::reject("the probe was told to reject"),
            Act::Panic => panic_as_told(),
            Act::Hang => pending().await,
        };
        line.end = Step::Failed;
        Err(failure)
    }
}

// A probe that is told to panic has to; the cell around it catches the panic as it would catch that of a user's consumer.
#[allow(clippy::panic)]
fn panic_as_told() -> ! {
    panic!("the probe was told to panic")
}

/// Writes the end of a delivery however it ends.
struct Line<J: Clone> {
    probe: Probe<J>,
    seen: Seen<J>,
    end: Step,
}

impl<J: Clone> Line<J> {
    fn begin(probe: &Probe<J>, seen: &Seen<J>) -> Self {
        let line = Self {
            probe: probe.clone(),
            seen: seen.clone(),
            end: Step::Dropped,
        };
        line.write(Step::Began);
        line
    }

    fn write(&self, step: Step) {
        let seen = self.seen.clone();
        self.probe.note(|notes| notes.log.push(Entry { step, seen }));
    }
}

impl<J: Clone> Drop for Line<J> {
    fn drop(&mut self) {
        self.write(self.end);
    }
}
