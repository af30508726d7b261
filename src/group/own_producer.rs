//! Producers that consumers get for their own group.

use super::producer::Producer;
use crate::protocol::{ConsumerInfo, Delivery};

impl ConsumerInfo {
    /// A producer for the group to which this consumer belongs, for jobs that follow from its jobs. `None` only if these are not
    /// the types of the group.
    ///
    /// ```
    /// # use consumer_group::{Consumer, ConsumerInfo, Delivery, Failure, Group, Producer};
    /// /// Halves a number until it is odd, each time by a new job.
    /// #[derive(Default)]
    /// struct Halver {
    ///     own: Option<Producer<u64, ()>>,
    /// }
    ///
    /// impl Consumer for Halver {
    ///     type Job = u64;
    ///     type Output = ();
    ///
    ///     async fn started(&mut self, consumer: &ConsumerInfo) -> Result<(), Failure> {
    ///         self.own = consumer.producer();
    ///         Ok(())
    ///     }
    ///
    ///     async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<(), Failure> {
    ///         match (*delivery.job(), &self.own) {
    ///             (even, Some(own)) if even % 2 == 0 => _ = own.send(even / 2).await?,
    ///             _ => {}
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # actix::System::new().block_on(async {
    /// let group = Group::builder().consumers(1, Halver::default).start()?;
    /// group.producer().send(96).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn producer<J, O>(&self) -> Option<Producer<J, O>>
    where
        J: Send + Sync + 'static,
        O: Send + 'static,
    {
        self.own.producer.downcast_ref().cloned()
    }
}

impl<J: Send + Sync + 'static> Delivery<'_, J> {
    /// A producer for the group that made this delivery, as [`ConsumerInfo::producer`]: for closures.
    pub fn producer<O: Send + 'static>(&self) -> Option<Producer<J, O>> {
        self.consumer().producer()
    }
}
