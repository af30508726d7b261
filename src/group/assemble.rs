//! Puts the actors of a group together.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::Recipient;

use super::handle::Group;
use super::producer::Producer;
use crate::actors::cell::{CellHooks, CellSeed, spawn_in_cell};
use crate::actors::consumer::ConsumerMaker;
use crate::actors::dead_letter_store::DeadLetterStore;
use crate::actors::guardian::{Guardian, GuardianParts, QueueOfGroup, StrategyMaker};
use crate::actors::intake::Intake;
use crate::actors::queue::{QueueRest, QueueRoom, QueueSource};
use crate::actors::results::Mailboxes;
use crate::actors::supervisor::GroupContext;
use crate::actors::{Clock, EventBus, StrategyShell};
use crate::protocol::{Assign, Desired, OwnGroup, QueueAddr, SinkFactory};
use crate::rules::backoff::Backoff;
use crate::rules::job_ids::JobIds;
use crate::rules::strategies;
use crate::types::{Affinity, Capabilities, Epoch, GroupConfig, Guarded, JobRef, SlotId, Weight};

/// A queue source without its type.
pub(super) struct QueueParts<J: Send + Sync + 'static> {
    pub(super) queue: Box<dyn QueueOfGroup<J> + Send>,
    pub(super) clock: Clock,
    pub(super) earlier: Epoch,
    pub(super) capabilities: Capabilities,
    pub(super) room: Option<QueueRoom>,
}

pub(super) fn assemble<J: Send + Sync + 'static, O: Send + 'static>(
    config: GroupConfig,
    seed: u64,
    (maker, make_sink): (Box<dyn ConsumerMaker<J, O>>, Option<SinkFactory<O>>),
    make_strategy: StrategyMaker,
    queue: QueueParts<J>,
) -> Group<J, O> {
    let QueueParts {
        queue,
        clock,
        earlier,
        capabilities,
        room,
    } = queue;
    let bus = EventBus::new(clock);
    let mailboxes = Arc::new(Mailboxes::new(&config.queue));
    let intake = intake(capabilities, room, clock, &mailboxes, &bus);
    intake.own_waits().set_consumers(config.consumers);
    let own = OwnGroup {
        producer: Arc::new(Producer::new(Arc::clone(&intake), Arc::clone(&mailboxes))),
        waits: Arc::clone(intake.own_waits()),
    };
    let desired = Desired {
        consumers: config.consumers,
        weights: weights(&config),
        paused: false,
        closed: false,
        draining: false,
    };
    let results = config.results;
    let dead_letter_store =
        (!capabilities.dead_letter).then(|| Arc::new(DeadLetterStore::new(&config.queue)));
    let own_shelf = dead_letter_store.clone();
    let (told, boxes) = (bus.clone(), Arc::clone(&mailboxes));
    let group_context_maker = Box::new(move |guardian, tell, dead_lettered| GroupContext {
        retry_backoff: Backoff::new(&config.retry.backoff),
        recalls: config.affinity != Some(Affinity::Strict),
        config,
        seed,
        capabilities,
        maker,
        clock,
        earlier,
        bus: told,
        mailboxes: boxes,
        dead_letter_store: own_shelf,
        own,
        make_sink,
        guardian,
        tell,
        dead_lettered,
    });
    let parts = GuardianParts {
        group_context_maker,
        queue,
        is_volatile: capabilities.volatile,
        make_strategy,
        intake,
        mailboxes,
        desired,
    };
    let (guardian, shared) = Guardian::new(parts, bus, clock);
    Group::new(
        shared,
        guardian.spawn(),
        dead_letter_store,
        results,
        capabilities.volatile,
    )
}

fn intake<J: Send + Sync + 'static, O: Send + 'static>(
    capabilities: Capabilities,
    room: Option<QueueRoom>,
    clock: Clock,
    mailboxes: &Arc<Mailboxes<J, O>>,
    bus: &EventBus,
) -> Arc<Intake<J>> {
    let awaiting = Arc::clone(mailboxes);
    // Names must differ from those of every other group and process, so their seed never comes from the configuration.
    let names = JobIds::new(fastrand::u64(..));
    let forget = move |job: &JobRef<J>| {
        if let Some(reply_to) = job.reply_to() {
            awaiting.unexpect(reply_to, [job.id()]);
        }
    };
    let intake = Intake::new(capabilities, room, clock, names, Box::new(forget), bus.clone());
    Arc::new(intake)
}

fn weights(config: &GroupConfig) -> BTreeMap<SlotId, Weight> {
    (0_u32..)
        .map(SlotId)
        .zip(config.weights.iter().copied().map(Weight))
        .collect()
}

pub(super) fn queue_parts<J: Send + Sync + 'static>(source: impl QueueSource<J>) -> QueueParts<J> {
    let (capabilities, room, earlier) = (source.capabilities(), source.room(), source.epoch());
    let clock = source.clock().unwrap_or_else(Clock::start);
    let source = Guarded::new(source);
    QueueParts {
        queue: Box::new(SourceOfGroup { source, clock }),
        clock,
        earlier,
        capabilities,
        room,
    }
}

/// A queue source with the clock of its group.
struct SourceOfGroup<S> {
    source: Guarded<S>,
    clock: Clock,
}

impl<J: Send + Sync + 'static, S: QueueSource<J>> QueueOfGroup<J> for SourceOfGroup<S> {
    fn start(&self, seed: CellSeed, hooks: CellHooks) -> Option<QueueAddr<J>> {
        spawn_in_cell(seed, hooks, false, |_| self.source.create(self.clock)).map(QueueAddr::new)
    }

    fn take_rest(&self) -> Option<QueueRest<J>> {
        self.source.take_rest()
    }
}

/// The built-in strategy that the configuration names.
pub(super) fn built_in(config: &GroupConfig, random: u64) -> StrategyMaker {
    let name = config.strategy;
    Box::new(move |seed, hooks| {
        let address = spawn_in_cell(seed, hooks, false, |_| {
            StrategyShell::new(strategies::by_name(name, random))
        });
        address.map(actix::Addr::recipient) as Option<Recipient<Assign>>
    })
}
