//! A plain actor as a consumer: every actix actor that handles `Deliver` is one.
//!
//! The actor measures web pages (here: pretends to). It works on several deliveries at a time and settles each when its
//! answer has come, in whatever order. Now and then it loses a delivery: a delivery that is dropped unsettled counts as
//! abandoned and is tried again.
//!
//! Run it: `cargo run --example plain_actor`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Context, Handler, ResponseActFuture, WrapFuture};
use consumer_group::{Cause, Deliver, EventKind, Group};
use tokio::time::{sleep, timeout};

/// An address to measure.
struct Page(String);

/// What the producer gets back.
struct Measured {
    bytes: usize,
    attempt: u32,
}

/// The actor. It knows nothing of the group but the message `Deliver`.
struct Fetcher {
    at_work: usize,
    /// The most deliveries that one actor worked on at once; shared by all of them.
    most: Arc<AtomicUsize>,
}

impl Actor for Fetcher {
    type Context = Context<Self>;
}

impl Handler<Deliver<Page, Measured>> for Fetcher {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, delivery: Deliver<Page, Measured>, _: &mut Context<Self>) -> Self::Result {
        self.at_work += 1;
        self.most.fetch_max(self.at_work, Ordering::Relaxed);
        let Page(address) = delivery.job();
        let bytes = fetch(address.clone());
        // While the answer is on its way, the actor takes the next delivery; actix polls them all.
        Box::pin(bytes.into_actor(self).map(move |bytes, fetcher, _| {
            fetcher.at_work -= 1;
            let attempt = delivery.attempt();
            if delivery.job().0.ends_with('7') && attempt == 1 {
                // A mistake, as it happens: the delivery goes out of scope here and nobody has settled it.
                return;
            }
            delivery.ack(Measured { bytes, attempt });
        }))
    }
}

/// Stands for a request over the network.
async fn fetch(address: String) -> usize {
    sleep(Duration::from_millis(5)).await;
    address.len() * 100
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let group = Group::builder()
        .configure(|config| config.retry.backoff.min = Duration::from_millis(10))
        // The factory runs once for each life of a consumer, and is told who it will be.
        .actor_consumers(2, move |_info| Fetcher {
            at_work: 0,
            most: Arc::clone(&most),
        })
        .start()?;
    let mut events = group.events();

    let (producers, mut results) = group.producer_group();
    let pages = (0..100).map(|number| Page(format!("https://example.org/page/{number}")));
    producers.send_batch(pages).await?;
    let (mut bytes, mut tried_again) = (0, 0);
    for _ in 0..100 {
        let outcome = timeout(Duration::from_secs(10), results.next()).await?;
        let measured = outcome
            .ok_or("the group ended")?
            .result
            .map_err(|letter| letter.to_string())?;
        bytes += measured.bytes;
        tried_again += usize::from(measured.attempt > 1);
    }

    let mut abandoned = 0;
    while let Some(event) = events.try_next() {
        if let EventKind::Retried { record, .. } = event.kind {
            assert_eq!(record.cause, Cause::Abandoned);
            abandoned += 1;
            if abandoned == 1 {
                println!("for example: {record}");
            }
        }
    }
    let most = seen.load(Ordering::Relaxed);
    println!("100 pages measured, {bytes} bytes in all");
    println!("{abandoned} deliveries abandoned, {tried_again} pages done at a later attempt");
    println!("one actor worked on up to {most} deliveries at once");

    // The pages 7, 17, … 97 were dropped once each.
    assert_eq!((abandoned, tried_again), (10, 10));
    assert!(
        most > 1,
        "the deliveries of one actor were done one after the other"
    );
    group.stop().await;
    Ok(())
}
