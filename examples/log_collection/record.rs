//! What a parsed line is, in either format.

use serde_json::{Map, Value};

use crate::{combined, json};

/// The format of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object.
    Json,
    /// A line of a combined access log.
    Combined,
}

/// A parsed line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// The line as JSON, with its end.
    pub(crate) json: String,
    pub(crate) class: Class,
}

/// What the lines are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The status of an answer.
    Status(u16),
    /// How serious a message is, in small letters.
    Level(String),
}

impl Record {
    pub(crate) fn new(fields: Map<String, Value>, class: Class) -> Self {
        let mut json = Value::Object(fields).to_string();
        json.push('\n');
        Self { json, class }
    }
}

/// The host of a line, if it can be found. Every line that [`parse`] accepts has one.
pub(crate) fn host(format: Format, text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    match format {
        Format::Json => json::host(text).ok(),
        Format::Combined => combined::host(text).ok().map(str::to_owned),
    }
}

/// Parses a line, or says what is wrong with it.
pub(crate) fn parse(format: Format, text: &[u8]) -> Result<Record, String> {
    let text = std::str::from_utf8(text)
        .map_err(|error| format!("is not UTF-8 text from byte {} on", error.valid_up_to() + 1))?;
    match format {
        Format::Json => json::parse(text),
        Format::Combined => combined::parse(text),
    }
}
