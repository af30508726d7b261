//! What is written to the disk, byte for byte. Everything here is pure, and none of it trusts what it reads.
//!
//! Every record begins with its version and has a checksum, because the engine checks its own only after a crash. Numbers are
//! little-endian.

mod bytes;
mod chunk;
mod held;
mod job;
mod record;

pub use bytes::Damage;
pub use chunk::{Mark, read_chunk};
pub use held::Held;
pub use job::JobParts;
pub use record::{Accepted, Dead, Single};

pub(super) use chunk::ChunkWriter;

/// The version of the file's layout. A file of another one is not opened.
pub(super) const FORMAT: u64 = 2;

/// Reads `bytes` as every kind of record there is. For the fuzz target and its test: whatever the bytes are, nothing here
/// panics.
pub fn read_as_everything(bytes: &[u8]) {
    let _ = read_chunk(bytes).map(|jobs| jobs.into_iter().flatten().map(JobParts::read).count());
    let _ = Mark::read(bytes).map(|mark| (mark.left(), mark.is_gone(u32::MAX)));
    let _ = JobParts::read(bytes);
    let _ = Single::read(bytes).map(|single| JobParts::read(single.job).is_ok());
    let _ = Dead::read(bytes).map(|dead| JobParts::read(dead.job).is_ok());
    let _ = Accepted::read(bytes);
    let _ = Held::read(bytes);
}

#[cfg(test)]
mod tests;
