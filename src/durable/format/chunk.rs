//! Chunks: jobs that were accepted together, in one record; and the mark that says what became of them.

use super::bytes::{Damage, Reader, checksum, seal, unseal};

const CHUNK: u8 = 1;
const MARK: u8 = 1;

/// Jobs that go into one record.
#[derive(Default)]
pub(in crate::durable) struct ChunkWriter {
    lengths: Vec<(u32, u32)>,
    bodies: Vec<u8>,
}

impl ChunkWriter {
    pub(in crate::durable) fn with_room(jobs: usize, bytes: usize) -> Self {
        Self {
            lengths: Vec::with_capacity(jobs),
            bodies: Vec::with_capacity(bytes),
        }
    }

    /// Adds the bytes of a job.
    pub(in crate::durable) fn add(&mut self, body: &[u8]) {
        self.lengths.push((body.len() as u32, checksum(body)));
        self.bodies.extend_from_slice(body);
    }

    /// The record: version, number of jobs, length and checksum of each, the checksum of all this, the jobs.
    pub(in crate::durable) fn finish(self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.bodies.len() + self.lengths.len() * 8 + 9);
        record.push(CHUNK);
        record.extend_from_slice(&(self.lengths.len() as u32).to_le_bytes());
        for (length, sum) in self.lengths {
            record.extend_from_slice(&length.to_le_bytes());
            record.extend_from_slice(&sum.to_le_bytes());
        }
        seal(&mut record);
        record.extend_from_slice(&self.bodies);
        record
    }
}

/// Reads a chunk: the bytes of each job, or what is wrong with them. One damaged job does not take its neighbours along.
///
/// # Errors
/// The head of the chunk is damaged: then nothing is known of its jobs.
pub fn read_chunk(record: &[u8]) -> Result<Vec<Result<&[u8], Damage>>, Damage> {
    let mut reader = Reader(record);
    reader.version(CHUNK)?;
    let jobs = reader.u32()? as usize;
    let head = jobs
        .checked_mul(8)
        .and_then(|head| head.checked_add(5))
        .ok_or(Damage::Short)?;
    let (sealed, bodies) = record
        .split_at_checked(head.saturating_add(4))
        .ok_or(Damage::Short)?;
    let mut head = Reader(unseal(sealed)?);
    head.take(5)?;
    let mut bodies = Reader(bodies);
    let mut found = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        let (length, sum) = (head.u32()? as usize, head.u32()?);
        found.push(match bodies.take(length) {
            Ok(body) if checksum(body) == sum => Ok(body),
            Ok(_) => Err(Damage::Checksum),
            Err(damage) => Err(damage),
        });
    }
    Ok(found)
}

/// What became of the jobs of a chunk. A few bytes, so it can be written again with every settle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// The priority of all its jobs.
    pub priority: u8,
    /// How many jobs it has.
    pub jobs: u32,
    /// How many of them, from the first on, have been leased.
    pub leased: u32,
    /// The bytes of its jobs.
    pub bytes: u32,
    /// A bit for each job that is gone: done, dead, or in a record of its own. Empty if none is.
    pub gone: Vec<u64>,
}

impl Mark {
    /// Whether the job at this place is gone.
    pub fn is_gone(&self, place: u32) -> bool {
        self.gone
            .get(place as usize / 64)
            .is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }

    /// Notes that the job at this place is gone. False if it was so before.
    pub(in crate::durable) fn set_gone(&mut self, place: u32) -> bool {
        if self.gone.is_empty() {
            self.gone = vec![0; (self.jobs as usize).div_ceil(64)];
        }
        let Some(bits) = self.gone.get_mut(place as usize / 64) else {
            return false;
        };
        let was = *bits;
        *bits |= 1 << (place % 64);
        was != *bits
    }

    /// How many jobs are left.
    pub fn left(&self) -> u32 {
        let gone: u32 = self.gone.iter().map(|bits| bits.count_ones()).sum();
        self.jobs.saturating_sub(gone)
    }

    pub(in crate::durable) fn write(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(18 + self.gone.len() * 8);
        record.extend_from_slice(&[MARK, self.priority]);
        for number in [self.jobs, self.leased, self.bytes] {
            record.extend_from_slice(&number.to_le_bytes());
        }
        for bits in &self.gone {
            record.extend_from_slice(&bits.to_le_bytes());
        }
        seal(&mut record);
        record
    }

    /// Reads a mark.
    ///
    /// # Errors
    /// The bytes are no mark.
    pub fn read(record: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader(unseal(record)?);
        reader.version(MARK)?;
        let priority = reader.u8()?;
        let (jobs, leased, bytes) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let words = (jobs as usize).div_ceil(64);
        let gone = match reader.0.len() {
            0 => Vec::new(),
            length if length == words * 8 => {
                (0..words).map(|_| reader.u64()).collect::<Result<Vec<_>, _>>()?
            }
            _ => return Err(Damage::Short),
        };
        if leased > jobs {
            return Err(Damage::Value);
        }
        Ok(Self {
            priority,
            jobs,
            leased,
            bytes,
            gone,
        })
    }
}
