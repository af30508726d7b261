//! Runtimes for tests: actix systems on a paused clock or on the real one.

use std::future::Future;

/// Runs a test on an actix system whose clock is paused: time moves only when everybody waits for it, so a test about
/// minutes takes microseconds and every wait ends at an exact moment.
///
/// The clock is that of this one thread. A group under test therefore belongs on it whole
/// ([`Placement::Local`](crate::Placement::Local)), and a part that waits for other threads, a disk or a network is better
/// tested on the real clock: while it waits, the paused clock runs ahead and ends every time-out at once.
///
/// ```
/// use std::time::Duration;
/// use consumer_group::testing::paused;
///
/// let waited = paused(async {
///     let began = tokio::time::Instant::now();
///     tokio::time::sleep(Duration::from_secs(3600)).await;
///     began.elapsed()
/// });
/// assert_eq!(waited, Duration::from_secs(3600));
/// ```
///
/// # Panics
/// If the operating system has no more resources for a runtime, and if this thread runs inside a runtime already: call it
/// from a plain `#[test]`. Like every failed test, that is a panic, and never an abort.
pub fn paused<T>(test: impl Future<Output = T>) -> T {
    run(true, test)
}

/// As [`paused`], or on the real clock.
pub(super) fn run<T>(is_paused: bool, test: impl Future<Output = T>) -> T {
    if tokio::runtime::Handle::try_current().is_ok() {
        // Before a second runtime is made: dropping that one while this panic unwinds would be another, and the end of the
        // process.
        inside_a_runtime();
    }
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(is_paused)
        .build();
    match built {
        Ok(runtime) => actix_rt::System::with_tokio_rt(|| runtime).block_on(test),
        Err(error) => no_runtime(&error),
    }
}

// A test that cannot even have its runtime has failed, and the way to fail a test is to panic. Nothing but tests runs this.
#[allow(clippy::panic)]
fn no_runtime(error: &std::io::Error) -> ! {
    panic!("a runtime for the test could not be made: {error}")
}

#[allow(clippy::panic)]
fn inside_a_runtime() -> ! {
    panic!(
        "this test runs inside a runtime already: call it from a plain #[test], and not from #[tokio::test]"
    )
}
