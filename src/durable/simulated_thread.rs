//! The writing thread in a simulation: what it does is done by a task on the virtual clock.

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use tokio::sync::Notify;

use super::writer::Writer;
use crate::protocol::faults;

impl<J: Send + Sync + 'static> Writer<J> {
    /// What [`run`](Self::run) does on a thread of its own, as a task on the virtual clock. Requests gather while a commit
    /// takes its time.
    pub(super) async fn run_simulated(mut self, bell: Arc<Notify>) {
        loop {
            match self.requests.try_recv() {
                Ok(request) => self.take(request),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => match self.wait() {
                    None => {
                        bell.notified().await;
                        continue;
                    }
                    Some(wait) if wait > Duration::ZERO => {
                        let rung = tokio::time::timeout(wait, bell.notified()).await;
                        if rung.is_ok() {
                            continue;
                        }
                        self.tidy_if_idle();
                    }
                    Some(_) => {}
                },
            }
            tokio::time::sleep(faults::commit_takes()).await;
            self.take_more();
            self.finish_round();
        }
        self.save_last();
    }
}
