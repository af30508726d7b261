//! A producer group: several producers, one stream of results.
//!
//! Each sender knows its jobs by the id that `send` returns; each outcome carries the id of its job. Results that nobody
//! reads hold the senders up, so nothing piles up without a bound. And where one task wants one answer, `call` is shorter.
//!
//! Run it: `cargo run --example producer_group`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use consumer_group::{CallError, Delivery, Failure, Group, JobId, Outcome, Results};
use futures_util::FutureExt;
use tokio::time::timeout;

/// Results that may be outstanding or unread; then senders wait.
const ROOM: usize = 10;

/// Three senders, and how many words each sends.
const SENDERS: [(&str, usize); 3] = [("anna", 40), ("bruno", 25), ("chen", 60)];

/// The consumers turn words round. An empty word is no job for them.
async fn turn_round(delivery: &Delivery<'_, String>) -> Result<String, Failure> {
    if delivery.job().is_empty() {
        return Err(Failure::reject("there is nothing in this word"));
    }
    Ok(delivery.job().chars().rev().collect())
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let group = Group::builder()
        .configure(|config| config.results = ROOM)
        .consume_with(3, turn_round)
        .start()?;
    shared_results(&group).await?;
    back_pressure(&group).await?;
    calls(&group).await?;
    group.stop().await;
    Ok(())
}

/// Several tasks send, one reads, and each result finds its sender.
async fn shared_results(group: &Group<String, String>) -> Result<(), Box<dyn Error>> {
    let (producers, mut results) = group.producer_group();
    let tasks = SENDERS.map(|(sender, count)| {
        let producers = producers.clone();
        actix::spawn(async move {
            let mut sent = BTreeMap::new();
            for number in 0..count {
                let word = format!("{sender}-{number}");
                let id = producers.send(word.clone()).await?;
                sent.insert(id, word);
            }
            Ok::<_, consumer_group::SendError<String>>(sent)
        })
    });

    // More jobs are sent than there is room for unread results: it is this loop that lets the senders go on.
    let mut answers: BTreeMap<JobId, String> = BTreeMap::new();
    for _ in 0..SENDERS.iter().map(|(_, count)| count).sum() {
        let outcome = read(&mut results).await?;
        answers.insert(outcome.id, outcome.result.map_err(|letter| letter.to_string())?);
    }
    for ((sender, count), task) in SENDERS.iter().zip(tasks) {
        let sent: BTreeMap<JobId, String> = task.await??;
        let fits = |(id, word): &(&JobId, &String)| {
            let answer = answers.get(*id);
            answer.is_some_and(|answer| answer.chars().rev().eq(word.chars()))
        };
        let answered = sent.iter().filter(fits).count();
        println!("{sender} sent {count} words and got {answered} answers that fit");
        assert_eq!((sent.len(), answered), (*count, *count));
    }
    Ok(())
}

/// Nobody reads: after ten results the eleventh send waits, until one result is read.
async fn back_pressure(group: &Group<String, String>) -> Result<(), Box<dyn Error>> {
    let (producers, mut results) = group.producer_group();
    for number in 0..ROOM {
        producers.send(format!("unread-{number}")).await?;
    }
    // `now_or_never` tries once and gives up. A send that is given up before it returned has sent nothing.
    let waits = producers.send(String::from("one-more")).now_or_never().is_none();
    read(&mut results).await?;
    let goes_on = producers.send(String::from("one-more")).now_or_never();
    println!("after {ROOM} unread results the next send waits: {waits}");
    println!(
        "after one was read it goes on: {}",
        matches!(goes_on, Some(Ok(_)))
    );
    assert!(waits && matches!(goes_on, Some(Ok(_))));
    for _ in 0..ROOM {
        read(&mut results).await?;
    }
    assert_eq!(results.outstanding(), 0);
    Ok(())
}

/// One question, one answer.
async fn calls(group: &Group<String, String>) -> Result<(), Box<dyn Error>> {
    let producer = group.producer();
    let answer = producer.call(String::from("stressed")).await?;
    println!("a call with \"stressed\" is answered with {answer:?}");
    assert_eq!(answer, "desserts");

    // A job that is given up comes back to its caller with its whole history.
    match producer.call(String::new()).await {
        Err(CallError::Failed(letter)) => println!("a call with \"\" fails: {letter}"),
        other => return Err(format!("an empty word was not rejected: {other:?}").into()),
    }
    Ok(())
}

async fn read(results: &mut Results<String, String>) -> Result<Outcome<String, String>, Box<dyn Error>> {
    let next = timeout(Duration::from_secs(10), results.next()).await?;
    next.ok_or_else(|| "the group ended".into())
}
