//! The bytes under the queue: a file that is locked from its opening to its end.
//!
//! The engine comes and goes (after an error of the disk it has to be opened again); the handle, and with it the lock, stays
//! with the owner. Nothing is ever reached by its path again, so the owner cannot write over a file that came to stand at its
//! path meanwhile.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::error::{FileError, OtherFile};
use super::owner::FileId;

/// Bytes that can be read, written and synced. The seam for faults: what a queue does with a disk, it does through this.
pub(crate) trait Disk: fmt::Debug + Send + Sync + 'static {
    /// How many bytes there are.
    fn len(&self) -> io::Result<u64>;
    /// Fills `into` with the bytes from `offset` on, or fails.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Puts all of `bytes` at `offset`.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts off or appends zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Returns when everything that was written will survive a loss of power.
    fn sync(&self) -> io::Result<()>;
    /// Whether whoever opens the queue's path finds these bytes.
    fn is_in_place(&self) -> bool;
    /// Gives the lock back and takes it again if it is still free: a bug that can be planted.
    fn let_go(&self) {}
    /// Makes a file that was just made survive a loss of power as well, with its name.
    fn sync_name(&self) -> io::Result<()>;
}

/// A locked file. The lock goes with it.
#[derive(Debug)]
pub(super) struct FileDisk {
    file: File,
    path: PathBuf,
    id: Option<FileId>,
    is_read_only: bool,
}

/// What an opening is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be a queue: the file is made if there is none.
    Queue,
    /// To look into a queue that is there, and perhaps to change it. If it may not be written, it is only looked into.
    Look,
}

impl FileDisk {
    /// Opens the file and locks it. A new one is for its owner alone.
    pub(super) fn open(path: &Path, purpose: Purpose) -> Result<Self, FileError> {
        // Before it is opened: opening a pipe waits for somebody at its other end.
        match std::fs::metadata(path) {
            Ok(found) => check_kind(&found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && purpose == Purpose::Queue => {}
            Err(error) => return Err(error.into()),
        }
        let (file, is_read_only) = open(path, purpose)?;
        let found = file.metadata()?;
        check_kind(&found)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::InUse),
            // Without locks, the mark of the owner inside the file is what is left to tell a second one.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(path = %path.display(), "this file system has no locks: a second opener is not kept out");
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(Self {
            id: FileId::of(&found),
            // What is opened later is looked for by the same name, wherever this process then stands.
            path: std::path::absolute(path)?,
            file,
            is_read_only,
        })
    }

    pub(super) fn id(&self) -> Option<FileId> {
        self.id
    }
}

fn open(path: &Path, purpose: Purpose) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
    options.create(purpose == Purpose::Queue);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => Ok((file, false)),
        Err(error)
            if purpose == Purpose::Look
                && matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
        {
            Ok((File::open(path)?, true))
        }
        Err(error) => Err(error),
    }
}

fn check_kind(found: &Metadata) -> Result<(), FileError> {
    if found.is_file() {
        return Ok(());
    }
    Err(FileError::NotAQueue(if found.is_dir() {
        OtherFile::Folder
    } else {
        OtherFile::Special
    }))
}

impl Disk for FileDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(unix)]
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, into, offset)
    }

    #[cfg(not(unix))]
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        use std::io::{Read as _, Seek as _};
        // One thread at a time works with the file, so nobody moves the place in between.
        let mut file = &self.file;
        file.seek(io::SeekFrom::Start(offset))?;
        file.read_exact(into)
    }

    #[cfg(unix)]
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.may_write()?;
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        use std::io::{Seek as _, Write as _};
        self.may_write()?;
        let mut file = &self.file;
        file.seek(io::SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn is_in_place(&self) -> bool {
        // Where the system cannot tell files apart, it is enough that there is one.
        std::fs::metadata(&self.path).is_ok_and(|found| FileId::of(&found) == self.id)
    }

    fn sync_name(&self) -> io::Result<()> {
        #[cfg(unix)]
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl FileDisk {
    fn may_write(&self) -> io::Result<()> {
        if self.is_read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }
}

impl Drop for FileDisk {
    /// Closing the file would do it as well, but not while a child process that was just forked still has a copy.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
