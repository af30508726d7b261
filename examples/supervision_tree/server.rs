//! The tree: who supervises whom, and by which policies.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Socket};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use consumer_group::supervision::{Child, Handle, RestartReach, SupervisorHandle, SupervisorSpec};

use crate::listener::Listener;

/// A line server that runs.
pub(crate) struct LineServer {
    /// Where it listens: always on this machine only.
    pub(crate) address: SocketAddr,
    /// The whole tree.
    pub(crate) tree: SupervisorHandle,
    /// The listener, over all of its lives.
    pub(crate) listener: Handle<Listener>,
}

/// Starts the server on this port; 0 for any that is free.
///
/// ```text
/// server (rest for one)
/// ├─ connections (one for one)     each connection dies alone
/// │  ├─ client 1                   temporary
/// │  └─ …
/// └─ listener                      permanent
/// ```
///
/// The listener stands behind the connections: without their supervisor it could do nothing, so it is started again with it.
/// The connections do not need the listener: when it dies they stay.
pub(crate) async fn start(port: u16) -> Result<LineServer, Box<dyn Error>> {
    let socket = Socket::bind((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let tree = SupervisorSpec::new("server")
        .reach(RestartReach::RestForOne)
        .intensity(5, Duration::from_secs(10))
        .supervisor(SupervisorSpec::new("connections"))
        .start()
        .await?;
    let connections = tree.supervisor("connections")?;
    let (socket, last) = (Arc::new(socket), Arc::new(AtomicU64::new(0)));
    let listener = Child::new("listener", move || Listener {
        socket: Arc::clone(&socket),
        connections: connections.clone(),
        last: Arc::clone(&last),
    });
    let listener = tree.add(listener.quiet_panics()).await?;
    Ok(LineServer {
        address,
        tree,
        listener,
    })
}
