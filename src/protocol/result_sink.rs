//! The role of a result sink: brings outcomes to those who wait for them outside of this process.

use std::pin::Pin;
use std::rc::Rc;

use crate::types::{Failure, Guarded, JobId, Rejection, ReplyAddress};

/// The outcome of a job, on its way to who waits for it outside of this process.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply<O> {
    /// The job.
    pub job: JobId,
    /// Where it is waited for, as the job's origin says.
    pub to: ReplyAddress,
    /// What the consumer returned, or why the job was given up.
    pub result: Result<O, Rejection>,
}

impl<O> Reply<O> {
    pub(crate) fn new(job: JobId, to: ReplyAddress, result: Result<O, Rejection>) -> Self {
        Self { job, to, result }
    }
}

/// Where outcomes go that are waited for outside of this process: by those whose jobs came with a
/// [reply address](crate::queue::Origin::reply).
///
/// The queue hears that such a job is done, or given up, only when the sink has confirmed its outcome. So an outcome is never
/// lost: if anything ends in between, the job comes again, and its outcome may come twice.
///
/// ```
/// use consumer_group::Failure;
/// use consumer_group::queue::{Reply, ResultSink};
///
/// /// Writes them to the log.
/// struct Log;
///
/// impl ResultSink<u64> for Log {
///     async fn send(&self, reply: &Reply<u64>) -> Result<(), Failure> {
///         println!("to {}: {:?}", reply.to.to, reply.result);
///         Ok(())
///     }
/// }
/// ```
pub trait ResultSink<O>: 'static {
    /// Sends an outcome, and answers when it is safe where it was sent to. Many are under way at a time, in no order.
    ///
    /// # Errors
    /// It is sent again after the group's retry backoff, or after the delay that the failure names. A panic, or no answer
    /// within 30 s, is such an error. With [`Failure::reject`] nobody can be reached there any more: the outcome is dropped and
    /// the job is settled as if it had been sent.
    ///
    /// **Cancellation**: dropped at the time limit, and when the supervisor of the group ends.
    fn send(&self, reply: &Reply<O>) -> impl Future<Output = Result<(), Failure>>;
}

/// A sink of any type.
pub(crate) trait AnyResultSink<O> {
    fn send<'a>(&'a self, reply: &'a Reply<O>) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;
}

impl<O, S: ResultSink<O>> AnyResultSink<O> for S {
    fn send<'a>(&'a self, reply: &'a Reply<O>) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>> {
        Box::pin(ResultSink::send(self, reply))
    }
}

/// A sink that a group has: one for each life of its supervisor.
pub(crate) type Sink<O> = Rc<Guarded<Box<dyn AnyResultSink<O>>>>;

/// Makes the sink, on the thread of the supervisor.
pub(crate) type SinkFactory<O> = Box<dyn Fn() -> Sink<O> + Send + Sync>;
