//! What supervision costs: a message to a supervised actor against one to a plain actix actor, the way from a panic to a
//! fresh instance that serves, and a hundred thousand children.
//!
//! ```text
//! cargo bench -p benches --bench supervision
//! ```
//! Plain and supervised runs alternate in one process, and medians of seven are compared, so that a noisy machine harms
//! both alike.

#![allow(clippy::print_stdout)] // The table is what this program is for.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use actix::prelude::*;
use consumer_group::supervision::{Child, Handle, SupervisorSpec};

const ROUNDS: usize = 7;
const BURSTS: u32 = 400;
const IN_A_BURST: u32 = 1_000;
const SENDS: u32 = 200_000;
const DEATHS: usize = 10_000;
const CHILDREN: usize = 100_000;

#[derive(Default)]
struct Counter(u64);

impl Actor for Counter {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        // The default of 16 slows down plain actix senders that wait for room.
        context.set_mailbox_capacity(IN_A_BURST as usize);
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Add(u64);

impl Handler<Add> for Counter {
    type Result = u64;

    fn handle(&mut self, Add(number): Add, _: &mut Context<Self>) -> u64 {
        self.0 += black_box(number);
        self.0
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Handler<Die> for Counter {
    type Result = ();

    #[allow(clippy::panic)] // It is what is measured.
    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("measured");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn each(begun: Instant, count: u32) -> f64 {
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

fn compare(what: &str, plain: Vec<f64>, supervised: Vec<f64>) {
    let ratios = plain
        .iter()
        .zip(&supervised)
        .map(|(plain, supervised)| supervised / plain);
    let ratio = median(ratios.collect());
    let (plain, supervised) = (median(plain), median(supervised));
    println!(
        "{what:<10} plain {plain:>7.1} ns   supervised {supervised:>7.1} ns   ratio {ratio:.3} (wanted 1.10)"
    );
}

/// One message to an actor on the same arbiter, sent and not waited for, its handling included.
async fn do_sends(plain: &Addr<Counter>, supervised: &Handle<Counter>) -> Result<(), Box<dyn Error>> {
    let (mut of_plain, mut of_supervised) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..BURSTS {
            for _ in 0..IN_A_BURST {
                plain.do_send(Add(1));
            }
            plain.send(Add(1)).await?;
        }
        of_plain.push(each(begun, BURSTS * IN_A_BURST));
        let begun = Instant::now();
        for _ in 0..BURSTS {
            for _ in 0..IN_A_BURST {
                supervised.do_send(Add(1))?;
            }
            supervised.send(Add(1)).await?;
        }
        of_supervised.push(each(begun, BURSTS * IN_A_BURST));
    }
    compare("do_send", of_plain, of_supervised);
    Ok(())
}

/// One message and its answer.
async fn sends(plain: &Addr<Counter>, supervised: &Handle<Counter>) -> Result<(), Box<dyn Error>> {
    let (mut of_plain, mut of_supervised) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..SENDS {
            plain.send(Add(1)).await?;
        }
        of_plain.push(each(begun, SENDS));
        let begun = Instant::now();
        for _ in 0..SENDS {
            supervised.send(Add(1)).await?;
        }
        of_supervised.push(each(begun, SENDS));
    }
    compare("send", of_plain, of_supervised);
    Ok(())
}

/// From the sending of a message that kills to the answer of the next life.
async fn deaths(supervised: &Handle<Counter>) -> Result<(), Box<dyn Error>> {
    let mut took = Vec::with_capacity(DEATHS);
    for _ in 0..DEATHS {
        let begun = Instant::now();
        supervised.do_send(Die)?;
        let sold = supervised.send(Add(1)).await?;
        took.push(begun.elapsed());
        if sold != 1 {
            return Err("the life is not a fresh one".into());
        }
    }
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    let (p50, p99) = (at(50), at(99));
    println!("panic to fresh instance serving: p50 {p50:.1?}   p99 {p99:.1?} (wanted 1 ms)");
    Ok(())
}

/// Bytes of memory that are in use.
fn resident() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text
        .split_whitespace()
        .nth(1)
        .ok_or("no resident pages")?
        .parse()?;
    Ok(pages * 4_096)
}

fn bytes_each(before: u64, after: u64) -> u64 {
    after.saturating_sub(before) / CHILDREN as u64
}

async fn children() -> Result<(), Box<dyn Error>> {
    let before = resident()?;
    let begun = Instant::now();
    let mut spec = SupervisorSpec::new("city");
    for number in 0..CHILDREN {
        spec = spec.child(Child::new(number.to_string(), Counter::default));
    }
    let (specified, described) = (begun.elapsed(), resident()?);
    let begun = Instant::now();
    let city = spec.start().await?;
    let (started, after) = (begun.elapsed(), resident()?);
    if city.count().await?.active != CHILDREN {
        return Err("not all are up".into());
    }
    let (of_specs, of_all) = (bytes_each(before, described), bytes_each(before, after));
    println!(
        "{CHILDREN} children: specified in {specified:.2?}, started in {started:.2?} (wanted 2 s), {of_all} bytes each \
         (wanted 2048), {of_specs} of them before the start"
    );
    let begun = Instant::now();
    city.stop().await;
    println!("{CHILDREN} children: stopped in {:.2?}", begun.elapsed());
    Ok(())
}

/// For comparison in time alone: what the children gave back is used again here, so memory would say nothing.
async fn plain_actors() -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let actors: Vec<Addr<Counter>> = (0..CHILDREN).map(|_| Counter::default().start()).collect();
    if let Some(last) = actors.last() {
        last.send(Add(1)).await?;
    }
    println!(
        "{CHILDREN} plain actors, for comparison: started in {:.2?}",
        begun.elapsed()
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Each in a system of its own; memory first, while nothing is there that could be used again.
    System::new().block_on(children())?;
    System::new().block_on(plain_actors())?;
    System::new().block_on(async {
        let plain = Counter::default().start();
        let mut child = Child::new("counter", Counter::default).quiet_panics();
        let supervised = child.handle();
        let shop = SupervisorSpec::new("shop")
            .intensity(u32::MAX, Duration::from_millis(1))
            .child(child)
            .start()
            .await?;
        do_sends(&plain, &supervised).await?;
        sends(&plain, &supervised).await?;
        deaths(&supervised).await?;
        shop.stop().await;
        Ok(())
    })
}
