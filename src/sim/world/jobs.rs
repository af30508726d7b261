//! The jobs of a run: what they are called in the group, and which of them have no end yet.

use crate::sim::names::Names;
use crate::words::JobId;

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
}

impl Jobs {
    pub(super) fn new(count: usize) -> Self {
        Self {
            ids: vec![None; count],
            names: Names::default(),
            is_open: vec![false; count],
            open: 0,
            expected: None,
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

    /// Takes the names out.
    pub(super) fn take_ids(&mut self) -> Vec<Option<JobId>> {
        std::mem::take(&mut self.ids)
    }
}
