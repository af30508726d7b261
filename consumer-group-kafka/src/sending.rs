//! Sending: jobs of the group's producers, and whatever else goes out. Each is confirmed by the server before anything counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use consumer_group::Key;
use consumer_group::events::Moment;
use consumer_group::queue::{JobRef, Refusal, Refused, ReplyTo};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, NoCustomPartitioner, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::oneshot;

use crate::burying;
use crate::core::Core;
use crate::partitions::Dying;
use crate::reading::logged;

/// The name of the job, as its producer knows it.
pub(crate) const HEADER_ID: &str = "consumer-group-id";
/// Where its outcome is awaited: the process, and the mailbox in it.
pub(crate) const HEADER_REPLY: &str = "consumer-group-reply-to";
/// Its priority, if it has one.
pub(crate) const HEADER_PRIORITY: &str = "consumer-group-priority";
/// Not before this time, in milliseconds since 1970.
pub(crate) const HEADER_NOT_BEFORE: &str = "consumer-group-not-before";
/// Not after this one.
pub(crate) const HEADER_EXPIRES: &str = "consumer-group-expires-at";

/// The producer of a queue.
pub(crate) type Sender<J> = ThreadedProducer<Confirming<J>, NoCustomPartitioner>;

/// What was sent, until it is confirmed.
pub(crate) enum Sent<J> {
    Job { job: JobRef<J>, push: Arc<Pushing<J>> },
    Dead(Dying),
    Result(oneshot::Sender<Result<(), String>>),
}

/// A push whose jobs are on their way.
pub(crate) struct Pushing<J> {
    left: AtomicUsize,
    refused: Mutex<Vec<Refused<J>>>,
    tell: Mutex<Option<oneshot::Sender<Vec<Refused<J>>>>>,
}

impl<J> Pushing<J> {
    /// One of them is confirmed, or refused. The last one gives the answer.
    fn one(&self, refused: Option<Refused<J>>) {
        if let Some(refused) = refused {
            self.refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(refused);
        }
        // Acquire and release: whoever is the last sees what all the others wrote.
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let refused = std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(tell) = self.tell.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // An error means that nobody waits any more.
            let _ = tell.send(refused);
        }
    }
}

/// Hears the confirms.
pub(crate) struct Confirming<J: Send + Sync + 'static>(pub(crate) Weak<Core<J>>);

impl<J: Send + Sync + 'static> ClientContext for Confirming<J> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logged(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka: librdkafka reports an error");
    }
}

impl<J: Send + Sync + 'static> ProducerContext for Confirming<J> {
    type DeliveryOpaque = Box<Sent<J>>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent<J>>) {
        match *sent {
            Sent::Job { job, push } => push.one(result.as_ref().err().map(|(error, _)| refused(job, error))),
            Sent::Result(tell) => {
                let confirmed = result.as_ref().map(drop).map_err(|(error, _)| error.to_string());
                // An error means that nobody waits any more.
                let _ = tell.send(confirmed);
            }
            Sent::Dead(dying) => {
                let Some(core) = self.0.upgrade() else { return };
                match result {
                    Ok(_) => core.operate(|partitions| burying::died(partitions, &core, dying)),
                    Err((error, _)) => {
                        tracing::warn!(%error, "kafka: a dead letter was not confirmed and is sent again");
                        core.keep_unburied([dying]);
                    }
                }
            }
        }
    }
}

fn refused<J>(job: JobRef<J>, error: &KafkaError) -> Refused<J> {
    tracing::warn!(%error, job = %job.id(), "kafka: a job was not confirmed");
    let refusal = match error.rdkafka_error_code() {
        Some(Code::QueueFull) => Refusal::Full,
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            Refusal::Unroutable
        }
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure) => Refusal::Unavailable {
            why: "no server is connected",
        },
        // Whatever else it is, the server may have it all the same.
        _ => Refusal::Unconfirmed,
    };
    Refused { job, refusal }
}

/// Sends the jobs of a push. The answer names those that were not confirmed.
pub(crate) fn push<J: Send + Sync + 'static>(
    core: &Core<J>,
    jobs: Vec<JobRef<J>>,
) -> oneshot::Receiver<Vec<Refused<J>>> {
    let (tell, told) = oneshot::channel();
    let push = Arc::new(Pushing {
        // One more, so that the answer is not given before all of them were sent.
        left: AtomicUsize::new(jobs.len() + 1),
        refused: Mutex::default(),
        tell: Mutex::new(Some(tell)),
    });
    for job in jobs {
        if let Err(refused) = send_job(core, job, &push) {
            push.one(Some(refused));
        }
    }
    push.one(None);
    told
}

fn send_job<J: Send + Sync + 'static>(
    core: &Core<J>,
    job: JobRef<J>,
    push: &Arc<Pushing<J>>,
) -> Result<(), Refused<J>> {
    let refuse = |job, refusal| Err(Refused { job, refusal });
    let Some((sender, topic)) = core.sender().zip(core.config.send_topic()) else {
        return refuse(job, Refusal::Closed);
    };
    let Ok(outgoing) = core.form.write(&job.payload()) else {
        return refuse(job, Refusal::NotEncoded);
    };
    let mut headers = OwnedHeaders::new();
    for (name, value) in &outgoing.headers {
        let (key, value) = (name.as_str(), value.as_ref());
        headers = headers.insert(Header { key, value });
    }
    let headers = wishes(headers, &job, core.process);
    let key = job.key().map(Key::to_string);
    let opaque = Box::new(Sent::Job {
        job,
        push: Arc::clone(push),
    });
    let mut record = BaseRecord::<'_, str, [u8], _>::with_opaque_to(topic, opaque).headers(headers);
    if let Some(key) = &key {
        record = record.key(key);
    }
    let bytes = outgoing.payload.as_ref().map_or(0, Vec::len) as u64;
    if let Some(payload) = &outgoing.payload {
        record = record.payload(payload);
    }
    match sender.send(record) {
        Ok(()) => Ok(()),
        Err((error, record)) => match *record.delivery_opaque {
            Sent::Job { job, .. } => Err(match (error.rdkafka_error_code(), core.config.most_bytes()) {
                (Some(Code::MessageSizeTooLarge), most) => Refused {
                    job,
                    refusal: Refusal::TooLarge { bytes, most },
                },
                _ => refused(job, &error),
            }),
            // Nothing else was put in.
            Sent::Dead(_) | Sent::Result(_) => Ok(()),
        },
    }
}

fn wishes<J>(mut headers: OwnedHeaders, job: &JobRef<J>, process: u128) -> OwnedHeaders {
    let mut say = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let value = Some(&value);
            headers = std::mem::take(&mut headers).insert(Header { key, value });
        }
    };
    let millis = |moment: Moment| moment.since(Moment::START).as_millis().to_string();
    say(HEADER_ID, Some(job.id().to_string()));
    say(
        HEADER_REPLY,
        job.reply_to()
            .map(|reply_to| format!("{process:x}.{}", reply_to.0)),
    );
    say(
        HEADER_PRIORITY,
        job.priority().is_urgent().then(|| job.priority().0.to_string()),
    );
    say(HEADER_NOT_BEFORE, job.not_before().map(millis));
    say(HEADER_EXPIRES, job.expires_at().map(millis));
    headers
}

/// The mailbox, if it is one of this process.
pub(crate) fn parse_reply(value: &str, process: u128) -> Option<ReplyTo> {
    let (of, mailbox) = value.split_once('.')?;
    let is_own = u128::from_str_radix(of, 16).ok()? == process;
    is_own.then(|| mailbox.parse().ok().map(ReplyTo)).flatten()
}
