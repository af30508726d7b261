//! Logstash JSON lines: one object in each line, with time, host, level and message.
//!
//! | what | where it may stand |
//! |---|---|
//! | time | `@timestamp` or `timestamp` |
//! | host | `host`, a text or an object with `name` |
//! | level | `level`, `log.level`, or `level` in the object `log` |
//! | message | `message` |
//!
//! Other fields go through as they are.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::record::{Class, Record};

#[derive(Deserialize)]
struct OnlyHost {
    #[serde(default)]
    host: Value,
}

/// The host alone; the other fields are passed over without keeping them.
pub(crate) fn host(text: &str) -> Result<String, String> {
    if !text.trim_start().starts_with('{') {
        return Err("is no JSON object".to_owned());
    }
    let OnlyHost { host } = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let name = match host {
        Value::String(name) => Some(name),
        Value::Object(mut fields) => match fields.remove("name") {
            Some(Value::String(name)) => Some(name),
            _ => None,
        },
        _ => None,
    };
    name.filter(|name| !name.is_empty())
        .ok_or_else(|| "has no `host` that is a text or has a `name`".to_owned())
}

pub(crate) fn parse(text: &str) -> Result<Record, String> {
    // First the host by the very function that gave the job its key: a line whose host cannot be told for certain (two
    // fields `host`, for example) had no key, so its order is not kept, and it is refused here.
    let host = host(text)?;
    let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let time = take(&mut fields, &["@timestamp", "timestamp"], is_text_or_number)
        .ok_or("has no `@timestamp` or `timestamp`")?;
    let level = take(&mut fields, &["level", "log.level"], is_text_or_number)
        .or_else(|| {
            fields
                .get("log")?
                .get("level")
                .filter(|level| is_text_or_number(level))
                .cloned()
        })
        .ok_or("has no `level` or `log.level`")?;
    if !fields.get("message").is_some_and(Value::is_string) {
        return Err("has no `message`".to_owned());
    }
    let level = match level {
        Value::String(level) => level.to_lowercase(),
        other => other.to_string(),
    };
    fields.insert("@timestamp".to_owned(), time);
    fields.insert("host".to_owned(), host.into());
    fields.insert("level".to_owned(), level.clone().into());
    Ok(Record::new(fields, Class::Level(level)))
}

/// Takes the first of these fields that is there and fits.
fn take(fields: &mut Map<String, Value>, names: &[&str], fits: fn(&Value) -> bool) -> Option<Value> {
    let name = names.iter().find(|name| fields.get(**name).is_some_and(fits))?;
    fields.remove(*name)
}

fn is_text_or_number(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| !text.is_empty())
}

/// There is one line, so its number, which serde_json counts from one, would only confuse.
fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("is not JSON: {what} at byte {}", error.column())
}
