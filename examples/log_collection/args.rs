//! The arguments of the program.

use std::path::PathBuf;

use crate::arguments::{Arguments, at_least_one};
use crate::record::Format;

const HELP: &str = "
Reads log lines, parses them in a consumer group keyed by host, and writes them as JSON lines.

Usage: log_collection [FILE] [OPTIONS]

  FILE               the log; - or nothing is the standard input
  --format FORMAT    what the lines are: json (Logstash JSON lines: time, host, level and message), combined (the access log
                     of Apache and nginx) or auto, which decides for each line: one that begins with a brace is JSON
  --out FILE         where the parsed lines go instead of the standard output; what the file had is replaced
  --dead FILE        where malformed lines go, as JSON lines with number, reason and text; without it they are told on the
                     standard error stream
  --consumers N      how many consumers parse; 4 if nothing is said
  --panic-every N    the first attempt of every Nth line panics in its consumer";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) input: Option<PathBuf>,
    pub(crate) format: Wanted,
    pub(crate) out: Option<PathBuf>,
    pub(crate) dead: Option<PathBuf>,
    pub(crate) consumers: usize,
    pub(crate) panic_every: Option<u64>,
}

impl Args {
    pub(crate) fn parse() -> Self {
        let mut arguments = Arguments::of_this_process(HELP);
        let args = Self {
            format: arguments.read("--format", Wanted::named).unwrap_or(Wanted::Auto),
            out: arguments.path("--out"),
            dead: arguments.path("--dead"),
            consumers: arguments.read("--consumers", at_least_one).unwrap_or(4),
            panic_every: arguments.read("--panic-every", at_least_one),
            input: arguments.word(),
        };
        arguments.end();
        args
    }
}

/// The format that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Auto,
    Json,
    Combined,
}

impl Wanted {
    fn named(name: &str) -> Result<Self, &'static str> {
        match name {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "combined" => Ok(Self::Combined),
            _ => Err("possible values are auto, json and combined"),
        }
    }

    /// The format of this line.
    pub(crate) fn of(self, text: &[u8]) -> Format {
        match self {
            Self::Json => Format::Json,
            Self::Combined => Format::Combined,
            Self::Auto if text.trim_ascii_start().starts_with(b"{") => Format::Json,
            Self::Auto => Format::Combined,
        }
    }
}
