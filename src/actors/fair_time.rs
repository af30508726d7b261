//! Limits of time that count only while their thread runs: what a stopped process, a suspended machine or a blocked thread
//! takes away counts against nobody.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::instant_after;
use crate::rules::hang_detector::{LOOKS, Standstill, pause};

/// Ends when this much time has passed in which its thread ran.
pub(crate) struct FairSleep {
    /// What is left of the limit after the pause that is under way.
    left: Duration,
    pause: Duration,
    longest: Duration,
    set_at: Instant,
    standstill: Standstill,
    timer: Pin<Box<Sleep>>,
}

impl FairSleep {
    /// Begins now.
    pub(crate) fn new(limit: Duration) -> Self {
        let longest = pause(limit, LOOKS);
        let first = limit.min(longest);
        Self {
            left: limit.saturating_sub(first),
            pause: first,
            longest,
            set_at: Instant::now(),
            standstill: Standstill::default(),
            timer: Box::pin(sleep(first)),
        }
    }
}

impl Future for FairSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let passed = now.duration_since(this.set_at);
            let counted = passed.saturating_sub(this.standstill.look(this.pause, passed));
            // What counted beside the pause that was planned, which is no part of what is left.
            let left = (this.left + this.pause).saturating_sub(counted);
            if left.is_zero() {
                return Poll::Ready(());
            }
            this.pause = left.min(this.longest);
            this.left = left.saturating_sub(this.pause);
            this.set_at = now;
            this.timer = Box::pin(sleep_until(instant_after(this.pause)));
        }
    }
}

/// A limit has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitPassed;

/// Waits for `work`, at most for `limit` of the time in which this thread runs. Cancel safe if `work` is.
///
/// # Errors
/// [`LimitPassed`]; `work` is dropped then.
pub(crate) async fn within_fair_time<F: Future>(limit: Duration, work: F) -> Result<F::Output, LimitPassed> {
    let (mut work, mut limit) = (pin!(work), pin!(FairSleep::new(limit)));
    poll_fn(|context| {
        // First the work: what is done at the very end of the limit is done.
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        limit.as_mut().poll(context).map(|()| Err(LimitPassed))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn a_limit_passes_when_it_has_passed_and_no_sooner() {
        for limit in [0, 1, 3, 16, 1_000, 60_000].map(Duration::from_millis) {
            paused(async move {
                let began = Instant::now();
                FairSleep::new(limit).await;
                let took = began.elapsed();
                assert!(
                    took >= limit && took <= limit + Duration::from_millis(1),
                    "{limit:?}: {took:?}"
                );
            });
        }
    }

    #[test]
    fn a_limit_does_not_pass_while_nobody_runs() {
        paused(async {
            let limit = Duration::from_millis(1_600);
            let work = tokio::spawn(async move {
                let began = Instant::now();
                within_fair_time(limit, std::future::pending::<()>())
                    .await
                    .unwrap_err();
                began.elapsed()
            });
            sleep(Duration::from_millis(450)).await;
            tokio::time::advance(Duration::from_secs(10)).await;
            let took = work.await.unwrap();
            // Nothing of the pause counts in which the clock jumped.
            assert!(took >= Duration::from_millis(11_600), "{took:?}");
            assert!(took <= Duration::from_millis(11_800), "{took:?}");
        });
    }

    #[test]
    fn for_ever_is_for_ever() {
        paused(async {
            let work = within_fair_time(Duration::MAX, sleep(Duration::from_secs(86_400))).await;
            assert_eq!(work, Ok(()));
        });
    }
}
