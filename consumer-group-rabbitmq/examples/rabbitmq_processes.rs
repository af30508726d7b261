//! One queue, three processes, and one of them is killed: nothing is lost, and the others go on.
//!
//! ```text
//! scripts/services up rabbitmq
//! export $(scripts/services env rabbitmq)
//! cargo run -p consumer-group-rabbitmq --example rabbitmq_processes
//! ```
//!
//! It starts itself three times as a worker, sends 600 jobs, and kills the first worker with -9 when a third of them are done. A worker
//! by hand: `rabbitmq_processes worker NAME`.

#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example talks to the person who runs it"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use consumer_group::{Delivery, Failure, Group};
use consumer_group_rabbitmq::{Declare, RabbitMqConfig, RabbitMqQueue};

const JOBS: u64 = 600;

type Any = Box<dyn std::error::Error>;

fn queue(name: &str) -> Result<RabbitMqQueue<u64>, Any> {
    let url = std::env::var("CONSUMER_GROUP_RABBITMQ_URL");
    let url = url.unwrap_or_else(|_| "amqp://guest:guest@localhost/%2f".into());
    Ok(RabbitMqQueue::open(
        RabbitMqConfig::new(url, name).declare(Declare::Quorum),
    )?)
}

fn main() -> Result<(), Any> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", name] => worker(name),
        [] => parent(),
        _ => Err("usage: rabbitmq_processes [worker NAME]".into()),
    }
}

/// Does jobs, one line of output for each, until its standard input ends.
fn worker(name: &str) -> Result<(), Any> {
    actix::System::new().block_on(async {
        let group: Group<u64, ()> = Group::builder()
            .queue(queue(name)?)
            .consume_with(5, async |delivery: &Delivery<u64>| {
                tokio::time::sleep(Duration::from_millis(10)).await;
                println!("{}", delivery.job());
                std::io::stdout().flush()?;
                Ok::<(), Failure>(())
            })
            .start()?;
        let (done, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = done.send(());
        });
        let _ = told.await;
        group.drain(Duration::from_secs(5)).await;
        Ok(())
    })
}

fn start(name: &str, number: usize, lines: &mpsc::Sender<(usize, u64)>) -> Result<Child, Any> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["worker", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or("a worker has no output")?;
    let lines = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Ok(job) = line.parse() {
                let _ = lines.send((number, job));
            }
        }
    });
    Ok(child)
}

fn parent() -> Result<(), Any> {
    let name = format!("processes.{}", std::process::id());
    let (lines, heard) = mpsc::channel();
    let mut workers = Vec::new();
    for number in 0..3 {
        workers.push(start(&name, number, &lines)?);
    }
    send(&name)?;
    let (mut done, mut by, mut is_killed) = (BTreeMap::<u64, u32>::new(), [0_u32; 3], false);
    while done.len() < usize::try_from(JOBS)? {
        let (worker, job) = heard.recv_timeout(Duration::from_secs(60))?;
        *done.entry(job).or_default() += 1;
        by[worker] += 1;
        if done.len() > 200 && !is_killed {
            is_killed = true;
            // On Unix this is a SIGKILL.
            workers[0].kill()?;
            println!("worker 0 is killed after {} jobs", by[0]);
        }
    }
    let again: u32 = done.values().map(|times| times - 1).sum();
    println!("all {JOBS} jobs are done: {by:?} by worker, {again} of them twice");
    for mut worker in workers {
        // Its standard input ends, and so does it.
        drop(worker.stdin.take());
        worker.wait()?;
    }
    Ok(())
}

/// Sends the jobs from a group that does none itself.
fn send(name: &str) -> Result<(), Any> {
    actix::System::new().block_on(async {
        let group: Group<u64, ()> = Group::builder()
            .queue(queue(name)?)
            .consume_with(1, async |_: &Delivery<u64>| {
                Err(Failure::retry("the workers do the jobs"))
            })
            .start()?;
        group.pause();
        group
            .producer()
            .send_batch(0..JOBS)
            .await
            .map_err(|error| error.to_string())?;
        group.stop().await;
        Ok(())
    })
}
