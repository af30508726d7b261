//! The end of a group by signals.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::drained::Drained;
use super::handle::Group;

impl<J: Send + Sync + 'static, O: Send + 'static> Group<J, O> {
    /// Waits for the first item of `signals`, then [`drain`](Self::drain)s within this time; a second item ends the group at
    /// once, as [`stop`](Self::stop) does. Says what was not finished. A whole end of a program, with the feature `signals`:
    ///
    /// ```
    /// # #[cfg(feature = "signals")] {
    /// # use std::time::Duration;
    /// # use consumer_group::{Delivery, Group, Signals};
    /// # actix::System::new().block_on(async {
    /// # let group = Group::builder().consume_with(1, async |job: &Delivery<u64>| Ok(*job.job())).start()?;
    /// # actix::spawn({ let group = group.clone(); async move { group.stop().await } });
    /// let drained = group.drain_on(Signals::stop()?, Duration::from_secs(30)).await;
    /// println!("{drained}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// The signals may be any stream: what comes of it does not matter, only when. One that has ended says nothing more. A
    /// group that ends by itself meanwhile is not waited for any longer. **Cancellation**: before the first signal nothing has
    /// happened, after it as with [`drain`](Self::drain).
    pub async fn drain_on(&self, signals: impl Stream, within: Duration) -> Drained<J> {
        let mut signals = SignalsLeft(Some(pin!(signals)));
        let mut over = pin!(self.stopped());
        poll_fn(|context| match over.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => signals.poll(context),
        })
        .await;
        let mut drain = pin!(self.drain(within));
        let drained = poll_fn(|context| match drain.as_mut().poll(context) {
            Poll::Ready(drained) => Poll::Ready(Some(drained)),
            Poll::Pending => signals.poll(context).map(|()| None),
        });
        match drained.await {
            Some(drained) => drained,
            None => self.stop().await,
        }
    }
}

/// Signals, unless no more will come.
struct SignalsLeft<'s, S>(Option<Pin<&'s mut S>>);

impl<S: Stream> SignalsLeft<'_, S> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(signals) = &mut self.0 else {
            return Poll::Pending;
        };
        match signals.as_mut().poll_next(context) {
            Poll::Ready(Some(_)) => Poll::Ready(()),
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
