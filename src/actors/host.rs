//! A host: an actix system on a thread of its own, for programs that are not actix.
//!
//! ```text
//! the program's threads              the host's thread
//!   start_on(&host) ──────work─────▶  arbiter ─┬─ group
//!   shutdown(within) ───drain──────▶           └─ supervision tree
//!         ▲                                      │
//!         └────── report, thread joined ◀── ended┘
//! ```
//!
//! Whoever waits for the end of a host waits on a thread that is not the host's, with a limit: so nothing that runs on the
//! host, and no host that is stuck, can hold it up for longer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use actix_rt::{ArbiterHandle, System};
use tokio::sync::oneshot;

use super::cell::guard_of_a_task;
use super::host_end::{Ending, Resident, join};
use super::host_errors::{HostRunError, HostStartError};
use crate::types::HostReport;

/// How long a host that is dropped drains, unless [`HostBuilder::drop_within`] says otherwise.
const DROP_WITHIN: Duration = Duration::from_secs(5);

/// An actix system on a thread of its own. From tokio, axum or a plain `main`, groups and supervision trees are started on it
/// and ended with it.
///
/// | | |
/// |---|---|
/// | [`Group::builder`](crate::Group::builder) … [`start_on`](crate::GroupBuilder::start_on) | a group on the host |
/// | [`SupervisorSpec::start_on`](crate::supervision::SupervisorSpec::start_on) | a supervision tree on it |
/// | [`run`](Self::run) | anything else that must be made on its thread |
/// | [`shutdown`](Self::shutdown) | drains all of it within a limit, and joins the thread |
/// | dropping it | the same, within 5 s unless the builder says otherwise; what was not finished is told in the log |
/// | [`block_on`](Self::block_on) | waits for any of these where there is no runtime |
///
/// Groups, producers, handles of actors and of trees can be used from every thread and every runtime. Consumers live on the
/// host's thread or on arbiters of their own, as their [`Placement`](crate::Placement) says; with `Local` everything shares
/// the one thread.
///
/// From a plain `main`, ended by a signal or whatever else there is to wait for:
///
/// ```
/// use std::time::Duration;
/// use consumer_group::{Delivery, Group, Host};
///
/// # async fn until_it_is_time() {}
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let host = Host::start()?;
///     host.block_on(async {
///         let group = Group::builder()
///             .consume_with(4, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
///             .start_on(&host)
///             .await?;
///         assert_eq!(group.producer().call(21).await?, 42);
///         until_it_is_time().await; // tokio::signal::ctrl_c(), for example
///         Ok::<(), Box<dyn std::error::Error>>(())
///     })?;
///     let report = host.block_on(host.shutdown(Duration::from_secs(30)));
///     assert!(report.is_clean(), "{report}");
///     Ok(())
/// }
/// ```
///
/// From tokio; the same in axum, with the signal in `with_graceful_shutdown` and the shutdown after `serve`:
///
/// ```
/// use std::time::Duration;
/// use consumer_group::{Delivery, Group, Host};
///
/// # async fn serve_until_the_signal() {}
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// // In a function under #[tokio::main]:
/// let host = Host::start()?;
/// let group = Group::builder()
///     .consume_with(4, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
///     .start_on(&host)
///     .await?;
/// let producer = group.producer();
/// tokio::spawn(async move { producer.call(21).await }).await??;
/// serve_until_the_signal().await;
/// let report = host.shutdown(Duration::from_secs(30)).await;
/// assert!(report.is_clean(), "{report}");
/// # Ok(())
/// # })
/// # }
/// ```
#[must_use = "a host that is dropped ends, with everything on it"]
pub struct Host {
    arbiter: ArbiterHandle,
    system: System,
    runtime: tokio::runtime::Handle,
    thread: ThreadId,
    ending: Arc<Ending>,
    drop_within: Duration,
    /// How many groups were started on it.
    groups: AtomicU64,
}

/// Says how a host is made. See [`Host::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct HostBuilder {
    name: String,
    drop_within: Duration,
}

impl HostBuilder {
    /// The name of the thread, for debuggers and in logs. The default is `host`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        // A name with a zero byte is none for the operating system, and would be a panic in there.
        self.name = name.into().replace('\0', "");
        self
    }

    /// How long the host drains when it is dropped without a [`Host::shutdown`]. The default is 5 s; zero stops everything at
    /// once.
    pub fn drop_within(mut self, limit: Duration) -> Self {
        self.drop_within = limit;
        self
    }

    /// Starts the host: returns when its thread is ready, which takes a fraction of a millisecond.
    ///
    /// # Errors
    /// [`HostStartError`] if there is no thread or no runtime to be had; nothing is left running then.
    pub fn start(self) -> Result<Host, HostStartError> {
        let Self { name, drop_within } = self;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let ending = Arc::new(Ending::new());
        let at_end = Arc::clone(&ending);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                // Dropped last, and after a panic as well: whoever waits for the thread is told.
                let _told = at_end.tell_thread_end();
                live(&ready);
            })
            .map_err(|cause| HostStartError { cause })?;
        let started = is_ready
            .recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread of the host ended at its start")));
        match started {
            Ok((system, runtime)) => {
                let id = thread.thread().id();
                ending.keep_thread(thread);
                Ok(Host {
                    arbiter: system.arbiter().clone(),
                    system,
                    runtime,
                    thread: id,
                    ending,
                    drop_within,
                    groups: AtomicU64::new(0),
                })
            }
            Err(cause) => {
                join(thread);
                Err(HostStartError { cause })
            }
        }
    }
}

/// What the starter gets of a host that is ready.
type Ready = std::io::Result<(System, tokio::runtime::Handle)>;

/// The life of the host's thread.
fn live(ready: &std::sync::mpsc::Sender<Ready>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            // An error means that nobody waits for the host.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let shared = Arc::clone(&runtime);
    let runner = System::with_tokio_rt(move || shared);
    let here = System::current();
    if ready.send(Ok((here, runtime.handle().clone()))).is_err() {
        return;
    }
    // Until the system is stopped, by the host's end or by somebody who runs on it. Every actor that is left is dropped here.
    if let Err(error) = runner.run() {
        tracing::warn!(%error, "the system of a host ended with an error");
    }
    if let Ok(runtime) = Arc::try_unwrap(runtime) {
        // Not dropped: that would wait for blocking work of the user, without a limit.
        runtime.shutdown_background();
    }
}

impl Host {
    /// Starts a host with everything as it is by default.
    ///
    /// # Errors
    /// As [`HostBuilder::start`].
    pub fn start() -> Result<Self, HostStartError> {
        Self::builder().start()
    }

    /// Says how a host is made.
    pub fn builder() -> HostBuilder {
        HostBuilder {
            name: "host".to_owned(),
            drop_within: DROP_WITHIN,
        }
    }

    /// Runs `work` on the host's thread, inside of its actix system, and waits for what it gives. `work` is sent there; the
    /// future that it makes stays there and need not be `Send`.
    ///
    /// Actors that it starts are ended with the host, but not drained: that is for groups and trees that were started with
    /// `start_on`. **Cancellation**: work that has begun goes on when the returned future is dropped.
    ///
    /// # Errors
    /// [`HostRunError`]: the host has ended, or ended over this, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce() -> T + Send + 'static,
    ) -> Result<T, HostRunError> {
        let (answer, answered) = oneshot::channel();
        let takes_it = self.arbiter.spawn_fn(move || {
            actix_rt::spawn(async move {
                let work: Pin<Box<dyn Future<Output = T>>> = Box::pin(async move { work().await });
                // An error means that nobody waits any more.
                let _ = answer.send(guard_of_a_task(false, work).await);
            });
        });
        if !takes_it {
            return Err(HostRunError::Ended);
        }
        match answered.await {
            Ok(done) => done.map_err(HostRunError::Panicked),
            Err(_) => Err(HostRunError::Ended),
        }
    }

    /// Waits on this thread for a future, with the timers and the sockets of the host's runtime: for a plain `main`.
    ///
    /// # Panics
    /// Inside of a runtime, the host's own among them, as tokio's `block_on` does: there you have `.await`.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Ends the host: drains every group and ends every tree that was started on it, the last one first and each within what
    /// is left of the limit, then ends the actix system and joins the thread. Says what was not finished.
    ///
    /// It takes at most `within` and 3 s, also if the host's thread is blocked for ever; then the report says so, and the
    /// thread is left to itself. From the first call on nothing can be started on the host. A second call waits for the same
    /// end and has nothing to report.
    ///
    /// **Cancellation**: the end goes on when the future is dropped.
    pub async fn shutdown(&self, within: Duration) -> HostReport {
        let (tell, told) = oneshot::channel();
        let (ending, system) = (Arc::clone(&self.ending), self.system.clone());
        let waiter = std::thread::Builder::new()
            .name("end of a host".to_owned())
            .spawn(move || {
                // An error means that nobody waits any more.
                let _ = tell.send(ending.finish(&system, within));
            });
        match waiter {
            Ok(_) => told.await.unwrap_or_default(),
            // No thread to be had for the wait, so this one waits: as long as was promised, and no longer.
            Err(_) => self.ending.finish(&self.system, within),
        }
    }

    /// Whether the host has ended, or its end has begun.
    pub fn is_over(&self) -> bool {
        self.ending.has_begun() || !self.arbiter.alive()
    }

    /// The number of one more group, counted from one.
    pub(crate) fn next_group(&self) -> u64 {
        self.groups.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Has something drained at the end of the host.
    pub(crate) fn take_in(&self, resident: Resident) -> Result<(), HostRunError> {
        if self.ending.take_in(resident) {
            Ok(())
        } else {
            Err(HostRunError::Ended)
        }
    }
}

impl Drop for Host {
    /// Ends the host within its limit, unless that was done.
    ///
    /// Waiting here cannot be for ever, and on the host's own threads there is no wait at all: the end would wait for the very
    /// task that waits for it. In a task of another runtime the wait holds up that runtime's thread; consumers that need it to
    /// finish are not finished then, and named in the log. Use [`shutdown`](Self::shutdown) there.
    fn drop(&mut self) {
        if self.ending.has_begun() {
            return;
        }
        let (ending, system, within) = (Arc::clone(&self.ending), self.system.clone(), self.drop_within);
        let is_own = std::thread::current().id() == self.thread
            || System::try_current().is_some_and(|here| here.id() == self.system.id());
        if !is_own {
            ending.finish(&system, within).log();
            return;
        }
        let waiter = std::thread::Builder::new()
            .name("end of a host".to_owned())
            .spawn(move || ending.finish(&system, within).log());
        if waiter.is_err() {
            tracing::error!(
                "no thread could be had to drain a host that was dropped on itself; it ends at once"
            );
            self.system.stop();
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}
