//! A group and a supervision tree in programs that are not actix: a plain `main`, and tokio as axum and others use it.
//!
//! ```text
//! cargo run --example plain_main              # a plain main
//! cargo run --example plain_main -- --tokio   # the same under a tokio runtime with several threads
//! ```
//!
//! Both end when their work is done or with Ctrl-C, whichever comes first: what was accepted is finished within a limit, and
//! the report says what was not.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;
use std::time::Duration;

use actix::prelude::*;
use consumer_group::supervision::{Child, Handle as ActorHandle, SupervisorSpec};
use consumer_group::{Delivery, Group, Host};

/// How long an end may take.
const WITHIN: Duration = Duration::from_secs(30);

/// An actor beside the group: it adds up what the consumers found.
#[derive(Default)]
struct Sum(u64);

impl Actor for Sum {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);

impl Handler<Add> for Sum {
    type Result = u64;

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) -> u64 {
        self.0 += number;
        self.0
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--tokio") {
        return under_tokio();
    }
    // The host is a thread with an actix system. There is no runtime here, so the host's own is waited with.
    let host = Host::start()?;
    let sum = host.block_on(until_done_or_asked(&host))?;
    let report = host.block_on(host.shutdown(WITHIN));
    println!("plain main: sum {sum}; {report}");
    Ok(())
}

/// What `#[tokio::main]` makes of an async `main`.
fn under_tokio() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let host = Host::start()?;
        let sum = until_done_or_asked(&host).await?;
        let report = host.shutdown(WITHIN).await;
        println!("tokio: sum {sum}; {report}");
        Ok(())
    })
}

/// Works until everything is done, or somebody presses Ctrl-C.
async fn until_done_or_asked(host: &Host) -> Result<u64, Box<dyn Error>> {
    tokio::select! {
        sum = work(host) => sum,
        asked = tokio::signal::ctrl_c() => {
            asked?;
            println!("asked to end");
            Ok(0)
        }
    }
}

/// Squares the numbers from 1 to 100 in a group, and adds them up in a supervised actor.
async fn work(host: &Host) -> Result<u64, Box<dyn Error>> {
    let tree = SupervisorSpec::new("office")
        .child(Child::new("sum", Sum::default))
        .start_on(host)
        .await?;
    let sum: ActorHandle<Sum> = tree.actor("sum")?;
    let group = Group::builder()
        .consume_with(4, async |delivery: &Delivery<u64>| {
            Ok(delivery.job() * delivery.job())
        })
        .start_on(host)
        .await?;
    let producer = group.producer();
    let mut total = 0;
    for number in 1..=100 {
        let square = producer.call(number).await?;
        total = sum.send(Add(square)).await?;
    }
    Ok(total)
}
