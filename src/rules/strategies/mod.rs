//! Strategies as pure choosers: which consumer gets a job.
//!
//! A [`Chooser`] runs inside the stock strategy actor. Whoever needs more (a clock, a remote service, state that others
//! change) writes an actor of their own against the strategy protocol.

use crate::words::{JobId, KeyHash, Priority, Roster, SlotId};

/// What a strategy knows about a job. It never sees the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AssignJob {
    /// The job.
    pub id: JobId,
    /// The hash of its key, if it has one.
    pub key: Option<KeyHash>,
    /// How urgent it is.
    pub priority: Priority,
    /// The attempt that the delivery would be, counted from one.
    pub attempt: u32,
}

/// A strategy's answer for one job.
///
/// | choice | the slot has room | the slot is live and full | no such live slot |
/// |---|---|---|---|
/// | `Slot` | delivered | waits for that very slot | treated as `Hold` and counted |
/// | `Hold` | – | – | offered again in the next round |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The job goes to this slot; if the slot is full, the job waits for it.
    Slot(SlotId),
    /// Nobody now; ask again when something changed.
    Hold,
}

/// A pure strategy: one decision at a time, with no clock and no I/O.
///
/// Ordering: jobs are offered in the order in which they were leased. After each [`Choice::Slot`] the shell notes the
/// placement in the roster, so the next call sees it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a strategy",
    label = "needs `impl Chooser for {Self}`",
    note = "a closure works too: `strategy_fn(|job, roster| roster.next_open(0).and_then(|i| roster.seat(i)).map_or(Choice::Hold, |seat| Choice::Slot(seat.slot)))`"
)]
pub trait Chooser: Send + 'static {
    /// Called before the first choice and after every change of membership or weight.
    fn roster_changed(&mut self, roster: &Roster) {
        let _ = roster;
    }

    /// Chooses a consumer for `job`, or holds it.
    fn choose(&mut self, job: &AssignJob, roster: &Roster) -> Choice;
}

impl Chooser for Box<dyn Chooser> {
    fn roster_changed(&mut self, roster: &Roster) {
        (**self).roster_changed(roster);
    }

    fn choose(&mut self, job: &AssignJob, roster: &Roster) -> Choice {
        (**self).choose(job, roster)
    }
}
