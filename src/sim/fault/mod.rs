//! Faults as plain data: what happens, and when.

mod words;

use serde::{Deserialize, Serialize};

use crate::types::Role;

/// The latest time in a plan, and the longest wait, in ms: a day.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

/// A fault: when, and what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it happens.
    pub when: When,
    /// What happens.
    pub kind: FaultKind,
}

/// When a fault happens. The first is the best: a plan whose faults name what they meet shrinks well, since it still means
/// the same when other jobs are taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// When this attempt on this job begins: for an actor of the user, when it is sent to the actor.
    Attempt {
        /// The job, by its place in the plan.
        job: usize,
        /// The attempt, counted from one.
        attempt: u32,
    },
    /// When the slot begins a delivery for the `number`th time.
    Delivery {
        /// The slot, counted from zero.
        slot: u32,
        /// Counted from one.
        number: u32,
    },
    /// At this time, in this slot, if a consumer lives there.
    Slot {
        /// The slot, counted from zero.
        slot: u32,
        /// In ms after the start.
        at_ms: u64,
    },
    /// At this time.
    Time {
        /// In ms after the start.
        at_ms: u64,
    },
}

/// What happens. The columns say which [`When`] can be had.
///
/// | fault | attempt, delivery | slot | time |
/// |---|---|---|---|
/// | `Panic`, `Hang`, `Block`, `Slow`, `CrashArbiter` | yes | yes | no |
/// | `PanicAfterWork`, `Error`, `Failpoint`, `LoseSettle`, `RepeatSettle`, `DelaySettle`, `EchoSettle` | yes | no | no |
/// | `RepeatDelivery` | attempt only | no | no |
/// | `Crash`, `Disconnect`, `ClockJump`, `Freeze`, `NoThreads`, `HostEnd`, `ProcessEnd`, `FailedCommit`, `SecondOpener`, `LinkLost`, `LaneRevoked` | yes | no | yes |
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// The consumer panics before the work. Its code is not at work then, so its cell ends it as after a panic, and nothing is
    /// unwound; at a `Failpoint` a panic unwinds the consumer's own code.
    Panic,
    /// The consumer panics after the work and before it says so: the effects will be repeated.
    PanicAfterWork,
    /// The consumer panics where its code says `failpoint!(place)`, within this delivery.
    Failpoint {
        /// The place.
        place: String,
    },
    /// The consumer reports a failure.
    Error,
    /// The consumer waits for ever. Its thread is free.
    Hang,
    /// The consumer blocks its thread, and everyone on it. If it was given up meanwhile, it comes back as a zombie: it goes on
    /// to its next `await`, and hears there that its life is over.
    Block {
        /// For so long.
        ms: u64,
    },
    /// The consumer takes longer.
    Slow {
        /// By so much.
        ms: u64,
    },
    /// The arbiter of the slot ends, and with it everyone who lives there.
    CrashArbiter,
    /// One of the group's own actors panics.
    Crash {
        /// Which.
        role: Role,
    },
    /// What the consumer says of this delivery does not arrive.
    LoseSettle,
    /// It arrives twice.
    RepeatSettle,
    /// It arrives late.
    DelaySettle {
        /// By so much.
        ms: u64,
    },
    /// It arrives, and once more later: when the job may be at its next attempt already.
    EchoSettle {
        /// By so much later.
        ms: u64,
    },
    /// The source delivers the job twice, as brokers do.
    RepeatDelivery,
    /// The queue answers nobody for a while.
    Disconnect {
        /// For so long.
        ms: u64,
    },
    /// The clock jumps ahead, as when a machine was suspended: whatever became due meanwhile happens in the order of its times.
    ClockJump {
        /// By so much.
        ms: u64,
    },
    /// The process stands still, as in a debugger or on a busy host, and the clock goes on. Then its threads come back one
    /// after the other, in an order that the seed shuffles.
    Freeze {
        /// For so long.
        ms: u64,
    },
    /// No thread and no descriptor is left: no arbiter can be made. Those that are there go on.
    NoThreads {
        /// For so long.
        ms: u64,
    },
    /// The arbiter under the group ends, and with it everyone of the group who lives there: the end of the group. Consumers on
    /// other arbiters learn of it later.
    HostEnd,
    /// The process ends at once, as by `kill -9` or when the power fails: nobody is told anything, and of a durable queue's
    /// file there is what was synced, and perhaps some of what was written later. Then the program is started again, over the
    /// same queue. Only where the queue is durable: another one loses its jobs, and promises nothing else.
    ProcessEnd,
    /// The next commits of a durable queue fail: the disk is full.
    FailedCommit {
        /// So many.
        times: u32,
    },
    /// Another process wants the file of a durable queue, and takes it as soon as its lock is free.
    SecondOpener {
        /// For so long.
        ms: u64,
    },
    /// The link to a remote queue breaks: every lease ends, and of what was under way nobody knows whether it arrived.
    LinkLost {
        /// For so long.
        ms: u64,
    },
    /// A remote queue gives a lane to somebody else, and gets it back.
    LaneRevoked {
        /// Which, counted from zero; there are three.
        lane: u32,
        /// How long what has begun may go on; 0: its leases are over at once.
        within_ms: u64,
        /// For so long after that.
        ms: u64,
    },
}

/// A plan that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct PlanError {
    /// Where: `faults[3]`.
    pub place: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl When {
    /// The time, if it is one.
    pub fn at_ms(self) -> Option<u64> {
        match self {
            Self::Slot { at_ms, .. } | Self::Time { at_ms } => Some(at_ms),
            Self::Attempt { .. } | Self::Delivery { .. } => None,
        }
    }
}

impl Fault {
    pub(super) fn check(
        &self,
        place: impl Fn() -> String,
        jobs: usize,
        consumers: usize,
    ) -> Result<(), PlanError> {
        let wrong = |problem: String| {
            Err(PlanError {
                place: place(),
                problem,
            })
        };
        match self.when {
            When::Attempt { job, .. } if job >= jobs => {
                return wrong(format!(
                    "there is no job {job}; the plan has {jobs}, counted from 0"
                ));
            }
            When::Attempt { attempt: 0, .. } => return wrong("attempts are counted from 1".into()),
            When::Delivery { number: 0, .. } => return wrong("deliveries are counted from 1".into()),
            When::Delivery { slot, .. } | When::Slot { slot, .. } if slot as usize >= consumers => {
                return wrong(format!(
                    "there is no slot {slot}; the group has {consumers}, counted from 0"
                ));
            }
            _ => {}
        }
        if let Some(at_ms) = self.when.at_ms() {
            within(at_ms, "at_ms", &place)?;
        }
        match self.kind {
            FaultKind::Block { ms }
            | FaultKind::Slow { ms }
            | FaultKind::DelaySettle { ms }
            | FaultKind::EchoSettle { ms }
            | FaultKind::Disconnect { ms }
            | FaultKind::ClockJump { ms }
            | FaultKind::Freeze { ms }
            | FaultKind::NoThreads { ms }
            | FaultKind::SecondOpener { ms }
            | FaultKind::LinkLost { ms } => within(ms, "ms", &place)?,
            FaultKind::LaneRevoked { within_ms, ms, .. } => {
                within(within_ms, "within_ms", &place)?;
                within(ms, "ms", &place)?;
            }
            _ => {}
        }
        match self.kind.needs(self.when) {
            None => Ok(()),
            Some(needs) => wrong(format!("`{}` {needs}", self.kind)),
        }
    }
}

pub(super) fn within(ms: u64, what: &str, place: impl Fn() -> String) -> Result<(), PlanError> {
    if ms > LONGEST_MS {
        return Err(PlanError {
            place: place(),
            problem: format!("`{what}` is {ms}; at most {LONGEST_MS}, a day, can be had"),
        });
    }
    Ok(())
}

impl FaultKind {
    /// What this kind needs and `when` does not give.
    fn needs(&self, when: When) -> Option<&'static str> {
        let in_delivery = matches!(when, When::Attempt { .. } | When::Delivery { .. });
        match self {
            Self::Panic | Self::Hang | Self::Block { .. } | Self::Slow { .. } | Self::CrashArbiter => {
                (!in_delivery && !matches!(when, When::Slot { .. }))
                    .then_some("needs a consumer: give an attempt, a delivery or a slot")
            }
            Self::Crash { .. }
            | Self::Disconnect { .. }
            | Self::ClockJump { .. }
            | Self::Freeze { .. }
            | Self::NoThreads { .. }
            | Self::HostEnd
            | Self::ProcessEnd
            | Self::FailedCommit { .. }
            | Self::SecondOpener { .. }
            | Self::LinkLost { .. }
            | Self::LaneRevoked { .. } => matches!(when, When::Slot { .. })
                .then_some("concerns no slot: give a time, an attempt or a delivery"),
            Self::RepeatDelivery => (!matches!(when, When::Attempt { .. })).then_some("needs an attempt"),
            _ => (!in_delivery).then_some("needs a delivery: give an attempt or a delivery"),
        }
    }

    /// Whether it is one of the file of a durable queue.
    pub(super) fn is_of_a_file(&self) -> bool {
        matches!(
            self,
            Self::ProcessEnd | Self::FailedCommit { .. } | Self::SecondOpener { .. }
        )
    }

    /// Whether it is one of the link to a remote queue.
    pub(super) fn is_of_a_link(&self) -> bool {
        matches!(self, Self::LinkLost { .. } | Self::LaneRevoked { .. })
    }
}
