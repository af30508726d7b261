//! Queues are looked for, and declared where that was asked for.

use std::time::Duration;

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::config::{Declare, RabbitMqConfig};
use crate::connector::{Connector, short};
use crate::error::LinkError;

/// Sees to it that the queues are there.
pub(crate) async fn all(
    config: &RabbitMqConfig,
    connector: &Connector,
    connection: &Connection,
) -> Result<(), LinkError> {
    one(connector, connection, &config.queue, arguments(config.declare)).await?;
    let others = match config.declare {
        Declare::Nothing => None,
        _ => Some(()),
    };
    if let Some(dead_letters) = &config.dead_letters {
        one(
            connector,
            connection,
            dead_letters,
            others.map(|()| of_kind("quorum")),
        )
        .await?;
    }
    if config.keeps_retries() {
        for step in &config.retry_steps {
            let arguments = others.map(|()| retry(&config.queue, *step));
            one(connector, connection, &config.retry_queue(*step), arguments).await?;
        }
    }
    Ok(())
}

/// Declares one queue with these arguments; without any it must be there. On a channel of its own, since a refusal ends the channel.
async fn one(
    connector: &Connector,
    connection: &Connection,
    queue: &str,
    arguments: Option<FieldTable>,
) -> Result<(), LinkError> {
    let channel = connector
        .step("opening a channel", connection.create_channel())
        .await?;
    let options = match arguments {
        Some(_) => QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        },
        None => QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        },
    };
    let name = short(queue).unwrap_or_default();
    let declare = channel.queue_declare(name, options, arguments.unwrap_or_default());
    let declared = connector.step("looking for the queue", declare).await.map(drop);
    if declared.is_ok() {
        connector.close_channel(&channel).await?;
    }
    declared
}

fn arguments(declare: Declare) -> Option<FieldTable> {
    match declare {
        Declare::Nothing => None,
        Declare::Quorum => Some(of_kind("quorum")),
        Declare::Classic => Some(of_kind("classic")),
        Declare::Stream => Some(of_kind("stream")),
        Declare::Priorities(most) => {
            let mut arguments = of_kind("classic");
            arguments.insert("x-max-priority".into(), AMQPValue::ShortShortUInt(most));
            Some(arguments)
        }
    }
}

fn of_kind(kind: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    arguments
}

/// The arguments of a queue in which retries wait. All of one queue wait equally long, so none waits behind a longer one. What is over
/// goes back to the queue of the jobs, at least once: the server forgets it here when it is there.
fn retry(queue: &str, step: Duration) -> FieldTable {
    let mut arguments = of_kind("quorum");
    let milliseconds = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(milliseconds));
    for (name, value) in [
        ("x-dead-letter-exchange", ""),
        ("x-dead-letter-routing-key", queue),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments
}
