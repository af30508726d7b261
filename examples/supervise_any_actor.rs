//! Supervise any actor: one that was written for plain actix, unchanged, comes back after every kind of death.
//!
//! A printer panics, stops with an error and panics again. You see what each sender learns, that waiting messages are kept,
//! what a monitor hears, and the tree.
//!
//! Run it: `cargo run --example supervise_any_actor`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;
use std::time::Duration;

use actix::prelude::*;
use consumer_group::supervision::{Child, SendError, SupervisorSpec, stop_with_error};

/// Counts its pages; each life begins at zero.
#[derive(Default)]
struct Printer {
    pages: u32,
}

impl Actor for Printer {
    type Context = Context<Self>;
}

/// Answered with the number of pages that this life has printed.
#[derive(Clone, Message)]
#[rtype(result = "u32")]
struct Print(&'static str);

impl Handler<Print> for Printer {
    type Result = u32;

    fn handle(&mut self, Print(text): Print, _: &mut Context<Self>) -> u32 {
        assert!(!text.contains("staple"), "paper jam");
        self.pages += 1;
        self.pages
    }
}

/// Takes the paper away.
#[derive(Message)]
#[rtype(result = "()")]
struct TakePaper;

impl Handler<TakePaper> for Printer {
    type Result = ();

    fn handle(&mut self, _: TakePaper, context: &mut Context<Self>) {
        // The only line here that knows of supervision. Plain `context.stop()` would be an end of its own will.
        stop_with_error(context, "no more paper");
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The panics show in the errors; there is no need to see them on stderr too.
    let mut printer = Child::new("printer", Printer::default).quiet_panics();
    let handle = printer.handle();
    let mut monitor = handle.monitor();
    let office = SupervisorSpec::new("office")
        .intensity(10, Duration::from_secs(60))
        .child(printer)
        .start()
        .await?;
    println!("a page: {}", handle.send(Print("a letter")).await?);

    println!("\nA panic, and two messages that wait behind it:");
    let jam = handle.send(Print("a letter with a staple"));
    let second = handle.send(Print("a poem"));
    let third = handle.send(Print("a bill"));
    match jam.await {
        Ok(page) => println!("  page {page}"),
        Err(error) => println!("  its sender learns: {error}"),
    }
    println!("  the poem is page {} of the next life", second.await?);
    println!("  the bill is page {}", third.await?);

    println!("\nA stop with an error:");
    handle.do_send(TakePaper)?;
    println!(
        "  the next page is page {} again",
        handle.send(Print("a map")).await?
    );

    println!("\nA message that is kept:");
    match handle.send_kept(Print("a map with a staple")).await {
        Err(SendError::Died {
            kept: Some(Print(text)),
            ..
        }) => {
            let mended = text.split(" with ").next().unwrap_or(text);
            let page = handle.send(Print(mended)).await?;
            println!("  `{text}` came back; without it, `{mended}` is page {page}");
        }
        _ => return Err("the message did not come back".into()),
    }

    println!("\nWhat the monitor heard:");
    for _ in 0..3 {
        let down = monitor.next().await.ok_or("the monitor is closed")?;
        println!("  life {}: {}", down.life, down.cause);
    }

    println!("\n{}", office.tree().await?);
    println!("\nthe office: {}", office.stop().await);
    match handle.send(Print("too late")).await {
        Ok(page) => println!("page {page}"),
        Err(error) => println!("`too late`: {error}"),
    }
    Ok(())
}
