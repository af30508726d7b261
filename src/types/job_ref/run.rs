//! The run: jobs of one block that go one way together.

use std::sync::Arc;

use super::{JobRef, JobView};
use crate::types::{Block, JobId, Places};

/// Jobs of one block that go one way together: one at least.
#[derive(Debug)]
pub struct Run<J> {
    /// The block.
    pub block: Arc<Block<J>>,
    /// Which of its jobs.
    pub places: Places,
}

impl<J> Run<J> {
    /// Others of the jobs of this block.
    pub(crate) fn part(&self, places: Places) -> Self {
        Self {
            block: Arc::clone(&self.block),
            places,
        }
    }

    /// How many jobs this is.
    #[allow(clippy::len_without_is_empty, reason = "a run is never empty")]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The names of the jobs, in order.
    pub fn ids(&self) -> impl Iterator<Item = JobId> + '_ {
        self.places.iter().map(|place| self.block.id(place))
    }

    /// Handles of the jobs, in order.
    pub fn handles(&self) -> impl Iterator<Item = JobRef<J>> + '_ {
        let handle = |place| JobRef::in_block(Arc::clone(&self.block), place);
        self.places.iter().map(handle)
    }

    /// The jobs, in order, for somebody who looks at them.
    #[inline]
    pub(crate) fn views(&self) -> impl Iterator<Item = JobView<'_, J>> {
        let (block, jobs) = (&self.block, self.block.jobs());
        self.places.iter().filter_map(move |place| {
            let job = jobs.get(usize::from(place))?;
            Some(JobView { block, place, job })
        })
    }

    /// Drops those payloads whose jobs ended while they were looked at here.
    #[cold]
    pub(crate) fn sweep(&self) {
        self.block.sweep(self.places);
    }

    /// The jobs one by one, in order; their way in the block has ended. Each that nobody else holds gets a block of its own.
    pub fn into_jobs(mut self) -> Vec<JobRef<J>> {
        if self.block.len() == 1 {
            return vec![JobRef::out_of_block(self.block, 0)];
        }
        let places = self.places.both(self.block.places());
        let job = |place| match self.block.take(place) {
            Some(payload) => JobRef::out_of_block(Arc::new(self.block.alone(place, payload)), 0),
            None => JobRef::out_of_block(Arc::clone(&self.block), place),
        };
        places.iter().map(job).collect()
    }
}

impl<J> From<Arc<Block<J>>> for Run<J> {
    fn from(block: Arc<Block<J>>) -> Self {
        let places = block.places();
        Self { block, places }
    }
}

impl<J> From<JobRef<J>> for Run<J> {
    fn from(job: JobRef<J>) -> Self {
        // What holds the job from here on is its way in the block. First that is counted, then the handle goes.
        job.view().job.hold();
        job.as_run()
    }
}
