//! What a waiting job costs in memory. Each peer in a process of its own, for memory that was used before tells lies.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ractor::factory::routing::QueuerRouting;

use crate::bare_actix::Actix;
use crate::cases::Sending;
use crate::channels::{AsyncChannel, Crossbeam, TokioMpsc};
use crate::drive::{BATCH, Pool};
use crate::kameo_pool::Kameo;
use crate::meter::{Handler, Meter};
use crate::ours::{self, Ours};
use crate::peers::Peer;
use crate::ractor_factory::Ractor;
use crate::report::{Row, compare};
use crate::rust_stream::InMemoryStream;

/// So many that pages, and what a list has in reserve, do not matter. The same with `--quick`.
const JOBS: u64 = 1_000_000;

const WORKERS: usize = 4;

const PEERS: [Peer; 8] = [
    Peer::Ours,
    Peer::TokioMpsc,
    Peer::AsyncChannel,
    Peer::Crossbeam,
    Peer::Actix,
    Peer::RactorQueuer,
    Peer::Kameo,
    Peer::RustStream,
];

pub fn rows(is_wanted: impl Fn(Peer) -> bool) -> Vec<Row> {
    let row = |peer: Peer| Row {
        work: "memory".to_owned(),
        peer: peer.name().into(),
        workers: WORKERS,
        arbiters: 1,
        bytes_per_job: in_a_process(peer),
        ..Row::default()
    };
    let peers = PEERS.into_iter().filter(|peer| is_wanted(*peer));
    let mut rows: Vec<Row> = peers.map(row).collect();
    compare(&mut rows);
    rows
}

fn in_a_process(peer: Peer) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program)
        .args(["--memory-of", peer.name()])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Prints the bytes for each waiting job, in this process.
pub fn print_bytes(name: &str) {
    let meter = &Arc::new(Meter::new(Handler::Forever, None, None));
    let room = 2 * JOBS as usize;
    let bytes = actix::System::new().block_on(async {
        match PEERS.into_iter().find(|peer| peer.name() == name) {
            Some(Peer::Ours) => {
                let group = ours::group::<u64>(WORKERS, 1, room, Handler::Forever, meter);
                measure(Ours::new(group, Sending::Batches, false)).await
            }
            Some(Peer::TokioMpsc) => measure(TokioMpsc::<u64>::new(WORKERS, room, false, meter)).await,
            Some(Peer::AsyncChannel) => measure(AsyncChannel::<u64>::unbounded(WORKERS, meter)).await,
            Some(Peer::Crossbeam) => measure(Crossbeam::<u64>::unbounded(WORKERS, meter)).await,
            Some(Peer::Actix) => measure(Actix::<u64>::new(WORKERS, 1, true, meter)).await,
            Some(Peer::Kameo) => measure(Kameo::<u64>::new(WORKERS, meter)).await,
            Some(Peer::RustStream) => measure(InMemoryStream::<u64>::new(WORKERS, false, meter).await).await,
            _ => measure(Ractor::<u64>::new::<QueuerRouting<_, _>>(WORKERS, meter).await).await,
        }
    });
    println!("{bytes}");
    // The handlers never end.
    std::process::exit(0);
}

async fn measure(mut pool: impl Pool) -> f64 {
    let rest = Duration::from_millis(50);
    pool.send(0..BATCH).await;
    tokio::time::sleep(rest).await;
    let before = resident();
    for first in (0..JOBS).step_by(BATCH as usize) {
        pool.send(first..(first + BATCH).min(JOBS)).await;
    }
    tokio::time::sleep(rest).await;
    resident().saturating_sub(before) as f64 / JOBS as f64
}

/// The memory of this process that is in use, in bytes, as Linux tells it; 0 elsewhere.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}
