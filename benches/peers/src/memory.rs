//! What a waiting job costs in memory. Each peer in a process of its own, for memory that was used before tells lies.

use std::process::Command;
use std::sync::Arc;

use ractor::factory::routing::QueuerRouting;

use crate::actors::{Actix, ActixPool, InMemoryStream, Kameo, Ractor};
use crate::drive::Pool;
use crate::meter::{Handler, Meter};
use crate::ours::{self, Ours};
use crate::report::{Row, compare};
use crate::works::Peer;

/// The peers whose queues have no bound, or can be made that large.
const PEERS: [Peer; 5] = [
    Peer::Ours,
    Peer::Actix,
    Peer::RactorQueuer,
    Peer::Kameo,
    Peer::RustStream,
];

pub fn rows(jobs: u64) -> Vec<Row> {
    let mut rows: Vec<Row> = PEERS
        .iter()
        .map(|peer| Row {
            work: "memory",
            peer: peer.name(),
            workers: 4,
            arbiters: 1,
            rate: None,
            jobs_per_s: None,
            p99_us: None,
            lost: None,
            bytes_per_job: in_a_process(*peer, jobs),
            ratio: None,
        })
        .collect();
    compare(&mut rows);
    rows
}

fn in_a_process(peer: Peer, jobs: u64) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let arguments = ["--memory-of", peer.name(), "--memory-jobs", &jobs.to_string()];
    let output = Command::new(program).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Prints the bytes for each waiting job, in this process.
pub fn print_bytes(name: &str, jobs: u64) {
    let meter = Arc::new(Meter::new(Handler::Forever, jobs, None, None));
    let bytes = actix::System::new().block_on(async {
        let workers = 4;
        match PEERS.into_iter().find(|peer| peer.name() == name) {
            Some(Peer::Ours) => {
                let group = ours::group(workers, 1, jobs as usize + 1_024, Handler::Forever, meter);
                measure(Ours::new(group, true, false), jobs).await
            }
            Some(Peer::Actix) => {
                let actix = Actix::new(workers, 1, &meter);
                measure(ActixPool { actix, waits: true }, jobs).await
            }
            Some(Peer::Kameo) => measure(Kameo::new(workers, &meter), jobs).await,
            Some(Peer::RustStream) => measure(InMemoryStream::new(workers, &meter).await, jobs).await,
            _ => measure(Ractor::new::<QueuerRouting<_, _>>(workers, &meter).await, jobs).await,
        }
    });
    println!("{bytes}");
    // The handlers never end.
    std::process::exit(0);
}

async fn measure(mut pool: impl Pool, jobs: u64) -> f64 {
    pool.send(0..256).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let before = resident();
    for first in (256..jobs).step_by(256) {
        pool.send(first..first + 256).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    (resident().saturating_sub(before)) as f64 / jobs as f64
}

/// The memory of this process that is in use, in bytes, as Linux tells it; 0 elsewhere.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}
