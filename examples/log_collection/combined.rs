//! The combined access log of Apache and nginx:
//!
//! ```text
//! 192.0.2.7 - anna [10/Oct/2025:13:55:36 +0200] "GET /a HTTP/1.1" 200 2326 "https://example.org/" "Browser/1.0"
//! ```
//!
//! The host is the client's address. The time is written anew as RFC 3339 has it.

use serde_json::{Map, Value, json};

use crate::record::{Class, Record};

pub(crate) fn host(text: &str) -> Result<&str, String> {
    match text.split_once(' ') {
        Some((host, _)) if !host.is_empty() => Ok(host),
        _ => Err("does not begin with a host".to_owned()),
    }
}

pub(crate) fn parse(text: &str) -> Result<Record, String> {
    let host = host(text)?;
    let rest = text.strip_prefix(host).and_then(|rest| rest.strip_prefix(' '));
    let (_ident, rest) = rest
        .and_then(|rest| rest.split_once(' '))
        .ok_or("ends after the host")?;
    let (user, rest) = rest.split_once(" [").ok_or("has no time in brackets")?;
    let (stamp, rest) = rest.split_once("] ").ok_or("has no time in brackets")?;
    let time = time(stamp).ok_or_else(|| format!("has a time that cannot be: {stamp}"))?;
    let (request, rest) = quoted(rest).ok_or("has no request in quotation marks")?;
    let mut numbers = rest.trim_start().splitn(3, ' ');
    let status = numbers
        .next()
        .and_then(status)
        .ok_or("has no status from 100 to 599")?;
    let bytes = numbers.next().and_then(size).ok_or("has no size")?;
    let (referrer, rest) = numbers
        .next()
        .and_then(quoted)
        .ok_or("has no referrer in quotation marks")?;
    let (agent, _) = quoted(rest.trim_start()).ok_or("has no user agent in quotation marks")?;

    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("@timestamp", time.into());
    put("host", host.into());
    put("status", status.into());
    put("bytes", json!(bytes));
    let mut words = request.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(path), Some(protocol), None) => {
            put("method", method.into());
            put("path", path.into());
            put("protocol", protocol.into());
        }
        // What scanners send is often no request at all; it is in the log, so it stays.
        _ => {
            put("request", request.as_str().into());
        }
    }
    for (name, value) in [("user", user), ("referrer", &referrer), ("agent", &agent)] {
        if value != "-" {
            put(name, value.into());
        }
    }
    Ok(Record::new(fields, Class::Status(status)))
}

/// A text in quotation marks and what follows it. Inside, `\"` and `\\` stand for themselves.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut plain = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((plain, inside.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                next @ ('"' | '\\') => plain.push(next),
                next => plain.extend(['\\', next]),
            },
            other => plain.push(other),
        }
    }
    None
}

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (100..600).contains(status))
}

/// Apache writes a minus for an answer without a body.
fn size(text: &str) -> Option<u64> {
    if text == "-" { Some(0) } else { text.parse().ok() }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `10/Oct/2025:13:55:36 +0200` as `2025-10-10T13:55:36+02:00`.
pub(crate) fn time(stamp: &str) -> Option<String> {
    let (date, zone) = stamp.split_once(' ')?;
    let (day, rest) = date.split_once('/')?;
    let (month, rest) = rest.split_once('/')?;
    let (year, clock) = rest.split_once(':')?;
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let mut clock = clock.split(':');
    let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next()?);
    let (sign, offset) = zone.split_at_checked(1)?;
    let (ahead_hours, ahead_minutes) = offset.split_at_checked(2)?;
    let fits = number(day, 2, 1..=31)
        && number(year, 4, 0..=9_999)
        && number(hour, 2, 0..=23)
        && number(minute, 2, 0..=59)
        && number(second, 2, 0..=60)
        && number(ahead_hours, 2, 0..=23)
        && number(ahead_minutes, 2, 0..=59)
        && matches!(sign, "+" | "-")
        && clock.next().is_none();
    fits.then(|| {
        format!("{year}-{month:02}-{day}T{hour}:{minute}:{second}{sign}{ahead_hours}:{ahead_minutes}")
    })
}

fn number(text: &str, digits: usize, range: std::ops::RangeInclusive<u32>) -> bool {
    text.len() == digits
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse().is_ok_and(|number| range.contains(&number))
}
