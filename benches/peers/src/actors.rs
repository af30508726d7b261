//! Actor libraries and a messaging framework, each as its documentation says.

use std::ops::Range;
use std::sync::Arc;

use kameo::actor::Spawn;
use kameo_actors::pool::{ActorPool, Dispatch};
use ractor::factory::{
    Factory, FactoryArguments, FactoryMessage, Job, JobOptions, Worker, WorkerBuilder, WorkerId, queues,
    routing,
};
use ractor::{ActorProcessingErr, ActorRef};
use ruststream::memory::prelude::*;
use serde::{Deserialize, Serialize};

use crate::drive::Pool;
use crate::meter::Meter;

/// Bare actix: an actor for each worker, round robin, `do_send`.
pub struct Actix {
    workers: Vec<actix::Addr<ActixWorker>>,
    next: usize,
}

pub struct ActixWorker(Arc<Meter>);

struct ActixJob(u64);

impl actix::Message for ActixJob {
    type Result = ();
}

impl actix::Actor for ActixWorker {
    type Context = actix::Context<Self>;
}

impl actix::Handler<ActixJob> for ActixWorker {
    type Result = actix::AtomicResponse<Self, ()>;

    fn handle(&mut self, job: ActixJob, _: &mut actix::Context<Self>) -> Self::Result {
        use actix::WrapFuture;
        let meter = Arc::clone(&self.0);
        actix::AtomicResponse::new(Box::pin(
            async move {
                meter.handle(job.0).await;
            }
            .into_actor(self),
        ))
    }
}

/// The same for handlers that wait for nothing: no future is needed.
impl actix::Handler<ReadyJob> for ActixWorker {
    type Result = ();

    fn handle(&mut self, job: ReadyJob, _: &mut actix::Context<Self>) {
        self.0.handle_blocking(job.0);
    }
}

struct ReadyJob(u64);

impl actix::Message for ReadyJob {
    type Result = ();
}

impl Actix {
    pub fn new(workers: usize, arbiters: usize, meter: &Arc<Meter>) -> Self {
        use actix::Actor;
        let elsewhere = (arbiters > 1).then(actix::Arbiter::new);
        let start = |_| {
            let meter = Arc::clone(meter);
            match &elsewhere {
                Some(arbiter) => ActixWorker::start_in_arbiter(&arbiter.handle(), |_| ActixWorker(meter)),
                None => ActixWorker(meter).start(),
            }
        };
        Self {
            workers: (0..workers).map(start).collect(),
            next: 0,
        }
    }
}

pub struct ActixPool {
    pub actix: Actix,
    /// Whether handlers wait for something.
    pub waits: bool,
}

impl Pool for ActixPool {
    async fn send(&mut self, jobs: Range<u64>) {
        let Actix { workers, next } = &mut self.actix;
        for job in jobs {
            if self.waits {
                workers[*next].do_send(ActixJob(job));
            } else {
                workers[*next].do_send(ReadyJob(job));
            }
            *next = (*next + 1) % workers.len();
        }
        tokio::task::yield_now().await;
    }
}

struct RactorWorker(Arc<Meter>);

impl Worker for RactorWorker {
    type Key = u64;
    type Message = u64;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _: WorkerId,
        _: &ActorRef<FactoryMessage<u64, u64>>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: WorkerId,
        _: &ActorRef<FactoryMessage<u64, u64>>,
        Job { msg, key, .. }: Job<u64, u64>,
        (): &mut (),
    ) -> Result<u64, ActorProcessingErr> {
        self.0.handle(msg).await;
        Ok(key)
    }
}

struct RactorBuilder(Arc<Meter>);

impl WorkerBuilder<RactorWorker, ()> for RactorBuilder {
    fn build(&mut self, _: WorkerId) -> (RactorWorker, ()) {
        (RactorWorker(Arc::clone(&self.0)), ())
    }
}

/// ractor's factory.
pub struct Ractor(ActorRef<FactoryMessage<u64, u64>>);

impl Ractor {
    pub async fn new<R>(workers: usize, meter: &Arc<Meter>) -> Self
    where
        R: routing::Router<u64, u64> + Default,
    {
        let definition = Factory::<u64, u64, (), RactorWorker, R, queues::DefaultQueue<u64, u64>>::default();
        let arguments = FactoryArguments::builder()
            .worker_builder(Box::new(RactorBuilder(Arc::clone(meter))) as Box<dyn WorkerBuilder<_, _>>)
            .queue(Default::default())
            .router(R::default())
            .num_initial_workers(workers)
            .build();
        match ractor::Actor::spawn(None, definition, arguments).await {
            Ok((factory, _)) => Self(factory),
            Err(error) => panic!("ractor's factory starts: {error}"),
        }
    }
}

impl Pool for Ractor {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.0.cast(FactoryMessage::Dispatch(Job {
                key: job,
                msg: job,
                options: JobOptions::default(),
                accepted: None,
            }));
        }
        tokio::task::yield_now().await;
    }

    async fn end(self) {
        self.0.stop(None);
    }
}

#[derive(kameo::Actor)]
pub struct KameoWorker(Arc<Meter>);

#[derive(Clone)]
struct KameoJob(u64);

impl kameo::message::Message<KameoJob> for KameoWorker {
    type Reply = ();

    async fn handle(&mut self, job: KameoJob, _: &mut kameo::message::Context<Self, ()>) {
        self.0.handle(job.0).await;
    }
}

/// kameo's pool.
pub struct Kameo(kameo::actor::ActorRef<ActorPool<KameoWorker>>);

impl Kameo {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        let meter = Arc::clone(meter);
        let pool = ActorPool::new(workers, move || {
            KameoWorker::spawn_with_mailbox(KameoWorker(Arc::clone(&meter)), kameo::mailbox::unbounded())
        });
        Self(ActorPool::spawn_with_mailbox(pool, kameo::mailbox::unbounded()))
    }
}

impl Pool for Kameo {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.0.tell(Dispatch(KameoJob(job))).await;
        }
        tokio::task::yield_now().await;
    }

    async fn end(self) {
        let _ = self.0.stop_gracefully().await;
    }
}

#[derive(Debug, Serialize, Deserialize, Outgoing)]
struct Sent {
    job: u64,
}

macro_rules! subscriber {
    ($name:ident, $($workers:tt)*) => {
        #[subscriber("jobs" $($workers)*)]
        async fn $name(sent: &Sent, ctx: &mut Context<'_, (), Arc<Meter>>) -> HandlerOutcome {
            ctx.state().handle(sent.job).await;
            HandlerOutcome::ack()
        }
    };
}

subscriber!(one_worker,);
subscriber!(four_workers, , workers(4));
subscriber!(many_workers, , workers(64));
subscriber!(myriad_workers, , workers(10_000));

/// RustStream over its in-memory broker.
pub struct InMemoryStream {
    running: RunningApp,
    publisher: ruststream::memory::MemoryPublisher,
}

impl InMemoryStream {
    pub async fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        let broker = MemoryBroker::new();
        let publisher = broker.publisher();
        let state = Arc::clone(meter);
        let app = RustStream::new(AppInfo::new("peers", "0.0.0"))
            .on_startup(move |_| {
                let state = Arc::clone(&state);
                async move { Ok::<_, std::convert::Infallible>(state) }
            })
            .with_broker(broker, |b| match workers {
                1 => {
                    b.include(one_worker);
                }
                4 => {
                    b.include(four_workers);
                }
                64 => {
                    b.include(many_workers);
                }
                _ => {
                    b.include(myriad_workers);
                }
            });
        match app.start().await {
            Ok(running) => Self { running, publisher },
            Err(error) => panic!("RustStream starts: {error}"),
        }
    }
}

impl Pool for InMemoryStream {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.publisher.message(&Sent { job }).to("jobs").publish().await;
        }
        tokio::task::yield_now().await;
    }

    async fn end(self) {
        let _ = self.running.shutdown().await;
    }
}
