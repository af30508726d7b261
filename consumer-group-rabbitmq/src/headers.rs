//! The headers by which jobs, retries and dead letters say what they are. Other clients see them, so their names are promised.

use consumer_group::queue::{HeaderValue, Headers};
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// How many attempts were made before. A number.
pub const ATTEMPTS: &str = "x-consumer-group-attempts";
/// The key of the job: a text, or a number.
pub const KEY: &str = "x-consumer-group-key";
/// Not to be done before this moment, in milliseconds since 1970.
pub const NOT_BEFORE: &str = "x-consumer-group-not-before";
/// Not to begin after this moment, in milliseconds since 1970.
pub const EXPIRES_AT: &str = "x-consumer-group-expires-at";
/// Who waits for the outcome, in the process that sent the job.
pub const WAITING: &str = "x-consumer-group-waiting";
/// The queue from which a retry or a dead letter was taken.
pub const QUEUE: &str = "x-consumer-group-queue";
/// The exchange to which the message was published first.
pub const EXCHANGE: &str = "x-consumer-group-exchange";
/// The routing key with which the message was published first.
pub const ROUTING_KEY: &str = "x-consumer-group-routing-key";
/// Why a dead letter was given up, in one word.
pub const REASON: &str = "x-consumer-group-reason";
/// Why a dead letter was given up, in words.
pub const REASON_TEXT: &str = "x-consumer-group-reason-text";
/// How the last attempt ended.
pub const LAST_FAILURE: &str = "x-consumer-group-last-failure";
/// When a dead letter was given up, in milliseconds since 1970.
pub const DEAD_AT: &str = "x-consumer-group-dead-at";

/// What the server itself writes into the headers of a message that is delivered or comes from a retry queue. It says nothing of a
/// message that is published anew.
const OF_THE_SERVER: [&str; 7] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-delivery-count",
    "x-acquired-count",
    "x-stream-offset",
];

/// A header that is a number.
pub(crate) fn number(headers: &FieldTable, name: &str) -> Option<u64> {
    match headers.inner().get(name)? {
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some(u64::from(*number)),
        AMQPValue::ShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::ShortShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some(u64::from(*number)),
        AMQPValue::Timestamp(number) => Some(*number),
        _ => None,
    }
}

/// A header that is a text.
pub(crate) fn text(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Sets a header that is a number. One beyond what a signed number holds is the greatest that it holds.
pub(crate) fn set_number(headers: &mut FieldTable, name: &'static str, number: u64) {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    headers.insert(ShortString::from(name), AMQPValue::LongLongInt(number));
}

/// Sets a header that is a text.
pub(crate) fn set_text(headers: &mut FieldTable, name: &'static str, text: &str) {
    headers.insert(ShortString::from(name), AMQPValue::LongString(text.into()));
}

/// The headers of a message that is published anew: without those that the server wrote.
pub(crate) fn anew(headers: Option<&FieldTable>) -> FieldTable {
    let mut anew = FieldTable::default();
    for (name, value) in headers.into_iter().flatten() {
        if !OF_THE_SERVER.contains(&name.as_str()) {
            anew.insert(name.clone(), value.clone());
        }
    }
    anew
}

/// The headers as a consumer sees them. What has no counterpart there (tables, lists, broken numbers) is left out.
pub(crate) fn shown(headers: Option<&FieldTable>) -> Headers {
    let shown = headers.into_iter().flatten().filter_map(|(name, value)| {
        let value = match value {
            AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => HeaderValue::from(text),
                Err(_) => HeaderValue::from(text.as_bytes()),
            },
            AMQPValue::ShortString(text) => HeaderValue::from(text.as_str()),
            AMQPValue::ByteArray(bytes) => HeaderValue::from(bytes.as_slice()),
            AMQPValue::Boolean(flag) => HeaderValue::from(*flag),
            AMQPValue::Void => HeaderValue::Empty,
            AMQPValue::LongLongInt(number) => HeaderValue::from(*number),
            AMQPValue::LongInt(number) => HeaderValue::from(i64::from(*number)),
            AMQPValue::LongUInt(number) => HeaderValue::from(i64::from(*number)),
            AMQPValue::ShortInt(number) => HeaderValue::from(i64::from(*number)),
            AMQPValue::ShortUInt(number) => HeaderValue::from(i64::from(*number)),
            AMQPValue::ShortShortInt(number) => HeaderValue::from(i64::from(*number)),
            AMQPValue::ShortShortUInt(number) => HeaderValue::from(i64::from(*number)),
            AMQPValue::Timestamp(number) => HeaderValue::from(i64::try_from(*number).ok()?),
            _ => return None,
        };
        Some((name.as_str(), value))
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_every_width_in_which_other_clients_write_it() {
        for value in [
            AMQPValue::LongLongInt(7),
            AMQPValue::LongInt(7),
            AMQPValue::LongUInt(7),
            AMQPValue::ShortInt(7),
            AMQPValue::ShortUInt(7),
            AMQPValue::ShortShortInt(7),
            AMQPValue::ShortShortUInt(7),
            AMQPValue::Timestamp(7),
        ] {
            let mut headers = FieldTable::default();
            headers.insert(ATTEMPTS.into(), value);
            assert_eq!(number(&headers, ATTEMPTS), Some(7));
        }
        let mut headers = FieldTable::default();
        headers.insert(ATTEMPTS.into(), AMQPValue::LongInt(-7));
        assert_eq!(number(&headers, ATTEMPTS), None);
        assert_eq!(number(&headers, KEY), None);
    }

    #[test]
    fn what_the_server_wrote_is_left_out_of_a_message_that_is_published_anew() {
        let mut headers = FieldTable::default();
        set_text(&mut headers, "x-death", "once");
        set_text(&mut headers, "color", "red");
        let anew = anew(Some(&headers));
        assert_eq!(text(&anew, "color").as_deref(), Some("red"));
        assert_eq!(anew.inner().len(), 1);
    }
}
