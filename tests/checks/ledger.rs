//! The dispatch ledger, driven by random inputs against a model that only knows the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consumer_group::config::WindowConfig;
use consumer_group::events::{DeliveryNumber, Moment};
use consumer_group::queue::{LeaseId, Places, Revoked, SettleItem, Verdict};
use consumer_group::rules::ledger::{
    Effects, Input, Ledger, LedgerPolicy, Recalled, Report, SlotPhase, Stale,
};
use consumer_group::strategy::{Choice, KeyHash, Share, Weight};
use consumer_group::types::Ticket;
use consumer_group::{Cause, DeadReason, Incarnation, SlotId};
use proptest::prelude::*;

/// What the noise does; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Noise {
    /// The queue hands out up to this many jobs, within the credit, of these keys (0: no key).
    Lease(Vec<u8>),
    /// The same with jobs that were leased when a process ended.
    LeaseSuspects(Vec<u8>),
    /// The queue has written down the begin that it was asked for, if it was asked for one.
    Begun,
    /// The queue hands out up to this many jobs in a block, within the credit, of these keys (none: no keys).
    LeaseBlock(u8, Vec<u8>),
    /// The strategy gives jobs in blocks away in shares; some go to slots that do not exist, some to nobody.
    Share(Vec<Option<u8>>),
    /// More jobs than there is credit for, as a batch that was on its way when the credit was taken back.
    LeaseBeyondCredit(u8),
    /// All the steps from the demand to the delivery, so that most of the noise happens with deliveries out.
    Work(Vec<u8>, Vec<u8>),
    Demand,
    Offer,
    /// Choices by slot number; some name slots that do not exist, some hold, some are missing.
    Answer(Vec<Option<u8>>),
    OfferLost,
    Settle(u8, End),
    /// A settle of a delivery that is over, or never was.
    Stale(u8, End),
    Served(u8, u8, u64),
    AddSlot(u8),
    Start(u8),
    Up(u8),
    StaleUp(u8),
    /// A consumer dies; which of its deliveries had begun is drawn from the bits.
    Down(u8, u64, bool),
    StaleDown(u8),
    Retire(u8),
    Weigh(u8, u8),
    Wait(u8),
    CreditLost,
    Pause(bool),
    /// A consumer does not move: some of what it has not begun, drawn from the bits, is taken back.
    Recall(u8, u64),
    /// A consumer looked at a delivery that it must not begin.
    NotBegun(u8),
    /// The time of some jobs runs out; which of them is drawn from the bits.
    Expire(u64),
    /// The queue takes some leases back, or all; which of them, and which of the deliveries that are out have not begun, is
    /// drawn from the bits. They are lost, or may be finished.
    Revoke(u64, u64, bool),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    RetryNow,
    RetryLater(u8),
    Reject,
    Expired,
}

impl End {
    fn report(self) -> Report {
        let failed = |after| Report::Failed {
            cause: Cause::Failed("no".into()),
            after,
        };
        match self {
            Self::Done => Report::Done,
            Self::RetryNow => failed(Duration::ZERO),
            Self::RetryLater(ms) => failed(Duration::from_millis(u64::from(ms) + 1)),
            Self::Reject => Report::Rejected("never".into()),
            Self::Expired => Report::Expired,
        }
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Done),
        1 => Just(End::RetryNow),
        1 => any::<u8>().prop_map(End::RetryLater),
        1 => Just(End::Reject),
        1 => Just(End::Expired),
    ]
}

fn noise() -> impl Strategy<Value = Noise> {
    prop_oneof![
        6 => prop::collection::vec(0_u8..5, 1..8).prop_map(Noise::Lease),
        1 => prop::collection::vec(0_u8..5, 1..5).prop_map(Noise::LeaseSuspects),
        8 => Just(Noise::Begun),
        4 => (1_u8..12).prop_map(|jobs| Noise::LeaseBlock(jobs, Vec::new())),
        4 => prop::collection::vec(1_u8..7, 1..12).prop_map(|keys| Noise::LeaseBlock(12, keys)),
        4 => prop::collection::vec(prop::option::weighted(0.9, 0_u8..7), 1..12).prop_map(Noise::Share),
        1 => (0_u8..5).prop_map(Noise::LeaseBeyondCredit),
        12 => (prop::collection::vec(0_u8..5, 1..8), prop::collection::vec(any::<u8>(), 8)).prop_map(|(keys, slots)| Noise::Work(keys, slots)),
        6 => Just(Noise::Demand),
        6 => Just(Noise::Offer),
        6 => prop::collection::vec(prop::option::weighted(0.9, 0_u8..7), 0..12).prop_map(Noise::Answer),
        1 => Just(Noise::OfferLost),
        10 => (any::<u8>(), end()).prop_map(|(which, end)| Noise::Settle(which, end)),
        2 => (any::<u8>(), end()).prop_map(|(which, end)| Noise::Stale(which, end)),
        2 => (any::<u8>(), 1_u8..9, 1_u64..3_000_000).prop_map(|(slot, count, ns)| Noise::Served(slot, count, ns)),
        2 => (1_u8..4).prop_map(Noise::AddSlot),
        3 => any::<u8>().prop_map(Noise::Start),
        4 => any::<u8>().prop_map(Noise::Up),
        1 => any::<u8>().prop_map(Noise::StaleUp),
        2 => (any::<u8>(), any::<u64>(), any::<bool>()).prop_map(|(slot, bits, innocent)| Noise::Down(slot, bits, innocent)),
        1 => any::<u8>().prop_map(Noise::StaleDown),
        1 => any::<u8>().prop_map(Noise::Retire),
        1 => (any::<u8>(), 1_u8..9).prop_map(|(slot, weight)| Noise::Weigh(slot, weight)),
        3 => any::<u8>().prop_map(Noise::Wait),
        1 => Just(Noise::CreditLost),
        1 => any::<bool>().prop_map(Noise::Pause),
        3 => (any::<u8>(), any::<u64>()).prop_map(|(slot, bits)| Noise::Recall(slot, bits)),
        1 => any::<u8>().prop_map(Noise::NotBegun),
        2 => any::<u64>().prop_map(Noise::Expire),
        3 => (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(which, taken, lost)| Noise::Revoke(which, taken, lost)),
    ]
}

fn policy() -> impl Strategy<Value = LedgerPolicy> {
    (
        1_u32..4,
        any::<bool>(),
        0_usize..3,
        0_usize..12,
        1_u32..3,
        0_u32..6,
    )
        .prop_map(
            |(attempts, order_by_key, longest, hold, min, more)| LedgerPolicy {
                attempts,
                order_by_key,
                longest_retry: [Duration::ZERO, Duration::from_millis(100), Duration::MAX][longest],
                hold,
                hold_waiting: hold,
                window: WindowConfig {
                    min,
                    max: min + more,
                    target: Duration::from_micros(1_000),
                },
                first_version: 5,
                first_number: 1,
            },
        )
}

/// A delivery that is out, as the consumers' side knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Out {
    ticket: Ticket,
    slot: SlotId,
    number: DeliveryNumber,
    lease: LeaseId,
    /// The number of the piece and the place in the block, if it was handed out in one.
    piece: Option<(DeliveryNumber, u8)>,
}

/// What the world around the ledger knows.
struct World {
    policy: LedgerPolicy,
    ledger: Ledger,
    effects: Effects,
    now: Moment,
    next_lease: u64,
    /// Each lease that lasts: its key and the attempt that the queue knows.
    leases: BTreeMap<LeaseId, (Option<KeyHash>, u32)>,
    /// The order in which leases of a key came.
    lines: BTreeMap<KeyHash, Vec<LeaseId>>,
    tickets: BTreeMap<Ticket, LeaseId>,
    /// Leases of suspects that are not cleared, and those of which the queue has written down that they begin.
    suspects: BTreeSet<LeaseId>,
    on_disk: BTreeSet<LeaseId>,
    /// The begin that the queue is asked to write down.
    beginning: Option<(Ticket, LeaseId)>,
    /// The lease of each block, and the leases of jobs that are in one.
    blocks: BTreeMap<Ticket, LeaseId>,
    in_block: BTreeSet<LeaseId>,
    /// How many leases began.
    begun: usize,
    out: Vec<Out>,
    over: Vec<Out>,
    last_number: u64,
    slots: Vec<SlotId>,
    /// How many jobs the queue may hand out in all, and has.
    total: u64,
    handed_out: u64,
    ended: BTreeSet<LeaseId>,
    /// Leases that were revoked while they were out: whether nothing that is said of them counts.
    revoked: BTreeMap<LeaseId, bool>,
    /// Those that end without a verdict in this step; empty between two steps.
    silent: Vec<LeaseId>,
    /// Everything that followed, for the comparison of two runs.
    trace: Vec<String>,
}

impl World {
    fn new(policy: LedgerPolicy) -> Self {
        Self {
            ledger: Ledger::new(policy.clone()),
            policy,
            effects: Effects::default(),
            now: Moment::START,
            next_lease: 1,
            leases: BTreeMap::new(),
            lines: BTreeMap::new(),
            tickets: BTreeMap::new(),
            suspects: BTreeSet::new(),
            on_disk: BTreeSet::new(),
            beginning: None,
            blocks: BTreeMap::new(),
            in_block: BTreeSet::new(),
            begun: 0,
            out: Vec::new(),
            over: Vec::new(),
            last_number: 0,
            slots: Vec::new(),
            total: 0,
            handed_out: 0,
            ended: BTreeSet::new(),
            revoked: BTreeMap::new(),
            silent: Vec::new(),
            trace: Vec::new(),
        }
    }

    fn slot(&self, which: u8) -> Option<SlotId> {
        (!self.slots.is_empty()).then(|| self.slots[usize::from(which) % self.slots.len()])
    }

    fn step(&mut self, input: Input) {
        self.ledger.step(self.now, input, &mut self.effects);
        self.follow();
    }

    /// A job that leaves its block has an entry of its own, with its own lease.
    fn see_who_left_a_block(&mut self) {
        for (ticket, lease, _) in self.ledger.tickets() {
            if self.in_block.remove(&lease) {
                assert_eq!(self.tickets.insert(ticket, lease), None);
                for out in self.out.iter_mut().filter(|out| out.lease == lease) {
                    out.ticket = ticket;
                }
            }
        }
    }

    /// The lease has ended without a word.
    fn forget(&mut self, lease: LeaseId) {
        assert!(self.leases.remove(&lease).is_some());
        assert!(self.ended.insert(lease), "a lease ends twice");
        self.in_block.remove(&lease);
        self.suspects.remove(&lease);
        self.on_disk.remove(&lease);
        self.beginning = self.beginning.filter(|(_, beginning)| *beginning != lease);
        for line in self.lines.values_mut() {
            line.retain(|other| *other != lease);
        }
        self.tickets.retain(|_, other| *other != lease);
    }

    /// Revoked leases whose consumers are done with them: those on which there is no verdict are forgotten.
    fn see_who_is_released(&mut self, effects: &Effects, ending: &mut BTreeSet<LeaseId>) -> Vec<LeaseId> {
        let mut silent = Vec::new();
        for lease in &effects.released {
            assert!(self.revoked.remove(lease).is_some(), "released and not revoked");
            let ends = |item: &SettleItem| item.lease == *lease && !matches!(item.verdict, Verdict::Renew(_));
            if !effects.settle.iter().any(ends) {
                assert!(ending.remove(lease), "its end is not told");
                silent.push(*lease);
            }
        }
        silent
    }

    /// Carries out what follows and checks it against the rules.
    fn follow(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        self.trace.push(format!("{effects:?}"));
        let mut ending: BTreeSet<LeaseId> = effects.ended.iter().map(|(lease, ())| *lease).collect();
        for lease in std::mem::take(&mut self.silent) {
            self.forget(lease);
            // Of one that stood in a block nothing is told.
            ending.remove(&lease);
        }
        self.see_who_left_a_block();
        for acked in &effects.acked {
            for place in acked.places.iter() {
                let lease = acked.lease.of_place(place);
                assert!(self.in_block.remove(&lease), "acked outside of its block");
                assert!(self.leases.remove(&lease).is_some());
                for line in self.lines.values_mut() {
                    line.retain(|other| *other != lease);
                }
                assert!(self.ended.insert(lease), "a lease ends twice");
            }
        }
        let silent = self.see_who_is_released(&effects, &mut ending);
        self.blocks.retain(|ticket, lease| {
            let has_jobs = self.in_block.iter().any(|job| job.0 & !63 == lease.0);
            assert_eq!(
                self.ledger.block(*ticket).is_some(),
                has_jobs,
                "a block stays as long as there are jobs in it"
            );
            has_jobs
        });
        for item in &effects.settle {
            assert!(
                self.revoked.get(&item.lease) != Some(&true),
                "the queue hears of a lease that is lost"
            );
            let (_, attempt) = self
                .leases
                .get_mut(&item.lease)
                .expect("a lease that lasts is settled");
            assert_eq!(
                item.attempt, *attempt,
                "a verdict on another attempt than the present one"
            );
            match &item.verdict {
                Verdict::Ack => {}
                Verdict::Retry(_) => assert!(ending.remove(&item.lease), "its end is not told"),
                Verdict::Reject(rejection) => {
                    assert!(ending.remove(&item.lease), "its end is not told");
                    if let DeadReason::Poison { attempts } | DeadReason::AttemptsUsedUp { attempts } =
                        rejection.reason
                    {
                        assert_eq!(
                            attempts, self.policy.attempts,
                            "given up before or after the limit"
                        );
                    }
                }
                Verdict::Begin(_) => {
                    assert!(self.suspects.contains(&item.lease), "only suspects are announced");
                    assert!(self.beginning.is_none(), "two suspects begin");
                    let ticket = effects.beginning.expect("it is told whose begin it is");
                    assert_eq!(self.tickets[&ticket], item.lease);
                    self.beginning = Some((ticket, item.lease));
                    continue;
                }
                Verdict::Renew(renewal) if !renewal.counts => {
                    assert!(
                        self.on_disk.remove(&item.lease),
                        "what did not begin is taken back"
                    );
                    continue;
                }
                Verdict::Renew(_) => {
                    self.suspects.remove(&item.lease);
                    self.on_disk.remove(&item.lease);
                    *attempt += 1;
                    assert!(*attempt <= self.policy.attempts, "an attempt past the limit");
                    continue;
                }
                Verdict::Extend => panic!("the ledger extends nothing"),
            }
            if let Verdict::Retry(retry) = &item.verdict {
                assert!(*attempt < self.policy.attempts, "a retry past the limit");
                let keyed = self.leases[&item.lease].0.is_some() && self.policy.order_by_key;
                assert!(
                    retry.after <= self.policy.longest_retry && !keyed,
                    "this retry had to keep its lease"
                );
            }
            assert!(self.ended.insert(item.lease), "a lease ends twice");
            self.suspects.remove(&item.lease);
            self.on_disk.remove(&item.lease);
            self.leases.remove(&item.lease);
            for line in self.lines.values_mut() {
                line.retain(|lease| *lease != item.lease);
            }
            self.tickets.retain(|_, lease| *lease != item.lease);
        }
        for lease in silent {
            self.forget(lease);
        }
        assert!(
            ending.is_empty(),
            "told to have ended without a verdict: {ending:?}"
        );
        for handed in effects.deliver {
            assert!(handed.number.0 > self.last_number, "delivery numbers grow");
            self.last_number = handed.number.0;
            let lease = self.tickets[&handed.ticket];
            assert!(!self.revoked.contains_key(&lease), "a revoked job is handed out");
            self.check_suspects(lease);
            assert_eq!(handed.attempt, self.leases[&lease].1);
            assert!(handed.attempt <= self.policy.attempts);
            assert_eq!(self.ledger.phase(handed.slot), SlotPhase::Live);
            assert!(!self.ledger.is_paused(), "handed out while paused");
            self.check_line(lease);
            self.out.push(Out {
                ticket: handed.ticket,
                slot: handed.slot,
                number: handed.number,
                lease,
                piece: None,
            });
            self.check_window(handed.slot);
        }
        for handed in effects.pieces {
            assert!(handed.first.0 > self.last_number, "delivery numbers grow");
            self.last_number = handed.first.0 + 63;
            assert_eq!(self.ledger.phase(handed.slot), SlotPhase::Live);
            assert!(!self.ledger.is_paused(), "handed out while paused");
            for place in handed.places.iter() {
                let lease = self.blocks[&handed.ticket].of_place(place);
                assert!(self.in_block.contains(&lease));
                self.check_suspects(lease);
                self.check_line(lease);
                assert!(self.out.iter().all(|out| out.lease != lease), "handed out twice");
                self.out.push(Out {
                    ticket: handed.ticket,
                    slot: handed.slot,
                    number: DeliveryNumber(handed.first.0 + u64::from(place)),
                    lease,
                    piece: Some((handed.first, place)),
                });
            }
            self.check_window(handed.slot);
        }
        self.check();
    }

    /// A suspect is handed out alone, after the queue knew of it, and nothing is handed out beside it.
    fn check_suspects(&self, lease: LeaseId) {
        if self.suspects.contains(&lease) {
            assert!(
                self.on_disk.contains(&lease),
                "the queue does not know of the begin"
            );
            assert!(self.out.is_empty(), "a suspect begins beside others");
        }
        let beside = self.out.iter().find(|out| self.suspects.contains(&out.lease));
        assert_eq!(beside, None, "a delivery begins beside a suspect");
    }

    /// If order is kept, only the oldest job of a key is handed out.
    fn check_line(&self, lease: LeaseId) {
        if let Some(key) = self.leases[&lease].0.filter(|_| self.policy.order_by_key) {
            let first = self.lines[&key].first();
            assert_eq!(first, Some(&lease), "a job overtakes one of its key");
        }
    }

    fn begun(&mut self) {
        if let Some((ticket, lease)) = self.beginning.take() {
            self.on_disk.insert(lease);
            self.step(Input::Begun(ticket));
        }
    }

    fn check_window(&self, slot: SlotId) {
        let holds = self.out.iter().filter(|out| out.slot == slot).count();
        let window = self.ledger.window(slot);
        assert!(holds <= window as usize, "{slot} holds {holds} of {window}");
    }

    /// What must always be true.
    fn check(&self) {
        let ledger = &self.ledger;
        let known: BTreeMap<Ticket, (LeaseId, u32)> = ledger
            .tickets()
            .map(|(ticket, lease, attempt)| (ticket, (lease, attempt)))
            .collect();
        assert_eq!(known.len() + self.in_block.len(), ledger.leases());
        assert_eq!(
            ledger.leases(),
            self.leases.len(),
            "a lease was lost, or lasts for ever"
        );
        for (ticket, (lease, attempt)) in &known {
            assert_eq!(self.tickets.get(ticket), Some(lease));
            assert_eq!(self.leases[lease].1, *attempt);
        }
        let mut keys = BTreeSet::new();
        for out in &self.out {
            let is_out = if out.ticket.is_of_block() {
                ledger.piece_of(out.slot, out.ticket, out.number) == Ok(out.piece.unwrap())
            } else {
                ledger.attempt(out.ticket, out.number).is_ok()
            };
            assert!(is_out, "{out:?} is not out");
            if let Some(key) = self.leases[&out.lease].0.filter(|_| self.policy.order_by_key) {
                assert!(keys.insert(key), "two of one key are out");
            }
        }
        for slot in &self.slots {
            let held = ledger.held_by(*slot);
            let here: Vec<_> = self.out.iter().filter(|out| out.slot == *slot).collect();
            let alone: Vec<_> = here.iter().filter(|out| !out.ticket.is_of_block()).collect();
            assert_eq!(held.len(), alone.len());
            assert!(alone.iter().all(|out| held.contains(&(out.ticket, out.number))));
            let seat = ledger.seat(*slot).unwrap();
            assert_eq!(seat.load as usize, here.len());
            let room = ledger.window(*slot).saturating_sub(seat.load);
            // A slot with a suspect, or with something that waits for it already, takes nothing else.
            let may_take = ledger.phase(*slot) == SlotPhase::Live && seat.waiting == 0;
            assert!(seat.room == 0 || (may_take && seat.room == room), "{seat:?}");
        }
    }

    fn add_slot(&mut self, weight: u32) -> SlotId {
        let slot = self.ledger.add_slot(Weight(weight));
        self.slots.push(slot);
        slot
    }

    fn start(&mut self, slot: SlotId) {
        self.step(Input::NextIncarnation(slot));
        self.step(Input::Up(slot, self.ledger.incarnation(slot)));
    }

    /// A world with two consumers at work.
    fn at_work(policy: LedgerPolicy) -> Self {
        let mut world = Self::new(policy);
        for _ in 0..2 {
            let slot = world.add_slot(1);
            world.start(slot);
        }
        world
    }

    fn settle(&mut self, mut out: Out, end: End) {
        if out.ticket.is_of_block() {
            let (first, place) = out.piece.unwrap();
            if let End::Done = end {
                // Now and then the whole piece at once.
                let whole = |other: &&Out| {
                    out.number.0.is_multiple_of(2) && other.piece.unwrap_or_default().0 == first
                };
                let mut places = Places::only(place);
                for other in self
                    .out
                    .iter()
                    .filter(whole)
                    .filter(|other| other.ticket == out.ticket)
                {
                    places.add(Places::only(other.piece.unwrap().1));
                }
                let is_done = |other: &Out| {
                    other.ticket == out.ticket
                        && other
                            .piece
                            .is_some_and(|(of, place)| of == first && places.contains(place))
                };
                let (done, left) = self.out.iter().partition(|other| is_done(other));
                self.out = left;
                self.over.extend::<Vec<Out>>(done);
                let (slot, ticket) = (out.slot, out.ticket);
                return self.step(Input::DoneInBlock {
                    slot,
                    ticket,
                    first,
                    places,
                });
            }
            self.step(Input::SingleOut {
                slot: out.slot,
                ticket: out.ticket,
                number: out.number,
            });
            out = *self.out.iter().find(|other| other.lease == out.lease).unwrap();
        }
        self.out.retain(|other| *other != out);
        self.over.push(out);
        self.step(Input::Settled {
            ticket: out.ticket,
            number: out.number,
            report: end.report(),
        });
    }

    fn lease(&mut self, key: u8, is_suspect: bool) {
        self.hand_out(1);
        let lease = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.begun += 1;
        let key = (key > 0).then_some(KeyHash(u64::from(key)));
        self.leases.insert(lease, (key, 1));
        if let Some(key) = key {
            self.lines.entry(key).or_default().push(lease);
        }
        let ticket = self
            .ledger
            .leased((), lease, 1, key, is_suspect, &mut self.effects);
        self.tickets
            .insert(ticket.expect("the first attempt is left"), lease);
        if is_suspect {
            self.suspects.insert(lease);
        }
        self.follow();
    }

    fn lease_block(&mut self, jobs: usize, keys: &[u8]) {
        self.hand_out(jobs);
        let lease = LeaseId(1 << 63 | self.next_lease << 6);
        self.next_lease += 1;
        self.begun += jobs;
        let places = Places::first(jobs);
        for place in places.iter() {
            let of_place = lease.of_place(place);
            let key = keys.get(usize::from(place)).map(|key| KeyHash(u64::from(*key)));
            self.leases.insert(of_place, (key, 1));
            if let Some(key) = key {
                self.lines.entry(key).or_default().push(of_place);
            }
            self.in_block.insert(of_place);
        }
        let keys = keys.iter().map(|key| KeyHash(u64::from(*key)));
        let ticket = self.ledger.leased_block((), lease, places, keys);
        assert_eq!(self.blocks.insert(ticket, lease), None);
        self.follow();
    }

    fn demand(&mut self) {
        let room: u32 = self.ledger.seats().iter().map(|seat| seat.room).sum();
        let before = self.credit();
        self.total = self.ledger.demand(true).total;
        let credit = self.credit();
        assert!(
            credit <= before || credit <= room as usize,
            "credit of {credit} for a room of {room}"
        );
        assert!(
            !self.ledger.is_paused() || self.credit() == 0,
            "a paused group has credit"
        );
        self.follow();
    }

    /// What the queue may still hand out.
    fn credit(&self) -> usize {
        self.total.saturating_sub(self.handed_out) as usize
    }

    fn hand_out(&mut self, jobs: usize) {
        self.handed_out += jobs as u64;
        self.step(Input::Arrived(jobs, 0));
    }

    fn down(&mut self, slot: SlotId, incarnation: Incarnation, bits: u64, innocent: bool) {
        if self.ledger.incarnation(slot) == incarnation {
            self.step(Input::SingleOutAll(slot));
        }
        let held = self.ledger.held_by(slot);
        let guilty = (0..)
            .zip(&held)
            .filter(|(index, _)| !innocent && bits >> (index % 64) & 1 == 1);
        let guilty = guilty.map(|(_, (ticket, _))| *ticket).collect();
        let counts = self.ledger.incarnation(slot) == incarnation
            && matches!(self.ledger.phase(slot), SlotPhase::Live | SlotPhase::Retiring);
        if counts {
            let (over, out) = self.out.iter().partition(|out| out.slot == slot);
            self.out = out;
            self.over.extend::<Vec<Out>>(over);
        }
        let before = self.ledger.clone();
        self.step(Input::Down(slot, incarnation, Cause::Killed, guilty));
        if !counts {
            assert_eq!(self.ledger, before, "the death of another life changed something");
        }
    }

    fn recall(&mut self, slot: SlotId, bits: u64) {
        let mut drawn = (0..).map(|index| bits >> (index % 64) & 1 == 1);
        let mut recalled = self.ledger.recallable(slot);
        recalled.entries.retain(|_| drawn.next() == Some(true));
        for (_, _, places) in &mut recalled.pieces {
            for place in places.iter() {
                if drawn.next() == Some(true) {
                    places.remove(Places::only(place));
                }
            }
        }
        recalled.pieces.retain(|(_, _, places)| !places.is_empty());
        let is_taken = |out: &Out| {
            let in_piece = |(ticket, first, places): &(Ticket, DeliveryNumber, Places)| {
                let is_of = |(of, place): (DeliveryNumber, u8)| of == *first && places.contains(place);
                *ticket == out.ticket && out.piece.is_some_and(is_of)
            };
            out.slot == slot
                && (recalled.entries.contains(&out.ticket) || recalled.pieces.iter().any(in_piece))
        };
        let (over, out) = self.out.iter().partition(|out| is_taken(out));
        self.out = out;
        self.over.extend::<Vec<Out>>(over);
        self.step(Input::Recalled(slot, recalled));
        let seat = self.ledger.seat(slot).unwrap();
        assert!(
            !seat.is_stuck || (seat.room == 0 && seat.waiting == 0),
            "{seat:?}"
        );
    }

    fn revoke(&mut self, which: u64, taken: u64, lost: bool) {
        let is_drawn = |bits: u64, index: usize| bits >> (index % 64) & 1 == 1;
        let drawn: Vec<LeaseId> = self
            .leases
            .keys()
            .enumerate()
            .filter(|(index, _)| which.is_multiple_of(5) || is_drawn(which, *index))
            .map(|(_, lease)| *lease)
            .collect();
        let what = match which.is_multiple_of(5) {
            true => Revoked::All,
            false => Revoked::Leases(drawn.clone()),
        };
        let is_out = |lease: &LeaseId| self.out.iter().find(|out| out.lease == *lease).copied();
        let out: Vec<Out> = drawn.iter().filter_map(is_out).collect();
        let (taken, kept): (Vec<_>, Vec<_>) = out
            .into_iter()
            .enumerate()
            .partition(|(index, _)| is_drawn(taken, *index));
        let taken: Vec<Out> = taken.into_iter().map(|(_, out)| out).collect();
        for (_, out) in kept {
            let was_lost = self.revoked.get(&out.lease).copied().unwrap_or_default();
            self.revoked.insert(out.lease, lost || was_lost);
        }
        self.out.retain(|out| !taken.contains(out));
        self.over.extend(&taken);
        // What was revoked before, and is taken back now, is told as released.
        let is_revoked = |lease: &LeaseId| self.revoked.contains_key(lease);
        self.silent = drawn.into_iter().filter(|lease| !is_revoked(lease)).collect();
        let numbers = taken.iter().map(|out| out.number).collect();
        self.step(Input::Revoked(what, lost, numbers));
    }

    fn make(&mut self, noise: Noise) {
        match noise {
            Noise::Lease(keys) => {
                for key in keys.into_iter().take(self.credit()) {
                    self.lease(key, false);
                }
            }
            Noise::LeaseSuspects(keys) => {
                for key in keys.into_iter().take(self.credit()) {
                    self.lease(key, true);
                }
            }
            Noise::Begun => self.begun(),
            Noise::LeaseBlock(jobs, keys) => {
                let most = if keys.is_empty() {
                    usize::from(jobs)
                } else {
                    keys.len()
                };
                let jobs = most.min(self.credit());
                if jobs > 0 {
                    self.lease_block(jobs, keys.get(..jobs).unwrap_or_default());
                }
            }
            Noise::Share(slots) => {
                self.step(Input::Offer);
                let offered: Vec<Places> = self
                    .ledger
                    .offered_in_blocks()
                    .map(|(_, places)| places)
                    .collect();
                let mut slots = slots.iter().cycle();
                let mut shares = Vec::new();
                for (part, places) in (0..).zip(offered) {
                    for place in places.iter() {
                        if let Some(Some(slot)) = slots.next() {
                            let (slot, places) = (SlotId(u32::from(*slot)), Places::only(place));
                            shares.push(Share { part, slot, places });
                        }
                    }
                }
                self.step(Input::AssignedShares(Vec::new(), shares));
            }
            Noise::Work(keys, slots) => {
                self.demand();
                self.make(Noise::Lease(keys));
                self.step(Input::Offer);
                let live: Vec<_> = self.ledger.seats().iter().map(|seat| seat.slot).collect();
                let choose = |which: &u8| live.get(usize::from(*which) % live.len().max(1));
                let choices = slots.iter().filter_map(choose).map(|slot| Choice::Slot(*slot));
                self.step(Input::Assigned(choices.collect()));
            }
            Noise::LeaseBeyondCredit(key) => self.lease(key, false),
            Noise::Demand => self.demand(),
            Noise::Offer => self.step(Input::Offer),
            Noise::Answer(choices) => {
                let choice = |slot: Option<u8>| {
                    slot.map_or(Choice::Hold, |slot| Choice::Slot(SlotId(u32::from(slot))))
                };
                self.step(Input::Assigned(choices.into_iter().map(choice).collect()));
            }
            Noise::OfferLost => self.step(Input::OfferLost),
            Noise::Settle(which, end) => {
                if !self.out.is_empty() {
                    let out = self.out[usize::from(which) % self.out.len()];
                    self.settle(out, end);
                }
            }
            Noise::Stale(which, end) => {
                let never = Out {
                    ticket: Ticket(u32::from(which)),
                    slot: SlotId(0),
                    number: DeliveryNumber(self.last_number + 1),
                    lease: LeaseId(0),
                    piece: None,
                };
                // Best of all a late word on a job that is out again: only its number tells the two deliveries apart.
                let again = |over: &&Out| self.out.iter().any(|out| out.ticket == over.ticket);
                let mut late: Vec<Out> = self.over.iter().filter(again).copied().collect();
                if late.is_empty() {
                    late = self.over.clone();
                }
                let over = late.get(usize::from(which) % late.len().max(1)).copied();
                let before = self.ledger.clone();
                for out in over.into_iter().chain([never]) {
                    if let Some((first, place)) = out.piece {
                        let (slot, ticket, places) = (out.slot, out.ticket, Places::only(place));
                        self.step(Input::DoneInBlock {
                            slot,
                            ticket,
                            first,
                            places,
                        });
                        let number = out.number;
                        self.step(Input::SingleOut { slot, ticket, number });
                    }
                    self.step(Input::Settled {
                        ticket: out.ticket,
                        number: out.number,
                        report: end.report(),
                    });
                }
                assert_eq!(self.ledger, before, "a stale settle changed something");
            }
            Noise::Served(which, deliveries, ns) => {
                if let Some(slot) = self.slot(which) {
                    self.step(Input::Served {
                        slot,
                        deliveries: u32::from(deliveries),
                        busy: Duration::from_nanos(ns),
                    });
                }
            }
            Noise::AddSlot(weight) => {
                if self.slots.len() < 6 {
                    self.add_slot(u32::from(weight));
                }
            }
            // As the supervisor does: the next incarnation is made when the one before has ended.
            Noise::Start(which) => {
                if let Some(slot) = self
                    .slot(which)
                    .filter(|slot| self.ledger.phase(*slot) == SlotPhase::Empty)
                {
                    self.step(Input::NextIncarnation(slot));
                }
            }
            Noise::Up(which) => {
                if let Some(slot) = self
                    .slot(which)
                    .filter(|slot| self.ledger.incarnation(*slot).0 > 0)
                {
                    self.step(Input::Up(slot, self.ledger.incarnation(slot)));
                }
            }
            Noise::StaleUp(which) => {
                if let Some(slot) = self
                    .slot(which)
                    .filter(|slot| self.ledger.incarnation(*slot).0 > 0)
                {
                    let earlier = Incarnation(self.ledger.incarnation(slot).0 - 1);
                    let before = self.ledger.clone();
                    self.step(Input::Up(slot, earlier));
                    assert_eq!(self.ledger, before, "an earlier life came up");
                }
            }
            Noise::Down(which, bits, innocent) => {
                if let Some(slot) = self.slot(which) {
                    self.down(slot, self.ledger.incarnation(slot), bits, innocent);
                }
            }
            Noise::StaleDown(which) => {
                if let Some(slot) = self.slot(which) {
                    let other = Incarnation(self.ledger.incarnation(slot).0 + 1);
                    self.down(slot, other, u64::MAX, false);
                }
            }
            Noise::Retire(which) => {
                if let Some(slot) = self.slot(which) {
                    self.step(Input::Retire(slot));
                }
            }
            Noise::Weigh(which, weight) => {
                if let Some(slot) = self.slot(which) {
                    self.ledger.set_weight(slot, Weight(u32::from(weight)));
                    self.follow();
                }
            }
            Noise::Wait(ms) => {
                self.now = self.now.after(Duration::from_millis(u64::from(ms)));
                self.step(Input::Due);
            }
            Noise::CreditLost => {
                (self.total, self.handed_out) = (0, 0);
                self.step(Input::CreditLost);
            }
            Noise::Pause(paused) => self.step(Input::Pause(paused)),
            Noise::Recall(which, bits) => {
                if let Some(slot) = self.slot(which) {
                    self.recall(slot, bits);
                }
            }
            Noise::NotBegun(which) => {
                let alone: Vec<Out> = self
                    .out
                    .iter()
                    .filter(|out| !out.ticket.is_of_block())
                    .copied()
                    .collect();
                if let Some(out) = alone.get(usize::from(which) % alone.len().max(1)) {
                    self.out.retain(|other| other != out);
                    self.over.push(*out);
                    self.step(Input::NotBegunThere(out.ticket, out.number));
                }
            }
            Noise::Revoke(which, taken, lost) => self.revoke(which, taken, lost),
            Noise::Expire(bits) => {
                let is_drawn = |index: usize| bits >> (index % 64) & 1 == 1;
                let tickets = self.tickets.keys().copied().enumerate();
                let tickets: Vec<Ticket> = tickets
                    .filter(|(index, _)| is_drawn(*index))
                    .map(|(_, ticket)| ticket)
                    .collect();
                let out = self.out.len();
                self.step(Input::Expired(tickets));
                assert!(self.out.len() >= out, "a job expired in the hands of a consumer");
            }
        }
    }

    /// After the noise: everyone is up, the strategy names whoever has room, and all work is done. Everything must end.
    fn run_dry(&mut self) {
        self.step(Input::Pause(false));
        let live = |world: &Self| {
            world
                .slots
                .iter()
                .any(|slot| world.ledger.phase(*slot) == SlotPhase::Live)
        };
        for slot in self.slots.clone() {
            if self.ledger.phase(slot) == SlotPhase::Empty {
                self.start(slot);
            }
        }
        // Whoever stood still says a word.
        for slot in self.slots.clone() {
            self.step(Input::Served {
                slot,
                deliveries: 0,
                busy: Duration::ZERO,
            });
            assert!(!self.ledger.is_stuck(slot));
        }
        if !live(self) {
            let slot = self.add_slot(1);
            self.start(slot);
        }
        for _ in 0..10_000 {
            if self.ledger.leases() == 0 {
                // The strategy may owe an answer for jobs that have expired meanwhile.
                return self.step(Input::Assigned(Vec::new()));
            }
            // One answer to an open offer, then whatever is out is done.
            if !self.ledger.is_offering() {
                self.step(Input::Offer);
            }
            let rooms = self.ledger.seats();
            let mut choices: Vec<Choice> = rooms
                .iter()
                .flat_map(|seat| (0..seat.room).map(|_| Choice::Slot(seat.slot)))
                .collect();
            choices.truncate(64);
            self.step(Input::Assigned(choices));
            self.begun();
            while let Some(out) = self.out.first().copied() {
                self.settle(out, End::Done);
            }
            if let Some(due) = self.ledger.next_due().filter(|due| *due > self.now) {
                self.now = due;
            }
            self.step(Input::Due);
        }
        panic!("{} entries never end: {:#?}", self.ledger.leases(), self.ledger);
    }

    /// With everything ended, the demand must come back by itself: a group with room never stands still.
    fn takes_jobs_again(&mut self) {
        self.step(Input::CreditLost);
        (self.total, self.handed_out) = (0, 0);
        self.demand();
        assert!(
            self.credit() > 0 || self.policy.hold == 0,
            "an empty group demands nothing: {:#?}",
            self.ledger
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold_and_in_the_end_everything_has_ended(
        policy in policy(),
        noise in prop::collection::vec(noise(), 1..160),
    ) {
        let mut world = World::at_work(policy);
        for step in noise {
            world.make(step);
        }
        world.run_dry();
        prop_assert_eq!(world.ended.len(), world.begun, "each lease ended exactly once");
        world.takes_jobs_again();
    }

    #[test]
    fn the_same_inputs_have_the_same_effects(
        policy in policy(),
        noise in prop::collection::vec(noise(), 1..80),
    ) {
        let run = || {
            let mut world = World::at_work(policy.clone());
            for step in noise.clone() {
                world.make(step);
            }
            (world.trace, world.ledger)
        };
        let (first, second) = (run(), run());
        prop_assert_eq!(first.0, second.0);
        prop_assert!(first.1 == second.1);
    }
}

fn up(ledger: &mut Ledger, effects: &mut Effects) -> SlotId {
    let slot = ledger.add_slot(Weight(1));
    let incarnation = ledger.next_incarnation(slot);
    assert!(ledger.up(slot, incarnation, effects));
    slot
}

fn plain(attempts: u32, order_by_key: bool) -> LedgerPolicy {
    LedgerPolicy {
        attempts,
        order_by_key,
        longest_retry: Duration::MAX,
        hold: 100,
        hold_waiting: 100,
        window: WindowConfig {
            min: 4,
            max: 4,
            target: Duration::from_micros(1_000),
        },
        first_version: 0,
        first_number: 1,
    }
}

#[test]
fn a_job_that_comes_with_no_attempt_left_is_rejected_at_once() {
    let (mut ledger, mut effects) = (Ledger::new(plain(3, false)), Effects::default());
    assert_eq!(ledger.leased((), LeaseId(1), 4, None, false, &mut effects), None);
    let [item] = &effects.settle[..] else {
        panic!("{effects:?}")
    };
    let Verdict::Reject(rejection) = &item.verdict else {
        panic!("{item:?}")
    };
    assert_eq!(rejection.reason, DeadReason::Poison { attempts: 3 });
    assert_eq!(ledger.leases(), 0);
}

#[test]
fn what_is_taken_back_goes_in_front_in_its_order_at_no_cost_and_a_late_word_on_it_is_stale() {
    let (mut ledger, mut effects) = (Ledger::new(plain(3, true)), Effects::default());
    let (busy, idle) = (up(&mut ledger, &mut effects), up(&mut ledger, &mut effects));
    let mut lease = |lease, key| {
        ledger
            .leased((), LeaseId(lease), 1, key, false, &mut effects)
            .unwrap()
    };
    let key = Some(KeyHash(7));
    let tickets = [
        lease(1, None),
        lease(2, key),
        lease(3, None),
        lease(4, key),
        lease(5, None),
    ];
    let mut offers = Vec::new();
    ledger.offer(&mut offers);
    ledger.assigned(&[Choice::Slot(busy); 3], &mut effects);
    let late: Vec<_> = effects
        .deliver
        .drain(..)
        .map(|handed| (handed.ticket, handed.number))
        .collect();
    assert_eq!(late.len(), 3, "the later job of the key waits");
    let mut recalled = ledger.recallable(busy);
    assert_eq!(recalled.entries, tickets[..3]);
    // The first one has begun.
    recalled.entries.remove(0);
    ledger.recalled(busy, &recalled, &mut effects);
    assert!(ledger.is_stuck(busy) && ledger.has_stuck());
    assert_eq!(ledger.seat(busy).map(|seat| (seat.load, seat.room)), Some((1, 0)));
    for (ticket, number) in &late[1..] {
        let word = ledger.settled(Moment::START, *ticket, *number, Report::Done, &mut effects);
        assert_eq!(word, Err(Stale));
    }
    offers.clear();
    ledger.offer(&mut offers);
    let again: Vec<_> = offers.iter().map(|offer| (offer.ticket, offer.attempt)).collect();
    assert_eq!(again, [(tickets[1], 1), (tickets[2], 1), (tickets[4], 1)]);
    ledger.assigned(&[Choice::Slot(idle); 3], &mut effects);
    let slots: Vec<_> = effects.deliver.iter().map(|handed| handed.slot).collect();
    assert_eq!(slots, [idle; 3]);
    ledger.recalled(busy, &Recalled::default(), &mut effects);
    ledger.served(busy, 1, Duration::from_millis(20), &mut effects);
    assert!(!ledger.has_stuck(), "it has said a word");
}

/// First in, first out: the producers of a group with one consumer see their jobs done in the order of their sends, whether a
/// job came alone or with neighbours.
#[test]
fn a_job_that_came_alone_does_not_overtake_a_block_that_came_before_it() {
    let (mut ledger, mut effects) = (Ledger::new(plain(3, false)), Effects::default());
    let slot = up(&mut ledger, &mut effects);
    let block = |ledger: &mut Ledger, lease: u64| {
        ledger.leased_block((), LeaseId(lease << 6), Places::first(1), [].into_iter())
    };
    let alone = |ledger: &mut Ledger, effects: &mut Effects, lease| {
        ledger
            .leased((), LeaseId(lease), 1, None, false, effects)
            .unwrap()
    };
    let first = block(&mut ledger, 1);
    let second = alone(&mut ledger, &mut effects, 2);
    let third = block(&mut ledger, 3);
    let mut order = Vec::new();
    for _ in 0..3 {
        let mut offers = Vec::new();
        ledger.offer(&mut offers);
        ledger.assigned(&[Choice::Slot(slot); 3], &mut effects);
        order.extend(effects.deliver.drain(..).map(|handed| handed.ticket));
        order.extend(effects.pieces.drain(..).map(|handed| handed.ticket));
    }
    assert_eq!(order, [first, second, third]);
}

#[test]
fn what_a_dead_consumer_held_goes_in_front_of_everything_leased_after_it() {
    let (mut ledger, mut effects) = (Ledger::new(plain(3, false)), Effects::default());
    let slot = up(&mut ledger, &mut effects);
    let tickets: Vec<_> = (1..=8)
        .map(|lease| {
            ledger
                .leased((), LeaseId(lease), 1, None, false, &mut effects)
                .unwrap()
        })
        .collect();
    let mut offers = Vec::new();
    ledger.offer(&mut offers);
    assert_eq!(offers.len(), 4, "as many as there is room for");
    ledger.assigned(&[Choice::Slot(slot); 4], &mut effects);
    let incarnation = ledger.incarnation(slot);
    let first = tickets[0];
    ledger.down(
        Moment::START,
        slot,
        incarnation,
        &Cause::Stopped,
        |ticket, (), _| ticket == first,
        &mut effects,
    );
    let incarnation = ledger.next_incarnation(slot);
    ledger.up(slot, incarnation, &mut effects);
    ledger.offer(&mut offers);
    let again: Vec<_> = offers[4..]
        .iter()
        .map(|offer| (offer.ticket, offer.attempt))
        .collect();
    // The window was halved, but never below its minimum.
    assert_eq!(
        again,
        [(tickets[0], 2), (tickets[1], 1), (tickets[2], 1), (tickets[3], 1)]
    );
}
