//! The supervisor: one loop of demand, assign, deliver and settle around the ledger.
//!
//! It never holds the only copy of a job: the queue keeps what it leased. So a supervisor that dies loses nothing. Its
//! consumers end with it (their cells are held by it), and its successor, of a later epoch, has the queue take back every
//! lease and begins with an empty ledger.
//!
//! | file | what it does |
//! |---|---|
//! | `turn.rs` | carries out what the ledger decided |
//! | `settling.rs` | takes in what consumers settled |
//! | `leases.rs`, `queue_link.rs`, `queue_answers.rs` | talk to the queue |
//! | `choosing.rs`, `strategy_link.rs` | talk to the strategy |
//! | `outgoing.rs` | sends outcomes to those who wait for them |
//! | `replies.rs` | has them sent to those who wait outside of the process |
//! | `expiring.rs` | keeps the time of leased jobs that expire |
//! | `dead_letters.rs` | keeps dead letters for a queue that has none |
//! | `circuit_link.rs` | pauses a group whose jobs fail one after the other |
//! | `consumers.rs`, `slots.rs`, `slot.rs` | start consumers, see them end, start others |
//! | `revoking.rs` | gives leases back that the queue revokes |
//! | `recalling.rs` | takes back what a consumer that does not move has not begun |
//! | `watching.rs` | finds consumers that hang |
//! | `steering.rs` | becomes what the group shall be |

mod choosing;
mod circuit_link;
mod consumers;
mod dead_letters;
mod detach_on_drop;
mod expiring;
mod group_context;
mod leases;
mod outgoing;
mod queue_answers;
mod queue_link;
mod recalling;
mod replies;
mod revoking;
mod settling;
mod slot;
mod slots;
mod steering;
mod strategy_link;
mod turn;
mod watching;

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Recipient};
use tokio::sync::mpsc;

use crate::actors::arbiter_pool::ArbiterPool;
use crate::protocol::{Assign, Desired, QueueAddr, ResultsUp, SettleQueue};
use crate::rules::ledger::{Effects, Ledger, LedgerPolicy};
use crate::rules::rate::{KeyRateLimit, RateLimit};
use crate::rules::supervision::{ChildSet, SupervisionRules};
use crate::types::{Block, Epoch, JobRef, Moment, QueueCounts};

use circuit_link::CircuitLink;
use dead_letters::Histories;
use expiring::Expiring;
pub(crate) use group_context::GroupContext;
use outgoing::Outgoing;
use queue_link::QueueLink;
use replies::Replies;
use revoking::Drains;
use slots::Slots;
use strategy_link::StrategyLink;
use watching::Looks;

/// What makes one life of the supervisor different from the others.
pub(crate) struct Life {
    /// The fence against everything that earlier lives left behind.
    pub(crate) epoch: Epoch,
    /// Counted from one.
    pub(crate) number: u64,
    /// Cloned into every consumer's cell; see `SpawnParams::exists`.
    pub(crate) exists: mpsc::Sender<Infallible>,
}

/// The ledger, with what it carries for the supervisor.
type JobLedger<J> = Ledger<JobRef<J>, Arc<Block<J>>>;

/// The supervisor actor.
pub(crate) struct Supervisor<J: Send + Sync + 'static, O: Send + 'static> {
    group: Arc<GroupContext<J, O>>,
    /// This life. Later lives are greater.
    epoch: Epoch,
    /// For the jitter of waits. Seeded, so that a simulation repeats itself.
    random: fastrand::Rng,
    ledger: JobLedger<J>,
    /// What the ledger decided and nobody has carried out yet; empty between two messages.
    effects: Effects<JobRef<J>, Arc<Block<J>>>,
    slots: Slots<J, O>,
    /// Where consumers put what they settled. Made at the start, because it needs this actor's address.
    settles: Option<Arc<SettleQueue<O>>>,
    queue: QueueLink<J>,
    strategy: StrategyLink,
    outgoing: Outgoing<J, O>,
    replies: Replies<J, O>,
    desired: Desired,
    circuit: CircuitLink,
    looks: Looks,
    /// Leased jobs that can still expire. Written by leases and deaths, struck when the lease ends.
    expiring: Expiring,
    /// Leases that the queue wants back and that consumers may finish. Written by its word and by what ends, cleared by the
    /// answer.
    drains: Drains,
    /// Only for a queue without dead letters; else empty.
    histories: Histories,
    told: Told,
}

/// What the supervisor has told, for its health.
#[derive(Default)]
struct Told {
    /// Whether it was told that the hold is full, and not yet that it has room again.
    hold_is_full: bool,
    bad_choices: u64,
    stale_settles: u64,
    refused_settles: u64,
    /// What the queue said last that it holds, and when. Shared with the questions that are on their way.
    queue: Rc<Cell<Option<(QueueCounts, Moment)>>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    pub(crate) fn new(
        group: Arc<GroupContext<J, O>>,
        life: Life,
        queue: QueueAddr<J>,
        strategy: Recipient<Assign>,
        results: ResultsUp<J, O>,
        desired: Desired,
    ) -> Self {
        let Life {
            epoch,
            number,
            exists,
        } = life;
        let config = &group.config;
        let mut ledger = Ledger::new(policy_of(&group, number));
        if let Some(plant) = crate::protocol::faults::ask(|world| world.plant()).flatten() {
            ledger.plant(plant);
        }
        ledger.set_limits(rate_of(&group, number), KeyRateLimit::new(&config.key_rate));
        let (child_set, arbiters) = (
            ChildSet::new(SupervisionRules::of_slots(&config.restart)),
            ArbiterPool::new(config.placement),
        );
        Self {
            random: fastrand::Rng::with_seed(group.seed ^ number),
            epoch,
            ledger,
            effects: Effects::default(),
            slots: Slots::new(child_set, arbiters, exists),
            settles: None,
            queue: QueueLink::new(queue),
            strategy: StrategyLink::new(strategy),
            outgoing: Outgoing::new(results),
            replies: Replies::new(),
            desired,
            circuit: CircuitLink::new(&config.circuit),
            looks: Looks::default(),
            expiring: Expiring::default(),
            drains: Drains::default(),
            histories: Histories::new(config.queue.history),
            told: Told::default(),
            group,
        }
    }

    fn now(&self) -> Moment {
        self.group.clock.now()
    }
}

/// The limit of the group. A later life does not know what the one before handed out.
fn rate_of<J: Send + Sync + 'static, O: Send + 'static>(
    group: &GroupContext<J, O>,
    life: u64,
) -> Option<RateLimit> {
    let mut rate = RateLimit::new(&group.config.rate)?;
    if life > 1 {
        rate.exhaust(group.clock.now());
    }
    Some(rate)
}

/// What the ledger of this life is told. `life`: counted from one.
fn policy_of<J: Send + Sync + 'static, O: Send + 'static>(
    group: &GroupContext<J, O>,
    life: u64,
) -> LedgerPolicy {
    let (config, capabilities) = (&group.config, group.capabilities);
    let longest_retry = capabilities.longest_retry();
    LedgerPolicy {
        attempts: config.retry.attempts,
        order_by_key: config.order_by_key,
        longest_retry,
        hold: config.hold,
        // A queue that takes every retry back counts what is leased within its capacity, so a long line of one key is bounded
        // by the queue itself. One that does not has retries kept here, as many as there are.
        hold_waiting: match longest_retry {
            Duration::MAX => config.hold.max(config.queue.capacity),
            _ => config.hold,
        },
        window: config.window.clone(),
        first_version: life << 32,
        first_number: life << 40,
    }
}

// Nothing in here must stay in place in memory; outputs of users are only moved.
impl<J: Send + Sync + 'static, O: Send + 'static> Unpin for Supervisor<J, O> {}

impl<J: Send + Sync + 'static, O: Send + 'static> Actor for Supervisor<J, O> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.settles = Some(Arc::new(SettleQueue::new(context.address().recipient())));
        self.attach(context);
        self.steer(context);
        self.turn(context);
    }
}
