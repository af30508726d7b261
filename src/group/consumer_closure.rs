//! A consumer made of a closure.

use std::fmt;
use std::marker::PhantomData;

use crate::protocol::{Consumer, Delivery};
use crate::types::Failure;

/// A consumer made of a closure.
pub(crate) struct ConsumerClosure<J, O, F> {
    work: F,
    types: PhantomData<fn(J) -> O>,
}

impl<J, O, F> ConsumerClosure<J, O, F> {
    pub(crate) fn new(work: F) -> Self {
        Self {
            work,
            types: PhantomData,
        }
    }
}

impl<J, O, F> Consumer for ConsumerClosure<J, O, F>
where
    J: Send + Sync + 'static,
    O: Send + 'static,
    F: AsyncFnMut(&Delivery<J>) -> Result<O, Failure> + 'static,
{
    type Job = J;
    type Output = O;

    async fn consume(&mut self, delivery: &Delivery<'_, J>) -> Result<O, Failure> {
        (self.work)(delivery).await
    }
}

impl<J, O, F> fmt::Debug for ConsumerClosure<J, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerClosure").finish_non_exhaustive()
    }
}
