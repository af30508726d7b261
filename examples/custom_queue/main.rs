//! A queue of your own, in two sizes.
//!
//! | you have | you write | see |
//! |---|---|---|
//! | a data structure | a `Store`; the stock queue actor runs it | `stack.rs`: last in, first out |
//! | something that needs an actor (a socket, a broker) | an actor that handles five messages | `plain.rs`: no more than a list of jobs |
//!
//! Both say what they can do in their `Capabilities`. Neither of these two knows delays, and yet a job that is tried again
//! later comes later: what a queue lacks, the group does in its place.
//!
//! Run it: `cargo run --features testing --example custom_queue`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

mod plain;
mod stack;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consumer_group::queue::{ActorQueue, Capabilities, queue_of};
use consumer_group::testing::end_role;
use consumer_group::{Delivery, EventKind, Failure, Group, Outcome, Results, Role};
use plain::{PlainQueue, Shelf};
use stack::Stack;
use tokio::time::{sleep, timeout};

/// How long a job waits that asks for it.
const LATER: Duration = Duration::from_millis(100);

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    last_in_first_out().await?;
    plain_list().await
}

async fn last_in_first_out() -> Result<(), Box<dyn Error>> {
    let group = Group::builder()
        .queue(queue_of(Stack::with_capacity(1_000)))
        // Nobody is at work before everything lies on the stack.
        .consume_with(0, async |delivery: &Delivery<u64>| {
            match (*delivery.job(), delivery.attempt()) {
                (3, _) => Err(Failure::reject("I do not do 3")),
                (8, 1) => Err(Failure::retry_after(LATER, "not now")),
                (number, _) => Ok(number),
            }
        })
        .start()?;
    let (producers, mut results) = group.producer_group();
    producers.send_batch(1..=10).await?;
    let all_there = async {
        while group.health().await?.queue.is_none_or(|queue| queue.ready < 10) {
            sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, consumer_group::StoppedError>(())
    };
    timeout(Duration::from_secs(10), all_there).await??;
    group.scale(1);

    let mut done = Vec::new();
    for _ in 1..=10 {
        done.extend(read(&mut results).await?.result.ok());
    }
    let dead = group.dead_letters().list(10).await?;
    println!("the stack got 1, 2, 3 … 10");
    println!("  done, in this order: {done:?} (8 asked for later)");
    for letter in &dead {
        println!("  {} is a dead letter: {}", letter.job.payload(), letter.reason);
    }
    assert_eq!(done, [10, 9, 7, 6, 5, 4, 2, 1, 8]);
    assert_eq!(
        dead.iter()
            .map(|letter| *letter.job.payload())
            .collect::<Vec<_>>(),
        [3]
    );
    group.stop().await;
    Ok(())
}

async fn plain_list() -> Result<(), Box<dyn Error>> {
    // The jobs live out here; an actor that dies leaves them to the next one.
    let shelf = Arc::new(Shelf::default());
    let shared = Arc::clone(&shelf);
    let group = Group::builder()
        .queue(ActorQueue::new(Capabilities::LEAST, move || {
            PlainQueue::new(Arc::clone(&shared))
        }))
        .consume_with(3, async |delivery: &Delivery<u64>| {
            if delivery.job().is_multiple_of(10) && delivery.attempt() == 1 {
                return Err(Failure::retry_after(LATER, "not now"));
            }
            Ok(u64::from(delivery.attempt()))
        })
        .start()?;
    let mut events = group.events();
    let (producers, mut results) = group.producer_group();
    let began = Instant::now();
    let sender = actix::spawn(async move { producers.send_batch(1..=300).await });

    let mut second_attempts = 0;
    for done in 1..=300 {
        let attempt = read(&mut results)
            .await?
            .result
            .map_err(|letter| letter.to_string())?;
        if attempt == 2 {
            second_attempts += 1;
            assert!(began.elapsed() >= LATER, "a job came back too early");
        }
        if done == 100 {
            end_role(&group, Role::Queue);
        }
    }
    let accepted = sender.await??.len();
    // No settle is lost either, so in the end the list is empty.
    let unfinished = group.drain(Duration::from_secs(10)).await.unfinished.len() + shelf.len();
    let mut lives = 0;
    while let Some(event) = events.try_next() {
        if let EventKind::RoleUp {
            role: Role::Queue,
            life,
        } = event.kind
        {
            lives = life;
        }
    }
    println!(
        "the plain list got {accepted} jobs; its actor was ended in the middle and has had {lives} lives"
    );
    println!("  300 done, {second_attempts} of them later, at the second attempt; {unfinished} left");
    assert_eq!((accepted, second_attempts, lives, unfinished), (300, 30, 2, 0));
    Ok(())
}

async fn read(results: &mut Results<u64, u64>) -> Result<Outcome<u64, u64>, Box<dyn Error>> {
    let next = timeout(Duration::from_secs(10), results.next()).await?;
    next.ok_or_else(|| "the group ended".into())
}
