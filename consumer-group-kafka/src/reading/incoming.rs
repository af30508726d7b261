//! Records on their way to becoming jobs, outside of the lock.

use std::sync::Arc;
use std::time::Duration;

use consumer_group::events::Moment;
use consumer_group::queue::{Arrival, HeaderValue, Headers, JobRef, Lane, Origin, ReplyAddress, ReplyTo};
use consumer_group::{Job, JobId, Key};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers as _};

use super::going::Route;

use crate::core::Core;
use crate::envelope::Envelope;
use crate::partitions::Held;
use crate::record::copied;
use crate::results::{HEADER_CORRELATION, HEADER_REPLY_TOPIC};
use crate::sending::{
    HEADER_EXPIRES, HEADER_ID, HEADER_NOT_BEFORE, HEADER_PRIORITY, HEADER_REPLY, parse_reply,
};

/// What became of a record.
pub(super) enum Read<J> {
    /// A job, or a record that is none.
    Held(Held<J>),
    /// Nothing is to be done.
    Done,
}

/// Reads a record of this partition.
pub(super) fn read<J: Send + Sync + 'static>(
    core: &Core<J>,
    message: &BorrowedMessage<'_>,
    route: &Route,
) -> Read<J> {
    let payload = match core.form.read(message) {
        Ok(None) => return Read::Done,
        Ok(Some(payload)) => Ok(payload),
        Err(error) => Err(error.to_string()),
    };
    let envelopes = core.config.dead_letters.is_some() || payload.is_err();
    let envelope = envelopes.then(|| Box::new(envelope(message, payload.as_ref().err())));
    let job = payload.ok().map(|payload| job(core, message, payload, route));
    Read::Held(Held {
        job,
        envelope,
        history: Vec::new(),
        outputs: Vec::new(),
    })
}

fn envelope(message: &BorrowedMessage<'_>, unreadable: Option<&String>) -> Envelope {
    Envelope {
        topic: Arc::from(message.topic()),
        partition: message.partition(),
        offset: message.offset(),
        time: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        // Of a job the payload is written anew, if that ever has to be.
        payload: unreadable.and_then(|_| message.payload().map(<[u8]>::to_vec)),
        headers: copied(message),
        unreadable: unreadable.cloned(),
    }
}

/// What the headers of a producer of such a group say.
#[derive(Default)]
struct Wishes {
    id: Option<JobId>,
    reply_to: Option<ReplyTo>,
    priority: u8,
    not_before: Option<Moment>,
    expires_at: Option<Moment>,
}

fn job<J: Send + Sync + 'static>(
    core: &Core<J>,
    message: &BorrowedMessage<'_>,
    payload: J,
    route: &Route,
) -> JobRef<J> {
    let wishes = wishes(message, core.process);
    let mut job = Job::new(payload).priority(wishes.priority);
    if let Some(key) = message.key() {
        job = job.key(key_of(key));
    }
    let mut now = Moment::START;
    if wishes.not_before.is_some() || wishes.expires_at.is_some() {
        now = core.clock().now();
        if let Some(at) = wishes.not_before {
            job = job.delay(at.since(now));
        }
        if let Some(at) = wishes.expires_at {
            job = job.expires_after(at.since(now));
        }
    }
    // Somebody in this process waits for the outcome: the job is as if it had never left.
    if let Some((id, reply_to)) = wishes.id.zip(wishes.reply_to) {
        return JobRef::new(id, job, Some(reply_to), now);
    }
    let origin = origin(message, route, core.config.results.as_deref());
    let id = wishes
        .id
        .unwrap_or_else(|| JobId::of_place(&origin.lane, origin.position));
    JobRef::arrived(Arrival { id, origin }, job, now)
}

fn origin(message: &BorrowedMessage<'_>, route: &Route, results: Option<&str>) -> Origin {
    // No record has an offset below 0.
    let position = message.offset().unsigned_abs();
    let mut origin = Origin::new(Lane::clone(&route.of), position);
    let millis = message
        .timestamp()
        .to_millis()
        .and_then(|millis| u64::try_from(millis).ok());
    origin.time = millis.map(|millis| Moment::START.after(Duration::from_millis(millis)));
    origin.fence = route.fence;
    origin.reply = reply(message, results);
    if let Some(headers) = message.headers() {
        let value = |value: Option<&[u8]>| value.map_or(HeaderValue::Empty, HeaderValue::from);
        let headers = headers.iter().map(|header| (header.key, value(header.value)));
        origin.headers = headers.collect::<Headers>();
    }
    origin
}

/// Where the result is waited for: where the record says, or where all results go.
fn reply(message: &BorrowedMessage<'_>, results: Option<&str>) -> Option<Box<ReplyAddress>> {
    let text = |name: &str| {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let value = headers.filter(|header| header.key == name).last()?.value?;
        std::str::from_utf8(value).ok()
    };
    let to = text(HEADER_REPLY_TOPIC).or(results)?;
    Some(Box::new(ReplyAddress {
        to: to.into(),
        correlation: text(HEADER_CORRELATION).map(Arc::from),
    }))
}

fn wishes(message: &BorrowedMessage<'_>, process: u128) -> Wishes {
    let mut wishes = Wishes::default();
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        let Some(value) = header.value.and_then(|value| std::str::from_utf8(value).ok()) else {
            continue;
        };
        match header.key {
            HEADER_ID => wishes.id = uuid::Uuid::parse_str(value).ok().map(JobId::from_uuid),
            HEADER_REPLY => wishes.reply_to = parse_reply(value, process),
            HEADER_PRIORITY => wishes.priority = value.parse().unwrap_or(0),
            HEADER_NOT_BEFORE => wishes.not_before = moment(value),
            HEADER_EXPIRES => wishes.expires_at = moment(value),
            _ => {}
        }
    }
    wishes
}

fn moment(millis: &str) -> Option<Moment> {
    let since = Duration::from_millis(millis.parse().ok()?);
    Some(Moment::START.after(since))
}

/// The key of the job: the key of the record as a text, or a number made of it if it is none. Two keys that become one wait for
/// each other, and break no promise.
fn key_of(bytes: &[u8]) -> Key {
    match std::str::from_utf8(bytes) {
        Ok(text) => Key::from(text),
        Err(_) => Key::Number(
            uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, bytes)
                .as_u64_pair()
                .0,
        ),
    }
}
