//! Where malformed lines go: a file of JSON lines, or the standard error stream.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use consumer_group::{DeadLetter, DeadReason};
use serde_json::json;

use crate::parser::ParseJob;

/// Malformed lines are written as they come: in the order of the file for one consumer, nearly so for many.
pub(crate) enum DeadFile {
    File(BufWriter<File>),
    Stderr,
}

impl DeadFile {
    pub(crate) fn write(&mut self, letter: &DeadLetter<ParseJob>) -> io::Result<()> {
        let line = &letter.job.payload().line;
        let reason = match &letter.reason {
            DeadReason::Rejected(words) => words.to_string(),
            // The whole history: such a line may have done harm.
            _ => letter.to_string(),
        };
        match self {
            Self::File(file) => {
                let text = String::from_utf8_lossy(&line.text);
                writeln!(
                    file,
                    "{}",
                    json!({ "line": line.number, "reason": reason, "text": text })
                )
            }
            Self::Stderr => writeln!(io::stderr(), "line {} {reason}", line.number),
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stderr => Ok(()),
        }
    }
}
