//! Environment variables over a configuration.
//!
//! The variables become lines of TOML, and those are read over the configuration as a file is over the defaults: so a
//! variable is typed and checked by the very same reader.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::document::{is_too_deep, read_over};
use super::refusal::{Expected, known_keys, nearest};
use crate::types::{ConfigError, GroupConfig};

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
    config: &GroupConfig,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<GroupConfig, ConfigError> {
    let set = known(variables)?;
    let written = toml::to_string(config).map_err(|error| unwritable(&error))?;
    let whole = DeTable::parse(&written).map_err(|error| unwritable(&error))?;
    let lines: String = set
        .iter()
        .map(|(path, value)| format!("{path} = {}\n", in_toml(path, value)))
        .collect();
    read_over(whole.into_inner(), &lines).map_err(|error| {
        let variable = set.keys().find_map(|path| {
            let below = error.key.strip_prefix(path)?;
            (below.is_empty() || below.starts_with(['[', '.']))
                .then(|| format!("{}{below}", variable_of(path)))
        });
        ConfigError {
            key: variable.unwrap_or_else(|| error.key.clone()),
            line: None,
            ..error
        }
    })
}

/// Sorts out the variables that have the prefix.
fn known(variables: impl IntoIterator<Item = (String, String)>) -> Result<Set, ConfigError> {
    let names: BTreeMap<String, String> = known_keys()
        .into_iter()
        .map(|path| (variable_of(&path), path))
        .collect();
    let mut set = Set::new();
    // In the order of their names, so that the same variables always lead to the same error.
    let variables: BTreeMap<String, String> = variables.into_iter().collect();
    for (name, value) in variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let Some(path) = names.get(&name) else {
            return Err(unknown(name, &names.into_keys().collect::<Vec<_>>()));
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

fn unknown(name: String, names: &[String]) -> ConfigError {
    let upper = name.to_ascii_uppercase();
    let without_table = upper.replacen(PREFIX, "__", 1);
    let single = |name: &str| name.replace("__", "_");
    // A single underscore where two belong is the likeliest slip, so it is looked for first.
    let meant = names
        .iter()
        .find(|known| single(known) == single(&upper))
        // Then a key without its table: that is sooner forgotten than half of the letters are wrong.
        .or_else(|| names.iter().find(|known| known.ends_with(&without_table)))
        .cloned()
        .or_else(|| {
            let tails: Vec<String> = names.iter().map(|name| name.replacen(PREFIX, "", 1)).collect();
            let near = nearest(&upper.replacen(PREFIX, "", 1), &tails)?;
            Some(format!("{PREFIX}{near}"))
        });
    let right = match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the names are {}", names.join(", ")),
    };
    ConfigError {
        key: name,
        line: None,
        problem: "stands for no key of the configuration".to_owned(),
        right,
    }
}

/// The text of a variable as the value of its key. What is no value of TOML is a text in quotes.
fn in_toml(path: &str, text: &str) -> String {
    // One line for each variable. A text that spans lines is no right value of any key, and a list may stand in one line.
    let text = text.replace(['\n', '\r'], " ");
    let one = |text: &str| {
        let text = text.trim();
        if !is_too_deep(text) && DeValue::parse(text).is_ok() {
            text.to_owned()
        } else {
            toml::Value::from(text).to_string()
        }
    };
    let text = text.trim();
    if !matches!(Expected::at(path), Expected::List) || text.starts_with('[') {
        return one(text);
    }
    let entries = text.split(',').filter(|_| !text.is_empty());
    format!("[{}]", entries.map(one).collect::<Vec<_>>().join(", "))
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
