//! Deliveries without a group, for tests of consumers as plain code.

use std::fmt;
use std::sync::Arc;

use crate::protocol::{
    ConsumerInfo, Deliver, Delivery, Now, OwnGroup, Parcel, SettleQueue, SettledDelivery, Work,
};
use crate::types::invariant::invariant;
use crate::types::{
    DeliveryNumber, Epoch, Failure, Incarnation, Job, JobId, JobRef, Moment, ReplyTo, SlotId, Ticket,
};

/// A delivery of this job, as a [`Consumer`](crate::Consumer) gets it: the attempt of this number, counted from one, on slot 0.
///
/// ```
/// use consumer_group::{Consumer, Delivery, Failure};
/// use consumer_group::testing::delivery;
///
/// struct Double;
///
/// impl Consumer for Double {
///     type Job = u64;
///     type Output = u64;
///
///     async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
///         Ok(delivery.job() * 2)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(Double.consume(&delivery(21, 1)).await.unwrap(), 42);
/// # });
/// ```
pub fn delivery<J>(job: impl Into<Job<J>>, attempt: u32) -> Delivery<'static, J> {
    let made = Delivery::owned(job_ref(job.into()), (DeliveryNumber(1), attempt), consumer());
    invariant!(made, "nobody else holds a job that was made just now")
}

/// A delivery of this job that has to be settled, as a consumer actor and a [`BatchConsumer`](crate::BatchConsumer) get it,
/// and how it was settled.
///
/// ```
/// use consumer_group::testing::{Settled, deliver};
///
/// let (delivery, settled) = deliver::<u64, u64>(21, 1);
/// assert_eq!(settled.take(), None);
/// let double = delivery.job() * 2;
/// delivery.ack(double);
/// assert_eq!(settled.take(), Some(Settled::Done(42)));
/// ```
pub fn deliver<J, O>(job: impl Into<Job<J>>, attempt: u32) -> (Deliver<J, O>, SettledOf<O>)
where
    J: Send + Sync + 'static,
    O: Send + 'static,
{
    let settles = Arc::new(SettleQueue::unheard());
    let job = job_ref(job.into());
    let parcel = Parcel::one(&job, Ticket(0), DeliveryNumber(1), attempt);
    let made = Deliver::all_of(&parcel, &consumer(), &settles).next();
    let made = invariant!(made, "nobody else holds a job that was made just now");
    (made, SettledOf(settles))
}

/// How a delivery of [`deliver`] was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled<O> {
    /// The job was done, with this output.
    Done(O),
    /// It was not.
    Failed(Failure),
    /// The delivery was dropped without a word.
    Abandoned,
    /// It had expired before it began.
    Expired,
}

/// Where it is heard how a delivery of [`deliver`] was settled.
pub struct SettledOf<O>(Arc<SettleQueue<O>>);

impl<O: Send + 'static> SettledOf<O> {
    /// How it was settled; `None` while it was not, and once this was taken.
    pub fn take(&self) -> Option<Settled<O>> {
        let settlement = self.0.take().pop()?;
        let output = settlement.outputs.into_iter().next();
        let done = output.map(|output| Settled::Done(output.into_inner()));
        let not_done = settlement.deliveries.into_iter().next();
        done.or_else(|| not_done.map(|SettledDelivery { work, .. }| settled(work)))
    }
}

impl<O> fmt::Debug for SettledOf<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettledOf").finish_non_exhaustive()
    }
}

fn settled<O>(work: Work) -> Settled<O> {
    match work {
        Work::Failed(failure) => Settled::Failed(failure),
        Work::Expired => Settled::Expired,
        // What no group has made is taken back by none.
        Work::Abandoned | Work::Recalled => Settled::Abandoned,
    }
}

/// Somebody waits for its output, so that the output is kept.
fn job_ref<J>(job: Job<J>) -> JobRef<J> {
    let id = JobId::from_uuid(uuid::Uuid::from_u128(1));
    JobRef::new(id, job, Some(ReplyTo(1)), Moment::START)
}

fn consumer() -> Arc<ConsumerInfo> {
    let life = (SlotId(0), Incarnation(1), Epoch(1));
    ConsumerInfo::new(life, Now::new(|| Moment::START), OwnGroup::none())
}
