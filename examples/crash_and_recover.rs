//! Crash and recover: whatever dies, no job is lost.
//!
//! Two producers send 1,000 numbers, five consumers square them. Meanwhile consumers panic, one of them waits for ever, and
//! the group's own supervisor, queue and strategy are ended. You see the events as they happen, and at the end that every
//! job was done.
//!
//! Run it: `cargo run --features testing --example crash_and_recover`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::future::pending;
use std::time::Duration;

use consumer_group::testing::end_role;
use consumer_group::{Delivery, Event, EventKind, Events, Failure, Group, Role, SendError, SlotId};
use tokio::time::{sleep, timeout};

const JOBS: u64 = 1_000;

/// More events than these are counted and not printed.
const MOST_LINES: usize = 60;

/// A consumer with two faults. Both strike only at the first attempt, as a fault of the surroundings would.
#[allow(clippy::panic, reason = "consumers that panic are what this example is about")]
async fn square(delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
    let number = *delivery.job();
    if delivery.attempt() == 1 && number.is_multiple_of(83) {
        panic!("I cannot stand {number}");
    }
    if delivery.attempt() == 1 && number == 300 {
        pending::<()>().await;
    }
    // The work: something that takes a millisecond.
    sleep(Duration::from_millis(1)).await;
    Ok(number * number)
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let group = Group::builder()
        .configure(|config| {
            // Who makes no progress for this long is replaced.
            config.deadline = Duration::from_millis(250);
            // Producers wait while this many results are unread, so the faults below really happen in the middle.
            config.results = 100;
            // The panics show in the events; there is no need to see them on stderr too.
            config.quiet_panics = true;
        })
        .consume_with(5, square)
        .start()?;
    let diary = actix::spawn(keep_diary(group.events()));

    let (producers, mut results) = group.producer_group();
    let sending = [1..=JOBS / 2, JOBS / 2 + 1..=JOBS].map(|numbers| {
        let producer = producers.clone();
        actix::spawn(async move {
            let mut accepted = BTreeSet::new();
            for number in numbers {
                accepted.insert(producer.send(number).await?);
            }
            Ok::<_, SendError<u64>>(accepted)
        })
    });

    let (mut done, mut sum) = (BTreeSet::new(), 0);
    while done.len() < 1_000 {
        let next = timeout(Duration::from_secs(30), results.next()).await;
        let outcome = next
            .map_err(|_| "no result came for 30 s")?
            .ok_or("the group ended")?;
        sum += outcome.result.map_err(|letter| letter.to_string())?;
        done.insert(outcome.id);
        match done.len() {
            250 => end_role(&group, Role::Supervisor),
            500 => end_role(&group, Role::Queue),
            750 => end_role(&group, Role::Strategy),
            _ => {}
        }
    }
    let mut accepted = BTreeSet::new();
    for sent in sending {
        accepted.extend(sent.await??);
    }
    let unfinished = group.drain(Duration::from_secs(10)).await.unfinished;
    let diary = diary.await?;

    let lost = accepted.difference(&done).count();
    println!();
    println!("accepted {}, done {}, lost {lost}", accepted.len(), done.len());
    for (slot, lives) in &diary.lives {
        println!("  {slot}: restarted {} times", lives - 1);
    }
    let expected: u64 = (1..=JOBS).map(|number| number * number).sum();
    println!("sum of the results: {sum}, as it should be: {expected}");

    assert_eq!(
        (accepted.len(), done.len(), lost, unfinished.len()),
        (1_000, 1_000, 0, 0)
    );
    assert_eq!(sum, expected);
    assert_eq!(
        diary.restarted_roles,
        [Role::Supervisor, Role::Queue, Role::Strategy]
    );
    Ok(())
}

/// What was seen in the events.
#[derive(Default)]
struct Diary {
    /// How many consumers each slot has had.
    lives: BTreeMap<SlotId, u64>,
    /// The group's own actors that came back after their end.
    restarted_roles: Vec<Role>,
}

async fn keep_diary(mut events: Events) -> Diary {
    let mut diary = Diary::default();
    let (mut lines, mut began) = (0, None);
    while let Some(Event { at, kind, .. }) = events.next().await {
        let began = *began.get_or_insert(at);
        let line = match kind {
            EventKind::ConsumerUp { slot, .. } => {
                let lives = diary.lives.entry(slot).or_default();
                *lives += 1;
                format!("{slot}: consumer number {lives} is up")
            }
            EventKind::ConsumerDown { slot, cause, .. } => format!("{slot}: {cause}"),
            EventKind::Retried { record, .. } => {
                format!("its job goes to the next one for attempt {}", record.attempt + 1)
            }
            EventKind::Attached { returned, .. } if returned > 0 => {
                format!("the queue takes {returned} jobs back, all consumers start anew")
            }
            EventKind::RoleDown { role, cause, .. } => format!("the {role}: {cause}"),
            EventKind::RoleUp { role, life } if life > 1 => {
                diary.restarted_roles.push(role);
                format!("the {role} is up again")
            }
            // From here on the group is ended by us.
            EventKind::Draining => break,
            _ => continue,
        };
        lines += 1;
        if lines <= MOST_LINES {
            println!("{:>5} ms  {line}", at.since(began).as_millis());
        }
    }
    if lines > MOST_LINES {
        println!("          … and {} events more", lines - MOST_LINES);
    }
    diary
}
