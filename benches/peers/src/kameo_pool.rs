//! kameo's pool. It replaces a worker that panics; the job in hand and those in its mailbox are lost.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::mailbox::unbounded;
use kameo::message::{Context, Message};
use kameo_actors::pool::{ActorPool, Dispatch};

use crate::drive::Pool;
use crate::meter::Meter;

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
struct Job(u64);

impl Message<Job> for Worker {
    type Reply = ();

    async fn handle(&mut self, Job(job): Job, _: &mut Context<Self, ()>) {
        self.0.handle(job).await;
    }
}

pub struct Kameo(ActorRef<ActorPool<Worker>>);

impl Kameo {
    pub fn new(workers: usize, meter: &Arc<Meter>) -> Self {
        let meter = Arc::clone(meter);
        let pool = ActorPool::new(workers, move || {
            Worker::spawn_with_mailbox(Worker(Arc::clone(&meter)), unbounded())
        });
        Self(ActorPool::spawn_with_mailbox(pool, unbounded()))
    }
}

impl Pool for Kameo {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let _ = self.0.tell(Dispatch(Job(job))).await;
        }
        tokio::task::yield_now().await;
    }
    // It ends with its runtime: that ten thousand workers tell each other of their end is not part of the work.
}
