//! redb under guard: what it says in the words of the queue, and its panics as errors.

use std::io;

use crate::durable::error::FileError;
use crate::types::caught;

/// Damaged pages can make the engine panic; to the queue that is damage like any other.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, FileError> {
    caught(work).map_err(|said| FileError::found("its parts contradict each other", said.to_string()))
}

/// Something of the engine that is left behind where it would be dropped by a panic. Its drop takes locks that the panic may
/// have poisoned; a second panic would end the process. The database that it belongs to is left behind as well.
pub(super) struct Kept<T>(Option<T>);

impl<T> Kept<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(super) fn get(&mut self) -> Result<&mut T, FileError> {
        self.0.as_mut().ok_or_else(contradiction)
    }

    pub(super) fn take(&mut self) -> Result<T, FileError> {
        self.0.take().ok_or_else(contradiction)
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

pub(super) fn contradiction() -> FileError {
    FileError::damaged("it does not hold as many records as it says")
}

/// What an error of the engine means for the file.
pub(super) fn meaning(error: impl Into<redb::Error>) -> FileError {
    const UNFIT: &str = "what is in it does not fit together";
    match error.into() {
        // No disk says so: it is what was found in a page before redb saw it.
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            FileError::found(UNFIT, error.to_string())
        }
        redb::Error::Io(error) => FileError::Io(error),
        redb::Error::DatabaseAlreadyOpen => FileError::InUse,
        redb::Error::TableDoesNotExist(_) => {
            FileError::damaged("a part of it that every queue has is missing")
        }
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => FileError::Io(io::Error::other(
            "the disk failed before, and the file has to be opened again",
        )),
        other => FileError::found(UNFIT, other.to_string()),
    }
}
