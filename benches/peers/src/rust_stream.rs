//! RustStream over its in-memory broker. It acks; what panics is delivered again, as its failure policy is set here.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use ruststream::memory::MemoryPublisher;
use ruststream::memory::prelude::*;
use ruststream::nonzero;
use serde::{Deserialize, Serialize};

use crate::drive::Pool;
use crate::meter::Meter;

#[derive(Debug, Serialize, Deserialize, Outgoing)]
struct Sent {
    job: u64,
}

macro_rules! one_by_one {
    ($name:ident, $($workers:tt)*) => {
        #[subscriber("jobs" $($workers)*, on_failure(panic = retry))]
        async fn $name(sent: &Sent, ctx: &mut Context<'_, (), Arc<Meter>>) -> HandlerOutcome {
            ctx.state().handle(sent.job).await;
            HandlerOutcome::ack()
        }
    };
}

macro_rules! in_batches {
    ($name:ident, $($workers:tt)*) => {
        #[subscriber("jobs" $($workers)*, on_failure(panic = retry))]
        async fn $name(sent: &[Sent], ctx: &mut Context<'_, (), Arc<Meter>>) -> HandlerOutcome {
            for sent in sent {
                ctx.state().handle(sent.job).await;
            }
            HandlerOutcome::ack()
        }
    };
}

one_by_one!(one,);
one_by_one!(four, , workers(4));
one_by_one!(sixty_four, , workers(64));
one_by_one!(ten_thousand, , workers(10_000));

in_batches!(one_batch,);
in_batches!(four_batches, , workers(4));
in_batches!(sixty_four_batches, , workers(64));
in_batches!(ten_thousand_batches, , workers(10_000));

pub struct InMemoryStream {
    running: RunningApp,
    publisher: MemoryPublisher,
}

impl InMemoryStream {
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
                    ($handler:ident, $batches:ident) => {
                        if takes_batches {
                            b.include($batches.batch(nonzero!(64)));
                        } else {
                            b.include($handler);
                        }
                    };
                }
                match workers {
                    1 => include!(one, one_batch),
                    4 => include!(four, four_batches),
                    64 => include!(sixty_four, sixty_four_batches),
                    _ => include!(ten_thousand, ten_thousand_batches),
                }
            });
        match app.start().await {
            Ok(running) => {
                // It tells no more of its workers.
                (0..workers).for_each(|_| meter.note_up());
                Self { running, publisher }
            }
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
