//! Dead letters: jobs that were given up are kept, with everything that happened to them.
//!
//! A job becomes a dead letter when a consumer rejects it, when it used up its attempts, when it killed its consumers again
//! and again (poison), or when it waited longer than its producer allowed. You can list dead letters, send them back when
//! the world is mended, mend the job itself and send it anew, or throw them away.
//!
//! Run it: `cargo run --example dead_letters`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use consumer_group::config::{BackoffConfig, RetryConfig};
use consumer_group::{DeadReason, Delivery, EventKind, Events, Failure, Group, Job, JobId};
use tokio::time::timeout;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let printer_works = Arc::new(AtomicBool::new(false));
    let printer = Arc::clone(&printer_works);
    let group = Group::builder()
        .configure(|config| config.quiet_panics = true)
        .retry(RetryConfig {
            attempts: 3,
            backoff: BackoffConfig {
                min: Duration::from_millis(5),
                max: Duration::from_millis(20),
                factor: 2.0,
                jitter: 0.0,
            },
        })
        // Nobody is at work yet; the jobs wait.
        .consume_with(0, async move |delivery: &Delivery<String>| {
            handle(delivery.job(), printer.load(Ordering::Relaxed))
        })
        .start()?;
    let mut events = group.all_events();
    let producer = group.producer();
    let letters = group.dead_letters();

    let late = producer
        .send(Job::new(String::from("add 1")).expires_after(Duration::from_millis(5)))
        .await?;
    died(&mut events, 1).await?;
    group.scale(2);
    let wrong = producer.send(String::from("add seven")).await?;
    let print = producer.send(String::from("print 4")).await?;
    let poison = producer.send(String::from("divide 0")).await?;
    died(&mut events, 3).await?;

    println!("the dead letters:");
    let dead = letters.list(100).await?;
    for letter in &dead {
        println!("  {:?}: {}", letter.job.payload(), letter.reason);
        for record in &letter.history {
            println!("      {record}");
        }
    }
    let reason = |id| {
        dead.iter()
            .find(|letter| letter.id() == id)
            .map(|letter| &letter.reason)
    };
    assert_eq!(reason(late), Some(&DeadReason::Expired));
    assert!(matches!(reason(wrong), Some(DeadReason::Rejected(_))));
    assert_eq!(reason(print), Some(&DeadReason::AttemptsUsedUp { attempts: 3 }));
    assert_eq!(reason(poison), Some(&DeadReason::Poison { attempts: 3 }));
    let attempts: usize = dead.iter().map(|letter| letter.history.len()).sum();
    assert_eq!(attempts, 3 + 3 + 1, "the histories are not whole");

    // The world is mended: the same jobs go back, with a fresh count of attempts.
    printer_works.store(true, Ordering::Relaxed);
    let back = letters.requeue([late, print]).await?;
    done(&mut events, back.iter().copied().collect()).await?;
    println!("{} went back to the queue and were done", back.len());

    // The job is mended: jobs do not change, so a new one is sent and the letter is thrown away.
    let mut mended = BTreeSet::new();
    for letter in letters
        .list(100)
        .await?
        .iter()
        .filter(|letter| letter.id() == wrong)
    {
        mended.insert(producer.send(letter.job.payload().replace("seven", "7")).await?);
    }
    letters.purge([wrong]).await?;
    done(&mut events, mended).await?;
    println!("1 was mended, sent anew and done");

    // Nothing helps.
    let purged = letters.purge_all().await?;
    let left = letters.list(100).await?;
    println!("{purged} was thrown away, {} are left", left.len());
    assert_eq!((back.len(), purged, left.len()), (2, 1, 0));
    let unfinished = group.drain(Duration::from_secs(10)).await.unfinished;
    assert!(unfinished.is_empty());
    Ok(())
}

/// What the consumers do: "add 1", "print 4", "divide 3".
fn handle(job: &str, printer_works: bool) -> Result<u64, Failure> {
    let (verb, number) = job
        .split_once(' ')
        .ok_or_else(|| Failure::reject("not two words"))?;
    // A job that is wrong is rejected: trying again would not help.
    let number: u64 = number
        .parse()
        .map_err(|error| Failure::reject(format!("{number:?}: {error}")))?;
    match verb {
        // This one has a bug: it panics for 0.
        "divide" => Ok(100 / number),
        "print" if !printer_works => Err(Failure::retry("the printer is out of paper")),
        _ => Ok(number),
    }
}

/// Waits until so many jobs have become dead letters.
async fn died(events: &mut Events, jobs: usize) -> Result<(), Box<dyn Error>> {
    for _ in 0..jobs {
        wait_for(events, |kind| matches!(kind, EventKind::DeadLettered { .. })).await?;
    }
    Ok(())
}

/// Waits until these jobs have been done.
async fn done(events: &mut Events, mut jobs: BTreeSet<JobId>) -> Result<(), Box<dyn Error>> {
    while !jobs.is_empty() {
        wait_for(
            events,
            |kind| matches!(kind, EventKind::Acked { job, .. } if jobs.remove(job)),
        )
        .await?;
    }
    Ok(())
}

async fn wait_for(
    events: &mut Events,
    mut wanted: impl FnMut(&EventKind) -> bool,
) -> Result<(), Box<dyn Error>> {
    let search = async {
        while let Some(event) = events.next().await {
            if wanted(&event.kind) {
                return Ok(());
            }
        }
        Err("the group ended".into())
    };
    timeout(Duration::from_secs(10), search).await?
}
