//! The supervisor: one loop of demand, assign, deliver and settle around the ledger.
//!
//! It never holds the only copy of a job: the queue keeps what it leased. So a supervisor that dies loses nothing. Its
//! consumers end with it (their cells are held by it), and its successor, of a later epoch, has the queue take back every
//! lease and begins with an empty ledger.
//!
//! | file | what it does |
//! |---|---|
//! | `turn.rs` | carries out what the ledger decided |
//! | `desk.rs` | takes in what consumers settled |
//! | `leases.rs` | talks to the queue |
//! | `expiring.rs` | keeps the time of leased jobs that expire |
//! | `burying.rs` | keeps dead letters for a queue that has none |
//! | `choosing.rs` | talks to the strategy |
//! | `consumers.rs` | starts consumers, sees them end, starts others |
//! | `recalling.rs` | takes back what a consumer that does not move has not begun |
//! | `watching.rs` | finds consumers that hang |
//! | `steering.rs` | becomes what the group shall be |

mod burying;
mod choosing;
mod consumers;
mod desk;
mod expiring;
mod last_words;
mod leases;
mod recalling;
mod slot;
mod steering;
mod turn;
mod watching;
mod wiring;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Recipient, SpawnHandle};
use tokio::sync::mpsc;

use crate::actors::homes::Homes;
use crate::protocol::{AddressedOutcome, Assign, Desired, QueueDoor, ResultsUp, Settle, SettleDesk};
use crate::rules::ledger::{Effects, Ledger, LedgerPolicy, Offer};
use crate::rules::strategies::AssignJob;
use crate::rules::supervision::{Family, FamilyRules, Order};
use crate::rules::watch::Standstill;
use crate::words::{Block, Epoch, KeyHash, Moment, Roster, Sealed, SlotId, Ticket};

use burying::Histories;
use expiring::Expiring;
use slot::SlotActor;
use watching::PlannedLook;
pub(crate) use wiring::Wiring;

/// What makes one life of the supervisor different from the others.
pub(crate) struct Life {
    /// The fence against everything that earlier lives left behind.
    pub(crate) epoch: Epoch,
    /// Counted from one.
    pub(crate) number: u64,
    /// Cloned into every consumer's cell; see `Berth::exists`.
    pub(crate) exists: mpsc::Sender<Infallible>,
}

/// The supervisor actor.
pub(crate) struct Supervisor<J: Send + Sync + 'static, O: Send + 'static> {
    wiring: Arc<Wiring<J, O>>,
    /// This life. Later lives are greater.
    epoch: Epoch,
    /// For the jitter of waits. Seeded, so that a simulation repeats itself.
    random: fastrand::Rng,
    ledger: Ledger<Sealed<J>, Arc<Block<J>>>,
    /// Which slot gets its next consumer when. A slot is the child of the same number.
    family: Family,
    /// What the family decided and nobody has carried out yet; empty between two messages.
    orders: Vec<Order>,
    /// What the ledger decided and nobody has carried out yet; empty between two messages.
    effects: Effects<Sealed<J>, Arc<Block<J>>>,
    /// The consumers, by slot number; as long as the ledger's list of slots.
    slots: Vec<SlotActor<J, O>>,
    homes: Homes,
    /// Cloned into every consumer's cell; see `Berth::exists`.
    exists: mpsc::Sender<Infallible>,
    /// Where consumers put what they settled. Made at the start, because it needs this actor's address.
    desk: Option<Arc<SettleDesk<O>>>,
    queue: QueueDoor<J>,
    /// Counts the lives of the queue that this supervisor saw, so that a late answer of an earlier life is known as such.
    queue_life: u64,
    /// Whether the queue confirmed the present epoch. No demand before that.
    attached: bool,
    /// Settles that the queue has not answered, in order; sent again to a restarted queue. Bounded by the leases.
    unanswered: VecDeque<(u64, Settle)>,
    next_settle: u64,
    /// The suspect whose begin is in the settle of this number. Set when that is sent, cleared when it is answered.
    beginning: Option<(u64, Ticket)>,
    /// Only for a queue without dead letters; else empty.
    histories: Histories,
    strategy: Recipient<Assign>,
    /// Counts the lives of the strategy, as `queue_life` does.
    strategy_life: u64,
    /// Whether the strategy looks at jobs. Its answers say so; a new life is asked as if it did.
    strategy_looks: bool,
    /// When the open question to the strategy was asked.
    asked: Option<Moment>,
    results: ResultsUp<J, O>,
    /// Outcomes that nobody has been told yet; empty between two messages.
    outcomes: Vec<AddressedOutcome<J, O>>,
    /// The roster while it is not with the strategy. `None` also after the strategy died with it.
    roster: Option<Roster>,
    /// Slots whose seat in the roster is out of date.
    outdated: Vec<SlotId>,
    /// Slots that have deliveries ready to be sent; empty between two messages.
    sending: Vec<SlotId>,
    desired: Desired,
    /// Memory that is used again for the hashes of the keys of a block.
    keys: Vec<KeyHash>,
    /// Memory that is used again for each question to the strategy.
    offers: Vec<Offer>,
    questions: Vec<AssignJob>,
    /// The timer for the next look at the consumers.
    next_look: Option<PlannedLook>,
    /// Whether a look is planned for what could be taken back.
    recall_is_planned: bool,
    /// Whether this actor itself ran all the time, as its looks saw it.
    standstill: Standstill,
    /// How long after the last look the first limit passes. Set by a look, taken by the timer for the next one.
    due_in: Option<Duration>,
    /// Leased jobs that can still expire. Written by leases and deaths, struck when the lease ends.
    expiring: Expiring,
    /// When the next kept retry, or the next expiry, wakes this actor, and the timer for it.
    due_timer: Option<(Moment, SpawnHandle)>,
    /// Slots whose consumer is starting, or asked to end, as of the last look; they decide how often to look.
    starting_slots: usize,
    ending_slots: usize,
    /// Whether the first consumers have come up, so that work can begin with fair shares. Set once, never cleared.
    opened: bool,
    /// When the queue last heard of all leases that are held.
    extended: Moment,
    /// Whether it was told that the hold is full, and not yet that it has room again.
    told_full: bool,
    bad_choices: u64,
    stale_settles: u64,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    pub(crate) fn new(
        wiring: Arc<Wiring<J, O>>,
        life: Life,
        queue: QueueDoor<J>,
        strategy: Recipient<Assign>,
        results: ResultsUp<J, O>,
        desired: Desired,
    ) -> Self {
        let Life {
            epoch,
            number,
            exists,
        } = life;
        let (config, capabilities) = (&wiring.config, wiring.capabilities);
        let histories = Histories::new(config.queue.history);
        let keep_retries = !(capabilities.delay && capabilities.attempts && capabilities.dead_letter);
        let policy = LedgerPolicy {
            attempts: config.retry.attempts,
            order_by_key: config.order_by_key,
            keep_retries,
            hold: config.hold,
            // A queue with delays of its own counts what is leased within its capacity, so a long line of one key is bounded
            // by the queue itself. One without them keeps every retry leased, as many as it likes.
            hold_waiting: if keep_retries {
                config.hold
            } else {
                config.hold.max(config.queue.capacity)
            },
            window: config.window.clone(),
            first_version: number << 32,
            first_number: number << 40,
        };
        let family = Family::new(FamilyRules::of_slots(&config.restart));
        let mut ledger = Ledger::new(policy);
        if let Some(plant) = crate::protocol::faults::ask(|world| world.plant()).flatten() {
            ledger.plant(plant);
        }
        Self {
            random: fastrand::Rng::with_seed(wiring.seed ^ number),
            homes: Homes::new(config.placement),
            wiring,
            epoch,
            ledger,
            family,
            orders: Vec::new(),
            effects: Effects::default(),
            slots: Vec::new(),
            exists,
            desk: None,
            queue,
            queue_life: 0,
            attached: false,
            unanswered: VecDeque::new(),
            beginning: None,
            next_settle: 0,
            histories,
            strategy,
            strategy_life: 0,
            strategy_looks: true,
            asked: None,
            results,
            outcomes: Vec::new(),
            roster: None,
            outdated: Vec::new(),
            sending: Vec::new(),
            desired,
            keys: Vec::new(),
            offers: Vec::new(),
            questions: Vec::new(),
            next_look: None,
            recall_is_planned: false,
            standstill: Standstill::default(),
            due_in: None,
            expiring: Expiring::default(),
            due_timer: None,
            starting_slots: 0,
            ending_slots: 0,
            opened: false,
            extended: Moment::START,
            told_full: false,
            bad_choices: 0,
            stale_settles: 0,
        }
    }

    fn now(&self) -> Moment {
        self.wiring.clock.now()
    }
}

// Nothing in here must stay in place in memory; outputs of users are only moved.
impl<J: Send + Sync + 'static, O: Send + 'static> Unpin for Supervisor<J, O> {}

impl<J: Send + Sync + 'static, O: Send + 'static> Actor for Supervisor<J, O> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.desk = Some(Arc::new(SettleDesk::new(context.address().recipient())));
        self.attach(context);
        self.steer(context);
        self.turn(context);
    }
}
