//! The listener: takes connections and gives each an actor of its own.

use std::net::TcpListener as Socket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::*;
use consumer_group::supervision::{Child, Restart, SupervisorHandle, stop_with_error};
use tokio::net::{TcpListener, TcpStream};

use crate::connection::Connection;

/// More connections than these at once are closed again.
pub(crate) const MOST_CONNECTIONS: usize = 1_000;

/// Takes connections.
pub(crate) struct Listener {
    /// Bound once, before the first life: clients that come during a restart wait in the system's line.
    pub(crate) socket: Arc<Socket>,
    /// The supervisor of the connections. The handle outlives its restarts.
    pub(crate) connections: SupervisorHandle,
    /// The number of the last connection, over all lives.
    pub(crate) last: Arc<AtomicU64>,
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        match self.socket.try_clone().and_then(TcpListener::from_std) {
            Ok(listener) => {
                let taking = take_all(listener, self.connections.clone(), Arc::clone(&self.last));
                context.spawn(wrap_future(taking));
            }
            Err(error) => stop_with_error(context, error),
        }
    }
}

/// Ends the listener with a panic, to see what follows.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

impl Handler<Crash> for Listener {
    type Result = ();

    #[allow(
        clippy::panic,
        reason = "a listener that panics is what this example is about"
    )]
    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("the listener was asked to crash");
    }
}

async fn take_all(listener: TcpListener, connections: SupervisorHandle, last: Arc<AtomicU64>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most often too many open files: wait until there are less.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let has_room = connections
            .count()
            .await
            .is_ok_and(|count| count.active < MOST_CONNECTIONS);
        if has_room {
            let number = last.fetch_add(1, Ordering::Relaxed) + 1;
            add(stream, number, &connections).await;
        }
    }
}

/// A connection has one life: there is no second one for a client that is gone. So its actor is temporary.
async fn add(stream: TcpStream, number: u64, connections: &SupervisorHandle) {
    let Ok(socket) = stream.into_std() else { return };
    let (socket, siblings) = (Mutex::new(Some(socket)), connections.clone());
    let child = Child::new(format!("client {number}"), move || {
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        Connection::new(socket, siblings.clone())
    });
    // An error means that the client is gone already, or that everything ends. The events tell of it.
    let _ = connections
        .add(child.restart(Restart::Temporary).quiet_panics())
        .await;
}
