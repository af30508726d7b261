//! The soak: a day in simulated time, then real time at full load; neither may grow memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use consumer_group::Job;

use crate::memory::resident;
use crate::meter::{Handler, Meter};
use crate::ours;

/// By how much the memory of the last quarter may exceed that of the second one: pages that the allocator keeps.
const SLACK: u64 = 8 << 20;

/// Runs both parts. An error says what grew.
pub fn soak(minutes: u64) -> Result<(), String> {
    simulated_day()?;
    full_load(Duration::from_secs(minutes * 60))
}

/// 24 hours under a paused clock: jobs every simulated second, with keys and delays.
fn simulated_day() -> Result<(), String> {
    let system = actix::System::with_tokio_rt(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        match runtime {
            Ok(runtime) => runtime,
            Err(error) => panic!("a runtime can be built: {error}"),
        }
    });
    let samples = system.block_on(async {
        let meter = Arc::new(Meter::new(Handler::Nothing, None, None));
        let group = ours::group(4, 1, 16_384, Handler::Nothing, &meter);
        let producer = group.producer();
        let mut samples = Vec::new();
        for second in 0..86_400_u64 {
            let jobs = (0..10).map(|nth| {
                Job::new(nth)
                    .key(second * 10 + nth)
                    .delay(Duration::from_millis(nth * 100))
            });
            if producer.send_batch(jobs).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if second % 864 == 0 {
                samples.push(resident());
            }
        }
        group.drain(Duration::from_secs(60)).await;
        println!("24 simulated hours: {} jobs done", meter.done());
        samples
    });
    judge("24 simulated hours", &samples)
}

fn full_load(time: Duration) -> Result<(), String> {
    let samples = actix::System::new().block_on(async {
        let meter = Arc::new(Meter::new(Handler::Nothing, None, None));
        let group = ours::group(4, 2, 16_384, Handler::Nothing, &meter);
        let producer = group.producer();
        let (began, mut samples) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            let until = began + time / 100 * (samples.len() as u32 + 1);
            while Instant::now() < until {
                if producer.send_batch(0..256).await.is_err() {
                    return samples;
                }
            }
            samples.push(resident());
        }
        group.drain(Duration::from_secs(60)).await;
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{seconds:.0} s at full load: {} jobs, {:.0} a second",
            meter.done(),
            meter.done() as f64 / seconds
        );
        samples
    });
    judge("full load", &samples)
}

fn judge(name: &str, samples: &[u64]) -> Result<(), String> {
    let quarter = samples.len() / 4;
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    let before = most(samples.get(quarter..quarter * 2).unwrap_or_default());
    let after = most(samples.get(quarter * 3..).unwrap_or_default());
    println!("{name}: {before} bytes in the second quarter, {after} in the last");
    if samples.len() < 100 || before == 0 || after > before + SLACK {
        return Err(format!(
            "{name}: memory grew from {before} to {after} bytes ({} samples)",
            samples.len()
        ));
    }
    Ok(())
}
