//! Holds one value against its shape. Every refusal is worded here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::shape::{Shape, join};
use crate::words::{ConfigError, RATIOS, Ratio, WEIGHT, WEIGHT_HINT, WHOLES, whole_range};

/// A refusal, and where in the text its cause stands.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The offset of the cause, in bytes.
    pub(super) at: usize,
    /// The refusal, without a line.
    pub(super) error: ConfigError,
}

/// Holds values against the shape of the whole configuration and keeps what cannot be.
pub(super) struct Judge<'s> {
    root: &'s Shape,
    /// What was refused, in no order.
    pub(super) refusals: Vec<Refusal>,
}

impl<'s> Judge<'s> {
    pub(super) fn new(root: &'s Shape) -> Self {
        Self {
            root,
            refusals: Vec::new(),
        }
    }

    /// Judges every key of a table. Its own path is empty for the whole file.
    pub(super) fn table(&mut self, path: &str, shape: &Shape, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let below = join(path, name);
            match shape.at([name]) {
                Some(shape) => self.value(&below, shape, value),
                None => self.refuse(
                    key.span().start,
                    &below,
                    "is not a key of the configuration".to_owned(),
                    self.instead_of(path, name, shape),
                ),
            }
        }
    }

    /// Judges one value.
    pub(super) fn value(&mut self, path: &str, shape: &Shape, value: &Spanned<DeValue<'_>>) {
        let at = value.span().start;
        let fits = match (shape, value.get_ref()) {
            (Shape::Unknown, _) | (Shape::Truth, DeValue::Boolean(_)) => true,
            (Shape::Table(_), DeValue::Table(table)) => return self.table(path, shape, table),
            (Shape::List(of), DeValue::Array(list)) => {
                for (index, element) in list.iter().enumerate() {
                    self.value(&format!("{path}[{index}]"), of, element);
                }
                true
            }
            (Shape::Whole(least, most), DeValue::Integer(number)) => {
                let (least, most) = bounds(path, *least, *most);
                i128::from_str_radix(number.as_str(), number.radix())
                    .is_ok_and(|number| (i128::from(least)..=i128::from(most)).contains(&number))
            }
            (Shape::Number, DeValue::Integer(number)) => i64::from_str_radix(number.as_str(), number.radix())
                .is_ok_and(|n| number_fits(path, n as f64)),
            (Shape::Number, DeValue::Float(number)) => number
                .as_str()
                .parse()
                .is_ok_and(|number| number_fits(path, number)),
            (Shape::Choice(names), DeValue::String(name)) => names
                .iter()
                .any(|(known, carried)| known == name && carried.is_none()),
            (Shape::Choice(names), DeValue::Table(table)) => return self.choice(path, names, at, table),
            _ => false,
        };
        if !fits {
            let right = format!("use {}", wanted(path, shape));
            self.refuse(at, path, format!("is {}", told(value.get_ref())), right);
        }
    }

    /// Judges a choice that carries a value, as in `placement = { arbiters = 3 }`.
    fn choice(
        &mut self,
        path: &str,
        names: &[(&'static str, Option<Shape>)],
        at: usize,
        table: &DeTable<'_>,
    ) {
        let known = |name: &str| {
            names
                .iter()
                .find(|(known, _)| *known == name)
                .and_then(|(_, carried)| carried.as_ref())
        };
        let mut entries = table.iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) => {
                let name = key.get_ref().as_ref();
                let below = join(path, name);
                match known(name) {
                    Some(shape) => self.value(&below, shape, value),
                    None => {
                        let right = format!("for `{path}` use {}", choices(path, names));
                        self.refuse(key.span().start, &below, "is not a choice".to_owned(), right);
                    }
                }
            }
            _ => {
                let right = format!("use {}", choices(path, names));
                self.refuse(at, path, format!("is a table of {} keys", table.len()), right);
            }
        }
    }

    fn refuse(&mut self, at: usize, key: &str, problem: String, right: String) {
        self.refusals.push(Refusal {
            at,
            error: ConfigError {
                key: key.to_owned(),
                line: None,
                problem,
                right,
            },
        });
    }

    /// What a user may have meant by an unknown key, and which keys there are.
    fn instead_of(&self, path: &str, name: &str, shape: &Shape) -> String {
        let keys: Vec<&str> = match shape {
            Shape::Table(keys) => keys.iter().map(|(key, _)| *key).collect(),
            _ => Vec::new(),
        };
        let all = self.root.paths();
        let elsewhere = || {
            all.iter()
                .find(|known| known.rsplit('.').next() == Some(name))
                .cloned()
        };
        let meant = elsewhere()
            .or_else(|| nearest(name, keys.iter().copied()).map(|near| join(path, near)))
            .or_else(|| nearest(&join(path, name), all.iter().map(String::as_str)).map(str::to_owned));
        let whose = if path.is_empty() {
            "the keys here are".to_owned()
        } else {
            format!("the keys of `{path}` are")
        };
        let keys = keys.join(", ");
        match meant {
            Some(meant) => format!("did you mean `{meant}`? {whose} {keys}"),
            None => format!("{whose} {keys}"),
        }
    }
}

/// The bounds of a whole number: those of the configuration where it has some, else those of the type.
fn bounds(path: &str, least: u64, most: u64) -> (u64, u64) {
    let own = match path.split_once('[') {
        Some(("weights", _)) => Some(&WEIGHT),
        _ => WHOLES.iter().find(|whole| whole.key == path),
    };
    own.map_or((least, most), |own| (own.least.max(least), own.most.min(most)))
}

/// The bounds of a number that may have a fraction, where it has some.
fn ratio(path: &str) -> Option<&'static Ratio> {
    RATIOS.iter().find(|ratio| ratio.key == path)
}

fn number_fits(path: &str, number: f64) -> bool {
    ratio(path).is_none_or(|ratio| ratio.fits(number))
}

/// What a key wants, in words.
fn wanted(path: &str, shape: &Shape) -> String {
    match shape {
        Shape::Unknown => "another value".to_owned(),
        Shape::Table(keys) => {
            let keys: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
            format!("a table with keys of {}", keys.join(", "))
        }
        Shape::Whole(least, most) => {
            let (least, most) = bounds(path, *least, *most);
            let hint = if path.starts_with("weights[") {
                WEIGHT_HINT
            } else {
                ""
            };
            format!("{}{hint}", whole_range(least, most))
        }
        Shape::Number => ratio(path).map_or("a number", |ratio| ratio.range).to_owned(),
        Shape::Truth => "true or false".to_owned(),
        Shape::List(of) => format!("a list, each entry {}", wanted(&format!("{path}[0]"), of)),
        Shape::Choice(names) => choices(path, names),
    }
}

fn choices(path: &str, names: &[(&'static str, Option<Shape>)]) -> String {
    let each: Vec<String> = names
        .iter()
        .map(|(name, carried)| match carried {
            None => format!("\"{name}\""),
            Some(shape) => format!("{{ {name} = {} }}", wanted(&join(path, name), shape)),
        })
        .collect();
    format!("one of {}", each.join(", "))
}

/// A value as an error shows it: short, whatever it is.
fn told(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", shortened(text)),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    let start: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        format!("{start}…")
    } else {
        start
    }
}
