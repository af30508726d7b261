//! Environment variables over a configuration.
//!
//! The configuration is written as TOML, the values of the variables are put into that table, and the table is read back:
//! so a variable is typed by the very same serde type as a file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::document::blame;
use super::judge::Judge;
use super::nearest::nearest;
use super::shape::Shape;
use crate::words::{ConfigError, GroupConfig};

/// What the name of every variable begins with.
const PREFIX: &str = "CONSUMER_GROUP_";

/// The variable that stands for a path such as `queue.capacity`.
fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"))
}

/// The variables that were set, by the path they stand for.
type Set = BTreeMap<String, String>;

/// Puts the variables over a configuration and checks what comes out.
pub(super) fn apply(
    config: GroupConfig,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<GroupConfig, ConfigError> {
    let shape = Shape::of::<GroupConfig>();
    let set = known(&shape, variables)?;
    let text = toml::to_string(&config).map_err(|error| unwritable(&error))?;
    let mut table = DeTable::parse(&text).map_err(|error| unwritable(&error))?;
    for (path, value) in &set {
        let Some(shape_here) = shape.at(path.split('.')) else {
            continue;
        };
        let value = parse(shape_here, value);
        let mut judge = Judge::new(&shape);
        judge.value(path, shape_here, &value);
        if let Some(refusal) = judge.refusals.into_iter().next() {
            return Err(named_after_variable(refusal.error, path));
        }
        put(table.get_mut(), path, value);
    }
    let config = GroupConfig::deserialize(Deserializer::from(table)).map_err(|error| unwritable(&error))?;
    config.check().map_err(|error| {
        let whole_key = |key: &str| {
            set.keys()
                .find(|path| key == *path || key.starts_with(&format!("{path}[")))
                .cloned()
        };
        match blame(error, &config, whole_key) {
            (error, Some(path)) => named_after_variable(error, &path),
            (error, None) => error,
        }
    })?;
    Ok(config)
}

/// Sorts out the variables that have the prefix.
fn known(shape: &Shape, variables: impl IntoIterator<Item = (String, String)>) -> Result<Set, ConfigError> {
    let names: BTreeMap<String, String> = shape
        .paths()
        .into_iter()
        .map(|path| (variable_of(&path), path))
        .collect();
    let mut set = Set::new();
    // In the order of their names, so that the same variables always lead to the same error.
    let variables: BTreeMap<String, String> = variables.into_iter().collect();
    for (name, value) in variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let Some(path) = names.get(&name) else {
            return Err(unknown(name, names.keys().map(String::as_str)));
        };
        if let Some((outer, _)) = path.rsplit_once('.')
            && set.contains_key(outer)
        {
            return Err(ConfigError {
                key: name,
                line: None,
                problem: format!("is set beside {}", variable_of(outer)),
                right: "keep one of the two".to_owned(),
            });
        }
        set.insert(path.clone(), value);
    }
    Ok(set)
}

fn unknown<'n>(name: String, names: impl Iterator<Item = &'n str> + Clone) -> ConfigError {
    let upper = name.to_ascii_uppercase();
    let tail = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let single = |name: &str| name.replace("__", "_");
    // A single underscore where two belong is the likeliest slip, so it is looked for first.
    let meant = names
        .clone()
        .find(|known| single(known) == single(&upper))
        .map(str::to_owned)
        // Then a key without its table: that is sooner forgotten than half of the letters are wrong.
        .or_else(|| {
            names
                .clone()
                .find(|known| known.ends_with(&format!("__{}", tail(&upper))))
                .map(str::to_owned)
        })
        .or_else(|| {
            let tails: Vec<String> = names.clone().map(tail).collect();
            nearest(&tail(&upper), tails.iter().map(String::as_str)).map(|near| format!("{PREFIX}{near}"))
        });
    let right = match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the names are {}", names.collect::<Vec<_>>().join(", ")),
    };
    ConfigError {
        key: name,
        line: None,
        problem: "stands for no key of the configuration".to_owned(),
        right,
    }
}

/// Reads the text of a variable as the value that its key wants. Text that cannot be read stays text, and is then
/// refused as text.
fn parse<'v>(shape: &Shape, text: &'v str) -> Spanned<DeValue<'v>> {
    let text = text.trim();
    let as_text = || Spanned::new(0..text.len(), DeValue::String(Cow::Borrowed(text)));
    match shape {
        Shape::Choice(_) if !text.starts_with('{') => as_text(),
        Shape::List(of) if !text.starts_with('[') => {
            let entries = text.split(',').filter(|_| !text.is_empty());
            let list = entries.map(|entry| parse(of, entry)).collect();
            Spanned::new(0..text.len(), DeValue::Array(list))
        }
        _ => DeValue::parse(text).unwrap_or_else(|_| as_text()),
    }
}

/// Puts a value at a path, in place of whatever stood there.
fn put<'v>(table: &mut DeTable<'v>, path: &'v str, value: Spanned<DeValue<'v>>) {
    let key = |name: &'v str| Spanned::new(0..0, Cow::Borrowed(name));
    match path.split_once('.') {
        None => {
            table.remove(path);
            table.insert(key(path), value);
        }
        Some((outer, rest)) => {
            let mut below = match table.remove(outer).map(Spanned::into_inner) {
                Some(DeValue::Table(below)) => below,
                _ => DeTable::new(),
            };
            put(&mut below, rest, value);
            table.insert(key(outer), Spanned::new(0..0, DeValue::Table(below)));
        }
    }
}

/// The same refusal, told of the variable: `weights[1]` becomes `CONSUMER_GROUP_WEIGHTS[1]`.
fn named_after_variable(error: ConfigError, path: &str) -> ConfigError {
    let below = error.key.strip_prefix(path).unwrap_or_default();
    ConfigError {
        key: format!("{}{}", variable_of(path), below),
        line: None,
        ..error
    }
}

/// A configuration that cannot be written as TOML and read back. No value of the type leads here today.
fn unwritable(error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError {
        key: String::new(),
        line: None,
        problem: format!("cannot be written as TOML: {error}"),
        right: "check the configuration before the environment is put over it".to_owned(),
    }
}
