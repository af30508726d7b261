//! The publishing side: a connection of its own, so that a server which takes nothing at present still hears acks.
//!
//! One batch at a time, whose messages are all sent before the first confirm is awaited. So jobs keep their order, and it is known for
//! each message whether it was returned: the client hands a returned message to whichever confirm comes next, and only when every
//! confirm of a channel is there, every returned message of it is.

use std::collections::{HashSet, VecDeque};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, ErrorKind, Event, PublisherConfirm};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::{Declare, RabbitMqConfig};
use crate::connector::Connector;
use crate::declare;
use crate::error::{LinkError, PublishError};
use crate::link::{Link, LinkSender};
use crate::message::Outgoing;

/// A message to be published, and who is told.
pub(crate) struct Publication {
    pub(crate) message: Outgoing,
    pub(crate) until: Until,
    pub(crate) done: Box<dyn FnOnce(Result<(), PublishError>) + Send>,
}

/// How long a publication is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Once, and not at all if the server cannot be reached in time: the sender decides what is next.
    InTime,
    /// Until it is confirmed. It stands for a message that came by this channel and is acked afterwards; when that channel has
    /// ended, the message comes again, and nothing needs to be published any more.
    Confirmed { channel: u64 },
}

/// A publication that waits, and when it is given up.
struct Waiting {
    publication: Publication,
    expires: Option<Instant>,
}

/// Messages of one batch.
const BATCH: usize = 1_024;
/// The pause before a message that the server did not take is published again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked for what waits for too long, or waits no more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Publishes what comes, until nobody can send any more.
pub(crate) struct Publisher {
    pub(crate) connector: Connector,
    /// Not bounded by itself: jobs on their way are bounded by who sends them, everything else by what is leased.
    pub(crate) orders: UnboundedReceiver<Publication>,
    pub(crate) config: RabbitMqConfig,
    /// The consuming channel that is open now.
    pub(crate) channel: Arc<AtomicU64>,
    pub(crate) link: LinkSender,
    pub(crate) name: String,
    pub(crate) pending: Pending,
}

/// What is not in flight.
#[derive(Default)]
pub(crate) struct Pending {
    waiting: VecDeque<Waiting>,
    /// What the server did not take, and when it is published again.
    later: Vec<(Instant, Waiting)>,
    looked: Option<Instant>,
    is_closed: bool,
}

/// What became of a batch.
struct Batch {
    channel: Channel,
    messages: Vec<Waiting>,
    ends: Vec<End>,
}

/// What became of one message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Confirmed,
    Returned,
    Refused,
    Unconfirmed,
    NotSent,
}

impl Publisher {
    pub(crate) async fn run(mut self) {
        let mut pauses = self.connector.pauses();
        loop {
            while self.pending.is_empty() {
                match self.orders.recv().await {
                    Some(publication) => self.accept(publication),
                    None => return self.link.set(Link::Closed),
                }
            }
            let connector = self.connector.clone();
            let name = self.name.clone();
            let error = match self.meanwhile(connector.connect(&name)).await {
                Ok(connection) => match self.serve(&connection, &mut pauses).await {
                    Ok(()) => {
                        connector.close(&connection).await;
                        return self.link.set(Link::Closed);
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            tracing::warn!(%error, connection = name, "the publishing connection is down");
            self.link.set(Link::down(&error));
            let pause = pauses.next();
            self.meanwhile(tokio::time::sleep(pause)).await;
        }
    }

    fn accept(&mut self, publication: Publication) {
        let expires =
            (publication.until == Until::InTime).then(|| Instant::now() + self.config.publish_within);
        self.pending.waiting.push_back(Waiting { publication, expires });
    }

    /// Takes orders and gives up what waits for too long, while something else is under way.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.look();
            let next = self.pending.next_look();
            tokio::select! {
                done = &mut work => return done,
                order = self.orders.recv(), if !self.pending.is_closed => self.ordered(order),
                () = until(next) => {}
            }
        }
    }

    fn ordered(&mut self, order: Option<Publication>) {
        match order {
            Some(publication) => self.accept(publication),
            None => self.pending.is_closed = true,
        }
        while let Ok(publication) = self.orders.try_recv() {
            self.accept(publication);
        }
    }

    /// Gives up what waits for too long or is not wanted any more, and takes up what waited for its next try. Now and then only:
    /// it looks at everything.
    fn look(&mut self) {
        let now = Instant::now();
        let pending = &mut self.pending;
        if pending.looked.is_some_and(|looked| now < looked + LOOK_EVERY) {
            return;
        }
        pending.looked = Some(now);
        let current = self.channel.load(Ordering::Acquire);
        let is_over = |waiting: &Waiting| match waiting.publication.until {
            Until::InTime => waiting.expires.is_some_and(|expires| expires <= now),
            Until::Confirmed { channel } => channel != current,
        };
        let (due, later) = std::mem::take(&mut pending.later)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        pending.later = later;
        let due: Vec<(Instant, Waiting)> = due;
        let waiting = std::mem::take(&mut pending.waiting);
        for waiting in waiting
            .into_iter()
            .chain(due.into_iter().map(|(_, waiting)| waiting))
        {
            match is_over(&waiting) {
                true => (waiting.publication.done)(Err(PublishError::Unavailable)),
                false => pending.waiting.push_back(waiting),
            }
        }
    }

    /// Serves one connection until it fails, or until all is done and nobody sends any more.
    async fn serve(
        &mut self,
        connection: &Connection,
        pauses: &mut crate::connector::Pauses,
    ) -> Result<(), LinkError> {
        let connector = self.connector.clone();
        if self.config.declare != Declare::Nothing {
            // It may be here before the consuming side has done so.
            let config = self.config.clone();
            self.meanwhile(declare::all(&config, &connector, connection))
                .await?;
        }
        let mut idle = Some(self.meanwhile(open_channel(&connector, connection)).await?);
        self.link.set(Link::Connected);
        pauses.reset();
        let mut events = pin!(connection.events_listener());
        let mut in_flight = FuturesUnordered::new();
        let mut is_broken = false;
        loop {
            self.look();
            while !is_broken && let Some(channel) = idle.take() {
                let messages = self.pending.take(BATCH);
                if messages.is_empty() {
                    idle = Some(channel);
                    break;
                }
                in_flight.push(publish(
                    channel,
                    messages,
                    Instant::now() + self.config.publish_within,
                ));
            }
            if in_flight.is_empty() && is_broken {
                return Err(LinkError::Ended);
            }
            if in_flight.is_empty() && self.pending.is_closed && self.pending.is_empty() {
                return Ok(());
            }
            let next = self.pending.next_look();
            tokio::select! {
                order = self.orders.recv(), if !self.pending.is_closed => self.ordered(order),
                Some(batch) = in_flight.next(), if !in_flight.is_empty() => {
                    is_broken |= !self.finished(batch, &mut idle);
                }
                Some(event) = events.next() => match event {
                    Event::ConnectionBlocked(why) => {
                        tracing::warn!(%why, "the server takes no messages at present");
                        self.link.set(Link::Blocked { why });
                    }
                    Event::ConnectionUnblocked => self.link.set(Link::Connected),
                    Event::Error(_) => is_broken = true,
                    _ => {}
                },
                () = until(next) => {}
            }
        }
    }

    /// Tells the ends of a batch. False if its channel cannot be used any more.
    fn finished(&mut self, batch: Batch, idle: &mut Option<Channel>) -> bool {
        let mut is_whole = batch.channel.status().connected();
        for (waiting, end) in batch.messages.into_iter().zip(batch.ends) {
            // A confirm that is out may still come, and would be taken for another message's.
            is_whole &= end != End::Unconfirmed;
            let error = match end {
                End::Confirmed => {
                    (waiting.publication.done)(Ok(()));
                    continue;
                }
                End::Returned => PublishError::Unroutable,
                End::Refused => PublishError::Refused,
                End::Unconfirmed => PublishError::Unconfirmed,
                End::NotSent => {
                    self.pending.waiting.push_front(waiting);
                    continue;
                }
            };
            match waiting.publication.until {
                Until::InTime => (waiting.publication.done)(Err(error)),
                Until::Confirmed { .. } => {
                    tracing::warn!(%error, to = %waiting.publication.message.routing_key, "published again after a pause");
                    self.pending.later.push((Instant::now() + AGAIN, waiting));
                }
            }
        }
        if is_whole {
            *idle = Some(batch.channel);
        }
        is_whole
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.later.is_empty()
    }

    /// Takes what can be published now.
    fn take(&mut self, most: usize) -> Vec<Waiting> {
        let most = most.min(self.waiting.len());
        self.waiting.drain(..most).collect()
    }

    fn next_look(&self) -> Option<Instant> {
        self.looked
            .filter(|_| !self.is_empty())
            .map(|looked| looked + LOOK_EVERY)
    }
}

/// Sleeps until then, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

async fn open_channel(connector: &Connector, connection: &Connection) -> Result<Channel, LinkError> {
    let channel = connector
        .step("opening a channel", connection.create_channel())
        .await?;
    let confirm = channel.confirm_select(ConfirmSelectOptions::default());
    connector.step("asking for confirms", confirm).await?;
    Ok(channel)
}

/// Publishes a batch and waits for the confirms of all of it.
async fn publish(channel: Channel, messages: Vec<Waiting>, deadline: Instant) -> Batch {
    // All at once: each waits for its frames to be written, which is no reason to hold the next one back.
    let sent = join_all(messages.iter().map(|waiting| {
        let Outgoing {
            exchange,
            routing_key,
            mandatory,
            properties,
            body,
        } = &waiting.publication.message;
        let options = BasicPublishOptions {
            mandatory: *mandatory,
            ..BasicPublishOptions::default()
        };
        channel.basic_publish(
            exchange.clone(),
            routing_key.clone(),
            options,
            body,
            properties.clone(),
        )
    }));
    let Ok(sent) = timeout_at(deadline, sent).await else {
        let ends = vec![End::Unconfirmed; messages.len()];
        return Batch {
            channel,
            messages,
            ends,
        };
    };
    let mut returned = HashSet::new();
    let mut ends = Vec::with_capacity(messages.len());
    for sent in sent {
        let end = match sent {
            Ok(confirm) => confirmed(confirm, deadline, &mut returned).await,
            Err(error) => match error.kind() {
                ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => End::NotSent,
                _ => End::Unconfirmed,
            },
        };
        ends.push(end);
    }
    for (waiting, end) in messages.iter().zip(&mut ends) {
        let message = &waiting.publication.message;
        if *end == End::Confirmed && !returned.is_empty() && returned.contains(&name_of(message)) {
            *end = End::Returned;
        }
    }
    Batch {
        channel,
        messages,
        ends,
    }
}

/// By what a returned message is known again: two that agree in it go the same way.
type Name = (String, String, Option<String>);

fn name_of(message: &Outgoing) -> Name {
    let id = message.properties.message_id().as_ref().map(|id| id.to_string());
    (message.exchange.to_string(), message.routing_key.to_string(), id)
}

async fn confirmed(confirm: PublisherConfirm, deadline: Instant, returned: &mut HashSet<Name>) -> End {
    match timeout_at(deadline, confirm).await {
        Ok(Ok(Confirmation::Ack(message))) => {
            if let Some(message) = message {
                let delivery = &message.delivery;
                let id = delivery.properties.message_id().as_ref().map(|id| id.to_string());
                returned.insert((
                    delivery.exchange.to_string(),
                    delivery.routing_key.to_string(),
                    id,
                ));
            }
            End::Confirmed
        }
        Ok(Ok(Confirmation::Nack(_))) => End::Refused,
        Ok(Ok(Confirmation::NotRequested) | Err(_)) | Err(_) => End::Unconfirmed,
    }
}
