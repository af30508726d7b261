//! The queue as a group gets it.

use std::fmt;
use std::sync::Arc;

use consumer_group::codec::{Codec, GuardedCodec, Json};
use consumer_group::queue::{Capabilities, Clock, Epoch, QueueRoom, QueueSource};
use tokio::sync::{mpsc, watch};

use crate::actor::RabbitMqActor;
use crate::config::RabbitMqConfig;
use crate::connector::{Connector, short};
use crate::consumer;
use crate::core::Core;
use crate::error::OpenError;
use crate::link::Link;
use crate::publisher::{Pending, Publisher};
use crate::replies::RabbitMqReplies;

/// A queue of a RabbitMQ server, for [`GroupBuilder::queue`](consumer_group::GroupBuilder::queue). Clones share it.
///
/// It is opened at once and connected in the background: a server that cannot be reached is no error here, and is tried again until the
/// last handle has gone. How the connections stand, [`link`](Self::link) tells.
pub struct RabbitMqQueue<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
    owner: Arc<Owner<J>>,
}

/// Lives as long as a handle does; the connections end with it.
struct Owner<J: Send + Sync + 'static>(Arc<Core<J>>);

impl<J: Send + Sync + 'static> Drop for Owner<J> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<J: Send + Sync + 'static> RabbitMqQueue<J> {
    /// The queue of this configuration, whose messages are JSON.
    ///
    /// # Errors
    /// The configuration cannot be, or there is no thread to be had for the connections.
    pub fn open(config: RabbitMqConfig) -> Result<Self, OpenError>
    where
        Json: Codec<J>,
    {
        Self::open_with(config, Json)
    }

    /// The queue of this configuration, with another form of the payloads.
    ///
    /// # Errors
    /// The configuration cannot be, or there is no thread to be had for the connections.
    pub fn open_with(config: RabbitMqConfig, codec: impl Codec<J>) -> Result<Self, OpenError> {
        let connector = Connector::new(&config)?;
        let names = names(&config)?;
        let (publish, orders) = mpsc::unbounded_channel();
        let name = format!("{} (publishing)", config.queue);
        let core = Arc::new(Core::new(
            config.clone(),
            GuardedCodec::new(codec),
            publish,
            names,
        ));
        let publisher = Publisher {
            connector: connector.clone(),
            orders,
            config,
            channel: Arc::clone(&core.channel),
            link: core.publishing.clone(),
            name,
            pending: Pending::default(),
        };
        let consuming = Arc::clone(&core);
        // A runtime of its own: heartbeats and acks go out also while consumers block their arbiters.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenError::Thread)?;
        let serve = move || {
            runtime.block_on(async move {
                let publishing = tokio::spawn(publisher.run());
                let (told, mut links) = (Arc::clone(&consuming), consuming.publishing.subscribe());
                // It ends with the runtime.
                tokio::spawn(async move {
                    while links.changed().await.is_ok() {
                        told.tell_state();
                    }
                });
                consumer::run(consuming, connector).await;
                // It ends by itself when the last sender has gone. An error means that it panicked, and was told by that.
                let _ = publishing.await;
            });
        };
        let thread = std::thread::Builder::new().name("rabbitmq".into());
        thread.spawn(serve).map_err(OpenError::Thread)?;
        let owner = Arc::new(Owner(Arc::clone(&core)));
        Ok(Self { core, owner })
    }

    /// Answers calls, in JSON: for [`GroupBuilder::result_sink`](consumer_group::GroupBuilder::result_sink). A message with
    /// `reply_to` is acked when its answer was confirmed.
    pub fn replies<O: 'static>(&self) -> impl Fn() -> RabbitMqReplies<O> + Send + Sync + 'static
    where
        Json: Codec<O>,
    {
        self.replies_with(Json)
    }

    /// As [`replies`](Self::replies), with another form of the outcomes.
    pub fn replies_with<O: 'static>(
        &self,
        codec: impl Codec<O>,
    ) -> impl Fn() -> RabbitMqReplies<O> + Send + Sync + 'static {
        let replies = RabbitMqReplies::new(codec, self.core.publisher());
        move || replies.clone()
    }

    /// How the connection stands by which messages come.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.core.link.subscribe()
    }

    /// How the connection stands by which messages are published: jobs, retries, dead letters. It is made when the first is.
    pub fn publishing_link(&self) -> watch::Receiver<Link> {
        self.core.publishing.subscribe()
    }
}

/// The names of the queues, as the protocol has them: at most 255 bytes long.
fn names(
    config: &RabbitMqConfig,
) -> Result<(lapin::types::ShortString, Option<lapin::types::ShortString>), OpenError> {
    let named = |name: &str| short(name).ok_or_else(|| OpenError::Name(name.to_owned()));
    if !config.retry_steps.is_empty() && config.dead_letters.is_none() {
        return Err(OpenError::RetriesWithoutDeadLetters);
    }
    for step in &config.retry_steps {
        named(&config.retry_queue(*step))?;
    }
    let dead_letters = config.dead_letters.as_deref().map(named).transpose()?;
    Ok((named(&config.queue)?, dead_letters))
}

impl<J: Send + Sync + 'static> QueueSource<J> for RabbitMqQueue<J> {
    type Actor = RabbitMqActor<J>;

    fn create(&self, clock: Clock) -> Self::Actor {
        self.core.set_clock(clock);
        RabbitMqActor::new(Arc::clone(&self.core))
    }

    fn clock(&self) -> Option<Clock> {
        self.core.clock()
    }

    fn epoch(&self) -> Epoch {
        self.core.lock().shell.epoch()
    }

    fn capabilities(&self) -> Capabilities {
        let config = &self.core.config;
        Capabilities {
            delay: config
                .retry_steps
                .last()
                .copied()
                .filter(|_| config.keeps_retries()),
            dead_letter: config.dead_letters.is_some(),
            lease_lasts: None,
            attempts: true,
            fencing: true,
            volatile: false,
            competing: true,
            order_by_key: false,
        }
    }

    /// The server says for what it has no room.
    fn room(&self) -> Option<QueueRoom> {
        None
    }
}

impl<J: Send + Sync + 'static> Clone for RabbitMqQueue<J> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            owner: Arc::clone(&self.owner),
        }
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for RabbitMqQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqQueue")
            .field("config", &self.core.config)
            .finish_non_exhaustive()
    }
}
