//! RustStream over its in-memory broker. It acks; what panics is delivered again, as its failure policy is set here.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use ruststream::memory::MemoryPublisher;
use ruststream::memory::prelude::*;
use ruststream::nonzero;
use serde::{Deserialize, Serialize};

use crate::drive::Pool;
use crate::meter::Meter;
use crate::payload::Payload;

#[derive(Debug, Serialize, Deserialize, Outgoing)]
pub struct Sent<J> {
    job: J,
}

macro_rules! handler {
    ($payload:ident, $one:ident, $batch:ident, $($workers:tt)*) => {
        #[subscriber("jobs" $($workers)*, on_failure(panic = retry))]
        pub async fn $one(sent: &Sent<$payload>, ctx: &mut Context<'_, (), Arc<Meter>>) -> HandlerOutcome {
            ctx.state().handle(sent.job.look()).await;
            HandlerOutcome::ack()
        }

        #[subscriber("jobs" $($workers)*, on_failure(panic = retry))]
        pub async fn $batch(sent: &[Sent<$payload>], ctx: &mut Context<'_, (), Arc<Meter>>) -> HandlerOutcome {
            for sent in sent {
                ctx.state().handle(sent.job.look()).await;
            }
            HandlerOutcome::ack()
        }
    };
}

/// Handlers of jobs with this payload: its macros know no generics, and their number of workers is a part of each.
macro_rules! handlers {
    ($module:ident, $payload:ident) => {
        mod $module {
            use super::*;

            handler!($payload, one, one_batch,);
            handler!($payload, four, four_batches, , workers(4));
            handler!($payload, sixty_four, sixty_four_batches, , workers(64));
            handler!($payload, ten_thousand, ten_thousand_batches, , workers(10_000));
        }
    };
}

handlers!(numbers, u64);
handlers!(texts, String);

pub struct InMemoryStream<J> {
    running: RunningApp,
    publisher: MemoryPublisher,
    payload: PhantomData<J>,
}

impl<J: Payload> InMemoryStream<J> {
    /// With handlers that take a job, or batches of up to 64 jobs.
    pub async fn new(workers: usize, takes_batches: bool, meter: &Arc<Meter>) -> Self {
        let broker = MemoryBroker::new();
        let publisher = broker.publisher();
        let state = Arc::clone(meter);
        let app = RustStream::new(AppInfo::new("peers", "0.0.0"))
            .on_startup(move |_| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state) }
            })
            .with_broker(broker, |b| {
                macro_rules! include {
                    ($module:ident) => {
                        match (workers, takes_batches) {
                            (1, false) => drop(b.include($module::one)),
                            (1, true) => drop(b.include($module::one_batch.batch(nonzero!(64)))),
                            (4, false) => drop(b.include($module::four)),
                            (4, true) => drop(b.include($module::four_batches.batch(nonzero!(64)))),
                            (64, false) => drop(b.include($module::sixty_four)),
                            (64, true) => drop(b.include($module::sixty_four_batches.batch(nonzero!(64)))),
                            (_, false) => drop(b.include($module::ten_thousand)),
                            (_, true) => drop(b.include($module::ten_thousand_batches.batch(nonzero!(64)))),
                        }
                    };
                }
                match J::IS_TEXT {
                    false => include!(numbers),
                    true => include!(texts),
                }
            });
        match app.start().await {
            Ok(running) => {
                // It tells no more of its workers.
                (0..workers).for_each(|_| meter.note_up());
                Self {
                    running,
                    publisher,
                    payload: PhantomData,
                }
            }
            Err(error) => panic!("RustStream starts: {error}"),
        }
    }
}

impl<J: Payload> Pool for InMemoryStream<J> {
    async fn send(&mut self, jobs: Range<u64>) {
        for job in jobs {
            let sent = Sent { job: J::make(job) };
            let _ = self.publisher.message(&sent).to("jobs").publish().await;
        }
        tokio::task::yield_now().await;
    }

    async fn end(self) {
        let _ = self.running.shutdown().await;
    }
}
