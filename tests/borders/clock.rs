//! The clock: time in which nobody ran is nobody's fault, a hang is found when its deadline passes, and no span of time is
//! too short or too long for any setting or call.

mod extremes;
mod freeze;
