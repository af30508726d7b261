//! The works, and how each peer is set to them.

use std::sync::Arc;

use ractor::factory::routing::{KeyPersistentRouting, QueuerRouting, RoundRobinRouting};
use tokio::sync::mpsc;

use crate::actors::{Actix, ActixPool, InMemoryStream, Kameo, Ractor};
use crate::channels::{AsyncChannel, Crossbeam, TokioMpsc};
use crate::drive::{Answered, Pool, Run, drive};
use crate::meter::{Handler, Meter};
use crate::ours::{self, Ours};

/// How the producer sends, where a peer knows more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    Batches,
    Singly,
    WithResults,
}

/// A work at one size.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub work: &'static str,
    pub handler: Handler,
    pub sending: Sending,
    pub jobs: u64,
    pub rate: Option<u64>,
    pub workers: usize,
    /// Threads with a runtime: 1, or 2.
    pub arbiters: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Ours,
    TokioMpsc,
    AsyncChannel,
    Crossbeam,
    Actix,
    RactorRoundRobin,
    RactorKey,
    RactorQueuer,
    Kameo,
    RustStream,
}

impl Peer {
    pub const ALL: [Self; 10] = [
        Self::Ours,
        Self::TokioMpsc,
        Self::AsyncChannel,
        Self::Crossbeam,
        Self::Actix,
        Self::RactorRoundRobin,
        Self::RactorKey,
        Self::RactorQueuer,
        Self::Kameo,
        Self::RustStream,
    ];

    /// The name in tables. Of ractor's routers the best one counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "consumer-group",
            Self::TokioMpsc => "tokio mpsc",
            Self::AsyncChannel => "async-channel",
            Self::Crossbeam => "crossbeam",
            Self::Actix => "actix",
            Self::RactorRoundRobin | Self::RactorKey | Self::RactorQueuer => "ractor",
            Self::Kameo => "kameo",
            Self::RustStream => "ruststream",
        }
    }

    /// Whether the peer can be set to this work at all.
    pub fn can(self, case: &Case) -> bool {
        match self {
            // Its workers are threads: there is no doing it on one, and not with ten thousand.
            Self::Crossbeam => case.arbiters > 1 && case.workers <= 64,
            _ => true,
        }
    }

    pub fn run(self, case: &Case) -> Run {
        let (sender, answers) = mpsc::unbounded_channel();
        let by_channel = case.sending == Sending::WithResults && self != Self::Ours;
        let meter = Arc::new(Meter::new(
            case.handler,
            case.jobs,
            case.rate,
            by_channel.then_some(sender),
        ));
        let answers = by_channel.then_some(answers);
        let (workers, arbiters) = (case.workers, case.arbiters);
        match self {
            Self::Ours => actix::System::new().block_on(async {
                let group = ours::group(workers, arbiters, 16_384, case.handler, Arc::clone(&meter));
                let ours = Ours::new(
                    group,
                    case.sending == Sending::Batches,
                    case.sending == Sending::WithResults,
                );
                drive(ours, meter, case.jobs).await
            }),
            Self::Actix => actix::System::new().block_on(async {
                let actix = Actix::new(workers, arbiters, &meter);
                let waits = matches!(
                    case.handler,
                    Handler::Millisecond | Handler::OneInHundredSlow | Handler::Forever
                );
                go(ActixPool { actix, waits }, answers, meter, case).await
            }),
            _ => runtime(arbiters).block_on(async {
                match self {
                    Self::TokioMpsc => go(TokioMpsc::new(workers, &meter), answers, meter, case).await,
                    Self::AsyncChannel => go(AsyncChannel::new(workers, &meter), answers, meter, case).await,
                    Self::Crossbeam => go(Crossbeam::new(workers, &meter), answers, meter, case).await,
                    Self::RactorRoundRobin => {
                        let pool = Ractor::new::<RoundRobinRouting<_, _>>(workers, &meter).await;
                        go(pool, answers, meter, case).await
                    }
                    Self::RactorKey => {
                        let pool = Ractor::new::<KeyPersistentRouting<_, _>>(workers, &meter).await;
                        go(pool, answers, meter, case).await
                    }
                    Self::RactorQueuer => {
                        let pool = Ractor::new::<QueuerRouting<_, _>>(workers, &meter).await;
                        go(pool, answers, meter, case).await
                    }
                    Self::Kameo => go(Kameo::new(workers, &meter), answers, meter, case).await,
                    Self::RustStream | Self::Ours | Self::Actix => {
                        go(InMemoryStream::new(workers, &meter).await, answers, meter, case).await
                    }
                }
            }),
        }
    }
}

async fn go(
    pool: impl Pool,
    answers: Option<mpsc::UnboundedReceiver<u64>>,
    meter: Arc<Meter>,
    case: &Case,
) -> Run {
    match answers {
        Some(answers) => {
            let outstanding = 0;
            let pool = Answered {
                pool,
                answers,
                outstanding,
            };
            drive(pool, meter, case.jobs).await
        }
        None => drive(pool, meter, case.jobs).await,
    }
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("a runtime can be built: {error}"),
    }
}

/// Every work, at every size.
pub fn cases(quick: bool) -> Vec<Case> {
    let (jobs, workers): (u64, &[usize]) = if quick {
        (32_768, &[4])
    } else {
        (65_536, &[1, 4, 64, 10_000])
    };
    let base = Case {
        work: "batches",
        handler: Handler::Nothing,
        sending: Sending::Batches,
        jobs,
        rate: None,
        workers: 4,
        arbiters: 1,
    };
    let mut cases = Vec::new();
    for arbiters in [1, 2] {
        for &workers in workers {
            cases.push(Case {
                workers,
                arbiters,
                ..base
            });
            if workers > 64 && arbiters > 1 {
                continue;
            }
            cases.push(Case {
                work: "single sends",
                sending: Sending::Singly,
                workers,
                arbiters,
                ..base
            });
        }
        if quick && arbiters > 1 {
            continue;
        }
        let at = Case { arbiters, ..base };
        cases.push(Case {
            work: "with results",
            sending: Sending::WithResults,
            ..at
        });
        for (work, rate) in [("latency at 10,000/s", 10_000), ("latency at 100,000/s", 100_000)] {
            let jobs = if quick { rate / 10 } else { rate / 2 };
            cases.push(Case {
                work,
                sending: Sending::Singly,
                jobs,
                rate: Some(rate),
                ..at
            });
        }
        if !quick && arbiters == 1 {
            for rate in [1_000, 30_000, 300_000, 1_000_000] {
                let (work, jobs) = ("latency by load", rate / 4);
                cases.push(Case {
                    work,
                    sending: Sending::Singly,
                    jobs,
                    rate: Some(rate),
                    ..at
                });
            }
        }
        cases.push(Case {
            work: "1 us of work",
            handler: Handler::Microsecond,
            jobs: jobs / 4,
            ..at
        });
        cases.push(Case {
            work: "1 ms of sleep",
            handler: Handler::Millisecond,
            workers: 64,
            jobs: 1_280,
            ..at
        });
        let slow = if quick { 500 } else { 1_500 };
        cases.push(Case {
            work: "1 % slow",
            handler: Handler::OneInHundredSlow,
            sending: Sending::Singly,
            rate: Some(2_500),
            jobs: slow,
            ..at
        });
        cases.push(Case {
            work: "1 in 1,000 panics",
            handler: Handler::OneInThousandPanics,
            ..at
        });
    }
    cases
}
