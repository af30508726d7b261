//! A [`Service`] of tower is a consumer, so the layers that are written for services are layers of consumers: timeouts, limits,
//! load shedding, retries, tracing.
//!
//! ```
//! use std::time::Duration;
//!
//! use consumer_group::Group;
//! use consumer_group::tower::{Request, ServiceConsumer};
//! use tower::{BoxError, ServiceBuilder, service_fn};
//!
//! # actix::System::new().block_on(async {
//! let stack = ServiceBuilder::new()
//!     .timeout(Duration::from_secs(5))
//!     .service(service_fn(async |request: Request<u64>| Ok::<_, BoxError>(*request.job() * 2)));
//! let group = Group::builder()
//!     .consumers(4, move || ServiceConsumer::new(stack.clone()))
//!     .start()?;
//! assert_eq!(group.producer().call(21).await?, 42);
//! # group.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Which layer does what, and what the group does better itself, stands in `docs/layers.md`.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::time::Duration;

use tower_service::Service;

use crate::protocol::{Consumer, Delivery};
use crate::types::{Failure, FencingToken, Incarnation, JobId, JobRef, Key, PayloadRef, SlotId};

/// As tower names an error of any type.
type BoxError = Box<dyn Error + Send + Sync>;

/// While a service is not ready, its consumer gives a sign of life so often: a wait for a limit is no hang.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_millis(100);

/// The deepest cause of an error in which a failure is looked for: an error can be its own source.
const MOST_CAUSES: usize = 16;

/// One attempt to have a job done, as a service sees it. Clones share the job, so a retry layer can call again with a copy.
///
/// For a service that takes something else, `ServiceBuilder::map_request` makes it of this.
pub struct Request<J> {
    job: JobRef<J>,
    attempt: u32,
    slot: SlotId,
    incarnation: Incarnation,
    token: FencingToken,
}

impl<J> Request<J> {
    fn of(delivery: &Delivery<'_, J>) -> Self {
        Self {
            job: delivery.shared_job(),
            attempt: delivery.attempt(),
            slot: delivery.slot(),
            incarnation: delivery.incarnation(),
            token: delivery.token(),
        }
    }

    /// What the producer sent.
    pub fn job(&self) -> PayloadRef<'_, J> {
        self.job.payload()
    }

    /// The name of the job.
    pub fn id(&self) -> JobId {
        self.job.id()
    }

    /// The key of the job, if it has one.
    pub fn key(&self) -> Option<&Key> {
        self.job.key()
    }

    /// The attempt of the group, counted from one. Calls that a retry layer makes again are one attempt.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Where the consumer sits.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// The life of the consumer.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// A number greater than that of every earlier delivery of this job, for sinks that refuse late writers.
    pub fn token(&self) -> FencingToken {
        self.token
    }
}

impl<J> Clone for Request<J> {
    fn clone(&self) -> Self {
        Self {
            job: self.job.clone(),
            ..*self
        }
    }
}

/// Names the job and leaves the payload out.
impl<J> fmt::Debug for Request<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("job", &self.job)
            .field("attempt", &self.attempt)
            .field("slot", &self.slot)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

/// A consumer made of a service: one call at a time, so the number of consumers is the number of calls at once.
///
/// The answer is the job's output. An error is a failed attempt, with all its causes in its text; a [`Failure`] that the service
/// returned keeps its advice through every layer that keeps its source, so a rejected job is not tried again.
///
/// A service that is not ready is waited for, and that wait is no hang: only the call counts to the deadline of the group, if
/// that deadline is more than some 200 ms. The job has begun by then, so it does not expire any more.
///
/// **Panics** end the consumer, as they do with every [`Consumer`], and so does a service that answers the question whether it
/// is ready with an error: tower says that such a one is to be thrown away. A fresh one comes from the factory of the builder.
/// **Cancellation**: the future of the call is dropped at its current `await` when the consumer is ended.
pub struct ServiceConsumer<S, J> {
    service: S,
    job: PhantomData<fn(J)>,
}

impl<S, J> ServiceConsumer<S, J> {
    /// A consumer of this service.
    pub fn new(service: S) -> Self {
        Self {
            service,
            job: PhantomData,
        }
    }
}

impl<S, J> Consumer for ServiceConsumer<S, J>
where
    J: Send + Sync + 'static,
    S: Service<Request<J>, Error: Into<BoxError>, Response: Send + 'static> + 'static,
{
    type Job = J;
    type Output = S::Response;

    async fn consume(&mut self, delivery: &Delivery<'_, J>) -> Result<S::Response, Failure> {
        while let Err(_elapsed) = tokio::time::timeout(SIGN_OF_LIFE_EVERY, ready(&mut self.service)).await {
            delivery.extend();
        }
        let answer = self.service.call(Request::of(delivery)).await;
        answer.map_err(|error| failure_of(error.into()))
    }
}

/// Waits until the service is ready. One that never will be ends its consumer.
async fn ready<J, S: Service<Request<J>, Error: Into<BoxError>>>(service: &mut S) {
    if let Err(error) = poll_fn(|context| service.poll_ready(context)).await {
        let failure = failure_of(error.into());
        // The one word with which a consumer ends itself. It is no fault of this code, so the panic hook has nothing to tell.
        resume_unwind(Box::new(format!(
            "the service is not ready and never will be: {failure}"
        )));
    }
}

/// A failure on its way through the layers, as an error.
#[derive(Debug)]
struct Failed(Failure);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Failed {}

/// So a service may return failures, also inside of layers that want errors of any type.
impl From<Failure> for BoxError {
    fn from(failure: Failure) -> Self {
        Box::new(Failed(failure))
    }
}

/// The failure that is in an error or behind it, else one that tells the error.
fn failure_of(error: BoxError) -> Failure {
    let mut next: Option<&(dyn Error + 'static)> = Some(&*error);
    for _ in 0..MOST_CAUSES {
        let Some(cause) = next else { break };
        if let Some(Failed(failure)) = cause.downcast_ref() {
            return failure.clone();
        }
        next = cause.source();
    }
    Failure::boxed(error)
}

impl<S, J> fmt::Debug for ServiceConsumer<S, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceConsumer").finish_non_exhaustive()
    }
}
