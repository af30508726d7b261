//! A TOML text, value by value, to a checked configuration.
//!
//! The parser knows where each value stands, and serde where in the type it stopped. Each value is read alone first, from
//! the top of the text to its end, with the defaults for all others: so the first mistake is told, of whatever kind it is.

use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::refusal::{Expected, join, refused};
use crate::types::{ConfigError, GroupConfig};

/// The most dots that one line may have. Each dot may open a table in a table, and tables in tables are released one
/// inside the other. The parser limits inline tables to 80, one in the other, but not the dots in each: together they
/// could exhaust the stack with a text of a few kilobytes. 16 times 80 tables fit a thread of Rust's default size (2 MiB),
/// also without optimization.
const MOST_DOTS: usize = 16;

/// One value of a text.
struct Entry<'t> {
    /// Its key, with the tables around it.
    path: String,
    /// Where it stands, in bytes.
    at: usize,
    /// The value alone, in its tables. It is never copied: that would take more of the stack than the release does.
    alone: DeTable<'t>,
}

/// Where each key of a text stands, in bytes: `queue.capacity`, `weights[2]`.
type Places = Vec<(String, usize)>;

/// Reads and checks the text of a file.
pub(super) fn read(text: &str) -> Result<GroupConfig, ConfigError> {
    if let Some(index) = text.lines().position(is_too_deep) {
        return Err(ConfigError {
            key: String::new(),
            line: Some(index + 1),
            problem: format!("has more than {MOST_DOTS} dots in one line"),
            right: "no key of the configuration is deeper than three tables".to_owned(),
        });
    }
    read_over(DeTable::new(), text)
}

/// Whether a line may open more tables than the stack can release.
pub(super) fn is_too_deep(line: &str) -> bool {
    !line.trim_start().starts_with('#') && line.bytes().filter(|byte| *byte == b'.').count() > MOST_DOTS
}

/// Reads a text whose values replace those of a table, and checks what comes out.
pub(super) fn read_over<'t>(mut whole: DeTable<'t>, text: &'t str) -> Result<GroupConfig, ConfigError> {
    let parsed = || DeTable::parse(text).map_err(|error| not_toml(text, &error));
    let mut places = Places::new();
    let mut entries = entries("", parsed()?.into_inner(), &mut places);
    entries.sort_by_key(|entry| entry.at);
    let position = |key: &str| places.iter().find(|(path, _)| path == key).map(|(_, at)| *at);
    let place = |error: ConfigError| {
        let line = position(&error.key).map(|at| line_of(text, at));
        ConfigError { line, ..error }
    };
    for Entry { path, alone, .. } in entries {
        deserialized(text, &path, alone)?.check_each().map_err(place)?;
    }
    merge("", &mut whole, parsed()?.into_inner());
    let config = deserialized(text, "", whole)?;
    config.check_each().map_err(place)?;
    config
        .check_together(|key| position(key).is_some())
        .map_err(place)?;
    Ok(config)
}

/// Gives a table to the type. The path is that of the value that stands alone in the table.
fn deserialized(text: &str, path: &str, table: DeTable<'_>) -> Result<GroupConfig, ConfigError> {
    let from = Deserializer::from(Spanned::new(0..text.len(), table));
    serde_path_to_error::deserialize(from).map_err(|error| {
        let span = error.inner().span().unwrap_or_default();
        let line = Some(line_of(text, span.start));
        let written = text.get(span).unwrap_or_default();
        let error = refused(path, &error.path().to_string(), written, error.inner().message());
        ConfigError { line, ..error }
    })
}

/// The values of a table, and of the tables in it that the type has.
fn entries<'t>(outer: &str, table: DeTable<'t>, places: &mut Places) -> Vec<Entry<'t>> {
    let mut found = Vec::new();
    for (key, value) in table {
        let path = join(outer, key.get_ref());
        let span = value.span();
        let alone = |value| DeTable::from_iter([(key.clone(), Spanned::new(span.clone(), value))]);
        let value = match value.into_inner() {
            DeValue::Table(inner) if is_table(&path) => {
                let below = entries(&path, inner, places);
                found.extend(below.into_iter().map(|entry| Entry {
                    alone: alone(DeValue::Table(entry.alone)),
                    ..entry
                }));
                continue;
            }
            // The type would take a list as the values of its fields, one after the other; it takes no truth.
            DeValue::Array(_) if is_table(&path) => DeValue::Boolean(false),
            value => value,
        };
        places.push((path.clone(), span.start));
        match &value {
            DeValue::Array(list) => places.extend(
                (list.iter().enumerate())
                    .map(|(index, element)| (format!("{path}[{index}]"), element.span().start)),
            ),
            // A name that carries a number.
            DeValue::Table(table) => places
                .extend((table.iter()).map(|(key, value)| (join(&path, key.get_ref()), value.span().start))),
            _ => {}
        }
        found.push(Entry {
            at: span.start,
            alone: alone(value),
            path,
        });
    }
    found
}

fn is_table(path: &str) -> bool {
    matches!(Expected::at(path), Expected::Table(_))
}

/// Puts the values of one table in the place of those of another.
fn merge<'t>(outer: &str, whole: &mut DeTable<'t>, part: DeTable<'t>) {
    for (key, value) in part {
        let path = join(outer, key.get_ref());
        let span = value.span();
        let below = whole.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut);
        match (below, value.into_inner()) {
            (Some(DeValue::Table(whole)), DeValue::Table(part)) if is_table(&path) => {
                merge(&path, whole, part)
            }
            (_, value) => {
                whole.insert(key, Spanned::new(span, value));
            }
        }
    }
}

/// The line of an offset, counted from one.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// Text that is not TOML: a slip of the pen, or the same key twice.
fn not_toml(text: &str, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or_default();
    let line = Some(line_of(text, span.start));
    if error.message() == "duplicate key" {
        return ConfigError {
            key: path_of_duplicate(text, span),
            line,
            problem: "is set twice".to_owned(),
            right: "keep one of the two".to_owned(),
        };
    }
    ConfigError {
        key: String::new(),
        line,
        problem: format!("is not TOML: {}", error.message()),
        right: "write `key = value` lines, and `[table]` above the keys of a table".to_owned(),
    }
}

/// The key that stands at a place, with the tables around it. The parser keeps only the first of two equal keys, so the
/// second one is read under a name that no key has.
fn path_of_duplicate(text: &str, span: std::ops::Range<usize>) -> String {
    let around = text.get(..span.start).zip(text.get(span.end..));
    let (before, after) = around.unwrap_or_default();
    let renamed = format!("{before}'?'{after}");
    let (table, _errors) = DeTable::parse_recoverable(&renamed);
    let outer = entries("", table.into_inner(), &mut Places::new())
        .iter()
        .find_map(|entry| Some(entry.path.split_once('?')?.0.to_owned()));
    let name = text.get(span).unwrap_or_default().trim_matches(['"', '\'']);
    format!("{}{name}", outer.unwrap_or_default())
}
