//! Outcomes, sent to where an existing client waits for them.

use std::fmt;
use std::sync::Arc;

use consumer_group::codec::{Codec, GuardedCodec};
use consumer_group::queue::{Reply, ResultSink};
use consumer_group::{Failure, JobId};
use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::error::PublishError;
use crate::message::{self, Outgoing};
use crate::publisher::{Publication, Until};

/// The sink of a group whose jobs are calls: a message with `reply_to` is answered there, with its `correlation_id`. For
/// [`GroupBuilder::result_sink`](consumer_group::GroupBuilder::result_sink); made by
/// [`RabbitMqQueue::replies`](crate::RabbitMqQueue::replies).
///
/// The answer of a job that was given up has no bytes, and says why in the headers
/// [`REASON`](crate::headers::REASON) and [`REASON_TEXT`](crate::headers::REASON_TEXT).
pub struct RabbitMqReplies<O> {
    codec: Arc<GuardedCodec<O>>,
    publish: UnboundedSender<Publication>,
}

impl<O: 'static> RabbitMqReplies<O> {
    pub(crate) fn new(codec: impl Codec<O>, publish: UnboundedSender<Publication>) -> Self {
        let codec = Arc::new(GuardedCodec::new(codec));
        Self { codec, publish }
    }

    fn message(&self, reply: &Reply<O>, to: ShortString) -> Result<Outgoing, Failure> {
        let (mut body, mut headers) = (Vec::new(), FieldTable::default());
        match &reply.result {
            Ok(output) => self.codec.encode(output, &mut body)?,
            Err(rejection) => message::tell_reason(&mut headers, &rejection.reason),
        }
        let mut properties = BasicProperties::default()
            .with_message_id(reply_id(reply.job))
            .with_headers(headers);
        if let Ok(media_type) = ShortString::try_new(self.codec.media_type()) {
            properties = properties.with_content_type(media_type);
        }
        let correlation = reply.to.correlation.as_deref();
        if let Some(correlation) = correlation.and_then(|text| ShortString::try_new(text).ok()) {
            properties = properties.with_correlation_id(correlation);
        }
        Ok(Outgoing {
            exchange: ShortString::default(),
            // The server returns answers of its own kind of address as if nobody took them, although they arrive.
            mandatory: !to.as_str().starts_with(DIRECT),
            routing_key: to,
            properties,
            body,
        })
    }
}

/// How the addresses begin at which the server passes answers on without a queue.
const DIRECT: &str = "amq.rabbitmq.reply-to";

fn reply_id(job: JobId) -> ShortString {
    job.to_string().into()
}

impl<O: 'static> ResultSink<O> for RabbitMqReplies<O> {
    async fn send(&self, reply: &Reply<O>) -> Result<(), Failure> {
        let to = ShortString::try_new(&*reply.to.to);
        let to = to.map_err(|_| Failure::reject("the address of the answer is too long"))?;
        // What cannot be written today cannot be written tomorrow.
        let message = self.message(reply, to);
        let message = message.map_err(|failure| Failure::reject(failure.text()))?;
        let (tell, told) = oneshot::channel();
        let publication = Publication {
            message,
            until: Until::InTime,
            // An error means that the group has ended.
            done: Box::new(move |end| drop(tell.send(end))),
        };
        if self.publish.send(publication).is_err() {
            return Err(Failure::retry(PublishError::Unavailable));
        }
        match told.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(PublishError::Unroutable)) => Err(Failure::reject("nobody waits there any more")),
            Ok(Err(error)) => Err(Failure::retry(error)),
            Err(_) => Err(Failure::retry(PublishError::Unavailable)),
        }
    }
}

impl<O> Clone for RabbitMqReplies<O> {
    fn clone(&self) -> Self {
        Self {
            codec: Arc::clone(&self.codec),
            publish: self.publish.clone(),
        }
    }
}

impl<O> fmt::Debug for RabbitMqReplies<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqReplies").finish_non_exhaustive()
    }
}
