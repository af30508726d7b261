//! One run: jobs are sent to a pool, and everything that comes of them is waited for.

use std::ops::Range;
use std::time::Duration;

use crate::cases::{Amount, Case};
use crate::meter::{Meter, POISON};

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

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Absent: nobody was left to do them.
    pub jobs_per_s: Option<f64>,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
    /// From the call that makes the pool until its last worker was up.
    pub start: Option<Duration>,
    pub sent: u64,
    pub lost: u64,
    /// Why there is no more to say of it.
    pub note: Option<String>,
}

/// Jobs that are sent at once where a pool knows batches.
pub const BATCH: u64 = 256;

/// What may be on the way: what the pool does in this time, within bounds. A slow pool would only be waited for longer.
const AHEAD: Duration = Duration::from_millis(50);
const LEAST_WINDOW: u64 = 2_048;

/// While jobs are on the way and none was done for so long, those that are missing are taken for lost and the work goes on.
const STALLED: Duration = Duration::from_millis(50);

/// At the end of a run the missing ones get this long.
const GIVEN_UP: Duration = Duration::from_millis(200);

/// A worker has died and nobody handles the job that was sent after it: another one is sent.
const ASKED_AGAIN: Duration = Duration::from_micros(200);

/// A run that takes longer is not waited for.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Brings a pool up, warms it and measures it.
pub async fn drive(mut pool: impl Pool, meter: &Meter, case: &Case) -> Run {
    let start = come_up(meter, case.workers).await;
    let window = warm_up(&mut pool, meter, case).await;
    let run = match (case.amount, case.rate) {
        (Amount::Deaths(deaths), _) => deaths_one_by_one(&mut pool, meter, deaths).await,
        (amount, Some(rate)) => at_rate(&mut pool, meter, amount.jobs_at(rate)).await,
        (amount, None) => full_speed(&mut pool, meter, amount, window).await,
    };
    pool.end().await;
    Run { start, ..run }
}

/// Waits until every worker is up, and says how long that took.
async fn come_up(meter: &Meter, workers: usize) -> Option<Duration> {
    while meter.up() < workers as u64 {
        if meter.elapsed() > LIMIT {
            return None;
        }
        tokio::task::yield_now().await;
    }
    Some(meter.elapsed())
}

/// Jobs that do not count: the first ones allocate, wake threads and let windows grow. Says how many jobs may be on the way.
async fn warm_up(pool: &mut impl Pool, meter: &Meter, case: &Case) -> u64 {
    let most = case.window();
    let least = LEAST_WINDOW.min(most);
    let amount = match case.rate {
        Some(_) => Amount::Jobs(BATCH),
        None => Amount::Time(case.warm),
    };
    let rate = full_speed(pool, meter, amount, least).await.jobs_per_s;
    meter.start();
    let enough = rate.unwrap_or(0.0) * AHEAD.as_secs_f64();
    (enough as u64).clamp(least, most)
}

/// Sends as fast as it goes. A pool without a bound gets no more than `window` jobs ahead: more would only make it slower.
async fn full_speed(pool: &mut impl Pool, meter: &Meter, amount: Amount, window: u64) -> Run {
    let mut backlog = Backlog::new(meter, window);
    while !amount.is_reached(backlog.sent, backlog.took()) && !backlog.is_dead {
        pool.send(backlog.sent..backlog.sent + BATCH).await;
        backlog.sent += BATCH;
        backlog.wait_for_room().await;
    }
    backlog.finish(pool).await
}

/// Sends each job when it is due; one that is sent late counts from when it should have been sent.
async fn at_rate(pool: &mut impl Pool, meter: &Meter, jobs: u64) -> Run {
    let mut backlog = Backlog::new(meter, jobs);
    for job in 0..jobs {
        while meter.due(job).is_some_and(|due| meter.elapsed() < due) {
            // Sleeping is coarser than the pause between two jobs.
            tokio::task::yield_now().await;
        }
        pool.send(job..job + 1).await;
        backlog.sent += 1;
    }
    backlog.finish(pool).await
}

/// Kills the only worker again and again, and waits each time for a job that its replacement handles.
async fn deaths_one_by_one(pool: &mut impl Pool, meter: &Meter, deaths: u64) -> Run {
    for death in 0..deaths {
        meter.arm();
        pool.send(POISON..POISON + 1).await;
        // Pools that lose the poison with its worker need another job, and may lose that one as well.
        let mut asked: Option<Duration> = None;
        while meter.noted() <= death {
            tokio::task::yield_now().await;
            let now = meter.elapsed();
            if !meter.is_armed() && asked.is_none_or(|asked| now > asked + ASKED_AGAIN) {
                asked = Some(now);
                pool.send(0..1).await;
            }
        }
    }
    Run {
        p50: meter.wait_at(0.5),
        p99: meter.wait_at(0.99),
        sent: deaths,
        ..Run::default()
    }
}

/// What has been sent and is not done yet.
struct Backlog<'a> {
    meter: &'a Meter,
    began: Duration,
    done_before: u64,
    window: u64,
    sent: u64,
    /// Jobs that are taken for lost.
    written_off: u64,
    /// Jobs that were done when some were last taken for lost.
    done_at_loss: Option<u64>,
    /// Time in which nothing happened, because those that are lost were waited for.
    idle: Duration,
    /// All that was sent since the last loss is lost as well.
    is_dead: bool,
}

impl<'a> Backlog<'a> {
    fn new(meter: &'a Meter, window: u64) -> Self {
        Self {
            meter,
            began: meter.elapsed(),
            done_before: meter.done(),
            window,
            sent: 0,
            written_off: 0,
            done_at_loss: None,
            idle: Duration::ZERO,
            is_dead: false,
        }
    }

    fn done(&self) -> u64 {
        self.meter.done() - self.done_before
    }

    fn took(&self) -> Duration {
        self.meter.elapsed() - self.began
    }

    async fn wait_for_room(&mut self) {
        let mut last = (self.done(), None);
        while self.sent > self.written_off + last.0 + self.window {
            tokio::task::yield_now().await;
            let (done, now) = (self.done(), self.meter.elapsed());
            let since = last.1.unwrap_or(now);
            if done != last.0 {
                last = (done, Some(now));
            } else if self.meter.loses_workers() && now > since + STALLED {
                self.write_off(done, now - since);
            } else {
                last.1 = Some(since);
            }
        }
    }

    fn write_off(&mut self, done: u64, waited: Duration) {
        self.written_off = self.sent - done;
        self.idle += waited;
        self.is_dead = self.done_at_loss == Some(done);
        self.done_at_loss = Some(done);
    }

    /// Waits for all that was sent.
    async fn finish(self, pool: &mut impl Pool) -> Run {
        let (mut done, mut ended) = (self.done(), self.meter.elapsed());
        while done < self.sent && self.meter.elapsed() < ended + GIVEN_UP {
            tokio::task::yield_now().await;
            let now = self.done();
            if now != done {
                (done, ended) = (now, self.meter.elapsed());
            }
        }
        if done == self.sent {
            pool.settled().await;
            ended = self.meter.elapsed();
        }
        let took = ended.saturating_sub(self.began + self.idle).as_secs_f64();
        Run {
            jobs_per_s: (!self.is_dead).then_some(done as f64 / took),
            p50: self.meter.wait_at(0.5),
            p99: self.meter.wait_at(0.99),
            sent: self.sent,
            lost: self.sent.saturating_sub(done),
            note: self.is_dead.then(|| "nobody is left to do them".to_owned()),
            ..Run::default()
        }
    }
}
