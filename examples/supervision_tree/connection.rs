//! One connection, one actor. It is written for plain actix.

use std::io;
use std::net::TcpStream as Socket;

use actix::fut::wrap_future;
use actix::prelude::*;
use consumer_group::supervision::{SupervisorHandle, stop_with_error};
use futures_util::stream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The longest line that is read, in bytes.
pub(crate) const LONGEST_LINE: u64 = 4_096;

/// Answers lines.
///
/// | line | answer |
/// |---|---|
/// | `crash` | none: the handler panics |
/// | `fail` | none: the actor stops with an error |
/// | `count` | how many connections there are |
/// | `quit` | none: the actor stops |
/// | another | the line, with its number |
///
/// A line that is too long ends the connection with an error.
pub(crate) struct Connection {
    /// Taken when the actor starts, by the arbiter on which it lives.
    socket: Option<Socket>,
    /// Not there while something is written.
    writer: Option<OwnedWriteHalf>,
    connections: SupervisorHandle,
    lines: u64,
}

impl Connection {
    pub(crate) fn new(socket: Option<Socket>, connections: SupervisorHandle) -> Self {
        Self {
            socket,
            writer: None,
            connections,
            lines: 0,
        }
    }

    /// Writes the answer. No further line is read before it is written: who does not read is not read either.
    fn answer(&mut self, text: impl Future<Output = String> + 'static, context: &mut Context<Self>) {
        let Some(mut writer) = self.writer.take() else {
            return context.stop();
        };
        let writing = async move {
            let line = text.await + "\n";
            writer.write_all(line.as_bytes()).await.map(|()| writer)
        };
        context.wait(
            wrap_future::<_, Self>(writing).map(|written, actor, context| match written {
                Ok(writer) => actor.writer = Some(writer),
                // The client went away.
                Err(_) => context.stop(),
            }),
        );
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let stream = self.socket.take().ok_or_else(|| io::Error::other("no socket"));
        match stream.and_then(TcpStream::from_std) {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                self.writer = Some(writer);
                context.add_stream(lines(reader));
            }
            Err(error) => stop_with_error(context, error),
        }
    }
}

impl StreamHandler<io::Result<String>> for Connection {
    fn handle(&mut self, line: io::Result<String>, context: &mut Context<Self>) {
        let line = match line {
            Ok(line) => line,
            Err(error) => return stop_with_error(context, error),
        };
        self.lines += 1;
        match line.as_str() {
            "crash" => crash(),
            "fail" => stop_with_error(context, "asked to fail"),
            "quit" => context.stop(),
            "count" => {
                let connections = self.connections.clone();
                let count = async move {
                    match connections.count().await {
                        Ok(count) => count.active.to_string(),
                        Err(error) => error.to_string(),
                    }
                };
                self.answer(count, context);
            }
            other => self.answer(std::future::ready(format!("{}: {other}", self.lines)), context),
        }
    }
}

#[allow(
    clippy::panic,
    reason = "connections that panic are what this example is about"
)]
fn crash() {
    panic!("asked to crash");
}

/// The lines of a client. The stream ends with the connection, or after the first error.
fn lines(reader: OwnedReadHalf) -> impl Stream<Item = io::Result<String>> {
    stream::unfold(Some(BufReader::new(reader)), async |reader| {
        let mut reader = reader?;
        match next_line(&mut reader).await {
            Ok(line) => line.map(|line| (Ok(line), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

async fn next_line(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = reader.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && u64::try_from(read).unwrap_or(u64::MAX) == LONGEST_LINE {
        return Err(io::Error::other(format!(
            "a line is longer than {LONGEST_LINE} bytes"
        )));
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}
