//! ractor's factory. It restarts a worker that panics; the job in hand is lost.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use ractor::factory::{
    Factory, FactoryArguments, FactoryMessage, Job, JobOptions, Worker, WorkerBuilder, WorkerId, queues,
    routing,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::drive::Pool;
use crate::meter::Meter;
use crate::payload::Payload;

type Messages<J> = FactoryMessage<u64, J>;

struct Handling<J>(Arc<Meter>, PhantomData<fn() -> J>);

impl<J: Payload> Worker for Handling<J> {
    type Key = u64;
    type Message = J;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _: WorkerId,
        _: &ActorRef<Messages<J>>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        self.0.note_up();
        Ok(())
    }

    async fn handle(
        &self,
        _: WorkerId,
        _: &ActorRef<Messages<J>>,
        Job { msg, key, .. }: Job<u64, J>,
        (): &mut (),
    ) -> Result<u64, ActorProcessingErr> {
        self.0.handle(msg.look()).await;
        Ok(key)
    }
}

struct Builder(Arc<Meter>);

impl<J: Payload> WorkerBuilder<Handling<J>, ()> for Builder {
    fn build(&mut self, _: WorkerId) -> (Handling<J>, ()) {
        (Handling(Arc::clone(&self.0), PhantomData), ())
    }
}

pub struct Ractor<J: Payload>(ActorRef<Messages<J>>);

impl<J: Payload> Ractor<J> {
    /// With the router `R`.
    pub async fn new<R>(workers: usize, meter: &Arc<Meter>) -> Self
    where
        R: routing::Router<u64, J> + Default,
    {
        let definition = Factory::<u64, J, (), Handling<J>, R, queues::DefaultQueue<u64, J>>::default();
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

impl<J: Payload> Pool for Ractor<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.0.cast(FactoryMessage::Dispatch(Job {
                key: job,
                msg: J::make(job),
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
