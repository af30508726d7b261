//! The suite for strategies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Addr, Recipient};

use super::report::Report;
use super::runner::{self, Held, Pace, Remarks, Stop, claimed, ensure};
use crate::actors::StrategyShell;
use crate::actors::cell::{CellHandle, CellHooks, spawn_in_cell};
use crate::protocol::{Assign, StrategyActor};
use crate::rules::job_ids::JobIds;
use crate::rules::strategies::{AssignJob, Choice, Strategy};
use crate::types::{Cause, JobId, KeyHash, Priority, Roster, Seat, SlotId, Weight};

/// The suite for a strategy; see [`strategy`].
#[must_use = "a suite checks nothing until `.assert()` or `.run()`"]
pub struct StrategySuite {
    make: Make,
    subject: &'static str,
    claims: Claims,
    pace: Pace,
}

/// Makes one life of the strategy on the thread of the check.
type Make = Arc<dyn Fn(&Hearing) -> Option<(CellHandle, Recipient<Assign>)> + Send + Sync>;

/// Where the cause of the actor's end is noted.
type Hearing = Rc<RefCell<Option<Cause>>>;

#[derive(Debug, Clone, Copy)]
struct Claims {
    keeps_keys: bool,
    never_parks: bool,
    is_random: bool,
}

/// Checks that a strategy actor keeps the promises of its role: every check makes a fresh actor and asks it as a
/// supervisor does.
///
/// To name a full slot is allowed, and means that the job waits for that very slot; the report remarks on it, and
/// [`never_parks`](StrategySuite::never_parks) forbids it.
pub fn strategy<A: StrategyActor>(make: impl Fn() -> A + Send + Sync + 'static) -> StrategySuite {
    suite(std::any::type_name::<A>(), make)
}

/// Checks a pure strategy, in the stock actor, as [`strategy`] does.
///
/// ```
/// use consumer_group::strategy::TwoChoices;
/// use consumer_group::testing::conformance;
///
/// conformance::chooser(|| TwoChoices::new(7)).never_parks().assert();
/// ```
pub fn chooser<C: Strategy + Unpin>(make: impl Fn() -> C + Send + Sync + 'static) -> StrategySuite {
    suite(std::any::type_name::<C>(), move || StrategyShell::new(make()))
}

fn suite<A: StrategyActor>(
    subject: &'static str,
    make: impl Fn() -> A + Send + Sync + 'static,
) -> StrategySuite {
    let make = move |hearing: &Hearing| {
        let (cell, seed) = CellHandle::new();
        let heard = Rc::clone(hearing);
        let hooks = CellHooks {
            ended: Box::new(|_| {}),
            down: Box::new(move |cause| drop(heard.replace(Some(cause)))),
        };
        let address = spawn_in_cell(seed, hooks, true, |_| make())?;
        Some((cell, Addr::recipient(address)))
    };
    StrategySuite {
        make: Arc::new(make),
        subject,
        claims: Claims {
            keeps_keys: false,
            never_parks: false,
            is_random: false,
        },
        pace: Pace::PAUSED,
    }
}

impl StrategySuite {
    /// The strategy gives all jobs of one key to one consumer while the membership stays as it is.
    pub fn keeps_keys(mut self) -> Self {
        self.claims.keeps_keys = true;
        self
    }

    /// The strategy never names a slot that has no room.
    pub fn never_parks(mut self) -> Self {
        self.claims.never_parks = true;
        self
    }

    /// The strategy draws anew in each of its lives, so two of them need not answer alike.
    pub fn draws_at_random(mut self) -> Self {
        self.claims.is_random = true;
        self
    }

    /// Runs on the real clock: for a strategy that asks a disk, a network or other threads.
    pub fn real_time(mut self) -> Self {
        self.pace = Pace::REAL;
        self
    }

    /// Runs every check and reports.
    #[must_use = "a report fails no test by itself; call `.assert()`"]
    pub fn run(self) -> Report {
        let Self {
            make,
            subject,
            claims,
            pace,
        } = self;
        let mut checks = Vec::new();
        for Check { name, steps } in all() {
            let make = Arc::clone(&make);
            checks.push(runner::run(name, pace, move |remarks| {
                Box::pin(async move {
                    let mut rig = Rig::new(make, claims, pace, remarks)?;
                    steps(&mut rig).await
                })
            }));
        }
        Report { subject, checks }
    }

    /// Runs every check and fails the test if a promise is broken.
    ///
    /// # Panics
    /// If a promise is broken; the text names it.
    #[track_caller]
    pub fn assert(self) -> Report {
        self.run().assert()
    }
}

impl std::fmt::Debug for StrategySuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StrategySuite")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Stands where the supervisor stands.
struct Rig {
    make: Make,
    claims: Claims,
    pace: Pace,
    remarks: Remarks,
    hearing: Hearing,
    /// Held: the actor ends with it.
    _cell: CellHandle,
    strategy: Recipient<Assign>,
    names: JobIds,
    parked: usize,
}

impl Rig {
    fn new(make: Make, claims: Claims, pace: Pace, remarks: Remarks) -> Held<Self> {
        let hearing = Hearing::default();
        let Some((cell, strategy)) = make(&hearing) else {
            let cause = hearing.take().unwrap_or(Cause::Stopped);
            return Err(Stop::Broken(format!("the strategy actor {cause}")));
        };
        Ok(Self {
            make,
            claims,
            pace,
            remarks,
            hearing,
            _cell: cell,
            strategy,
            names: JobIds::new(1),
            parked: 0,
        })
    }

    /// Another life of the strategy, which has seen nothing.
    fn another(&self) -> Held<Self> {
        Self::new(
            Arc::clone(&self.make),
            self.claims,
            self.pace,
            self.remarks.clone(),
        )
    }

    fn name(&mut self) -> JobId {
        self.names.next(0)
    }

    fn jobs(&mut self, keys: impl IntoIterator<Item = Option<u64>>) -> Vec<AssignJob> {
        let job = |key: Option<u64>| AssignJob {
            id: self.name(),
            key: key.map(|key| crate::types::Key::Number(key).hashed()),
            priority: Priority(0),
            attempt: 1,
        };
        keys.into_iter().map(job).collect()
    }

    /// Asks for these jobs and checks what every answer must be: as many choices as jobs, live slots only, and a roster
    /// that does no harm.
    async fn ask(&mut self, jobs: Vec<AssignJob>, roster: &Roster) -> Held<Vec<Choice>> {
        let asked = jobs.len();
        let assign = Assign {
            parts: Vec::new(),
            jobs,
            roster: roster.clone(),
        };
        let answer = self.pace.wait("the answer to Assign", self.strategy.send(assign));
        let Ok(assigned) = answer.await? else {
            return Err(Stop::Broken(match self.hearing.take() {
                Some(cause) => format!("the strategy actor did not outlive a question: {cause}"),
                None => "the strategy actor dropped a question without an answer".into(),
            }));
        };
        let choices = assigned.choices;
        ensure(choices.len() == asked, || {
            format!("asked for {asked} jobs it gave {} choices", choices.len())
        })?;
        for slot in named(&choices) {
            ensure(roster.position(slot).is_some(), || {
                format!(
                    "it named {slot}, which is not in the roster of {} slots",
                    roster.len()
                )
            })?;
        }
        let back = &assigned.roster;
        let slots = |roster: &Roster| {
            roster
                .seats()
                .iter()
                .map(|seat| (seat.slot, seat.weight))
                .collect::<Vec<_>>()
        };
        ensure(
            back.version() != roster.version() || slots(back) == slots(roster),
            || {
                "the roster came back with its version and other slots or weights; the group would believe it"
                    .into()
            },
        )?;
        self.look_at_rooms(&choices, roster)?;
        Ok(choices)
    }

    fn look_at_rooms(&mut self, choices: &[Choice], roster: &Roster) -> Held {
        let mut left = roster.clone();
        let mut parked = 0;
        for slot in named(choices) {
            if let Some(index) = left.position(slot) {
                parked += usize::from(left.seat(index).is_some_and(|seat| seat.room == 0));
                left.place(index);
            }
        }
        self.parked += parked;
        ensure(parked == 0 || !self.claims.never_parks, || {
            format!(
                "{parked} of {} jobs were given to slots without room",
                choices.len()
            )
        })
    }

    async fn ask_plain(&mut self, jobs: usize, roster: &Roster) -> Held<Vec<Choice>> {
        let jobs = self.jobs((0..jobs).map(|_| None));
        self.ask(jobs, roster).await
    }

    async fn ask_keyed(&mut self, keys: impl IntoIterator<Item = u64>, roster: &Roster) -> Held<Vec<Choice>> {
        let jobs = self.jobs(keys.into_iter().map(Some));
        self.ask(jobs, roster).await
    }
}

fn named(choices: &[Choice]) -> impl Iterator<Item = SlotId> + '_ {
    choices.iter().filter_map(|choice| match choice {
        Choice::Slot(slot) => Some(*slot),
        Choice::Hold => None,
    })
}

fn seat(slot: u32, weight: u32, load: u32, room: u32) -> Seat {
    Seat {
        slot: SlotId(slot),
        weight: Weight(weight),
        load,
        room,
        waiting: 0,
        is_stuck: false,
    }
}

/// Equal seats with this much room each.
fn equals(slots: impl IntoIterator<Item = u32>, room: u32, version: u64) -> Roster {
    let seats = slots.into_iter().map(|slot| seat(slot, 1, 0, room));
    Roster::new(seats.collect(), version)
}

type Steps<'r> = Pin<Box<dyn Future<Output = Held> + 'r>>;

struct Check {
    name: &'static str,
    steps: for<'r> fn(&'r mut Rig) -> Steps<'r>,
}

macro_rules! checks {
    ($($name:ident,)*) => {
        vec![$(Check {
            name: stringify!($name),
            steps: |rig| Box::pin($name(rig)),
        }),*]
    };
}

fn all() -> Vec<Check> {
    checks![
        every_job_gets_a_choice,
        only_live_slots_are_named,
        nobody_alive_holds_every_job,
        a_single_slot_gets_the_jobs,
        jobs_go_where_there_is_room,
        no_room_anywhere_is_survived,
        members_come_and_go,
        a_new_life_starts_anywhere,
        ten_thousand_slots_are_survived,
        ten_thousand_jobs_are_answered_at_once,
        extreme_weights_and_loads_are_survived,
        the_same_questions_get_the_same_answers,
        jobs_of_one_key_meet_one_slot,
        a_key_whose_slot_is_full_goes_nowhere_else,
    ]
}

async fn every_job_gets_a_choice(rig: &mut Rig) -> Held {
    let roster = equals(0..4, 1_000, 1);
    for jobs in [0, 1, 2, 0, 63, 256] {
        rig.ask_plain(jobs, &roster).await?;
    }
    rig.ask_keyed((0..100).map(|nth| nth % 7), &roster)
        .await
        .map(|_| ())
}

async fn only_live_slots_are_named(rig: &mut Rig) -> Held {
    // Gaps between the slots: whoever takes an index for a slot is found out.
    for (version, slots) in [
        (1, vec![3, 5, 9]),
        (2, vec![1_000_000]),
        (3, vec![2, 4]),
        (9, vec![3, 5, 9]),
    ] {
        let roster = equals(slots, 1_000, version);
        rig.ask_plain(50, &roster).await?;
        rig.ask_keyed(0..50, &roster).await?;
    }
    Ok(())
}

async fn nobody_alive_holds_every_job(rig: &mut Rig) -> Held {
    let nobody = Roster::new(Vec::new(), 1);
    let choices = rig.ask_plain(10, &nobody).await?;
    ensure(named(&choices).count() == 0, || {
        "nobody is alive, and a slot was named".into()
    })?;
    rig.ask_keyed(0..10, &nobody).await?;
    rig.ask_plain(10, &equals(0..2, 100, 2)).await?;
    rig.ask_keyed(0..10, &Roster::new(Vec::new(), 3))
        .await
        .map(|_| ())
}

async fn a_single_slot_gets_the_jobs(rig: &mut Rig) -> Held {
    let roster = equals([7], 1_000, 1);
    let choices = rig.ask_plain(100, &roster).await?;
    some_go(&choices)?;
    let choices = rig.ask_keyed(0..100, &roster).await?;
    some_go(&choices)
}

/// A strategy that holds everything while everybody has room would hold it for ever.
fn some_go(choices: &[Choice]) -> Held {
    ensure(named(choices).next().is_some(), || {
        format!(
            "every one of {} jobs was held, though there is room",
            choices.len()
        )
    })
}

async fn jobs_go_where_there_is_room(rig: &mut Rig) -> Held {
    let seats = (0..10).map(|slot| seat(slot, 1, 3, slot % 3));
    let roster = Roster::new(seats.collect(), 1);
    let mut keyless = rig.ask_plain(10, &roster).await?;
    keyless.extend(rig.ask_plain(10, &equals(0..10, 100, 2)).await?);
    some_go(&keyless)?;
    // Keys may belong to a full slot, so only the answers as such are looked at.
    rig.ask_keyed(0..40, &roster).await?;
    if rig.parked > 0 {
        let parked = rig.parked;
        rig.remarks.add(format!(
            "{parked} jobs were given to slots without room, and wait for them"
        ));
    }
    Ok(())
}

async fn no_room_anywhere_is_survived(rig: &mut Rig) -> Held {
    let full = equals(0..5, 0, 1);
    rig.ask_plain(20, &full).await?;
    rig.ask_keyed(0..20, &full).await?;
    let choices = rig.ask_plain(20, &equals(0..5, 20, 2)).await?;
    some_go(&choices)
}

async fn members_come_and_go(rig: &mut Rig) -> Held {
    let lives: [&[u32]; 9] = [
        &[0, 1, 2, 3],
        &[0, 1, 3],
        &[0, 1, 3, 4, 5, 6, 7],
        &[7],
        &[],
        &[2],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[10, 11, 12],
        &[0, 1, 2, 3],
    ];
    for (version, slots) in (1..).zip(lives) {
        let roster = equals(slots.iter().copied(), 1_000, version);
        for _ in 0..3 {
            let choices = rig.ask_plain(17, &roster).await?;
            if !slots.is_empty() {
                some_go(&choices)?;
            }
            rig.ask_keyed(0..17, &roster).await?;
        }
    }
    Ok(())
}

async fn a_new_life_starts_anywhere(rig: &mut Rig) -> Held {
    rig.ask_keyed(0..20, &equals(0..4, 100, 1)).await?;
    let mut next = rig.another()?;
    let roster = equals([2, 40, 41], 100, 77 << 32);
    let choices = next.ask_plain(20, &roster).await?;
    some_go(&choices)?;
    next.ask_keyed(0..20, &roster).await.map(|_| ())
}

async fn ten_thousand_slots_are_survived(rig: &mut Rig) -> Held {
    let roster = equals(0..10_000, 2, 1);
    let choices = rig.ask_plain(1_000, &roster).await?;
    some_go(&choices)?;
    rig.ask_keyed(0..1_000, &roster).await?;
    rig.ask_plain(100, &equals(1..10_000, 2, 2)).await.map(|_| ())
}

async fn ten_thousand_jobs_are_answered_at_once(rig: &mut Rig) -> Held {
    let roster = equals(0..8, 1_000, 1);
    rig.ask_plain(10_000, &roster).await?;
    rig.ask_keyed(0..10_000, &roster).await.map(|_| ())
}

async fn extreme_weights_and_loads_are_survived(rig: &mut Rig) -> Held {
    let seats = vec![
        seat(0, 1, 0, 1),
        seat(1, u32::MAX, u32::MAX, u32::MAX),
        seat(2, u32::MAX, 0, u32::MAX),
        seat(3, 1, u32::MAX, 0),
        seat(4, 0, 0, u32::MAX),
    ];
    for version in 1..=3 {
        let roster = Roster::new(seats.clone(), version);
        rig.ask_plain(100, &roster).await?;
        rig.ask_keyed(0..100, &roster).await?;
    }
    let roster = Roster::new(vec![seat(4, 0, 0, 9), seat(5, 0, 0, 9)], 4);
    rig.ask_plain(10, &roster).await.map(|_| ())
}

async fn the_same_questions_get_the_same_answers(rig: &mut Rig) -> Held {
    claimed(!rig.claims.is_random, "it draws at random")?;
    let mut other = rig.another()?;
    for (version, slots) in [(1, 0..8), (2, 1..8), (3, 0..12)] {
        let roster = equals(slots, 500, version);
        for round in 0..4 {
            let mut jobs = rig.jobs((0..25).map(|_| None));
            jobs.extend(rig.jobs((0..25).map(|key| Some(key + round))));
            let (one, two) = (
                rig.ask(jobs.clone(), &roster).await?,
                other.ask(jobs, &roster).await?,
            );
            ensure(one == two, || {
                let first = one.iter().zip(&two).find(|(one, two)| one != two);
                format!("two lives were asked the same questions and answered {first:?}")
            })?;
        }
    }
    Ok(())
}

async fn jobs_of_one_key_meet_one_slot(rig: &mut Rig) -> Held {
    claimed(rig.claims.keeps_keys, "StrategySuite::keeps_keys")?;
    let roster = equals([0, 1, 2, 5, 9], 10_000, 1);
    let mut homes: BTreeMap<KeyHash, SlotId> = BTreeMap::new();
    for round in 0..5 {
        // In another order each time, so that no strategy that takes turns keeps the keys by chance.
        let jobs = rig.jobs((0..61).map(|nth| Some(nth * (2 * round + 1) % 20)));
        for (job, choice) in jobs.iter().zip(rig.ask(jobs.clone(), &roster).await?) {
            if let (Some(key), Choice::Slot(slot)) = (job.key, choice) {
                let home = *homes.entry(key).or_insert(slot);
                ensure(home == slot, || {
                    format!("one key went to {home} and then to {slot}, with everybody alive")
                })?;
            }
        }
    }
    ensure(homes.len() == 20, || {
        format!("of 20 keys only {} went anywhere", homes.len())
    })
}

async fn a_key_whose_slot_is_full_goes_nowhere_else(rig: &mut Rig) -> Held {
    claimed(rig.claims.keeps_keys, "StrategySuite::keeps_keys")?;
    let choices = rig.ask_keyed([1], &equals(0..4, 100, 1)).await?;
    let Some(home) = named(&choices).next() else {
        return Err(Stop::Broken(
            "a key went nowhere, though everybody has room".into(),
        ));
    };
    let seats = (0..4).map(|slot| seat(slot, 1, 9, if SlotId(slot) == home { 0 } else { 100 }));
    let choices = rig.ask_keyed([1, 1, 1], &Roster::new(seats.collect(), 1)).await?;
    ensure(named(&choices).all(|slot| slot == home), || {
        format!("the key lives on {home}, which is full, and its next jobs went to {choices:?}")
    })
}
