//! Messages: how a job becomes one, how one becomes a job, and how one is sent on.

use std::time::Duration;

use consumer_group::events::Moment;
use consumer_group::queue::{Arrival, JobRef, Lane, Origin, ReplyAddress, ReplyTo};
use consumer_group::{AttemptRecord, DeadReason, Job, JobId, Key};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{FieldTable, ShortString};
use uuid::Uuid;

use crate::headers;

/// Where a message stands on its way to us. Ordered as they were delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// Which channel of this process, counted from one. What came by an earlier one than the present cannot be settled any more.
    pub(crate) channel: u64,
    /// The delivery tag in it.
    pub(crate) tag: u64,
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) redelivered: bool,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

/// A message that is a job of the group, leased or not.
pub(crate) struct Arrived<J> {
    pub(crate) place: Place,
    /// Its offset, if it comes from a stream.
    pub(crate) offset: Option<u64>,
    pub(crate) job: JobRef<J>,
    /// The attempt that begins with the next lease, or began with the present one; counted from one.
    pub(crate) attempt: u32,
    /// The attempts of this process life that ended without an ack.
    pub(crate) history: Vec<AttemptRecord>,
    /// As it came, to be sent on if it must be. Boxed, since it is large and seldom needed.
    pub(crate) message: Box<Message>,
}

/// A message that is to be published.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    /// Whether the server tells if no queue takes it.
    pub(crate) mandatory: bool,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

/// The attempts of a job that are kept at most, for its history.
const MOST_RECORDS: usize = 16;

/// What names the waiting callers of this process in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) Uuid);

impl Message {
    pub(crate) fn of(delivery: Delivery) -> Self {
        Self {
            exchange: delivery.exchange,
            routing_key: delivery.routing_key,
            redelivered: delivery.redelivered,
            properties: delivery.properties,
            body: delivery.data,
        }
    }

    pub(crate) fn copy_of(delivery: &Delivery) -> Self {
        Self {
            exchange: delivery.exchange.clone(),
            routing_key: delivery.routing_key.clone(),
            redelivered: delivery.redelivered,
            properties: delivery.properties.clone(),
            body: delivery.data.clone(),
        }
    }

    /// Of a dead letter: why it was given up, and when.
    pub(crate) fn death(&self) -> (DeadReason, Moment) {
        let text = |name| self.headers().and_then(|headers| headers::text(headers, name));
        let at = self
            .headers()
            .and_then(|headers| headers::number(headers, headers::DEAD_AT));
        let words = text(headers::REASON_TEXT).unwrap_or_default();
        let attempts = self.attempts();
        let reason = match text(headers::REASON).as_deref() {
            Some("attempts-used-up") => DeadReason::AttemptsUsedUp { attempts },
            Some("poison") => DeadReason::Poison { attempts },
            Some("expired") => DeadReason::Expired,
            Some("dropped-by-overflow") => DeadReason::DroppedByOverflow,
            Some("unreadable") => DeadReason::Unreadable(words.into()),
            // The words of a rejection are told behind its kind.
            _ => DeadReason::Rejected(words.strip_prefix("rejected: ").unwrap_or(&words).into()),
        };
        (reason, Moment::from_millis(at.unwrap_or(0)))
    }

    /// The message with which a dead letter begins anew in this queue: with no attempts behind it, and no expiry before it.
    pub(crate) fn resurrected(self, to: ShortString) -> Outgoing {
        let mut headers = FieldTable::default();
        for (name, value) in &headers::anew(self.headers()) {
            let is_of_the_dead = [
                headers::ATTEMPTS,
                headers::REASON,
                headers::REASON_TEXT,
                headers::DEAD_AT,
                headers::EXPIRES_AT,
                headers::NOT_BEFORE,
            ];
            if !is_of_the_dead.contains(&name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        Outgoing {
            exchange: ShortString::default(),
            routing_key: to,
            mandatory: true,
            properties: self.properties.with_headers(headers),
            body: self.body,
        }
    }

    fn headers(&self) -> Option<&FieldTable> {
        self.properties.headers().as_ref()
    }

    /// The name of its job: that which the message names, or that of its place in a stream, so that it stays the same when it comes
    /// again; else one for this delivery alone.
    fn id(&self, lane: &Lane) -> JobId {
        match (self.properties.message_id(), self.offset()) {
            (Some(named), _) => JobId::of_message_id(named.as_str()),
            (None, Some(offset)) => JobId::of_place(lane, offset),
            (None, None) => JobId::from_uuid(Uuid::new_v4()),
        }
    }

    /// What is known of where it comes from.
    pub(crate) fn arrival(&self, lane: &Lane, place: Place) -> Arrival {
        let mut origin = Origin::new(lane.clone(), self.offset().unwrap_or(place.tag));
        // The protocol tells seconds.
        let seconds = self.properties.timestamp().map(Duration::from_secs);
        origin.time = seconds.map(|since| Moment::START.after(since));
        origin.redelivered = self.redelivered;
        origin.headers = headers::shown(self.headers());
        origin.reply = self.properties.reply_to().as_ref().map(|to| {
            let correlation = self.properties.correlation_id().as_ref();
            Box::new(ReplyAddress {
                to: to.as_str().into(),
                correlation: correlation.map(|correlation| correlation.as_str().into()),
            })
        });
        Arrival {
            id: self.id(lane),
            origin,
        }
    }

    /// The attempts that were made before: those that we counted. The server's own count says only how often it was delivered.
    pub(crate) fn attempts(&self) -> u32 {
        let counted = self
            .headers()
            .and_then(|headers| headers::number(headers, headers::ATTEMPTS));
        u32::try_from(counted.unwrap_or(0)).unwrap_or(u32::MAX - 1)
    }

    /// Its offset, if it comes from a stream.
    pub(crate) fn offset(&self) -> Option<u64> {
        headers::number(self.headers()?, "x-stream-offset")
    }

    /// Who waits for the outcome, if it is somebody in this process.
    pub(crate) fn waiting(&self, process: Process) -> Option<ReplyTo> {
        let waiting = headers::text(self.headers()?, headers::WAITING)?;
        let number = waiting.strip_prefix(&process.0.to_string())?.strip_prefix('/')?;
        number.parse().ok().map(ReplyTo)
    }

    /// The job of it, with all that its producer wished.
    pub(crate) fn job<J>(&self, payload: J, now: Moment) -> Job<J> {
        let mut job = Job::new(payload).priority(self.properties.priority().unwrap_or(0));
        let Some(headers) = self.headers() else { return job };
        let key = headers::number(headers, headers::KEY).map(Key::Number);
        if let Some(key) = key.or_else(|| headers::text(headers, headers::KEY).map(Key::from)) {
            job = job.key(key);
        }
        let wait = |name| headers::number(headers, name).map(|at| Moment::from_millis(at).since(now));
        if let Some(wait) = wait(headers::NOT_BEFORE).filter(|wait| !wait.is_zero()) {
            job = job.delay(wait);
        }
        // A job that has begun once expires no more.
        if let Some(wait) = wait(headers::EXPIRES_AT).filter(|_| self.attempts() == 0) {
            job = job.expires_after(wait);
        }
        job
    }

    /// The message with which it is sent on, with the same body and headers. They say from where it came first.
    fn onward(&self, queue: &str, id: JobId) -> (FieldTable, BasicProperties) {
        let mut headers = headers::anew(self.headers());
        if !headers.contains_key(headers::QUEUE) {
            headers::set_text(&mut headers, headers::QUEUE, queue);
            headers::set_text(&mut headers, headers::EXCHANGE, self.exchange.as_str());
            headers::set_text(&mut headers, headers::ROUTING_KEY, self.routing_key.as_str());
        }
        let properties = self.properties.clone().with_delivery_mode(PERSISTENT);
        // What the producer called it stays; a message without a name gets that under which it is known here.
        let properties = match self.properties.message_id() {
            Some(_) => properties,
            None => properties.with_message_id(id.to_string().into()),
        };
        (headers, properties)
    }
}

impl<J> Arrived<J> {
    /// Notes that an attempt ended without an ack.
    pub(crate) fn failed(&mut self, counts: bool, record: Option<AttemptRecord>) {
        if counts {
            self.attempt = self.attempt.saturating_add(1);
        }
        if let Some(record) = record {
            if self.history.len() >= MOST_RECORDS {
                // The first one stays.
                self.history.remove(1);
            }
            self.history.push(record);
        }
    }

    /// The message by which it waits for its retry in this queue.
    pub(crate) fn retry(&self, from: &str, to: ShortString) -> Outgoing {
        let (mut headers, properties) = self.message.onward(from, self.job.id());
        headers::set_number(
            &mut headers,
            headers::ATTEMPTS,
            u64::from(self.attempt.saturating_sub(1)),
        );
        if let Some(last) = self.history.last() {
            headers::set_text(&mut headers, headers::LAST_FAILURE, &last.to_string());
        }
        self.outgoing(to, headers, properties)
    }

    /// The message by which it becomes a dead letter in this queue.
    pub(crate) fn dead_letter(
        &self,
        from: &str,
        to: ShortString,
        reason: &DeadReason,
        at: Moment,
    ) -> Outgoing {
        let (mut headers, properties) = self.message.onward(from, self.job.id());
        headers::set_number(&mut headers, headers::ATTEMPTS, u64::from(self.attempt));
        if let Some(last) = self.history.last() {
            headers::set_text(&mut headers, headers::LAST_FAILURE, &last.to_string());
        }
        dead(&mut headers, reason, at);
        self.outgoing(to, headers, properties)
    }

    fn outgoing(&self, to: ShortString, headers: FieldTable, properties: BasicProperties) -> Outgoing {
        Outgoing {
            exchange: ShortString::default(),
            routing_key: to,
            mandatory: true,
            properties: properties.with_headers(headers),
            body: self.message.body.clone(),
        }
    }
}

/// The message by which one that is no job becomes a dead letter.
pub(crate) fn unreadable(
    message: &Message,
    id: JobId,
    from: &str,
    to: ShortString,
    why: &str,
    at: Moment,
) -> Outgoing {
    let (mut headers, properties) = message.onward(from, id);
    dead(&mut headers, &DeadReason::Unreadable(why.into()), at);
    Outgoing {
        exchange: ShortString::default(),
        routing_key: to,
        mandatory: true,
        properties: properties.with_headers(headers),
        body: message.body.clone(),
    }
}

fn dead(headers: &mut FieldTable, reason: &DeadReason, at: Moment) {
    tell_reason(headers, reason);
    headers::set_number(headers, headers::DEAD_AT, at.as_millis());
}

/// Says why a job was given up.
pub(crate) fn tell_reason(headers: &mut FieldTable, reason: &DeadReason) {
    let word = match reason {
        DeadReason::Rejected(_) => "rejected",
        DeadReason::AttemptsUsedUp { .. } => "attempts-used-up",
        DeadReason::Poison { .. } => "poison",
        DeadReason::Expired => "expired",
        DeadReason::DroppedByOverflow => "dropped-by-overflow",
        DeadReason::Unreadable(_) => "unreadable",
        _ => "other",
    };
    headers::set_text(headers, headers::REASON, word);
    headers::set_text(headers, headers::REASON_TEXT, &reason.to_string());
}

/// Kept on disk by the server.
const PERSISTENT: u8 = 2;

/// The message of a job that is sent.
pub(crate) fn of_job<J>(
    job: &JobRef<J>,
    (body, media_type): (Vec<u8>, &str),
    to: ShortString,
    process: Process,
) -> Outgoing {
    let mut headers = FieldTable::default();
    match job.key() {
        Some(Key::Number(number)) => headers::set_number(&mut headers, headers::KEY, *number),
        Some(Key::Text(text)) => headers::set_text(&mut headers, headers::KEY, text),
        None => {}
    }
    if let Some(at) = job.not_before() {
        headers::set_number(&mut headers, headers::NOT_BEFORE, rounded_up(at));
    }
    if let Some(at) = job.expires_at() {
        headers::set_number(&mut headers, headers::EXPIRES_AT, rounded_up(at));
    }
    if let Some(ReplyTo(number)) = job.reply_to() {
        headers::set_text(&mut headers, headers::WAITING, &format!("{}/{number}", process.0));
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(job.id().to_string().into());
    // An empty table costs the server as much as a full one.
    if !headers.inner().is_empty() {
        properties = properties.with_headers(headers);
    }
    if let Ok(media_type) = ShortString::try_new(media_type) {
        properties = properties.with_content_type(media_type);
    }
    if job.priority().is_urgent() {
        properties = properties.with_priority(job.priority().0);
    }
    Outgoing {
        exchange: ShortString::default(),
        routing_key: to,
        mandatory: true,
        properties,
        body,
    }
}

/// Headers tell milliseconds, and a wait must not end early.
fn rounded_up(at: Moment) -> u64 {
    at.after(Duration::from_nanos(999_999)).as_millis()
}
