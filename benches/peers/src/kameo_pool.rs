//! kameo's pool. It replaces a worker that panics; the job in hand and those in its mailbox are lost.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::mailbox::unbounded;
use kameo::message::{Context, Message};
use kameo_actors::pool::{ActorPool, Dispatch};

use crate::drive::Pool;
use crate::meter::Meter;
use crate::payload::Payload;

struct Worker(Arc<Meter>);

impl Actor for Worker {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(worker: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        worker.0.note_up();
        Ok(worker)
    }
}

#[derive(Clone)]
struct Job<J>(J);

impl<J: Payload> Message<Job<J>> for Worker {
    type Reply = ();

    async fn handle(&mut self, Job(job): Job<J>, _: &mut Context<Self, ()>) {
        self.0.handle(job.look()).await;
    }
}

pub struct Kameo<J>(ActorRef<ActorPool<Worker>>, PhantomData<J>);

impl<J: Payload> Kameo<J> {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        let meter = Arc::clone(meter);
        let pool = ActorPool::new(workers, move || {
            Worker::spawn_with_mailbox(Worker(Arc::clone(&meter)), unbounded())
        });
        Self(ActorPool::spawn_with_mailbox(pool, unbounded()), PhantomData)
    }
}

impl<J: Payload> Pool for Kameo<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.0.tell(Dispatch(Job(J::make(job)))).await;
        }
        tokio::task::yield_now().await;
    }
    // It ends with its runtime: that ten thousand workers tell each other of their end is not part of the work.
}
