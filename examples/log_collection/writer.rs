//! The second consumer: writes many parsed lines at once.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};

use consumer_group::{BatchConsumer, Deliver, Failure};

use crate::record::{Class, Record};

/// The output, shared by all lives of the writer.
#[derive(Clone)]
pub(crate) struct Out(Arc<Mutex<Sink>>);

struct Sink {
    to: Box<dyn Write + Send>,
    /// Why nothing is written any more: after a line that was cut off, the next one would make no sense.
    failed: Option<io::Error>,
}

impl Out {
    pub(crate) fn new(to: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Sink { to, failed: None })))
    }

    /// Whether the output is a pipe that nobody reads any more.
    pub(crate) fn reader_has_gone(&self) -> bool {
        let sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.failed
            .as_ref()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    }

    fn write(&self, text: &[u8]) -> Result<(), Failure> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sink.failed.is_none() {
            let written = sink.to.write_all(text).and_then(|()| sink.to.flush());
            sink.failed = written.err();
        }
        match &sink.failed {
            None => Ok(()),
            Some(error) => Err(Failure::reject(error)),
        }
    }
}

/// Writes a batch with one call to the system.
///
/// At least once, not exactly once: a writer that died between writing and the last `ack` would have its batch written
/// again. A sink that must not see a line twice refuses it by the job's id, or by the delivery's token.
pub(crate) struct Writer {
    out: Out,
    /// Kept for its memory.
    text: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(out: Out) -> Self {
        Self {
            out,
            text: Vec::new(),
        }
    }
}

impl BatchConsumer for Writer {
    type Job = Record;
    type Output = Class;

    async fn consume(&mut self, batch: &mut Vec<Deliver<Record, Class>>) -> Result<(), Failure> {
        self.text.clear();
        for delivery in batch.iter() {
            self.text.extend_from_slice(delivery.job().json.as_bytes());
        }
        self.out.write(&self.text)?;
        for delivery in batch.drain(..) {
            let class = delivery.job().class.clone();
            delivery.ack(class);
        }
        Ok(())
    }
}
