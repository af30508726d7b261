//! What these services share: the work, a store that every consumer sees, and the answers to requests. Each program in
//! `src/bin` is a whole service; docs/services.md walks through them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consumer_group::config::Overflow;
use consumer_group::events::SlotState;
use consumer_group::{
    CallError, Delivery, Failure, Group, GroupBuilder, GroupState, Job, Producer, SendError, SendErrorKind,
};

/// How long a drain may take before what is left is named.
pub const WITHIN: Duration = Duration::from_secs(30);

/// How long somebody waits for a result.
pub const RESULT_WITHIN: Duration = Duration::from_secs(2);

/// What all consumers share: an `Arc` that each of them has a clone of. A pool of connections would be here.
#[derive(Debug, Default)]
pub struct Store {
    done: AtomicUsize,
    words: AtomicUsize,
}

impl Store {
    /// Jobs that were done.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Words in them.
    pub fn words(&self) -> usize {
        self.words.load(Ordering::SeqCst)
    }

    fn note(&self, words: usize) {
        self.words.fetch_add(words, Ordering::SeqCst);
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// A group that counts words. A queue that is full says so at once instead of letting requests wait. `WORK_MS` in the
/// environment says how long each job takes; 2 ms without it.
pub fn words(store: &Arc<Store>) -> GroupBuilder<String, usize> {
    let store = Arc::clone(store);
    let work = std::env::var("WORK_MS")
        .ok()
        .and_then(|work| work.parse().ok())
        .unwrap_or(2);
    Group::builder()
        .configure(|config| {
            config.queue.capacity = 200;
            config.queue.overflow = Overflow::Reject;
        })
        .consume_with(4, async move |delivery: &Delivery<String>| {
            tokio::time::sleep(Duration::from_millis(work)).await; // a service somewhere is asked
            let words = delivery.job().split_whitespace().count();
            if words == 0 {
                return Err(Failure::reject("nothing to count"));
            }
            store.note(words);
            Ok(words)
        })
}

/// What a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The header `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The body.
    pub text: String,
}

impl Answer {
    fn new(status: u16, text: impl ToString) -> Self {
        let text = text.to_string();
        Self {
            status,
            retry_after: None,
            text,
        }
    }

    /// A job that was not accepted: nothing of it will happen, so the client may send it again.
    fn refused(error: &SendError<String>) -> Self {
        let (status, retry_after) = match error.kind {
            SendErrorKind::Full => (429, Some(1)),
            SendErrorKind::Closed => (503, Some(5)),
            _ => (500, None),
        };
        Self {
            retry_after,
            ..Self::new(status, error)
        }
    }
}

/// Takes a job: 202 with its name, 429 while the queue is full, 503 while the service ends.
pub async fn submit(producer: &Producer<String, usize>, text: String) -> Answer {
    match producer.send(text).await {
        Ok(id) => Answer::new(202, id),
        Err(error) => Answer::refused(&error),
    }
}

/// Takes a job and waits for its result. A client that hangs up drops this future, and the result with it; a job that nobody
/// has begun by the time at which nobody waits any more expires.
pub async fn count(producer: &Producer<String, usize>, text: String) -> Answer {
    let job = Job::new(text).expires_after(RESULT_WITHIN);
    match tokio::time::timeout(RESULT_WITHIN, producer.call(job)).await {
        Ok(Ok(words)) => Answer::new(200, words),
        Ok(Err(CallError::Send(error))) => Answer::refused(&error),
        Ok(Err(CallError::Failed(letter))) => Answer::new(422, letter),
        Ok(Err(error)) => Answer::new(503, error),
        Err(_) => Answer::new(504, "no result in time"),
    }
}

/// Liveness: whether starting the process again would help. It would if the group has failed.
pub fn live(group: &Group<String, usize>) -> Answer {
    match group.state() {
        GroupState::Failed => Answer::new(500, "the group has failed"),
        _ => Answer::new(200, "alive"),
    }
}

/// Readiness: whether requests should come here. Not while the service drains, and not before a consumer is up.
pub async fn ready(group: &Group<String, usize>) -> Answer {
    let health = tokio::time::timeout(Duration::from_secs(1), group.health()).await;
    let Ok(Ok(health)) = health else {
        return Answer::new(503, "the group does not answer");
    };
    let up = health
        .slots
        .iter()
        .filter(|slot| slot.state == SlotState::Live)
        .count();
    match health.state {
        GroupState::Running if up > 0 => Answer::new(200, format!("{up} consumers are up")),
        state => Answer::new(503, format!("{state:?}, {up} consumers are up")),
    }
}

/// The code of the page is compiled with the services.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/services.md")]
pub struct ServicesDoctests;
