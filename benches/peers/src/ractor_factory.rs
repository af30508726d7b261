//! ractor's factory. It restarts a worker that panics; the job in hand is lost.

use std::ops::Range;
use std::sync::Arc;

use ractor::factory::{
    Factory, FactoryArguments, FactoryMessage, Job, JobOptions, Worker, WorkerBuilder, WorkerId, queues,
    routing,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::drive::Pool;
use crate::meter::Meter;

type Messages = FactoryMessage<u64, u64>;

struct Handling(Arc<Meter>);

impl Worker for Handling {
    type Key = u64;
    type Message = u64;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: WorkerId, _: &ActorRef<Messages>, (): ()) -> Result<(), ActorProcessingErr> {
        self.0.note_up();
        Ok(())
    }

    async fn handle(
        &self,
        _: WorkerId,
        _: &ActorRef<Messages>,
        Job { msg, key, .. }: Job<u64, u64>,
        (): &mut (),
    ) -> Result<u64, ActorProcessingErr> {
        self.0.handle(msg).await;
        Ok(key)
    }
}

struct Builder(Arc<Meter>);

impl WorkerBuilder<Handling, ()> for Builder {
    fn build(&mut self, _: WorkerId) -> (Handling, ()) {
        (Handling(Arc::clone(&self.0)), ())
    }
}

pub struct Ractor(ActorRef<Messages>);

impl Ractor {
    /// With the router `R`.
    pub async fn new<R>(workers: usize, meter: &Arc<Meter>) -> Self
    where
        R: routing::Router<u64, u64> + Default,
    {
        let definition = Factory::<u64, u64, (), Handling, R, queues::DefaultQueue<u64, u64>>::default();
        let builder: Box<dyn WorkerBuilder<_, _>> = Box::new(Builder(Arc::clone(meter)));
        let arguments = FactoryArguments::builder()
            .worker_builder(builder)
            .queue(queues::DefaultQueue::default())
            .router(R::default())
            .num_initial_workers(workers)
            .build();
        match Actor::spawn(None, definition, arguments).await {
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
