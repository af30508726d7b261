//! The peers, and how each of them is set to a work.

use std::sync::Arc;

use ractor::factory::routing::{KeyPersistentRouting, QueuerRouting, RoundRobinRouting, Router};
use tokio::sync::mpsc;

use crate::answered::Answered;
use crate::bare_actix::Actix;
use crate::cases::{Amount, Case, Kind, Sending, TEXTS};
use crate::channels::{self, AsyncChannel, Crossbeam, TokioMpsc};
use crate::drive::{LIMIT, Pool, Run, drive};
use crate::driver_alone::DriverAlone;
use crate::kameo_pool::Kameo;
use crate::meter::{Handler, Meter};
use crate::ours::{self, Ours};
use crate::payload::Payload;
use crate::ractor_factory::Ractor;
use crate::rust_stream::InMemoryStream;

/// A peer, in one of the ways in which it can be set.
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
    RustStreamBatches,
    DriverAlone,
}

impl Peer {
    pub const ALL: [Self; 12] = [
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
        Self::RustStreamBatches,
        Self::DriverAlone,
    ];

    /// The name in tables. Of the ways in which a peer can be set the best one counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "consumer-group",
            Self::TokioMpsc => "tokio mpsc",
            Self::AsyncChannel => "async-channel",
            Self::Crossbeam => "crossbeam",
            Self::Actix => "actix",
            Self::RactorRoundRobin | Self::RactorKey | Self::RactorQueuer => "ractor",
            Self::Kameo => "kameo",
            Self::RustStream | Self::RustStreamBatches => "ruststream",
            Self::DriverAlone => "driver alone",
        }
    }

    /// Whether the peer can be set to this work at all.
    pub fn can(self, case: &Case) -> bool {
        let replaces = matches!(
            self,
            Self::Ours | Self::RactorRoundRobin | Self::RactorKey | Self::RactorQueuer | Self::Kameo
        );
        match (self, case.amount) {
            // Every peer shows what a text is to it; the measure of the other works is the pool.
            _ if case.kind != Kind::Numbers && case.work != TEXTS => {
                matches!(self, Self::Ours | Self::TokioMpsc)
            }
            (_, Amount::Deaths(_)) => replaces,
            // It is about this crate; the simplest of the others shows what the machine does.
            (_, Amount::Jobs(_)) if case.rate.is_none() => matches!(self, Self::Ours | Self::TokioMpsc),
            // Its workers are threads: there is no doing it on one, and not with ten thousand.
            (Self::Crossbeam, _) => case.arbiters > 1 && case.workers <= 64,
            (Self::RustStreamBatches, _) => case.sending == Sending::Batches && !case.handler.waits(),
            (Self::DriverAlone, _) => {
                case.handler == Handler::Nothing && (case.rate.is_some() || case.work == TEXTS)
            }
            _ => true,
        }
    }

    /// Does the work once, on a pool of its own.
    pub fn run(self, case: &Case) -> Run {
        match self {
            Self::Ours | Self::Actix => actix::System::new().block_on(self.measure(case)),
            _ => runtime(case.arbiters).block_on(self.measure(case)),
        }
    }

    async fn measure(self, case: &Case) -> Run {
        let (sender, answers) = mpsc::unbounded_channel();
        let by_channel = case.sending == Sending::WithResults && self != Self::Ours;
        let meter = Meter::new(case.handler, case.rate, by_channel.then_some(sender));
        let line = Line {
            meter: Arc::new(meter),
            answers: by_channel.then_some(answers),
            case,
        };
        let run = async {
            match case.kind {
                Kind::Numbers => self.drive::<u64>(line).await,
                Kind::Texts | Kind::TextsInOrder => self.drive::<String>(line).await,
            }
        };
        match tokio::time::timeout(LIMIT, run).await {
            Ok(run) => run,
            Err(_) => Run {
                note: Some(format!("not done within {} s", LIMIT.as_secs())),
                ..Run::default()
            },
        }
    }

    async fn drive<J: Payload>(self, line: Line<'_>) -> Run {
        let meter = &Arc::clone(&line.meter);
        let (workers, arbiters, handler) = (line.case.workers, line.case.arbiters, line.case.handler);
        match self {
            Self::Ours => line.drive_ours::<J>().await,
            Self::TokioMpsc => line.drive_tokio::<J>().await,
            Self::AsyncChannel => line.drive(AsyncChannel::<J>::new(workers, meter)).await,
            Self::Crossbeam => line.drive(Crossbeam::<J>::new(workers, meter)).await,
            Self::Actix => {
                line.drive(Actix::<J>::new(workers, arbiters, handler.waits(), meter))
                    .await
            }
            Self::RactorRoundRobin => line.drive_ractor::<J, RoundRobinRouting<_, _>>().await,
            Self::RactorKey => line.drive_ractor::<J, KeyPersistentRouting<_, _>>().await,
            Self::RactorQueuer => line.drive_ractor::<J, QueuerRouting<_, _>>().await,
            Self::Kameo => line.drive(Kameo::<J>::new(workers, meter)).await,
            Self::RustStream => line.drive_stream::<J>(false).await,
            Self::RustStreamBatches => line.drive_stream::<J>(true).await,
            Self::DriverAlone => line.drive(DriverAlone::<J>::new(workers, meter)).await,
        }
    }
}

/// What a run needs besides its pool.
struct Line<'a> {
    meter: Arc<Meter>,
    answers: Option<mpsc::UnboundedReceiver<u64>>,
    case: &'a Case,
}

impl Line<'_> {
    async fn drive_ours<J: Payload>(self) -> Run {
        let Case {
            workers,
            arbiters,
            handler,
            sending,
            kind,
            ..
        } = *self.case;
        let in_order = kind == Kind::TextsInOrder;
        let group = ours::group_of::<J>(workers, arbiters, ours::ROOM, (handler, in_order), &self.meter);
        self.drive(Ours::new(group, sending, in_order)).await
    }

    async fn drive_tokio<J: Payload>(self) -> Run {
        let by_key = self.case.kind == Kind::TextsInOrder;
        let pool = TokioMpsc::<J>::new(self.case.workers, channels::ROOM, by_key, &self.meter);
        self.drive(pool).await
    }

    async fn drive_ractor<J: Payload, R: Router<u64, J> + Default>(self) -> Run {
        let pool = Ractor::<J>::new::<R>(self.case.workers, &self.meter).await;
        self.drive(pool).await
    }

    async fn drive_stream<J: Payload>(self, takes_batches: bool) -> Run {
        let pool = InMemoryStream::<J>::new(self.case.workers, takes_batches, &self.meter).await;
        self.drive(pool).await
    }

    async fn drive(self, pool: impl Pool) -> Run {
        match self.answers {
            Some(answers) => drive(Answered::new(pool, answers), &self.meter, self.case).await,
            None => drive(pool, &self.meter, self.case).await,
        }
    }
}

/// A runtime on so many threads, the one that sends counted.
fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads - 1);
    }
    match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("a runtime can be built: {error}"),
    }
}
