//! The consumer: reads a file and computes its SHA-256.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use consumer_group::{Consumer, Delivery, Failure, SlotId};
use sha2::{Digest, Sha256};

/// How much of a file is read at once. Small enough that a consumer gives its thread back many times a second.
const CHUNK: usize = 64 * 1024;

/// For how long a blocked consumer blocks.
const BLOCK: Duration = Duration::from_secs(60);

/// What the producer sends.
#[derive(Debug)]
pub(crate) struct FileJob {
    pub(crate) path: PathBuf,
    /// What shall go wrong in the first attempt.
    pub(crate) fault: Option<Fault>,
}

/// What can be ordered to go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// A panic.
    Panic,
    /// The thread does not come back for a minute.
    Block,
}

/// What the producer gets back.
#[derive(Debug)]
pub(crate) struct Hashed {
    pub(crate) path: PathBuf,
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: u64,
    /// Who did it, and in which attempt; for the report.
    pub(crate) slot: SlotId,
    pub(crate) attempt: u32,
}

/// A consumer. The group makes one for each slot, and a new one whenever one has died.
#[derive(Debug)]
pub(crate) struct Hasher {
    chunk: Vec<u8>,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self {
            chunk: vec![0; CHUNK],
        }
    }
}

impl Consumer for Hasher {
    type Job = FileJob;
    type Output = Hashed;

    async fn consume(&mut self, delivery: &Delivery<'_, FileJob>) -> Result<Hashed, Failure> {
        let job = delivery.job();
        if let (1, Some(fault)) = (delivery.attempt(), job.fault) {
            happen(fault);
        }
        let mut file = open(&job.path).map_err(verdict)?;
        let mut sum = Sha256::new();
        let mut bytes = 0;
        loop {
            // Whoever was given up on (it was blocked too long) need not finish: its word counts for nothing.
            if delivery.is_fenced() {
                return Err(Failure::retry("this consumer was replaced"));
            }
            let read = read(&mut file, &mut self.chunk).map_err(verdict)?;
            if read.is_empty() {
                break;
            }
            sum.update(read);
            bytes += read.len() as u64;
            // A large file takes long and is well: the deadline starts anew with each chunk. Then the thread is given
            // back for a moment, so that timers run and the neighbours on it get their turn.
            delivery.extend();
            tokio::task::yield_now().await;
        }
        Ok(Hashed {
            path: job.path.clone(),
            digest: sum.finalize().into(),
            bytes,
            slot: delivery.slot(),
            attempt: delivery.attempt(),
        })
    }
}

#[allow(
    clippy::panic,
    reason = "to show what a panic does is the purpose of --panic-every"
)]
fn happen(fault: Fault) {
    match fault {
        Fault::Panic => panic!("ordered by --panic-every"),
        Fault::Block => std::thread::sleep(BLOCK),
    }
}

/// Opens a regular file. The walk saw one here, but that was a while ago; opening a pipe instead would block for ever.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(
            ErrorKind::InvalidInput,
            "is no regular file any more",
        ))
    }
}

fn read<'a>(file: &mut File, chunk: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match file.read(chunk) {
            Ok(length) => return Ok(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether it makes sense to try again: a file that is gone or forbidden stays so, a device or a network may recover.
pub(crate) fn verdict(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput => Failure::reject(error),
        _ => Failure::retry(error),
    }
}
