//! How connections are made: with a limit for each step, and pauses that grow from one failure to the next.

use std::future::Future;
use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::types::ShortString;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionBuilder, ConnectionProperties, runtime};
use tokio::time::timeout;

use crate::config::{FIRST_PAUSE, RabbitMqConfig};
use crate::error::{LinkError, OpenError};

/// Makes connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    address: AMQPUri,
    authority: Option<String>,
    patience: Duration,
    longest_pause: Duration,
}

impl Connector {
    /// # Errors
    /// The address cannot be read.
    pub(crate) fn new(config: &RabbitMqConfig) -> Result<Self, OpenError> {
        let mut address: AMQPUri = config.url.parse().map_err(OpenError::Address)?;
        // Without it the client would go on in the clear, and say the password.
        if cfg!(not(feature = "tls")) && address.scheme == AMQPScheme::AMQPS {
            return Err(OpenError::NoTls);
        }
        // A server that has gone without a word is noticed after twice this time.
        address.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self {
            address,
            authority: config.authority.clone(),
            patience: config.patience,
            longest_pause: config.longest_pause,
        })
    }

    /// A connection whose name the server shows. To be called on the runtime that serves it.
    pub(crate) async fn connect(&self, name: &str) -> Result<Connection, LinkError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let trust = OwnedTLSConfig {
            identity: None,
            cert_chain: self.authority.clone(),
        };
        let runtime = runtime::default_runtime().map_err(LinkError::client("looking for the runtime"))?;
        let builder = ConnectionBuilder::new_with_runtime(runtime)
            .with_uri(self.address.clone())
            .with_properties(properties)
            .with_tls_config(trust);
        self.step("connecting", builder.connect()).await
    }

    /// One step that the server answers.
    pub(crate) async fn step<T>(
        &self,
        doing: &'static str,
        step: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, LinkError> {
        match timeout(self.patience, step).await {
            Ok(done) => done.map_err(LinkError::client(doing)),
            Err(_) => Err(LinkError::NoAnswer {
                doing,
                within: self.patience,
            }),
        }
    }

    /// Closes a channel. What it held goes back to its queue.
    pub(crate) async fn close_channel(&self, channel: &Channel) -> Result<(), LinkError> {
        self.step("closing the channel", channel.close(REPLY_SUCCESS, "done".into()))
            .await
    }

    /// Closes a connection, as far as the server still listens.
    pub(crate) async fn close(&self, connection: &Connection) {
        let close = connection.close(REPLY_SUCCESS, "done".into());
        if let Err(error) = self.step("closing the connection", close).await {
            tracing::debug!(%error, "a connection was not closed in order");
        }
    }

    /// The pauses between tries.
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses {
            next: FIRST_PAUSE,
            longest: self.longest_pause,
        }
    }
}

/// Heartbeats unless the address says another number.
const HEARTBEAT_SECONDS: u16 = 10;

const REPLY_SUCCESS: u16 = 200;

/// Pauses that double, up to the longest.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// Something went well: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST_PAUSE;
    }
}

/// A name in the form of the protocol, if it is short enough.
pub(crate) fn short(name: &str) -> Option<ShortString> {
    ShortString::try_new(name).ok()
}
