//! The arguments of the program.

use std::path::PathBuf;

use clap::Parser;

use crate::record::Format;

/// Reads log lines, parses them in a consumer group keyed by host, and writes them as JSON lines.
#[derive(Debug, Parser)]
#[command(name = "log_collection")]
pub(crate) struct Args {
    /// The log; "-" or nothing is the standard input.
    #[arg(value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// What the lines are; "auto" decides for each line.
    #[arg(long, value_enum, default_value_t = Wanted::Auto)]
    pub(crate) format: Wanted,

    /// Where the parsed lines go instead of the standard output. What the file had is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Where malformed lines go, as JSON lines with number, reason and text. Without it they are told on the standard
    /// error stream.
    #[arg(long, value_name = "FILE")]
    pub(crate) dead: Option<PathBuf>,

    /// How many consumers parse.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one::<usize>)]
    pub(crate) consumers: usize,

    /// The first attempt of every Nth line panics in its consumer.
    #[arg(long, value_name = "N", value_parser = at_least_one::<u64>)]
    pub(crate) panic_every: Option<u64>,
}

/// The format that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wanted {
    /// A line that begins with a brace is JSON, any other one is of an access log.
    Auto,
    /// Logstash JSON lines: time, host, level and message.
    Json,
    /// The combined access log of Apache and nginx.
    Combined,
}

impl Wanted {
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

fn at_least_one<N: std::str::FromStr + PartialOrd + From<u8>>(text: &str) -> Result<N, &'static str> {
    match text.parse() {
        Ok(number) if number >= N::from(1) => Ok(number),
        _ => Err("use a whole number of 1 or more"),
    }
}
