//! Results: what consumers return goes to a topic, with the correlation id of its job, before the job counts as done.

use std::fmt;
use std::sync::{Arc, Weak};

use consumer_group::Failure;
use consumer_group::codec::{Codec, GuardedCodec};
use consumer_group::queue::{Reply, ResultSink};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use tokio::sync::oneshot;

use crate::core::Core;
use crate::sending::Sent;

/// The topic in which the sender of a record waits for its result. The name is that of Spring for Kafka.
pub(crate) const HEADER_REPLY_TOPIC: &str = "kafka_replyTopic";
/// By which it knows to what it is the answer.
pub const HEADER_CORRELATION: &str = "kafka_correlationId";
/// Why there is no result: on the answer to a job that was given up.
pub const HEADER_FAILED: &str = "consumer-group-failed";

/// Sends results to the topics in which they are waited for: that of the header `kafka_replyTopic` of the record, or that of
/// [`KafkaConfig::results`](crate::KafkaConfig::results). Clones are the same sink.
///
/// The answer has the header `kafka_correlationId` of the record, or the name of the job. That to a job that was given up has no
/// payload, and the reason in `consumer-group-failed`.
///
/// ```no_run
/// # use consumer_group::codec::Json;
/// # use consumer_group::{Delivery, Group};
/// # use consumer_group_kafka::{KafkaConfig, KafkaQueue};
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = KafkaConfig::new("127.0.0.1:9092", "squares", ["numbers"]);
/// config.results = Some("squares".to_owned());
/// let queue = KafkaQueue::<u64>::open(config, Json)?;
/// let results = queue.results(Json);
/// let group = Group::builder()
///     .queue(queue)
///     .result_sink(move || results.clone())
///     .consume_with(5, async |delivery: &Delivery<u64>| Ok(delivery.job() * delivery.job()))
///     .start()?;
/// # Ok(())
/// # }
/// ```
pub struct KafkaResults<J: Send + Sync + 'static, O> {
    core: Weak<Core<J>>,
    codec: Arc<GuardedCodec<O>>,
}

impl<J: Send + Sync + 'static, O: 'static> KafkaResults<J, O> {
    pub(crate) fn new(core: &Arc<Core<J>>, codec: impl Codec<O>) -> Self {
        Self {
            core: Arc::downgrade(core),
            codec: Arc::new(GuardedCodec::new(codec)),
        }
    }

    /// Sends it, and gives what tells of its confirm.
    fn post(&self, reply: &Reply<O>) -> Result<oneshot::Receiver<Result<(), String>>, Failure> {
        let core = self.core.upgrade();
        let sender = core.and_then(|core| core.sender());
        let sender = sender.ok_or_else(|| Failure::retry("the queue is at its end"))?;
        let name = reply.job.to_string();
        let correlation = reply.to.correlation.as_deref().unwrap_or(&name);
        let mut headers = OwnedHeaders::new().insert(Header {
            key: HEADER_CORRELATION,
            value: Some(correlation),
        });
        let mut payload = None;
        match &reply.result {
            Ok(output) => {
                let bytes = payload.insert(Vec::new());
                let written = self.codec.encode(output, bytes);
                written.map_err(|error| Failure::reject(format!("the result cannot be written: {error}")))?;
                headers = headers.insert(Header {
                    key: "content-type",
                    value: Some(self.codec.media_type()),
                });
            }
            Err(rejection) => {
                headers = headers.insert(Header {
                    key: HEADER_FAILED,
                    value: Some(&rejection.reason.to_string()),
                });
            }
        }
        let (tell, told) = oneshot::channel();
        let mut record =
            BaseRecord::<'_, str, [u8], _>::with_opaque_to(&reply.to.to, Box::new(Sent::Result(tell)));
        record = record.key(correlation).headers(headers);
        if let Some(payload) = &payload {
            record = record.payload(payload);
        }
        match sender.send(record) {
            Ok(()) => Ok(told),
            Err((error, _)) => Err(Failure::retry(error)),
        }
    }
}

impl<J: Send + Sync + 'static, O: 'static> ResultSink<O> for KafkaResults<J, O> {
    async fn send(&self, reply: &Reply<O>) -> Result<(), Failure> {
        match self.post(reply)?.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Failure::retry(why)),
            Err(_) => Err(Failure::retry("the queue has ended")),
        }
    }
}

impl<J: Send + Sync + 'static, O> Clone for KafkaResults<J, O> {
    fn clone(&self) -> Self {
        Self {
            core: Weak::clone(&self.core),
            codec: Arc::clone(&self.codec),
        }
    }
}

impl<J: Send + Sync + 'static, O> fmt::Debug for KafkaResults<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaResults").finish_non_exhaustive()
    }
}
