//! The first consumer: parses one line.

use consumer_group::{Consumer, Delivery, Failure};

use crate::lines::{LONGEST, Line};
use crate::record::{self, Format, Record};

/// What the reader of lines sends.
#[derive(Debug)]
pub(crate) struct ParseJob {
    pub(crate) line: Line,
    pub(crate) format: Format,
    /// Whether the first attempt panics, as ordered by the user.
    pub(crate) panics: bool,
}

/// What comes back.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) record: Record,
    /// The attempt that did it, for the report.
    pub(crate) attempt: u32,
}

/// Keeps nothing between two lines, so nothing is lost when it dies.
#[derive(Debug)]
pub(crate) struct Parser;

impl Consumer for Parser {
    type Job = ParseJob;
    type Output = Parsed;

    async fn consume(&mut self, delivery: &Delivery<'_, ParseJob>) -> Result<Parsed, Failure> {
        let ParseJob { line, format, panics } = delivery.job();
        if *panics && delivery.attempt() == 1 {
            happen();
        }
        if line.is_cut {
            return Err(Failure::reject(format!("is longer than {LONGEST} bytes")));
        }
        // A malformed line stays malformed, however often it is tried.
        let record = record::parse(*format, &line.text).map_err(Failure::reject)?;
        Ok(Parsed {
            record,
            attempt: delivery.attempt(),
        })
    }
}

#[allow(
    clippy::panic,
    reason = "to show what a panic does is the purpose of --panic-every"
)]
fn happen() {
    panic!("ordered by --panic-every");
}
