//! The dispatch ledger under a model checker: every order of events that two consumers, three jobs of two keys, a window of
//! two and two faults can have.
//!
//! The model drives the very struct that the supervisor drives. Around it stands the least that a group needs: jobs that are
//! leased in order, consumers that work on what they hold in order, zombies that come back. Each planted bug must be found,
//! so that a silent model is known to have looked.

use std::time::Duration;

use consumer_group::config::WindowConfig;
use consumer_group::events::{DeliveryNumber, Moment};
use consumer_group::queue::{LeaseId, Revoked, Verdict};
use consumer_group::rules::ledger::{Effects, Ledger, LedgerPolicy, Report, SlotPhase};
use consumer_group::sim::{Plant, PlantedIn};
use consumer_group::strategy::{Choice, KeyHash, Weight};
use consumer_group::types::Ticket;
use consumer_group::{Cause, Incarnation, SlotId};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// The keys of the jobs: two of one, one of another.
const KEYS: [u64; 3] = [1, 1, 2];
const SLOTS: u32 = 2;
const FAULTS: u8 = 2;

struct Group {
    plant: Option<Plant>,
}

/// A delivery at a consumer, or the word on one that is still on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Flight {
    job: usize,
    ticket: Ticket,
    number: DeliveryNumber,
    slot: SlotId,
    incarnation: Incarnation,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    ledger: Ledger,
    /// How many jobs have been leased.
    leased: usize,
    /// The job of each ticket.
    tickets: Vec<usize>,
    /// What living consumers hold, in the order of delivery.
    held: Vec<Flight>,
    /// What consumers hold that were given up for a hang: they may come back and finish it.
    zombies: Vec<Flight>,
    /// Words on work that was done, still on their way.
    words: Vec<Flight>,
    acked: [u8; 3],
    dead: [bool; 3],
    /// Jobs whose lease died at the queue.
    lost: [bool; 3],
    faults: u8,
    /// What went wrong, once it has.
    broken: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Lease,
    Offer,
    /// The strategy's answer: a slot for each job, one bit each.
    Assign(u8),
    /// The first delivery that a consumer holds is done, and said so at once.
    Finish(u32),
    /// It is done, and the word on it takes its time.
    FinishLate(u32),
    /// A word arrives.
    Arrive(usize),
    /// A zombie finishes what it holds.
    Haunt(usize),
    Start(u32),
    Fail(u32),
    Die(u32),
    /// The deadline passes.
    Hang(u32),
    StrategyDies,
    /// The lease of a job dies at the queue.
    Lose(usize),
}

impl World {
    fn new(plant: Option<Plant>) -> Self {
        let mut ledger = Ledger::new(LedgerPolicy {
            attempts: 9,
            order_by_key: true,
            longest_retry: Duration::MAX,
            hold: 16,
            hold_waiting: 16,
            window: WindowConfig {
                min: 2,
                max: 2,
                target: Duration::from_micros(1_000),
            },
            first_version: 0,
            first_number: 1,
        });
        if let Some(plant) = plant {
            ledger.plant(plant);
        }
        let mut effects = Effects::default();
        for _ in 0..SLOTS {
            let slot = ledger.add_slot(Weight(1));
            let incarnation = ledger.next_incarnation(slot);
            ledger.up(slot, incarnation, &mut effects);
        }
        Self {
            ledger,
            leased: 0,
            tickets: Vec::new(),
            held: Vec::new(),
            zombies: Vec::new(),
            words: Vec::new(),
            acked: [0; 3],
            dead: [false; 3],
            lost: [false; 3],
            faults: FAULTS,
            broken: None,
        }
    }

    fn first_held(&self, slot: u32) -> Option<Flight> {
        self.held
            .iter()
            .copied()
            .find(|flight| flight.slot == SlotId(slot))
    }

    fn is_done(&self) -> bool {
        (0..KEYS.len()).all(|job| self.acked[job] > 0 || self.dead[job] || self.lost[job])
    }

    fn breaks(&mut self, what: &'static str) {
        self.broken.get_or_insert(what);
    }

    /// Carries out what the ledger decided.
    fn carry_out(&mut self, effects: Effects) {
        for item in effects.settle {
            let job = usize::try_from(item.lease.0).unwrap();
            match item.verdict {
                Verdict::Ack => self.ack(job),
                Verdict::Reject(_) => self.dead[job] = true,
                Verdict::Retry(_) | Verdict::Renew(_) | Verdict::Extend | Verdict::Begin(_) => {}
            }
        }
        for handed in effects.deliver {
            let job = self.tickets[handed.ticket.0 as usize];
            let flight = Flight {
                job,
                ticket: handed.ticket,
                number: handed.number,
                slot: handed.slot,
                incarnation: self.ledger.incarnation(handed.slot),
            };
            if self.lost[job] {
                self.breaks("a job whose lease is lost was handed out");
            }
            if self.held.iter().any(|other| KEYS[other.job] == KEYS[job]) {
                self.breaks("two consumers hold jobs of one key");
            }
            self.held.push(flight);
        }
    }

    fn ack(&mut self, job: usize) {
        if self.lost[job] {
            self.breaks("a job whose lease is lost was acked");
        }
        self.acked[job] += 1;
        if self.acked[job] > 1 {
            self.breaks("a job was acked twice");
        }
        let later = (job + 1..KEYS.len()).any(|later| KEYS[later] == KEYS[job] && self.acked[later] > 0);
        if later {
            self.breaks("a job was acked after a later one of its key");
        }
    }

    /// The word on a delivery comes to the supervisor.
    fn settle(&mut self, flight: Flight, report: Report) {
        let is_out =
            self.held.contains(&flight) && self.tickets.get(flight.ticket.0 as usize) == Some(&flight.job);
        let mut effects = Effects::default();
        let settled = self
            .ledger
            .settled(Moment::START, flight.ticket, flight.number, report, &mut effects);
        if settled.is_ok() && !is_out {
            self.breaks("a word counted on a delivery that was over");
        }
        self.held.retain(|other| *other != flight);
        self.carry_out(effects);
    }

    fn end(&mut self, slot: u32, cause: &Cause) {
        let slot = SlotId(slot);
        let first = self.first_held(slot.0);
        let was_asked = self.ledger.is_offering();
        let incarnation = self.ledger.incarnation(slot);
        let mut effects = Effects::default();
        self.ledger.down(
            Moment::START,
            slot,
            incarnation,
            cause,
            |_, (), number| first.is_some_and(|first| first.number == number),
            &mut effects,
        );
        let held: Vec<Ticket> = self
            .held
            .iter()
            .filter(|flight| flight.slot == slot && !self.lost[flight.job])
            .map(|flight| flight.ticket)
            .collect();
        self.held.retain(|flight| flight.slot != slot);
        self.carry_out(effects);
        let mut next = Vec::new();
        self.ledger.clone().offer(&mut next);
        if !was_asked && next.iter().zip(held).any(|(offer, held)| offer.ticket != held) {
            self.breaks("what a dead consumer held was not in front");
        }
    }
}

impl Model for Group {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.plant)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.leased < KEYS.len() {
            steps.push(Step::Lease);
        }
        if world.ledger.is_offering() {
            steps.extend((0..8).map(Step::Assign));
        } else {
            let mut after = world.ledger.clone();
            after.offer(&mut Vec::new());
            if after.is_offering() {
                steps.push(Step::Offer);
            }
        }
        steps.extend((0..world.words.len()).map(Step::Arrive));
        steps.extend((0..world.zombies.len()).map(Step::Haunt));
        for slot in 0..SLOTS {
            match world.ledger.phase(SlotId(slot)) {
                SlotPhase::Empty => steps.push(Step::Start(slot)),
                SlotPhase::Live => {
                    let said = |word: &Flight| word.slot == SlotId(slot) && world.held.contains(word);
                    let is_waiting = world.words.iter().any(said);
                    if world.first_held(slot).is_some() && !is_waiting {
                        steps.push(Step::Finish(slot));
                    }
                    if world.faults > 0 {
                        if world.first_held(slot).is_some() && !is_waiting {
                            steps.extend([Step::FinishLate(slot), Step::Fail(slot)]);
                        }
                        steps.extend([Step::Die(slot), Step::Hang(slot)]);
                    } else if is_waiting {
                        // A word that never comes: the deadline passes, and that is no further fault.
                        steps.push(Step::Hang(slot));
                    }
                }
                SlotPhase::Retiring | SlotPhase::Gone => {}
            }
        }
        if world.faults > 0 && world.ledger.is_offering() {
            steps.push(Step::StrategyDies);
        }
        if world.faults > 0 {
            let lasts = |job: &usize| world.acked[*job] == 0 && !world.dead[*job] && !world.lost[*job];
            steps.extend((0..world.leased).filter(lasts).map(Step::Lose));
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        let mut effects = Effects::default();
        match step {
            Step::Lease => {
                let job = world.leased;
                world.leased += 1;
                let key = Some(KeyHash(KEYS[job]));
                let ticket = world
                    .ledger
                    .leased((), LeaseId(job as u64), 1, key, false, &mut effects)?;
                let index = ticket.0 as usize;
                if index >= world.tickets.len() {
                    world.tickets.resize(index + 1, usize::MAX);
                }
                world.tickets[index] = job;
                world.carry_out(effects);
            }
            Step::Offer => world.ledger.offer(&mut Vec::new()),
            Step::Assign(bits) => {
                let choices: Vec<Choice> = (0..3)
                    .map(|index| Choice::Slot(SlotId(u32::from(bits >> index & 1))))
                    .collect();
                world.ledger.assigned(&choices, &mut effects);
                world.carry_out(effects);
            }
            Step::Finish(slot) => {
                let flight = world.first_held(slot)?;
                world.settle(flight, Report::Done);
            }
            Step::Lose(job) => {
                world.faults -= 1;
                world.lost[job] = true;
                let lease = Revoked::Leases(vec![LeaseId(job as u64)]);
                world.ledger.revoke(&lease, true, |_, (), _| false, &mut effects);
                world.carry_out(effects);
            }
            Step::FinishLate(slot) => {
                world.faults -= 1;
                let flight = world.first_held(slot)?;
                world.words.push(flight);
            }
            Step::Arrive(index) => {
                let flight = world.words.remove(index);
                world.settle(flight, Report::Done);
            }
            Step::Haunt(index) => {
                let flight = world.zombies.remove(index);
                world.settle(flight, Report::Done);
            }
            Step::Start(slot) => {
                let slot = SlotId(slot);
                let incarnation = world.ledger.next_incarnation(slot);
                world.ledger.up(slot, incarnation, &mut effects);
                world.carry_out(effects);
            }
            Step::Fail(slot) => {
                world.faults -= 1;
                let flight = world.first_held(slot)?;
                let report = Report::Failed {
                    cause: Cause::Abandoned,
                    after: Duration::ZERO,
                };
                // The word on the failure is said twice: the second one must not count.
                world.settle(flight, report);
                world.words.push(flight);
            }
            Step::Die(slot) => {
                world.faults -= 1;
                world.end(slot, &Cause::ArbiterEnded);
            }
            Step::Hang(slot) => {
                world.faults = world.faults.saturating_sub(1);
                let held: Vec<Flight> = world
                    .held
                    .iter()
                    .copied()
                    .filter(|flight| flight.slot.0 == slot)
                    .collect();
                let said = |flight: &Flight| world.words.contains(flight);
                let first = held.iter().copied().find(|flight| !said(flight));
                world.zombies.extend(first);
                world.end(slot, &Cause::DeadlinePassed(Duration::from_millis(1)));
            }
            Step::StrategyDies => {
                world.faults -= 1;
                world.ledger.offer_lost();
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("safe", |_, world: &World| world.broken.is_none()),
            Property::eventually("every job ends", |_, world: &World| world.is_done()),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.broken.is_none() || self.plant.is_some()
    }
}

/// Every state that can be reached; the counts say that it was not a handful.
#[test]
fn the_ledger_is_safe_and_live_in_every_order_of_events() {
    let checker = Group { plant: None }.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!(
        "{} states, {} of them unique",
        checker.state_count(),
        checker.unique_state_count()
    );
    assert!(
        checker.unique_state_count() > 10_000,
        "{} states",
        checker.unique_state_count()
    );
}

#[test]
fn the_model_finds_every_planted_bug() {
    let in_ledger = |plant: &Plant| plant.place() == PlantedIn::Ledger;
    for plant in Plant::ALL.into_iter().filter(in_ledger) {
        let began = std::time::Instant::now();
        let checker = Group { plant: Some(plant) }
            .checker()
            .threads(2)
            .finish_when(HasDiscoveries::Any)
            .spawn_bfs()
            .join();
        let found: Vec<String> = checker
            .discoveries()
            .into_iter()
            .map(|(name, path)| format!("{name}: {:?}", path.last_state().broken))
            .collect();
        println!(
            "{}: {found:?} after {} states, {:?}",
            plant.name(),
            checker.unique_state_count(),
            began.elapsed()
        );
        assert!(!found.is_empty(), "{} was not found", plant.name());
    }
}
