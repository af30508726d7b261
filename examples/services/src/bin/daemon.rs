//! A daemon on plain tokio, as a systemd unit of `Type=notify` with a watchdog: see `words.service` beside this package's
//! manifest. Without systemd, `cargo run -p services --bin daemon` is the same and tells nobody.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use consumer_group::{Group, Host, Producer, SendErrorKind, Signals};
use sd_notify::NotifyState;
use services::{Store, WITHIN};

/// Tells systemd that this lives, twice in each of its intervals, for as long as the group answers.
async fn watch(group: Group<String, usize>) {
    let mut interval = 0;
    if !sd_notify::watchdog_enabled(false, &mut interval) {
        return;
    }
    let pause = Duration::from_micros(interval / 2);
    while let Ok(Ok(_)) = tokio::time::timeout(pause, group.health()).await {
        let _ = sd_notify::notify(false, &[NotifyState::Watchdog]);
        tokio::time::sleep(pause).await;
    }
}

/// Makes work until the group takes no more: how much it took.
async fn feed(producer: Producer<String, usize>) -> usize {
    let mut accepted = 0;
    loop {
        match producer.send(format!("job number {accepted}")).await {
            Ok(_) => accepted += 1,
            Err(error) if error.kind == SendErrorKind::Full => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(_) => return accepted,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::stop()?;
    let store = Arc::new(Store::default());
    let host = Host::start()?;
    let group = services::words(&store).start_on(&host).await?;
    let fed = tokio::spawn(feed(group.producer()));
    let watch = tokio::spawn(watch(group.clone()));
    sd_notify::notify(false, &[NotifyState::Ready])?;

    // The long form of `drain_on`, for whoever has something to say in between.
    signals.next().await;
    sd_notify::notify(false, &[NotifyState::Stopping])?;
    let report = tokio::select! {
        report = group.drain(WITHIN) => report,
        () = signals.next() => group.stop().await,
    };
    watch.abort();
    println!("{} accepted, {} done; {report}", fed.await?, store.done());
    println!("{}", host.shutdown(WITHIN).await);
    Ok(())
}
