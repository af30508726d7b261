//! The thread of a run: one without a runtime, which belongs to the real world again when the run has ended.

use super::run_error::RunError;

use crate::protocol::faults::{self, Present};

/// Does `work`, which makes a runtime, where there is none: here, or on a thread of its own. A second runtime on the thread of
/// another is a panic, and dropping it while that unwinds is one more, which would end the process.
pub(super) fn outside_of_runtimes<T: Send>(
    work: impl FnOnce() -> Result<T, RunError> + Send,
) -> Result<T, RunError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return work();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("simulation".to_owned())
            .spawn_scoped(scope, work)
            .map_err(RunError::Runtime)?;
        // A panic of the definitions is the caller's, as it is without a thread between.
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives the thread back to the real world at the end of a run, also at one by a panic of the user's definitions.
pub(super) struct Leave {
    random: u64,
}

impl Leave {
    pub(super) fn new() -> Self {
        Self {
            random: fastrand::u64(..),
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        faults::note_time(Present::Flows);
        faults::live_elsewhere(None);
        faults::adopt(None);
        faults::forget_cell();
        // The numbers of the run were the seed's; names of jobs that are made on this thread from here on must not be.
        fastrand::seed(self.random);
    }
}
