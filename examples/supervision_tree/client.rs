//! A client, over real TCP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any answer takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a line and reads the answer. `None` if the server closed the connection.
    pub(crate) async fn ask(&mut self, line: &str) -> io::Result<Option<String>> {
        let line = format!("{line}\n");
        if let Err(error) = self.stream.write_all(line.as_bytes()).await {
            return closed(error);
        }
        let mut answer = String::new();
        match timeout(PATIENCE, self.stream.read_line(&mut answer)).await? {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(answer.trim_end().to_owned())),
            Err(error) => closed(error),
        }
    }
}

/// The other end closed while something of ours was on its way: that is an end too.
fn closed(error: io::Error) -> io::Result<Option<String>> {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(None),
        _ => Err(error),
    }
}
