//! Bare actix: an actor for each worker, round robin, `do_send`. A panic ends the arbiter, or the program.

use std::ops::Range;
use std::sync::Arc;

use actix::{Actor, ActorFutureExt as _, Addr, Arbiter, AtomicResponse, Context, Handler, WrapFuture as _};

use crate::drive::Pool;
use crate::meter::Meter;

pub struct Actix {
    workers: Vec<Addr<Worker>>,
    next: usize,
    arbiter: Option<Arbiter>,
    /// Whether handlers wait for something.
    waits: bool,
}

struct Worker(Arc<Meter>);

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        self.0.note_up();
    }
}

/// A job whose handler waits for something: the next one waits for it.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Waiting(u64);

impl Handler<Waiting> for Worker {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Waiting(job): Waiting, _: &mut Context<Self>) -> Self::Result {
        let meter = Arc::clone(&self.0);
        let work = async move { meter.handle(job).await };
        AtomicResponse::new(Box::pin(work.into_actor(self).map(|_, _, _| ())))
    }
}

/// A job whose handler waits for nothing: no future is needed.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Ready(u64);

impl Handler<Ready> for Worker {
    type Result = ();

    fn handle(&mut self, Ready(job): Ready, _: &mut Context<Self>) {
        self.0.handle_blocking(job);
    }
}

impl Actix {
    pub fn new(workers: usize, arbiters: usize, waits: bool, meter: &Arc<Meter>) -> Self {
        let arbiter = (arbiters > 1).then(Arbiter::new);
        let start = |_| {
            let meter = Arc::clone(meter);
            match &arbiter {
                Some(arbiter) => Worker::start_in_arbiter(&arbiter.handle(), |_| Worker(meter)),
                None => Worker(meter).start(),
            }
        };
        Self {
            workers: (0..workers).map(start).collect(),
            next: 0,
            arbiter,
            waits,
        }
    }
}

impl Pool for Actix {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let worker = &self.workers[self.next];
            self.next = (self.next + 1) % self.workers.len();
            if self.waits {
                worker.do_send(Waiting(job));
            } else {
                worker.do_send(Ready(job));
            }
        }
        tokio::task::yield_now().await;
    }

    async fn end(self) {
        if let Some(arbiter) = self.arbiter {
            arbiter.stop();
            let _ = arbiter.join();
        }
    }
}
