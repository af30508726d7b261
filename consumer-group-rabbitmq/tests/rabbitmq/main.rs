//! The adapter on a real server. `scripts/services up` starts one; without one each test says by name that it is skipped.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod conformance;
mod delivering;
mod faults;
mod giving_up;
mod proxy;
mod sending;
mod server;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Link, RabbitMqConfig, RabbitMqQueue};
use tokio::sync::watch;

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(120);

/// A name that no other test has.
fn name(of: &str) -> String {
    format!("test.{of}.{}", uuid::Uuid::new_v4().simple())
}

fn run(test: impl Future<Output = ()>) {
    actix::System::new().block_on(test);
}

/// Waits until something is so. It is looked at again and again: what is at the server tells nobody when it changes.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let tries = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(LIMIT, tries).await.is_err() {
        panic!("it did not come to that: {what}");
    }
}

async fn until_link(links: &mut watch::Receiver<Link>, is_so: impl FnMut(&Link) -> bool) -> Link {
    let found = tokio::time::timeout(LIMIT, links.wait_for(is_so)).await;
    found
        .unwrap_or_else(|_| panic!("the link does not become that"))
        .unwrap()
        .clone()
}

/// Waits until a link works again that has failed meanwhile, whether or not the failure was seen.
async fn until_again(links: &mut watch::Receiver<Link>) {
    let again = async {
        links.changed().await.unwrap();
        while *links.borrow_and_update() != Link::Connected {
            links.changed().await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, again).await.unwrap();
}

/// What consumers have done: how often each job.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Done {
    fn note(&self, job: u64) {
        *self.0.lock().unwrap().entry(job).or_default() += 1;
    }

    /// How many jobs were done.
    fn jobs(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How often jobs were done beyond the first time.
    fn repeated(&self) -> u32 {
        self.0.lock().unwrap().values().map(|times| times - 1).sum()
    }

    async fn until(&self, jobs: usize) {
        until("all jobs are done", async || self.jobs() >= jobs).await;
    }
}

/// A group of four that notes what it does.
fn noting(queue: &RabbitMqQueue<u64>, done: &Done) -> Group<u64, ()> {
    let done = done.clone();
    Group::builder()
        .queue(queue.clone())
        .consume_with(4, async move |delivery: &Delivery<u64>| {
            done.note(*delivery.job());
            Ok::<(), Failure>(())
        })
        .start()
        .unwrap()
}

fn open(config: RabbitMqConfig) -> RabbitMqQueue<u64> {
    RabbitMqQueue::open(config).unwrap()
}
