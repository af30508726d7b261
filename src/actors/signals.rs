//! The signals with which the operating system asks a program to end.
//!
//! They are heard on a thread of their own: in a program of any runtime and of none, and also while the thread of the caller
//! is busy, when a second signal matters most.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

/// More signals than this that nobody has looked at say no more than these do.
const MOST_UNSEEN: usize = 8;

/// The signals that ask this program to end, as they come: SIGINT (Ctrl-C) and SIGTERM, on Windows Ctrl-C. For
/// [`Group::drain_on`](crate::Group::drain_on), or to wait for one with [`next`](Self::next).
///
/// From [`stop`](Self::stop) on these signals no longer end the process by themselves, not even once this is dropped: whoever
/// asks for them has to end the program.
#[derive(Debug)]
#[must_use = "signals do nothing unless somebody waits for them"]
pub struct Signals {
    arrived: mpsc::Receiver<()>,
}

/// Why signals cannot be heard: the operating system has no thread or no descriptor to give, or forbids it.
#[derive(Debug, thiserror::Error)]
#[error("signals cannot be heard: {cause}")]
pub struct SignalsError {
    #[from]
    #[source]
    cause: std::io::Error,
}

impl Signals {
    /// Listens for the signals that ask a program to end. What comes before somebody waits is kept.
    ///
    /// # Errors
    /// [`SignalsError`] if there is no thread or no descriptor to be had.
    pub fn stop() -> Result<Self, SignalsError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        // First they are listened for, then the thread begins: none is missed after this returns.
        let mut sources = {
            let _inside = runtime.enter();
            Sources::listen()?
        };
        let (tell, arrived) = mpsc::channel(MOST_UNSEEN);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let mut closed = pin!(tell.closed());
                    poll_fn(|context| {
                        while sources.poll_next(context).is_ready() {
                            // An error means that there are enough of them, or that nobody waits any more.
                            let _ = tell.try_send(());
                        }
                        closed.as_mut().poll(context)
                    })
                    .await;
                });
            })?;
        Ok(Self { arrived })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) {
        if self.arrived.recv().await.is_none() {
            // The thread has ended, which it does only with this. There is nothing more to wait for.
            std::future::pending().await
        }
    }
}

impl Stream for Signals {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        self.arrived.poll_recv(context)
    }
}

/// What the operating system gives.
#[cfg(unix)]
struct Sources([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl Sources {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ]))
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // All of them are asked, so that each knows whom to wake.
        let polled = self.0.each_mut().map(|signal| signal.poll_recv(context));
        let came = polled.iter().any(Poll::is_ready);
        if came { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(windows)]
struct Sources(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Sources {
    fn listen() -> std::io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_recv(context).map(|_| ())
    }
}
