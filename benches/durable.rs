//! The durable queue beside its own engine: `cargo bench -p benches --features durable --bench durable [-- FOLDER]`.
//!
//! | figure | what is measured |
//! |---|---|
//! | engine | redb alone: 1,000 values of 100 bytes in a commit, with its fsync |
//! | accepted | 100-byte jobs from 16 producers, each awaiting a batch of 1,000; also jobs for each fsync |
//! | life | the same with 4 consumers: until every job is done and its ack is on disk |
//! | single | one producer that awaits every send: p50, beside an fdatasync alone |
//! | check | what it costs to read each payload back when it is sent, beside its encoding: a record of four fields, and 100 bytes |
//! | suspects | 2,000 jobs that were leased when a process ended: each begins alone, with its commit, before all others |
//! | waiting | 10 million jobs on disk (`DURABLE_JOBS` sets another number): memory, opening, size before and after |
//!
//! The first four are the medians of five rounds in which they take turns.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for the terminal"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use consumer_group::codec::{Bytes, Codec, Compact, Json};
use consumer_group::config::QueueConfig;
use consumer_group::durable::DurableQueue;
use consumer_group::{Delivery, Group};
use redb::{Database, TableDefinition};

const PAYLOAD: usize = 100;
const JOBS: usize = 1_000_000;
const PRODUCERS: usize = 16;
const BATCH: usize = 1_000;

fn payload() -> Vec<u8> {
    vec![7; PAYLOAD]
}

fn engine(folder: &Path) -> f64 {
    const TABLE: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("values");
    let database = Database::create(folder.join("engine")).unwrap();
    let began = Instant::now();
    for commit in 0..(JOBS / BATCH) as u64 {
        let writing = database.begin_write().unwrap();
        {
            let mut table = writing.open_table(TABLE).unwrap();
            for value in 0..BATCH as u64 {
                table
                    .insert(commit * BATCH as u64 + value, payload().as_slice())
                    .unwrap();
            }
        }
        writing.commit().unwrap();
    }
    JOBS as f64 / began.elapsed().as_secs_f64()
}

fn open(folder: &Path) -> DurableQueue<Vec<u8>> {
    let config = QueueConfig {
        capacity: 20_000_000,
        ..QueueConfig::default()
    };
    DurableQueue::at(folder.join("jobs.queue"), Bytes)
        .config(config)
        .open()
        .unwrap()
}

fn group(queue: &DurableQueue<Vec<u8>>, paused: bool) -> Group<Vec<u8>, ()> {
    let group = Group::builder()
        .queue(queue.clone())
        .consume_with(4, async |_: &Delivery<Vec<u8>>| Ok(()))
        .start()
        .unwrap();
    if paused {
        group.pause();
    }
    group
}

async fn send(group: &Group<Vec<u8>, ()>, jobs: usize) {
    let tasks: Vec<_> = (0..PRODUCERS)
        .map(|_| {
            let producer = group.producer();
            actix::spawn(async move {
                for _ in 0..jobs / PRODUCERS / BATCH {
                    producer.send_batch((0..BATCH).map(|_| payload())).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Jobs sent by all producers in a round: a whole number of batches for each.
const SENT: usize = JOBS / PRODUCERS / BATCH * PRODUCERS * BATCH;

async fn accepted(folder: &Path) -> (f64, f64) {
    let queue = open(folder);
    let group = group(&queue, true);
    let before = queue.commits();
    let began = Instant::now();
    send(&group, SENT).await;
    let taken = began.elapsed().as_secs_f64();
    let fsyncs = queue.commits() - before;
    group.stop().await;
    (SENT as f64 / taken, SENT as f64 / fsyncs as f64)
}

async fn life(folder: &Path) -> f64 {
    let queue = open(folder);
    let group = group(&queue, false);
    let began = Instant::now();
    send(&group, SENT).await;
    while queue.counts().unfinished() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let taken = began.elapsed().as_secs_f64();
    group.stop().await;
    SENT as f64 / taken
}

async fn single(folder: &Path) -> (f64, f64) {
    let queue = open(folder);
    let group = group(&queue, true);
    let producer = group.producer();
    let mut file = std::fs::File::create(folder.join("sync")).unwrap();
    let (mut sends, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        file.write_all(&payload()).unwrap();
        let began = Instant::now();
        file.sync_data().unwrap();
        syncs.push(began.elapsed());
        let began = Instant::now();
        producer.send(payload()).await.unwrap();
        sends.push(began.elapsed());
    }
    group.stop().await;
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(times.len() / 2).unwrap().as_secs_f64() * 1e6
    };
    (median(&mut sends), median(&mut syncs))
}

/// A line of /proc/self/status in MB.
fn memory(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|found| found.strip_prefix(line));
    let kilobytes =
        found.and_then(|found| found.trim_matches([' ', ':', '\t', 'k', 'B']).parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1_000.0
}

async fn waiting(folder: &Path, jobs: usize) {
    let queue = open(folder);
    let filling = group(&queue, true);
    let began = Instant::now();
    send(&filling, jobs).await;
    let waiting = queue.counts().unfinished();
    println!(
        "{waiting} jobs accepted in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    println!(
        "memory with them {:.0} MB, at most {:.0} MB",
        memory("VmRSS"),
        memory("VmHWM")
    );
    filling.stop().await;
    drop((filling, queue));
    let size = || std::fs::metadata(folder.join("jobs.queue")).map_or(0, |found| found.len()) / 1_000_000;
    let began = Instant::now();
    let queue = open(folder);
    println!(
        "opened in {:.2} s: {} jobs, {} MB on disk",
        began.elapsed().as_secs_f64(),
        queue.counts().ready,
        size()
    );
    println!("memory after the opening {:.0} MB", memory("VmRSS"));
    let emptying = group(&queue, false);
    let began = Instant::now();
    while queue.counts().unfinished() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "all done in {:.1} s, memory {:.0} MB",
        began.elapsed().as_secs_f64(),
        memory("VmRSS")
    );
    emptying.stop().await;
    let began = Instant::now();
    while size() > 20 && began.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{} MB on disk when it has been empty for a while", size());
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    id: u64,
    name: String,
    price: f64,
    tags: Vec<String>,
}

/// Nanoseconds for a payload: to encode it, and to check it.
fn check<J>(codec: &impl Codec<J>, payload: &J) -> (f64, f64) {
    const TIMES: u32 = 200_000;
    let mut bytes = Vec::new();
    let began = Instant::now();
    for _ in 0..TIMES {
        bytes.clear();
        codec.encode(std::hint::black_box(payload), &mut bytes).unwrap();
    }
    let encoded = began.elapsed();
    let began = Instant::now();
    for _ in 0..TIMES {
        codec.check(std::hint::black_box(&bytes)).unwrap();
    }
    let each = |taken: Duration| taken.as_nanos() as f64 / f64::from(TIMES);
    (each(encoded), each(began.elapsed()))
}

fn checks() {
    let record = Record {
        id: 12_345_678,
        name: "a record of a few fields".into(),
        price: 1_234.56,
        tags: vec!["one".into(), "two".into()],
    };
    let show = |name: &str, (encode, check): (f64, f64)| {
        println!("check     {check:>10.0} ns beside {encode:.0} ns to encode: {name}");
    };
    show("Json, a record", check(&Json, &record));
    show("Compact, a record", check(&Compact, &record));
    show("Bytes, 100 bytes", check(&Bytes, &payload()));
}

/// Milliseconds for each of the jobs that were leased when a process ended.
async fn suspects(folder: &Path) -> f64 {
    const LEASED: usize = 2_000;
    let held = Group::<Vec<u8>, ()>::builder()
        .configure(|config| config.window.min = LEASED as u32)
        .queue(open(folder))
        .consume_with(1, async |_: &Delivery<Vec<u8>>| std::future::pending().await)
        .start()
        .unwrap();
    held.producer()
        .send_batch((0..LEASED).map(|_| payload()))
        .await
        .unwrap();
    while held.health().await.is_ok_and(|health| health.leased < LEASED) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let copy = tempfile::tempdir_in(folder).unwrap();
    std::fs::copy(folder.join("jobs.queue"), copy.path().join("jobs.queue")).unwrap();
    held.stop().await;
    let queue = open(copy.path());
    let began = Instant::now();
    let group = group(&queue, false);
    while queue.counts().unfinished() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let taken = began.elapsed();
    group.stop().await;
    taken.as_secs_f64() * 1_000.0 / LEASED as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let base = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let base = base.map_or_else(std::env::temp_dir, PathBuf::from);
    let run = |work: &mut dyn FnMut(&Path)| {
        let folder = tempfile::tempdir_in(&base).unwrap();
        work(folder.path());
    };
    checks();
    run(&mut |folder| {
        let each = actix::System::new().block_on(suspects(folder));
        println!("suspects  {each:>10.2} ms for each");
    });
    let mut found = vec![Vec::new(); 6];
    for _ in 0..5 {
        let mut note = |place: usize, value: f64| found.get_mut(place).unwrap().push(value);
        run(&mut |folder| note(0, engine(folder)));
        run(&mut |folder| {
            let (rate, shared) = actix::System::new().block_on(accepted(folder));
            note(1, rate);
            note(2, shared);
        });
        run(&mut |folder| note(3, actix::System::new().block_on(life(folder))));
        run(&mut |folder| {
            let (send, sync) = actix::System::new().block_on(single(folder));
            note(4, send);
            note(5, sync);
        });
    }
    let medians: Vec<f64> = found.iter_mut().map(|values| median(values)).collect();
    if let [engine, accepted, shared, life, send, sync] = medians.as_slice() {
        println!("engine    {engine:>10.0} values/s, 1,000 for each fsync");
        println!(
            "accepted  {accepted:>10.0} jobs/s = {:.2} x engine, {shared:.0} jobs for each fsync",
            accepted / engine
        );
        println!("life      {life:>10.0} jobs/s");
        println!(
            "single    {send:>10.0} us = {:.2} x fdatasync of {sync:.0} us",
            send / sync
        );
    }
    let jobs = std::env::var("DURABLE_JOBS")
        .ok()
        .and_then(|jobs| jobs.parse().ok())
        .unwrap_or(10_000_000);
    if jobs > 0 {
        run(&mut |folder| actix::System::new().block_on(waiting(folder, jobs)));
    }
}
