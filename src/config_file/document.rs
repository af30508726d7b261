//! A TOML text, from its first line to a checked configuration.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::judge::Judge;
use super::shape::Shape;
use crate::words::{ConfigError, GroupConfig, PAIRS};

/// The most dots that one line may have. Each dot may open a table in a table, and tables in tables are released one
/// inside the other. The parser limits inline tables to 80, one in the other, but not the dots in each: together they
/// could exhaust the stack with a text of a few kilobytes. 16 times 80 tables fit a thread of Rust's default size (2 MiB),
/// also without optimization.
const MOST_DOTS: usize = 16;

/// Reads and checks a whole text.
pub(super) fn read(text: &str) -> Result<GroupConfig, ConfigError> {
    refuse_depth(text)?;
    let table = DeTable::parse(text).map_err(|error| not_toml(text, &error))?;
    let shape = Shape::of::<GroupConfig>();
    let mut judge = Judge::new(&shape);
    judge.table("", &shape, table.get_ref());
    // The table is sorted by name; the user reads from the top.
    if let Some(first) = judge.refusals.into_iter().min_by_key(|refusal| refusal.at) {
        return Err(ConfigError {
            line: Some(line_of(text, first.at)),
            ..first.error
        });
    }
    let config = GroupConfig::deserialize(Deserializer::from(table.clone()))
        .map_err(|error| not_the_type(text, table.get_ref(), &error))?;
    config
        .check()
        .map_err(|error| blame(error, &config, |key| position(table.get_ref(), key)))
        .map_err(|(error, at)| ConfigError {
            line: at.map(|at| line_of(text, at)),
            ..error
        })?;
    Ok(config)
}

/// Turns the blame of a pair around when only the other key of the pair was set: who set `max` below the default of
/// `min` has to be told about `max`. `place` finds a key among those that were set.
pub(super) fn blame<P>(
    error: ConfigError,
    config: &GroupConfig,
    place: impl Fn(&str) -> Option<P>,
) -> (ConfigError, Option<P>) {
    if let Some(place) = place(&error.key) {
        return (error, Some(place));
    }
    let turned = PAIRS
        .iter()
        .filter(|pair| pair.low == error.key)
        .find_map(|pair| {
            let place = place(pair.high)?;
            let (low, high) = (pair.read)(config);
            let error = ConfigError {
                key: pair.high.to_owned(),
                line: None,
                problem: format!("is {high}, below `{}`, which is {low}", pair.low),
                right: format!("use at least the value of `{}`", pair.low),
            };
            Some((error, Some(place)))
        });
    turned.unwrap_or((error, None))
}

/// Where a key such as `queue.capacity` or `weights[2]` stands in the text.
fn position(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let mut names = key.split('.');
    let mut value = step(names.next()?, |name| table.get(name))?;
    for name in names {
        value = step(name, |name| value.get_ref().get(name))?;
    }
    Some(value.span().start)
}

/// One step of a path: a name, with the index of an element behind it or not.
fn step<'t, 'i>(
    name: &str,
    get: impl FnOnce(&str) -> Option<&'t Spanned<DeValue<'i>>>,
) -> Option<&'t Spanned<DeValue<'i>>> {
    match name.split_once('[') {
        None => get(name),
        Some((list, index)) => {
            let index: usize = index.strip_suffix(']')?.parse().ok()?;
            get(list)?.get_ref().get(index)
        }
    }
}

/// The line of an offset, counted from one.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn refuse_depth(text: &str) -> Result<(), ConfigError> {
    let deep = text.lines().enumerate().find(|(_, line)| {
        !line.trim_start().starts_with('#') && line.bytes().filter(|byte| *byte == b'.').count() > MOST_DOTS
    });
    match deep {
        None => Ok(()),
        Some((index, _)) => Err(ConfigError {
            key: String::new(),
            line: Some(index + 1),
            problem: format!("has more than {MOST_DOTS} dots in one line"),
            right: "no key of the configuration is deeper than three tables".to_owned(),
        }),
    }
}

/// Text that is not TOML: a slip of the pen, or the same key twice.
fn not_toml(text: &str, error: &toml::de::Error) -> ConfigError {
    let span = error.span();
    let line = span.clone().map(|span| line_of(text, span.start));
    if error.message() == "duplicate key" {
        let key = span
            .clone()
            .and_then(|span| text.get(span))
            .unwrap_or_default()
            .trim_matches(['[', ']', '"', '\'', ' ', '\t']);
        let above = span.map(|span| table_above(text, span.start)).unwrap_or_default();
        return ConfigError {
            key: super::shape::join(&above, key),
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

/// The table whose header stands above an offset; empty if there is none.
fn table_above(text: &str, at: usize) -> String {
    let header = |line: &str| {
        let name = line.trim().strip_prefix('[')?.split_once(']')?.0.trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
        name.chars().all(plain).then(|| name.to_owned())
    };
    let start_of_line = text.get(..at).and_then(|before| before.rfind('\n')).unwrap_or(0);
    // A second header of the same name is itself the duplicate, and stands in no table.
    let above = text.get(..start_of_line).unwrap_or_default();
    let own_line = text.get(start_of_line..at).unwrap_or_default().trim_start();
    if own_line.starts_with('[') {
        return own_line
            .trim_start_matches('[')
            .rsplit_once('.')
            .map(|(outer, _)| outer.trim().to_owned())
            .unwrap_or_default();
    }
    let inside = above.lines().rev().find_map(header).unwrap_or_default();
    match own_line.rsplit_once('.') {
        Some((outer, "")) => super::shape::join(&inside, outer.trim()),
        _ => inside,
    }
}

/// A value that has the right shape and that the type refuses all the same. The judge leaves nothing of the kind today.
fn not_the_type(text: &str, table: &DeTable<'_>, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map(|span| span.start);
    let key = at.and_then(|at| {
        Shape::of::<GroupConfig>()
            .paths()
            .into_iter()
            .find(|path| position(table, path) == Some(at))
    });
    ConfigError {
        key: key.unwrap_or_default(),
        line: at.map(|at| line_of(text, at)),
        problem: format!("cannot be read: {}", error.message()),
        right: "see docs/configuration.md for the values of each key".to_owned(),
    }
}
