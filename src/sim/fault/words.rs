//! Faults in words.

use std::fmt;

use super::{Fault, FaultKind, When};
use crate::types::Role;

impl FaultKind {
    /// The name of the kind, without its numbers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::PanicAfterWork => "panic after the work",
            Self::Failpoint { .. } => "failpoint",
            Self::Error => "error",
            Self::Hang => "hang",
            Self::Block { .. } => "blocked thread",
            Self::Slow { .. } => "slow",
            Self::CrashArbiter => "arbiter crash",
            Self::Crash { role: Role::Queue } => "queue crash",
            Self::Crash { role: Role::Strategy } => "strategy crash",
            Self::Crash {
                role: Role::Supervisor,
            } => "supervisor crash",
            Self::Crash { role: Role::Results } => "result queue crash",
            Self::LoseSettle => "lost settle",
            Self::RepeatSettle => "repeated settle",
            Self::DelaySettle { .. } => "delayed settle",
            Self::EchoSettle { .. } => "echo of a settle",
            Self::RepeatDelivery => "repeated delivery",
            Self::Disconnect { .. } => "queue disconnected",
            Self::ClockJump { .. } => "clock jump",
            Self::Freeze { .. } => "frozen process",
            Self::NoThreads { .. } => "no threads left",
            Self::HostEnd => "end of the host",
            Self::ProcessEnd => "end of the process",
            Self::FailedCommit { .. } => "failed commit",
            Self::SecondOpener { .. } => "second opener",
            Self::LinkLost { .. } => "lost link",
            Self::LaneRevoked { .. } => "revoked lane",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Block { ms }
            | Self::Slow { ms }
            | Self::DelaySettle { ms }
            | Self::Disconnect { ms }
            | Self::Freeze { ms }
            | Self::NoThreads { ms }
            | Self::SecondOpener { ms }
            | Self::LinkLost { ms } => {
                write!(f, " for {ms} ms")
            }
            Self::LaneRevoked { lane, within_ms, ms } => {
                write!(f, " {lane} within {within_ms} ms, for {ms} ms")
            }
            Self::EchoSettle { ms } => write!(f, " after {ms} ms"),
            Self::ClockJump { ms } => write!(f, " by {ms} ms"),
            Self::FailedCommit { times } => write!(f, ", {times} times"),
            Self::Failpoint { place } => write!(f, " {place}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt { job, attempt } => write!(f, "job {job}, attempt {attempt}"),
            Self::Delivery { slot, number } => write!(f, "slot {slot}, delivery {number}"),
            Self::Slot { slot, at_ms } => write!(f, "slot {slot}, at {at_ms} ms"),
            Self::Time { at_ms } => write!(f, "at {at_ms} ms"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.when)
    }
}
