//! What can be wrong with the file of a queue, and why an opening fails.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use crate::types::{ConfigError, WriteFailure};

/// Why the file of a queue could not be opened, read or written. Its text says everything, the cause as well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Another queue, here or in another process, has the file open.
    #[error("another process, or another queue of this one, has it open; it is free once that one has ended")]
    InUse,
    /// The disk, the folder or the permissions are in the way.
    #[error("{0}{cure}", cure = cure(.0.kind()))]
    Io(#[from] io::Error),
    /// There is something, and it was never a queue. It is left as it is.
    #[error("it is no queue but {0}; it was left as it is, and the queue needs a path of its own")]
    NotAQueue(OtherFile),
    /// The file is a queue, and a part of it that is needed cannot be read.
    #[error("the file is damaged: {what}; keep it, and go on with a copy of it or at another path")]
    Damaged {
        /// What was found.
        what: &'static str,
        /// What the storage engine under the queue said about it, if it was the one that found it. It speaks of pages and
        /// trees: no part of the text, and no cause.
        engine: Option<EngineWords>,
    },
    /// The file is no longer where it was when it was opened.
    #[error(
        "the file was moved away, deleted or replaced while it was open; nothing is written until it is back in its place"
    )]
    Moved,
    /// Somebody who does not respect the lock has written to the file.
    #[error(
        "another program has written to the file while it was open; this queue writes no more, open the file again"
    )]
    TakenOver,
}

/// What a file is that is no queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherFile {
    /// It has no bytes.
    Empty,
    /// A folder.
    Folder,
    /// A pipe, a socket or a device.
    Special,
    /// Its first bytes are not those of a queue.
    SomethingElse,
    /// A database of the same engine, without the tables of a queue or of a version that no queue ever had.
    OtherDatabase,
}

impl fmt::Display for OtherFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Folder => "a folder",
            Self::Special => "a pipe, a socket or a device",
            Self::SomethingElse => "a file of something else",
            Self::OtherDatabase => "the database of another program",
        })
    }
}

/// What the storage engine said. For whoever looks into damage; the queue's own errors say what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineWords(pub(super) String);

impl fmt::Display for EngineWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the storage engine: {}", self.0)
    }
}

impl Error for EngineWords {}

impl FileError {
    pub(super) fn damaged(what: &'static str) -> Self {
        Self::Damaged { what, engine: None }
    }

    /// Damage that the engine has found.
    pub(super) fn found(what: &'static str, engine: String) -> Self {
        let engine = Some(EngineWords(engine));
        Self::Damaged { what, engine }
    }

    /// The kind of trouble, for a refusal that must be small.
    pub(super) fn failure(&self) -> WriteFailure {
        match self {
            Self::InUse => WriteFailure::Disk(io::ErrorKind::ResourceBusy),
            Self::Io(error) => WriteFailure::Disk(error.kind()),
            Self::NotAQueue(_) | Self::Damaged { .. } => WriteFailure::Damaged,
            Self::Moved => WriteFailure::Moved,
            Self::TakenOver => WriteFailure::TakenOver,
        }
    }
}

/// What helps, where that can be told from the kind.
fn cure(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "; the folder of a queue must exist, and so must a file that is only looked into"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; the file and its folder must be writable for the user of this process"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "; the disk needs room"
        }
        _ => "",
    }
}

/// Why a queue could not be opened. What is in the file is not touched.
#[derive(Debug, thiserror::Error)]
#[error("the queue {path} could not be opened: {reason}", path = path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub reason: OpenErrorReason,
}

/// What stood in the way of an opening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenErrorReason {
    /// The file, the disk, or another owner.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file was written by another version of this crate.
    #[error(
        "its format is version {found}, and this program knows version {known}; open it with a program of the version that wrote it"
    )]
    Format {
        /// The version of the file.
        found: u64,
        /// The one that this program knows.
        known: u64,
    },
    /// The file was written with another codec.
    #[error(
        "its payloads are written by the codec {found:?}, and not by {wanted:?}; open it with that codec"
    )]
    Codec {
        /// The codec of the file.
        found: String,
        /// The codec that was asked for.
        wanted: &'static str,
    },
    /// A value of the configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no thread for it.
    #[error("the thread that writes could not be started: {0}; the process needs room for one thread more")]
    Thread(#[source] io::Error),
}

impl OpenErrorReason {
    /// The thread has gone without an answer, which is a fault of this crate.
    pub(super) fn died() -> Self {
        Self::Thread(io::Error::other("it ended before it had opened the file"))
    }
}
