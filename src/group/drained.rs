//! How a group ended, and the end of a group by signals.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::errors::Undelivered;
use super::handle::Group;
use crate::types::{DeadLetter, write_unfinished};

/// How a drain or a stop ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Drained<J> {
    /// Jobs that were neither done nor given up, oldest first. Empty when everything was finished in time, and for every
    /// [`stop`](Group::stop) or [`drain`](Group::drain) but the first that returns. Jobs in a queue that is not `volatile`
    /// are not in here: they stay in their queue.
    pub unfinished: Vec<Undelivered<J>>,
    /// Jobs that became dead letters after the drain began, oldest first: the latest ones, at most `queue.dead_letters` and
    /// `queue.dead_letter_bytes`. With a queue in memory this is the last chance to see them. Empty for a stop without a drain, which gives no job up.
    pub dead_letters: Vec<DeadLetter<J>>,
}

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

impl<J> Drained<J> {
    /// Whether every job was done or given up.
    pub fn is_clean(&self) -> bool {
        self.unfinished.is_empty()
    }
}

/// For a log: how many jobs were not finished, the first of them by name, and how many were given up.
impl<J> fmt::Display for Drained<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            f.write_str("everything was finished")?;
        } else {
            write_unfinished(f, self.unfinished.iter().map(Undelivered::id))?;
        }
        match self.dead_letters.len() {
            0 => Ok(()),
            dead => write!(f, "; {dead} became dead letters"),
        }
    }
}
