//! What gathers while a commit waits for the disk.

use std::ops::Range;

use tokio::sync::oneshot;

use crate::durable::core::Pushing;
use crate::durable::error::FileError;
use crate::durable::state::Needed;
use crate::rules::store::Refusal;
use crate::types::{JobPage, JobQuery, JobRef};

/// Where the bytes of a job are, or why there are none.
pub(super) type Body = Result<Range<usize>, Refusal>;

/// What has gathered for the next commit.
pub(in crate::durable) struct Round<J> {
    pub(super) jobs: Vec<JobRef<J>>,
    /// The bytes of all jobs.
    pub(super) bytes: Vec<u8>,
    /// Where those of each job are, or why there are none.
    pub(super) bodies: Vec<Body>,
    pub(super) pushes: Vec<(Range<usize>, Pushing<J>)>,
    pub(super) needed: Needed,
    /// Pages of jobs that are asked for.
    pub(super) looks: Vec<(JobQuery, oneshot::Sender<Result<JobPage, FileError>>)>,
    pub(super) requests: usize,
}

impl<J> Default for Round<J> {
    fn default() -> Self {
        Self {
            jobs: Vec::new(),
            bytes: Vec::new(),
            bodies: Vec::new(),
            pushes: Vec::new(),
            needed: Vec::new(),
            looks: Vec::new(),
            requests: 0,
        }
    }
}

impl<J> Round<J> {
    /// The jobs from the place `from` on wait for room: they are the first of the next round, in their order.
    pub(super) fn stay(
        &mut self,
        from: usize,
        jobs: Vec<JobRef<J>>,
        (bytes, bodies): (&[u8], Vec<Body>),
        pushes: Vec<(Range<usize>, Pushing<J>)>,
    ) {
        self.jobs = jobs;
        self.pushes = pushes;
        for body in bodies.into_iter().skip(from) {
            let begin = self.bytes.len();
            self.bodies.push(body.map(|range| {
                self.bytes.extend_from_slice(bytes.get(range).unwrap_or_default());
                begin..self.bytes.len()
            }));
        }
    }
}
