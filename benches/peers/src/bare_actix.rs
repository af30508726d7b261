//! Bare actix: an actor for each worker, round robin, `do_send`. A panic ends the arbiter, or the program.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use actix::{Actor, ActorFutureExt as _, Addr, Arbiter, AtomicResponse, Context, Handler, WrapFuture as _};

use crate::drive::Pool;
use crate::meter::Meter;
use crate::payload::Payload;

pub struct Actix<J> {
    workers: Vec<Addr<Worker>>,
    next: usize,
    arbiter: Option<Arbiter>,
    /// Whether handlers wait for something.
    waits: bool,
    payload: PhantomData<J>,
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
struct Waiting<J>(J);

impl<J: Payload> Handler<Waiting<J>> for Worker {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Waiting(job): Waiting<J>, _: &mut Context<Self>) -> Self::Result {
        let meter = Arc::clone(&self.0);
        let work = async move { meter.handle(job.look()).await };
        AtomicResponse::new(Box::pin(work.into_actor(self).map(|_, _, _| ())))
    }
}

/// A job whose handler waits for nothing: no future is needed.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Ready<J>(J);

impl<J: Payload> Handler<Ready<J>> for Worker {
    type Result = ();

    fn handle(&mut self, Ready(job): Ready<J>, _: &mut Context<Self>) {
        self.0.handle_blocking(job.look());
    }
}

impl<J: Payload> Actix<J> {
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
            payload: PhantomData,
        }
    }
}

impl<J: Payload> Pool for Actix<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let worker = &self.workers[self.next];
            self.next = (self.next + 1) % self.workers.len();
            if self.waits {
                worker.do_send(Waiting(J::make(job)));
            } else {
                worker.do_send(Ready(J::make(job)));
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
