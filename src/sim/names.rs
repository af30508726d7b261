//! Names: which job of the plan is called so in the group. The world of a run asks several times for each delivery, and so does
//! the checker.

use crate::types::JobId;

/// Names of jobs and their places in the plan, in the order of the names.
#[derive(Default)]
pub(super) struct Names(Vec<(u128, usize)>);

impl Names {
    /// The place of the job of this name.
    pub(super) fn place(&self, name: JobId) -> Option<usize> {
        let found = self.search(name).ok()?;
        self.0.get(found).map(|(_, place)| *place)
    }

    /// The job at this place is called so. A name that is known already stays with its job.
    pub(super) fn add(&mut self, name: JobId, place: usize) {
        // Names grow with the time, so it mostly goes to the end.
        if let Err(index) = self.search(name) {
            self.0.insert(index, (name.as_uuid().as_u128(), place));
        }
    }

    fn search(&self, name: JobId) -> Result<usize, usize> {
        let number = name.as_uuid().as_u128();
        self.0.binary_search_by_key(&number, |(name, _)| *name)
    }
}
