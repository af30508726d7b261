//! Results for pools that know none: a channel from the handlers to the producer.

use std::ops::Range;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::drive::Pool;

/// Jobs whose results may be outstanding before the producer reads some.
pub const ON_THE_WAY: usize = 4_096;

/// A pool whose handlers put their results into a channel that the producer reads.
pub struct Answered<P> {
    pool: P,
    answers: UnboundedReceiver<u64>,
    outstanding: usize,
}

impl<P> Answered<P> {
    pub fn new(pool: P, answers: UnboundedReceiver<u64>) -> Self {
        Self {
            pool,
            answers,
            outstanding: 0,
        }
    }
}

impl<P: Pool> Pool for Answered<P> {
    async fn send(&mut self, jobs: Range<u64>) {
        self.outstanding += jobs.clone().count();
        self.pool.send(jobs).await;
        while self.outstanding > ON_THE_WAY && self.answers.recv().await.is_some() {
            self.outstanding -= 1;
        }
    }

    async fn settled(&mut self) {
        while self.outstanding > 0 && self.answers.recv().await.is_some() {
            self.outstanding -= 1;
        }
    }

    async fn end(self) {
        self.pool.end().await;
    }
}
