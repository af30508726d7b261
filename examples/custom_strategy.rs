//! A strategy of your own, in three sizes: a closure, a type, an actor.
//!
//! | you need | you write |
//! |---|---|
//! | one rule | a closure for `strategy_fn` |
//! | a rule with a memory, to be tested without a runtime | a type that implements `Strategy` |
//! | a clock, another service, messages from elsewhere | an actix actor that handles `Assign` |
//!
//! A strategy sees what is in `AssignJob` (id, key, priority, attempt) and the roster of live consumers. It never sees the
//! payload.
//!
//! Run it: `cargo run --example custom_strategy`

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use consumer_group::strategy::{
    Assign, AssignJob, Assigned, Choice, KeyHash, Roster, Seat, Strategy, strategy_fn,
};
use consumer_group::{Delivery, EventKind, Group, Job, Key, SlotId};
use tokio::time::timeout;

/// Every job says which consumer got it.
type Jobs = Group<&'static str, SlotId>;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    fast_lane().await?;
    near_regions().await?;
    fair_draw().await
}

/// A closure: the consumer in slot 0 is kept for urgent jobs.
async fn fast_lane() -> Result<(), Box<dyn Error>> {
    let group = Group::builder()
        .consume_with(4, async |delivery: &Delivery<&str>| Ok(delivery.slot()))
        .strategy(|| {
            strategy_fn(|job, roster| {
                let urgent = job.priority.0 >= 5;
                let lane = roster
                    .seats()
                    .iter()
                    .filter(|seat| (seat.slot == SlotId(0)) == urgent);
                lane.filter(|seat| seat.room > 0)
                    .min_by_key(|seat| seat.load)
                    .map_or(Choice::Hold, |seat| Choice::Slot(seat.slot))
            })
        })
        .start()?;
    all_up(&group, 4).await?;
    let urgent = shares(&group, vec![Job::new("alarm").priority(9); 20]).await?;
    let usual = shares(&group, vec![Job::new("report"); 300]).await?;
    println!("closure: urgent jobs went to {urgent:?}");
    println!("         the others went to {usual:?}");
    assert_eq!(urgent, [(SlotId(0), 20)].into());
    assert!(!usual.contains_key(&SlotId(0)), "the fast lane was not kept free");
    group.stop().await;
    Ok(())
}

/// Three regions, one after the other around the world; the slots take turns in them.
const REGIONS: [&str; 3] = ["europe", "america", "asia"];

/// A type: the consumer nearest to the job's region, which is its key.
struct Nearest {
    regions: Vec<KeyHash>,
}

impl Nearest {
    fn new() -> Self {
        let regions = REGIONS.map(|region| Key::from(region).hashed()).into();
        Self { regions }
    }

    /// How many regions lie between the job and this seat, going east.
    fn distance(&self, home: usize, seat: &Seat) -> usize {
        let count = self.regions.len();
        (seat.slot.0 as usize % count + count - home) % count
    }
}

impl Strategy for Nearest {
    fn choose(&mut self, job: &AssignJob, roster: &Roster) -> Choice {
        let home = self
            .regions
            .iter()
            .position(|region| Some(*region) == job.key)
            .unwrap_or(0);
        let nearest = roster
            .seats()
            .iter()
            .min_by_key(|seat| (self.distance(home, seat), seat.load));
        // A job for a consumer that is full waits for it: near is worth waiting for.
        nearest.map_or(Choice::Hold, |seat| Choice::Slot(seat.slot))
    }
}

async fn near_regions() -> Result<(), Box<dyn Error>> {
    let group = Group::builder()
        .consume_with(6, async |delivery: &Delivery<&str>| Ok(delivery.slot()))
        .strategy(Nearest::new)
        .start()?;
    let mut events = group.events();
    all_up(&group, 6).await?;
    println!("type:");
    for (region, slots) in REGIONS.into_iter().zip([[0, 3], [1, 4], [2, 5]]) {
        let got = shares(&group, vec![Job::new("order").key(region); 100]).await?;
        println!("         {region} went to {got:?}");
        assert!(
            got.keys().all(|slot| slots.contains(&slot.0)),
            "{region} went too far"
        );
    }
    group.scale(2);
    let mut gone = 0;
    while gone < 4 {
        let event = timeout(Duration::from_secs(10), events.next())
            .await?
            .ok_or("the group ended")?;
        gone += usize::from(matches!(event.kind, EventKind::ConsumerDown { .. }));
    }
    let got = shares(&group, vec![Job::new("order").key("asia"); 100]).await?;
    println!("         asia has no consumer any more and went to {got:?}");
    assert_eq!(got, [(SlotId(0), 100)].into());
    group.stop().await;
    Ok(())
}

/// An actor: of two consumers drawn at random the one that got fewer jobs so far.
struct FairDraw {
    random: fastrand::Rng,
    given: BTreeMap<SlotId, u64>,
}

impl Actor for FairDraw {
    type Context = Context<Self>;
}

impl Handler<Assign> for FairDraw {
    type Result = Assigned;

    /// One message for a whole batch of jobs. `answer` asks for each and keeps the roster's loads right; a
    /// `ResponseActFuture` would do as well, for a strategy that has to wait for something.
    fn handle(&mut self, assign: Assign, _: &mut Context<Self>) -> Assigned {
        assign.answer(|_job, roster| {
            let mut draw = || roster.seat(self.random.usize(..roster.len().max(1)));
            let drawn = [draw(), draw()];
            let given = |seat: &&Seat| self.given.get(&seat.slot).copied().unwrap_or(0);
            let Some(chosen) = drawn.into_iter().flatten().min_by_key(given) else {
                return Choice::Hold;
            };
            *self.given.entry(chosen.slot).or_default() += 1;
            Choice::Slot(chosen.slot)
        })
    }
}

async fn fair_draw() -> Result<(), Box<dyn Error>> {
    let group = Group::builder()
        .consume_with(4, async |delivery: &Delivery<&str>| Ok(delivery.slot()))
        .strategy_actor(|| FairDraw {
            random: fastrand::Rng::new(),
            given: BTreeMap::new(),
        })
        .start()?;
    all_up(&group, 4).await?;
    let got = shares(&group, vec![Job::new("picture"); 1_000]).await?;
    println!("actor:   {got:?}");
    assert_eq!(got.len(), 4);
    assert!(
        got.values().all(|jobs| (200..=300).contains(jobs)),
        "not a fair draw"
    );
    group.stop().await;
    Ok(())
}

/// Sends the jobs and counts who did them.
async fn shares(
    group: &Jobs,
    jobs: Vec<Job<&'static str>>,
) -> Result<BTreeMap<SlotId, usize>, Box<dyn Error>> {
    let (producers, mut results) = group.producer_group();
    let sent = producers.send_batch(jobs).await?.len();
    let mut shares = BTreeMap::new();
    for _ in 0..sent {
        let outcome = timeout(Duration::from_secs(10), results.next())
            .await?
            .ok_or("the group ended")?;
        *shares
            .entry(outcome.result.map_err(|letter| letter.to_string())?)
            .or_default() += 1;
    }
    Ok(shares)
}

/// Waits until so many consumers take jobs.
async fn all_up(group: &Jobs, consumers: usize) -> Result<(), Box<dyn Error>> {
    loop {
        let slots = group.health().await?.slots;
        if slots
            .iter()
            .filter(|slot| slot.state == consumer_group::events::SlotState::Live)
            .count()
            == consumers
        {
            return Ok(());
        }
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
}
