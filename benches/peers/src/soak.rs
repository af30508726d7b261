//! The soak: a day in simulated time, then real time at full load; neither may grow memory.
//!
//! What is judged is memory and never time, so it can run at low priority beside other work (`nice -n 19`). The group runs
//! as it does in the other works; its queue is bounded, so that a slow machine has no more jobs waiting than a fast one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use consumer_group::{Group, Job};

use crate::memory::resident;
use crate::meter::{Handler, Meter};
use crate::ours;

/// Looks at the memory in each part.
const SAMPLES: u32 = 100;

/// Lines of progress in each part.
const LINES: u32 = 20;

/// By how much the memory of the last quarter may exceed that of the second one: pages that the allocator keeps.
const SLACK: u64 = 8 << 20;

/// Jobs that are sent at once at full load.
const BATCH: u64 = 256;

const DAY: u64 = 86_400;

/// How long the group gets at the end for what it has begun.
const DRAINS: Duration = Duration::from_secs(600);

/// Runs both parts. An error says what grew.
pub fn soak(minutes: u64) -> Result<(), String> {
    simulated_day()?;
    full_load(Duration::from_secs(minutes * 60))
}

/// 24 hours under a paused clock: ten jobs every simulated second, with keys and delays.
fn simulated_day() -> Result<(), String> {
    let system = actix::System::with_tokio_rt(paused);
    system.block_on(async {
        let meter = Arc::new(Meter::new(Handler::Nothing, None, None));
        let group = ours::group::<u64>(4, 1, ours::ROOM, Handler::Nothing, &meter);
        let producer = group.producer();
        let mut samples = Samples::new("24 simulated hours");
        for second in 0..DAY {
            let jobs = (0..10).map(|nth| {
                Job::new(nth)
                    .key(second * 10 + nth)
                    .delay(Duration::from_millis(nth * 100))
            });
            let sent = producer.send_batch(jobs).await;
            sent.map_err(|error| format!("a batch was refused: {error}"))?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if second % (DAY / u64::from(SAMPLES)) == 0 {
                samples.take(&meter);
            }
        }
        all_is_done(&group, &meter, DAY * 10).await?;
        samples.judge()
    })
}

fn paused() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("a runtime can be built: {error}"),
    }
}

/// Real time, on two arbiters, as fast as it goes.
fn full_load(time: Duration) -> Result<(), String> {
    actix::System::new().block_on(async {
        let meter = Arc::new(Meter::new(Handler::Nothing, None, None));
        let group = ours::group::<u64>(4, 2, ours::ROOM, Handler::Nothing, &meter);
        let producer = group.producer();
        let mut samples = Samples::new("full load");
        let mut sent = 0;
        for sample in 1..=SAMPLES {
            let until = samples.began + time * sample / SAMPLES;
            while Instant::now() < until {
                let batch = producer.send_batch(0..BATCH).await;
                batch.map_err(|error| format!("a batch was refused: {error}"))?;
                sent += BATCH;
            }
            samples.take(&meter);
        }
        all_is_done(&group, &meter, sent).await?;
        samples.judge()
    })
}

async fn all_is_done(group: &Group<u64, u64>, meter: &Meter, sent: u64) -> Result<(), String> {
    group.drain(DRAINS).await;
    let done = meter.done();
    if done == sent {
        Ok(())
    } else {
        Err(format!("{sent} jobs were sent, {done} were done"))
    }
}

/// What the process used, again and again.
struct Samples {
    part: &'static str,
    began: Instant,
    bytes: Vec<u64>,
}

impl Samples {
    fn new(part: &'static str) -> Self {
        Self {
            part,
            began: Instant::now(),
            bytes: Vec::with_capacity(SAMPLES as usize + 1),
        }
    }

    fn take(&mut self, meter: &Meter) {
        let bytes = resident();
        self.bytes.push(bytes);
        if self.bytes.len().is_multiple_of((SAMPLES / LINES) as usize) {
            let (part, of) = (self.part, self.bytes.len());
            let seconds = self.began.elapsed().as_secs();
            let (jobs, kilobytes) = (meter.done(), bytes / 1_024);
            println!("{part}: {of} of {SAMPLES}, {seconds} s, {jobs} jobs done, {kilobytes} kB");
        }
    }

    /// Compares the middle of the last quarter with that of the second one: single samples may catch a list as it grows.
    fn judge(&self) -> Result<(), String> {
        let quarter = self.bytes.len() / 4;
        let before = middle(self.bytes.get(quarter..quarter * 2).unwrap_or_default());
        let after = middle(self.bytes.get(quarter * 3..).unwrap_or_default());
        let part = self.part;
        if before == 0 {
            return Err(format!(
                "{part}: this system does not tell how much memory is used"
            ));
        }
        let found = format!("{part}: {before} bytes in the second quarter, {after} in the last");
        if after > before + SLACK {
            return Err(format!("{found}: memory grows"));
        }
        println!("{found}: memory does not grow");
        Ok(())
    }
}

fn middle(part: &[u64]) -> u64 {
    let mut part = part.to_vec();
    part.sort_unstable();
    part.get(part.len() / 2).copied().unwrap_or(0)
}
