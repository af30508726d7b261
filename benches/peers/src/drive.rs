//! One run: jobs are sent to a pool, and everything that comes of them is waited for.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::meter::Meter;

/// A pool of workers of whatever make.
pub trait Pool {
    /// Sends these jobs, as its documentation says it is done best. Jobs that it does not take are lost.
    fn send(&mut self, jobs: Range<u64>) -> impl Future<Output = ()>;

    /// Waits for what the pool still has to do after the last handler has returned (acks), if it has such a thing.
    fn settled(&mut self) -> impl Future<Output = ()> {
        async {}
    }

    /// Ends the workers.
    fn end(self) -> impl Future<Output = ()>
    where
        Self: Sized,
    {
        async {}
    }
}

/// A pool whose handlers put their results into a channel that the producer reads.
pub struct Answered<P> {
    pub pool: P,
    pub answers: UnboundedReceiver<u64>,
    pub outstanding: usize,
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

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub jobs_per_s: f64,
    pub p99: Option<Duration>,
    pub lost: u64,
}

/// Jobs that are sent at once where a pool knows batches.
pub const BATCH: u64 = 256;

/// Jobs whose results may be outstanding before the producer reads some.
pub const ON_THE_WAY: usize = 4_096;

/// Nothing was done for so long: what is missing is lost.
const GIVEN_UP: Duration = Duration::from_millis(200);

/// A pool that does not come up within this time is not measured.
const COMES_UP: Duration = Duration::from_secs(20);

/// Sends the first job a few times and waits until that is done, so that no start of workers is measured.
async fn warm_up(pool: &mut impl Pool, meter: &Meter) {
    for _ in 0..BATCH {
        pool.send(0..1).await;
    }
    while meter.all_done() < BATCH && meter.elapsed() < COMES_UP {
        tokio::task::yield_now().await;
    }
    pool.settled().await;
    meter.start();
}

pub async fn drive(mut pool: impl Pool, meter: Arc<Meter>, jobs: u64) -> Run {
    warm_up(&mut pool, &meter).await;
    let began = meter.elapsed();
    if meter.due(0).is_some() {
        for job in 0..jobs {
            while meter.due(job).is_some_and(|due| meter.elapsed() < due) {
                // Sleeping is coarser than the pause between two jobs.
                tokio::task::yield_now().await;
            }
            pool.send(job..job + 1).await;
        }
    } else {
        for first in (0..jobs).step_by(BATCH as usize) {
            pool.send(first..(first + BATCH).min(jobs)).await;
        }
    }
    let mut done = meter.done();
    let mut ended = meter.elapsed();
    while done < jobs && meter.elapsed() < ended + GIVEN_UP {
        tokio::task::yield_now().await;
        let now = meter.done();
        if now != done {
            (done, ended) = (now, meter.elapsed());
        }
    }
    if done == jobs {
        pool.settled().await;
        ended = meter.elapsed();
    }
    let took = ended.saturating_sub(began).as_secs_f64();
    let p99 = meter.wait_at(0.99);
    pool.end().await;
    Run {
        jobs_per_s: done as f64 / took,
        p99,
        lost: jobs - done,
    }
}
