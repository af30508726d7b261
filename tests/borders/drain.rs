//! The end: drain, stop, expiry.

use std::sync::Arc;

use consumer_group::config::QueueConfig;
use consumer_group::queue::{
    ActorQueue, Capabilities, Clock, MemoryStore, QueueCore, QueueSource, StoreQueue,
};

mod batches;
mod door;
mod expiry;
mod letters;

/// The memory queue with no dead letters of its own, so that the group keeps them.
fn without_letters() -> impl QueueSource<u64> {
    let core = Arc::new(QueueCore::new(MemoryStore::new(&QueueConfig::default())));
    let clock = Clock::start();
    let capabilities = Capabilities {
        dead_letter: false,
        ..Capabilities::MEMORY
    };
    ActorQueue::new(capabilities, move || StoreQueue::new(Arc::clone(&core), clock))
}
