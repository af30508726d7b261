//! The words of a refusal: what is wrong with a value, and what would be right.
//!
//! The bounds of the numbers come from `words`. Which keys and which names there are, the type itself is asked: a derived
//! `Deserialize` that meets an unknown name tells all that it knows.

use toml::de::Deserializer;

use crate::types::{ConfigError, GroupConfig, range_of};

/// What the type expects at a key.
pub(super) enum Expected {
    /// A table with these keys.
    Table(Vec<String>),
    /// One of these names.
    Name(Vec<String>),
    /// A list.
    List,
    /// True or false.
    Truth,
    /// A number, or no key at all.
    Other,
}

impl Expected {
    /// Asks the type by giving it, at this key, a table with a key that no table has.
    pub(super) fn at(path: &str) -> Self {
        // A key in quotes may have any letters, and dots without end: each would be a table in a table.
        let plain = |letter| matches!(letter, 'a'..='z' | '_' | '.');
        if !path.chars().all(plain) || path.split('.').count() > 3 {
            return Self::Other;
        }
        let question = format!("{} = 0", join(path, "'?'"));
        // As a file is read, so that the type is compiled for one kind of reader.
        let answer = Deserializer::parse(&question)
            .ok()
            .and_then(|from| serde_path_to_error::deserialize::<_, GroupConfig>(from).err())
            .map(|error| error.inner().message().to_owned())
            .unwrap_or_default();
        let (refused, expected) = answer.rsplit_once(", expected ").unwrap_or_default();
        match (refused, expected) {
            ("unknown field `?`", names) => Self::Table(quoted(names)),
            ("unknown variant `?`", names) => Self::Name(quoted(names)),
            (_, "a sequence") => Self::List,
            (_, "a boolean") => Self::Truth,
            _ => Self::Other,
        }
    }
}

/// The names in a message such as "one of `a`, `b`".
fn quoted(names: &str) -> Vec<String> {
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A key below a table, as it is written with a dot.
pub(super) fn join(outer: &str, key: &str) -> String {
    if outer.is_empty() {
        key.to_owned()
    } else {
        format!("{outer}.{key}")
    }
}

/// Every key that can be given a value, in the order of the fields.
pub(super) fn known_keys() -> Vec<String> {
    fn collect(path: &str, into: &mut Vec<String>) {
        match Expected::at(path) {
            Expected::Table(keys) => keys.iter().for_each(|key| collect(&join(path, key), into)),
            Expected::Name(names) => {
                into.push(path.to_owned());
                // A name that carries a number can be given the number.
                let below = names.iter().map(|name| join(path, name));
                into.extend(below.filter(|path| range_of(path).is_some()));
            }
            Expected::List | Expected::Truth | Expected::Other => into.push(path.to_owned()),
        }
    }
    let mut keys = Vec::new();
    collect("", &mut keys);
    keys
}

/// Tells of the value at `path` that the type refused: where it stopped, and what is written there.
pub(super) fn refused(path: &str, stopped_at: &str, written: &str, message: &str) -> ConfigError {
    let unknown = message
        .strip_prefix("unknown field `")
        .and_then(|message| message.rsplit_once("`, expected "));
    let is_key = !written.starts_with(['"', '\'']);
    let (key, problem) = if let Some((name, names)) = unknown {
        return ConfigError {
            key: stopped_at.to_owned(),
            line: None,
            problem: "is not a key of the configuration".to_owned(),
            right: instead_of(stopped_at, name, &quoted(names)),
        };
    } else if message.starts_with("unknown variant") && is_key {
        (join(path, written), "is not a choice".to_owned())
    } else if message.starts_with("invalid type: map") && !written.starts_with(|c: char| c.is_ascii_digit()) {
        // To the type a date is a table too, but it begins with a digit.
        (stopped_at.to_owned(), "is a table".to_owned())
    } else {
        // A mere name that should carry a value: the type stops at the value that is not there.
        let is_bare = message.ends_with("expected newtype variant");
        let key = if is_bare { path } else { stopped_at };
        (key.to_owned(), format!("is {}", shortened(written)))
    };
    ConfigError {
        right: right_at(&key),
        line: None,
        problem,
        key,
    }
}

/// What a user may have meant by an unknown key, and which keys there are.
fn instead_of(path: &str, name: &str, keys: &[String]) -> String {
    let outer = path.strip_suffix(name).unwrap_or_default().trim_end_matches('.');
    let all = known_keys();
    let elsewhere = all
        .iter()
        .find(|known| known.rsplit('.').next() == Some(name))
        .cloned();
    let meant = elsewhere
        .or_else(|| nearest(name, keys).map(|near| join(outer, near)))
        .or_else(|| nearest(path, &all).map(str::to_owned))
        .map(|meant| format!("did you mean `{meant}`? "))
        .unwrap_or_default();
    let whose = if outer.is_empty() {
        "the keys here are".to_owned()
    } else {
        format!("the keys of `{outer}` are")
    };
    format!("{meant}{whose} {}", keys.join(", "))
}

/// What would be right at a key, or at the one around it.
fn right_at(path: &str) -> String {
    match (wanted(path), path.rsplit_once('.')) {
        (Some(wanted), _) => format!("use {wanted}"),
        (None, Some((outer, _))) => format!("for `{outer}` {}", right_at(outer)),
        (None, None) => "see docs/configuration.md for the values of each key".to_owned(),
    }
}

/// What a key wants, in words.
fn wanted(path: &str) -> Option<String> {
    if let Some(range) = range_of(path) {
        return Some(range);
    }
    match Expected::at(path) {
        Expected::Table(keys) => Some(format!("a table with keys of {}", keys.join(", "))),
        Expected::Name(names) => {
            let each: Vec<String> = names
                .iter()
                .map(|name| match range_of(&join(path, name)) {
                    Some(range) => format!("{{ {name} = {range} }}"),
                    None => format!("\"{name}\""),
                })
                .collect();
            Some(format!("one of {}", each.join(", ")))
        }
        Expected::List => Some(format!("a list, each entry {}", wanted(&format!("{path}[0]"))?)),
        Expected::Truth => Some("true or false".to_owned()),
        Expected::Other => None,
    }
}

/// The known name that is most like the given one, if any is like it at all: at most one change for each three letters,
/// two for a short name, and never more than half of the name.
pub(super) fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let letters = name.chars().count();
    let allowed = (letters / 3).max(2);
    known
        .iter()
        // Far too long for this one; it may be as long as the file.
        .filter(|candidate| letters <= 2 * candidate.len())
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate.as_str()))
        .filter(|(distance, candidate)| *distance <= allowed && *distance * 2 <= candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// A value as an error shows it: the start of its first line.
fn shortened(written: &str) -> String {
    const SHOWN: usize = 40;
    let line = written.chars().take_while(|letter| !letter.is_control());
    let start: String = line.take(SHOWN).collect();
    let end = if start.len() < written.len() { "…" } else { "" };
    format!("{start}{end}")
}

#[cfg(test)]
mod tests {
    use super::{known_keys, nearest, wanted};

    #[test]
    fn every_key_of_the_configuration_says_what_it_wants() {
        let keys = known_keys();
        assert!(keys.len() > 30, "{keys:?}");
        for key in &keys {
            assert!(wanted(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_name_like_none_of_the_known_ones_has_no_nearest() {
        let nearest_of =
            |name: &str, known: [&str; 2]| nearest(name, &known.map(str::to_owned)).map(str::to_owned);
        assert_eq!(nearest_of("zebra", ["capacity", "overflow"]), None);
        assert_eq!(nearest_of("x", ["min", "max"]), None);
        let near = nearest_of("capasity", ["capacity", "overflow"]);
        assert_eq!(near.as_deref(), Some("capacity"));
    }
}
