//! The jobs of a run: what they are called in the group, and which of them have no end yet.

use crate::sim::names::Names;
use crate::types::{JobId, Priority};

/// The jobs of a plan, by their places in it.
#[derive(Default)]
pub(super) struct Jobs {
    /// The name of each job that was accepted.
    ids: Vec<Option<JobId>>,
    names: Names,
    /// Whether each job was accepted and has no end.
    is_open: Vec<bool>,
    open: usize,
    /// The job that is being sent.
    pub(super) expected: Option<usize>,
    /// The name that each job got when it was sent, whether or not it was accepted.
    sent_as: Vec<Option<JobId>>,
    /// Whether a sender or a queue has ended: then a job may be in a file of which nobody was told.
    may_be_in_doubt: bool,
    /// How urgent each job was when it was sent, whatever came of it; what the plan says is only a wish.
    sent: Vec<Option<Priority>>,
    /// Calls whose callers were not answered.
    pub(super) calls: usize,
}

impl Jobs {
    pub(super) fn new(count: usize) -> Self {
        Self {
            ids: vec![None; count],
            names: Names::default(),
            is_open: vec![false; count],
            open: 0,
            expected: None,
            sent_as: vec![None; count],
            may_be_in_doubt: false,
            sent: vec![None; count],
            calls: 0,
        }
    }

    /// This job is sent now.
    pub(super) fn send(&mut self, place: usize, priority: Priority) {
        self.expected = Some(place);
        if let Some(sent) = self.sent.get_mut(place) {
            *sent = Some(priority);
        }
    }

    /// This job has its name, and may be accepted from here on.
    pub(super) fn name(&mut self, place: usize, name: JobId) {
        if let Some(sent_as) = self.sent_as.get_mut(place) {
            *sent_as = Some(name);
        }
    }

    /// Whether this job was sent.
    pub(super) fn is_sent(&self, place: usize) -> bool {
        self.sent.get(place).is_some_and(Option::is_some)
    }

    /// Whoever wrote the word on the jobs that are being sent has ended, or whoever waited for it.
    pub(super) fn leave_in_doubt(&mut self) {
        self.may_be_in_doubt = true;
    }

    /// Whoever sent jobs, and waited for outcomes, has ended.
    pub(super) fn forget_senders(&mut self) {
        self.leave_in_doubt();
        (self.expected, self.calls) = (None, 0);
    }

    /// A job of this name is delivered. If nobody was told that it was accepted, it was all the same.
    pub(super) fn is_delivered(&mut self, name: JobId) {
        if self.may_be_in_doubt
            && self.place(name).is_none()
            && let Some(place) = self.sent_as.iter().position(|of| *of == Some(name))
        {
            self.accept(place, name);
        }
    }

    /// The place of the job of this name.
    pub(super) fn place(&self, name: JobId) -> Option<usize> {
        self.names.place(name)
    }

    /// The job at this place is called so from here on, and is open.
    pub(super) fn accept(&mut self, place: usize, name: JobId) {
        let (Some(id), Some(is_open)) = (self.ids.get_mut(place), self.is_open.get_mut(place)) else {
            return;
        };
        *id = Some(name);
        self.open += usize::from(!std::mem::replace(is_open, true));
        self.names.add(name, place);
    }

    /// Whether the job at this place has its name.
    pub(super) fn is_named(&self, place: usize) -> bool {
        self.ids.get(place).is_some_and(Option::is_some)
    }

    /// The job of this name has come to its end.
    pub(super) fn close(&mut self, name: JobId) {
        if let Some(is_open) = self.place(name).and_then(|place| self.is_open.get_mut(place)) {
            self.open -= usize::from(std::mem::take(is_open));
        }
    }

    /// Whether no job is open.
    pub(super) fn are_done(&self) -> bool {
        self.open == 0
    }

    /// The places of the open jobs.
    pub(super) fn open(&self) -> Vec<usize> {
        let open = self.is_open.iter().enumerate().filter(|(_, is_open)| **is_open);
        open.map(|(place, _)| place).collect()
    }

    /// Takes the names out, with the priorities.
    pub(super) fn take_sent(&mut self) -> Vec<(Option<JobId>, Priority)> {
        let priorities = std::mem::take(&mut self.sent);
        let priorities = priorities.into_iter().map(Option::unwrap_or_default);
        std::mem::take(&mut self.ids)
            .into_iter()
            .zip(priorities)
            .collect()
    }
}
