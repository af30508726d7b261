//! Where the walks over the children stand.

use std::time::Duration;

use super::order::ChildNumber;

/// Where a walk that ends children stands: those with this number and above have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) below: u64,
    pub(super) done: bool,
}

impl Walk {
    pub(super) fn begin() -> Self {
        Self {
            below: u64::MAX,
            done: false,
        }
    }
}

/// Several children are started together: at the beginning, or again after one of them ended.
#[derive(Debug, Clone)]
pub(super) struct Gather {
    /// The eldest of them.
    pub(super) from: ChildNumber,
    pub(super) step: Step,
    /// The child whose end began this, and the wait that it asks for.
    pub(super) after: Option<(ChildNumber, Duration)>,
    pub(super) opening: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Ending(Walk),
    Pausing,
    Starting { next: ChildNumber },
}

impl Gather {
    /// Whether this is the initial start.
    pub(super) fn is_opening(&self) -> bool {
        self.opening
    }

    pub(super) fn waits_for(&self, child: ChildNumber) -> bool {
        matches!(self.step, Step::Pausing) && self.after.is_some_and(|(first, _)| first == child)
    }

    /// Whether the walk that starts children is still to come by this one.
    pub(super) fn comes_by(&self, child: ChildNumber) -> bool {
        match self.step {
            Step::Ending(_) | Step::Pausing => child >= self.from,
            Step::Starting { next } => child >= next,
        }
    }

    pub(super) fn wait_is_over(&mut self) {
        self.step = Step::Starting { next: self.from };
    }
}
