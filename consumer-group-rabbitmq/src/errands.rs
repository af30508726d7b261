//! What the group asks beside the messages: counts and dead letters. Each on a channel of its own, since a refusal ends it.

use std::sync::Arc;

use consumer_group::queue::{DeadSelection, QueueCommand, QueueReply};
use consumer_group::{DeadLetter, JobId};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::oneshot;

use crate::connector::{Connector, short};
use crate::core::Core;
use crate::error::LinkError;
use crate::message::Place;
use crate::publisher::{Publication, Until};
use crate::state::Errand;

/// Does an errand and answers it.
pub(crate) async fn run<J: Send + Sync + 'static>(
    core: &Arc<Core<J>>,
    connector: &Connector,
    connection: &Connection,
    errand: Errand<J>,
) {
    let done = async {
        let channel = connector
            .step("opening a channel", connection.create_channel())
            .await?;
        let job = Job {
            core,
            connector,
            channel,
        };
        let reply = job.run(errand.command).await;
        // What was looked at goes back with the channel.
        if job.channel.status().connected() {
            connector.close_channel(&job.channel).await?;
        }
        reply
    };
    let reply = done.await.unwrap_or_else(|error: LinkError| {
        tracing::warn!(%error, queue = core.config.queue, "the server could not be asked");
        QueueReply::Unsupported("the server did not answer")
    });
    // An error means that nobody waits any more.
    let _ = errand.answer.send(reply);
}

struct Job<'a, J: Send + Sync + 'static> {
    core: &'a Arc<Core<J>>,
    connector: &'a Connector,
    channel: Channel,
}

/// Dead letters that one errand looks at, at most.
const MOST: usize = 10_000;

impl<J: Send + Sync + 'static> Job<'_, J> {
    async fn run(&self, command: QueueCommand) -> Result<QueueReply<J>, LinkError> {
        match command {
            QueueCommand::Counts => self.counts().await,
            QueueCommand::DeadLetters { most } => self.dead_letters(most).await,
            QueueCommand::Requeue(which) => self.requeue(&which).await,
            QueueCommand::Purge(which) => self.purge(&which).await,
            _ => Ok(QueueReply::Unsupported("a queue of a server knows no such thing")),
        }
    }

    async fn counts(&self) -> Result<QueueReply<J>, LinkError> {
        let config = &self.core.config;
        let ready = self.messages(&config.queue).await?;
        let mut counts = self.core.lock().counts();
        counts.ready += ready;
        if config.keeps_retries() {
            for step in &config.retry_steps {
                counts.delayed += self.messages(&config.retry_queue(*step)).await?;
            }
        }
        if let Some(dead_letters) = &config.dead_letters {
            counts.dead = self.messages(dead_letters).await?;
        }
        Ok(QueueReply::Counts(counts))
    }

    /// How many messages wait in a queue.
    async fn messages(&self, queue: &str) -> Result<usize, LinkError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let name = short(queue).unwrap_or_default();
        let declare = self.channel.queue_declare(name, options, FieldTable::default());
        let queue = self.connector.step("counting", declare).await?;
        Ok(usize::try_from(queue.message_count()).unwrap_or(usize::MAX))
    }

    async fn dead_letters(&self, most: usize) -> Result<QueueReply<J>, LinkError> {
        let mut letters = Vec::new();
        while letters.len() < most.min(MOST) {
            let Some((_, letter)) = self.next().await? else {
                break;
            };
            letters.extend(letter);
        }
        Ok(QueueReply::DeadLetters(letters))
    }

    /// The next dead letter, and what can be told of it as a job.
    async fn next(&self) -> Result<Option<(Delivery, Option<DeadLetter<J>>)>, LinkError> {
        let Some(queue) = self.core.config.dead_letters.as_deref().and_then(short) else {
            return Ok(None);
        };
        let get = self.channel.basic_get(queue, BasicGetOptions::default());
        let Some(got) = self.connector.step("looking at dead letters", get).await? else {
            return Ok(None);
        };
        let place = Place {
            channel: 0,
            tag: got.delivery.delivery_tag,
        };
        let letter = self.core.letter(&got.delivery, place);
        Ok(Some((got.delivery, letter)))
    }

    async fn done(&self, delivery: &Delivery) -> Result<(), LinkError> {
        let ack = self
            .channel
            .basic_ack(delivery.delivery_tag, BasicAckOptions::default());
        self.connector.step("acking", ack).await
    }

    async fn requeue(&self, which: &DeadSelection) -> Result<QueueReply<J>, LinkError> {
        let mut requeued: Vec<JobId> = Vec::new();
        for _ in 0..MOST {
            let Some((delivery, letter)) = self.next().await? else {
                break;
            };
            let Some(letter) = letter.filter(|letter| is_meant(which, letter.id())) else {
                continue;
            };
            // First it is in the queue again, then it is gone here: a crash in between makes two of it, and never none.
            let (tell, told) = oneshot::channel();
            self.core.publish(Publication {
                message: self.core.resurrected(&delivery),
                until: Until::InTime,
                done: Box::new(move |end| drop(tell.send(end))),
            });
            if !matches!(told.await, Ok(Ok(()))) {
                break;
            }
            self.done(&delivery).await?;
            requeued.push(letter.id());
        }
        Ok(QueueReply::Requeued(requeued))
    }

    async fn purge(&self, which: &DeadSelection) -> Result<QueueReply<J>, LinkError> {
        let mut purged = 0;
        for _ in 0..MOST {
            let Some((delivery, letter)) = self.next().await? else {
                break;
            };
            let is_meant = match letter {
                Some(letter) => is_meant(which, letter.id()),
                None => *which == DeadSelection::All,
            };
            if is_meant {
                self.done(&delivery).await?;
                purged += 1;
            }
        }
        Ok(QueueReply::Purged(purged))
    }
}

fn is_meant(which: &DeadSelection, job: JobId) -> bool {
    match which {
        DeadSelection::All => true,
        DeadSelection::Jobs(jobs) => jobs.contains(&job),
    }
}
