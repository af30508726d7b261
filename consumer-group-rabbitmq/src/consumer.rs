//! The consuming side: connects, consumes, acks, and begins again when something fails.
//!
//! One loop owns the connection, so there is never a second consumer beside the first: a new channel is opened when the one before is
//! closed, or its connection is.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use consumer_group::queue::QueueReply;
use futures_util::future::join_all;
use futures_util::stream::{Stream, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Event};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::StreamFrom;
use crate::connector::{Connector, short};
use crate::core::Core;
use crate::declare;
use crate::errands;
use crate::error::LinkError;
use crate::link::Link;
use crate::state::Work;
use crate::tags::Acks;

/// Messages that are taken in together.
const MOST_AT_ONCE: usize = 512;
/// How long what is done waits for what came before it, so that one ack tells both.
const ACK_WITHIN: Duration = Duration::from_millis(10);
/// How long a group takes much less than is prefetched before the prefetch follows.
const SHRINK_AFTER: Duration = Duration::from_secs(2);

/// Serves the queue until its last handle has gone.
pub(crate) async fn run<J: Send + Sync + 'static>(core: Arc<Core<J>>, connector: Connector) {
    let mut pauses = connector.pauses();
    while !core.is_ending() {
        let error = match connector.connect(&core.config.queue).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                let end = channels(&core, &connector, &connection, &mut pauses).await;
                core.lost();
                connector.close(&connection).await;
                end
            }
            Err(error) => Err(error),
        };
        if let Err(error) = error {
            tracing::warn!(%error, queue = core.config.queue, "the queue cannot be reached");
            core.tell_link(Link::down(&error));
            refuse_errands(&core);
            let _ = timeout(pauses.next(), core.until_ending()).await;
        }
    }
    refuse_errands(&core);
    core.tell_link(Link::Closed);
}

/// Opens one channel after the other, as long as the connection holds.
async fn channels<J: Send + Sync + 'static>(
    core: &Arc<Core<J>>,
    connector: &Connector,
    connection: &Arc<Connection>,
    pauses: &mut crate::connector::Pauses,
) -> Result<(), LinkError> {
    while !core.is_ending() {
        declare::all(&core.config, connector, connection).await?;
        let channel = connector
            .step("opening a channel", connection.create_channel())
            .await?;
        let number = core.opened();
        core.tell_link(Link::Connected);
        let mut serving = Serving {
            core: Arc::clone(core),
            connector: connector.clone(),
            connection: Arc::clone(connection),
            channel,
            number,
            prefetch: 0,
            consumer: None,
            done_since: None,
            little_since: None,
        };
        let end = serving.run().await;
        core.lost();
        let closed = connector.close_channel(&serving.channel).await;
        match end {
            Ok(()) => pauses.reset(),
            Err(error) => {
                if closed.is_err() || !connection.status().connected() {
                    return Err(error);
                }
                tracing::warn!(%error, queue = core.config.queue, "the channel has ended, and is opened again");
                core.tell_link(Link::down(&error));
                sleep(pauses.next()).await;
            }
        }
    }
    Ok(())
}

/// One channel.
struct Serving<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
    connector: Connector,
    connection: Arc<Connection>,
    channel: Channel,
    number: u64,
    /// What the present consumer prefetches; 0 while there is none.
    prefetch: u16,
    consumer: Option<lapin::Consumer>,
    /// Since when something is done that waits for what came before it.
    done_since: Option<Instant>,
    /// Since when the group takes much less than is prefetched.
    little_since: Option<Instant>,
}

impl<J: Send + Sync + 'static> Serving<J> {
    /// Serves until the group says goodbye, the last handle goes, or something fails.
    async fn run(&mut self) -> Result<(), LinkError> {
        let connection = Arc::clone(&self.connection);
        let mut events = pin!(connection.events_listener());
        let core = Arc::clone(&self.core);
        loop {
            let is_late = self.done_since.is_some_and(|since| since.elapsed() >= ACK_WITHIN);
            let work = core.lock().work(is_late || core.is_ending());
            if self.carry_out(work).await? || core.is_ending() {
                return Ok(());
            }
            let wake = [
                self.done_since.map(|since| since + ACK_WITHIN),
                self.little_since.map(|since| since + SHRINK_AFTER),
            ];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                biased;
                Some(event) = events.next() => if let Event::Error(error) = event {
                    return Err(LinkError::client("consuming")(error));
                },
                () = core.bell.notified() => {}
                deliveries = next_deliveries(&mut self.consumer) => core.came(self.number, deliveries?),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Tells the server what is to be told, and makes the prefetch what the group takes. True after a goodbye.
    async fn carry_out(&mut self, work: Work<J>) -> Result<bool, LinkError> {
        let Work {
            acks,
            prefetch,
            has_done,
            goodbye,
            errands,
        } = work;
        self.ack(acks).await?;
        self.done_since = match has_done {
            true => Some(self.done_since.unwrap_or_else(Instant::now)),
            false => None,
        };
        for errand in errands {
            let (core, connector, connection) = (
                Arc::clone(&self.core),
                self.connector.clone(),
                Arc::clone(&self.connection),
            );
            tokio::spawn(async move { errands::run(&core, &connector, &connection, errand).await });
        }
        if let Some(goodbye) = goodbye {
            self.core.lost();
            // What was prefetched goes back with the channel. Whoever waits may have gone.
            let closed = self.connector.close_channel(&self.channel).await;
            let _ = goodbye.send(());
            return closed.map(|()| true);
        }
        self.follow(prefetch).await?;
        Ok(false)
    }

    async fn ack(&self, acks: Acks) -> Result<(), LinkError> {
        let through = acks.through.map(|tag| (tag, true));
        let all = through
            .into_iter()
            .chain(acks.single.into_iter().map(|tag| (tag, false)));
        // All at once: each waits for its frame to be written, which is no reason to hold the next one back.
        let all = all.map(|(tag, multiple)| self.channel.basic_ack(tag, BasicAckOptions { multiple }));
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            return Ok(());
        }
        let acked = async { join_all(all).await.into_iter().collect::<lapin::Result<()>>() };
        self.connector.step("acking", acked).await
    }

    /// Makes the prefetch follow what the group takes: at once when it takes more, after a while when it takes much less.
    async fn follow(&mut self, wanted: usize) -> Result<(), LinkError> {
        let most = self.core.config.most_prefetched;
        let wanted = u16::try_from(wanted).unwrap_or(u16::MAX).min(most);
        if wanted > self.prefetch {
            // A quarter more, so that a window that grows step by step does not ask at each step.
            return self.consume(wanted.saturating_add(wanted / 4).min(most)).await;
        }
        if wanted >= self.prefetch / 2 && (wanted > 0 || self.prefetch == 0) {
            self.little_since = None;
            return Ok(());
        }
        let since = *self.little_since.get_or_insert_with(Instant::now);
        if since.elapsed() < SHRINK_AFTER {
            return Ok(());
        }
        self.little_since = None;
        self.consume(wanted).await
    }

    /// Consumes with this prefetch; not at all with 0. The consumer before, if there is one, is cancelled first, and what it still
    /// brings is taken in; what came by it can be acked as before, since the channel is the same.
    async fn consume(&mut self, prefetch: u16) -> Result<(), LinkError> {
        if let Some(consumer) = &self.consumer {
            let cancel = self
                .channel
                .basic_cancel(consumer.tag(), BasicCancelOptions::default());
            self.connector.step("cancelling the consumer", cancel).await?;
            self.drain().await?;
        }
        self.prefetch = prefetch;
        if prefetch == 0 {
            return self.give_back().await;
        }
        let qos = self.channel.basic_qos(prefetch, BasicQosOptions::default());
        self.connector.step("setting the prefetch", qos).await?;
        let queue = short(&self.core.config.queue).unwrap_or_default();
        let consume =
            self.channel
                .basic_consume(queue, "".into(), BasicConsumeOptions::default(), self.arguments());
        self.consumer = Some(self.connector.step("consuming", consume).await?);
        Ok(())
    }

    /// Takes in what the cancelled consumer still brings.
    async fn drain(&mut self) -> Result<(), LinkError> {
        let Some(mut consumer) = self.consumer.take() else {
            return Ok(());
        };
        let rest = async {
            let mut rest = Vec::new();
            while let Some(delivery) = consumer.next().await {
                rest.push(delivery?);
            }
            Ok(rest)
        };
        let rest = self.connector.step("cancelling the consumer", rest).await?;
        self.core.came(self.number, rest);
        Ok(())
    }

    /// Nobody takes anything: what waits here goes back to the server, where others find it.
    async fn give_back(&mut self) -> Result<(), LinkError> {
        let tags = self.core.lock().give_back();
        for tag in tags {
            let back = self
                .channel
                .basic_reject(tag, BasicRejectOptions { requeue: true });
            self.connector.step("giving back", back).await?;
        }
        Ok(())
    }

    fn arguments(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        if self.core.config.is_stream() {
            let from = self.core.config.stream_from.unwrap_or_default();
            let next = self.core.lock().next_offset();
            let offset = match next.map_or(from, StreamFrom::Offset) {
                StreamFrom::First => AMQPValue::LongString("first".into()),
                StreamFrom::Next => AMQPValue::LongString("next".into()),
                StreamFrom::Offset(offset) => {
                    AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
                }
            };
            arguments.insert("x-stream-offset".into(), offset);
        }
        arguments
    }
}

/// What has come, at least one message; waits for it.
async fn next_deliveries(consumer: &mut Option<lapin::Consumer>) -> Result<Vec<Delivery>, LinkError> {
    poll_fn(|context| {
        let Some(consumer) = consumer.as_mut() else {
            return Poll::Pending;
        };
        let mut deliveries = Vec::new();
        while deliveries.len() < MOST_AT_ONCE {
            match Pin::new(&mut *consumer).poll_next(context) {
                Poll::Ready(Some(Ok(delivery))) => deliveries.push(delivery),
                // What came before is lost with the channel as well.
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(LinkError::client("consuming")(error)));
                }
                // The server has cancelled the consumer: the queue was deleted, or its node has gone.
                Poll::Ready(None) => return Poll::Ready(Err(LinkError::Cancelled)),
                Poll::Pending => break,
            }
        }
        match deliveries.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(Ok(deliveries)),
        }
    })
    .await
}

/// Nobody can ask the server now.
fn refuse_errands<J: Send + Sync + 'static>(core: &Core<J>) {
    let errands = core.lock().take_errands();
    for errand in errands {
        // An error means that nobody waits any more.
        let _ = errand
            .answer
            .send(QueueReply::Unsupported("the server cannot be reached"));
    }
}
