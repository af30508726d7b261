//! A supervision tree: a line server on TCP, whose connections crash on a command and never take the listener or each other
//! down.
//!
//! By itself it runs against a few clients of its own and prints what happens. With `--serve` it stays up for you.
//!
//! Run it: `cargo run --example supervision_tree`, or `cargo run --example supervision_tree -- --serve --port 7000` and, in
//! another terminal, `nc 127.0.0.1 7000`; say `crash`.
//!
//! | file | what is there |
//! |---|---|
//! | `server.rs` | the tree and its policies |
//! | `listener.rs` | the actor that takes connections |
//! | `connection.rs` | the actor of one connection |
//! | `client.rs` | a client |

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

#[path = "../arguments/mod.rs"]
mod arguments;
mod client;
mod connection;
mod listener;
mod server;

use std::error::Error;
use std::io;
use std::time::Duration;

use arguments::Arguments;
use client::Client;
use consumer_group::supervision::{TreeEvent, TreeEvents};
use server::LineServer;
use tokio::time::timeout;

/// A line server whose connections crash on a command.
const HELP: &str = "
Usage: supervision_tree [OPTIONS]

  --port N    the port to listen on, on this machine only; 0, the default, for any that is free
  --serve     stay up for clients of yours, until Ctrl-C";

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = Arguments::of_this_process(HELP);
    let (port, serves) = (arguments.value("--port").unwrap_or(0), arguments.flag("--serve"));
    arguments.end();
    let server = server::start(port).await?;
    if serves {
        serve(&server).await;
    } else {
        show(&server).await?;
    }
    println!("the server: {}", server.tree.stop().await);
    Ok(())
}

async fn serve(server: &LineServer) {
    println!("listening on {}", server.address);
    println!("commands: crash, fail, count, quit; every other line is echoed");
    let mut events = server.tree.events();
    while let Some(event) = events.next().await {
        match event {
            TreeEvent::Up { child, life } => println!("{child}: up, life {life}"),
            TreeEvent::Down(down) => println!("{}: {}", down.child, down.cause),
            _ => {}
        }
    }
}

async fn show(server: &LineServer) -> Result<(), Box<dyn Error>> {
    let mut events = server.tree.events();
    let mut anna = Client::connect(server.address).await?;
    say("anna", &mut anna, "hello").await?;
    let mut bert = Client::connect(server.address).await?;
    say("bert", &mut bert, "hi").await?;
    let mut carl = Client::connect(server.address).await?;
    say("carl", &mut carl, "count").await?;
    println!("\n{}\n", server.tree.tree().await?);

    say("bert", &mut bert, "crash").await?;
    tell_of_the_end(&mut events).await?;
    say("anna", &mut anna, "still here?").await?;
    say("carl", &mut carl, "fail").await?;
    tell_of_the_end(&mut events).await?;
    say("anna", &mut anna, "count").await?;

    println!("\nnow the listener crashes");
    server.listener.do_send(listener::Crash)?;
    tell_of_the_end(&mut events).await?;
    let mut dora = Client::connect(server.address).await?;
    say("dora", &mut dora, "good morning").await?;
    say("anna", &mut anna, "good morning").await?;
    say("dora", &mut dora, "count").await?;
    println!("\n{}\n", server.tree.tree().await?);
    Ok(())
}

async fn say(name: &str, client: &mut Client, line: &str) -> io::Result<()> {
    match client.ask(line).await? {
        Some(answer) => println!("{name}: {line} -> {answer}"),
        None => println!("{name}: {line} -> closed"),
    }
    Ok(())
}

/// Waits for the next end of an actor and prints it.
async fn tell_of_the_end(events: &mut TreeEvents) -> Result<(), Box<dyn Error>> {
    let end = async {
        while let Some(event) = events.next().await {
            if let TreeEvent::Down(down) = event {
                return Some(down);
            }
        }
        None
    };
    let down = timeout(Duration::from_secs(20), end).await?;
    println!("      {}", down.ok_or("the tree has ended")?);
    Ok(())
}
