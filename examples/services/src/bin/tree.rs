//! A group in a supervision tree, in a plain `main`: `cargo run -p services --bin tree`. A group that fails is made again; a
//! signal ends the tree in order, and its groups drain.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use consumer_group::supervision::{GroupChild, GroupHandle, SupervisorSpec};
use consumer_group::{Host, SendErrorKind, Signals};
use services::{Store, WITHIN};

/// Makes work until the group takes no more: how much it took.
async fn feed(words: GroupHandle<String, usize>) -> usize {
    let mut accepted = 0;
    while let Ok(producer) = words.producer().await {
        match producer.send(format!("job number {accepted}")).await {
            Ok(_) => accepted += 1,
            Err(error) if error.kind == SendErrorKind::Full => {
                tokio::time::sleep(Duration::from_millis(1)).await
            }
            Err(_) => break,
        }
    }
    accepted
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::stop()?;
    let store = Arc::new(Store::default());
    let host = Host::start()?;
    let (tree, words) = host.block_on(async {
        let shared = Arc::clone(&store);
        let mut words =
            GroupChild::new("words", async move || Ok(services::words(&shared))).drain_within(WITHIN);
        let handle = words.handle();
        let tree = SupervisorSpec::new("service")
            .child(words.into_child())
            .start_on(&host)
            .await?;
        Ok::<_, Box<dyn Error>>((tree, handle))
    })?;
    let fed = words.clone();
    let fed = std::thread::spawn({
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        move || runtime.block_on(feed(fed))
    });
    println!("ready");
    host.block_on(signals.next());
    host.block_on(tree.stop());
    let accepted = fed.join().map_err(|_| "the feeder panicked")?;
    let unfinished = words.take_unfinished().len();
    println!(
        "{accepted} accepted, {} done; {unfinished} were not finished",
        store.done()
    );
    println!("{}", host.block_on(host.shutdown(WITHIN)));
    Ok(())
}
