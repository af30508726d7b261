//! When fetching pauses, and when it goes on. Two marks, since a pause throws away what was fetched ahead: it begins at the
//! upper one and ends at the lower one.

/// How much is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Jobs.
    pub(crate) jobs: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

/// A switch with two marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    most: Level,
    is_paused: bool,
}

impl Flow {
    /// Flows until one of these is reached, and then again once both are at half.
    pub(crate) fn new(most: Level) -> Self {
        let is_paused = false;
        Self { most, is_paused }
    }

    /// Whether it is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// This much is there now. `Some` if the switch turned: true for a pause.
    pub(crate) fn turn(&mut self, level: Level) -> Option<bool> {
        let (jobs, bytes) = (self.most.jobs, self.most.bytes);
        let pauses = match self.is_paused {
            false => level.jobs >= jobs || level.bytes >= bytes,
            true => level.jobs > jobs / 2 || level.bytes > bytes / 2,
        };
        (pauses != self.is_paused).then(|| {
            self.is_paused = pauses;
            pauses
        })
    }
}
