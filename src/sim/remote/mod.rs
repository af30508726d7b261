//! A queue outside of the process, for simulated runs: a broker that outlives every process, and a link to it that breaks.
//!
//! ```text
//! group ──protocol──▶ RemoteQueueActor ──settles and pushes under way──▶ link ──▶ broker
//!                                      ◀──────── leases, until the link breaks ──┘
//! ```
//!
//! It does what brokers do and a queue of the same process never does:
//!
//! | it | when |
//! |---|---|
//! | answers pushes and settles a moment later, and not at all what was under way when the link broke; of that, some arrived | always |
//! | ends all leases at once | [`FaultKind::LinkLost`](super::FaultKind::LinkLost), the death of the queue's actor |
//! | ends the leases of one lane, at once or with some time to finish | [`FaultKind::LaneRevoked`](super::FaultKind::LaneRevoked) |
//! | hands the same job out again, to whoever is attached, while the last one who had it may still be at work | after each of those |
//! | hands jobs of different lanes out in an order that the seed shuffles; within a lane in order | always |
//! | marks what was leased when the process ended without a goodbye as suspects | [`FaultKind::ProcessEnd`](super::FaultKind::ProcessEnd) |

mod actor;
mod broker;
mod client;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::actor::RemoteQueueActor;
use self::broker::Broker;
use self::client::Client;
use super::plan::Plan;
use crate::actors::Clock;
use crate::actors::queue::{QueueRoom, QueueShell, QueueSource};
use crate::protocol::faults::{self, BrokerFault, WorldBroker};
use crate::types::{Capabilities, Epoch, RevokeKind, Revoked};

/// The queue of a broker in a simulated run. Make it in [`Simulation::over`](super::Simulation::over): there each life of the
/// group gets its own link to the one broker of the run. Outside of a run it is a queue in memory whose link never breaks.
///
/// Half of the seeds have a broker that keeps attempts, delays and dead letters, the other half one that can do nothing but hand
/// out jobs again; that, and which jobs are mixed with which, is the plan's seed.
pub struct RemoteQueue<J: Send + Sync + 'static> {
    shared: Arc<Shared<J>>,
}

/// The broker with the link to it. It outlives processes; `client` and `shell` are those of the last one.
struct Shared<J: Send + Sync + 'static> {
    state: Mutex<State<J>>,
}

struct State<J: Send + Sync + 'static> {
    broker: Broker<J>,
    client: Client<J>,
    shell: QueueShell<J>,
    clock: Option<Clock>,
}

impl<J: Send + Sync + 'static> RemoteQueue<J> {
    /// The queue of the run's broker, for a process that begins.
    pub fn of(plan: &Plan) -> Self {
        let make = || -> Arc<dyn WorldBroker> { Arc::new(Shared::<J>::new(plan.seed)) };
        let kept = faults::ask(|world| world.broker(&make));
        let shared = kept.and_then(|kept| (kept as Arc<dyn Any + Send + Sync>).downcast().ok());
        let shared = shared.unwrap_or_else(|| Arc::new(Shared::new(plan.seed)));
        shared.lock().process_begins();
        Self { shared }
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for RemoteQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQueue").finish_non_exhaustive()
    }
}

impl<J: Send + Sync + 'static> QueueSource<J> for RemoteQueue<J> {
    type Actor = RemoteQueueActor<J>;

    fn create(&self, clock: Clock) -> Self::Actor {
        let mut state = self.shared.lock();
        let clock = *state.clock.get_or_insert(clock);
        state.actor_begins();
        RemoteQueueActor::new(Arc::clone(&self.shared), clock)
    }

    fn clock(&self) -> Option<Clock> {
        self.shared.lock().clock
    }

    fn epoch(&self) -> Epoch {
        self.shared.lock().shell.epoch()
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.lock().broker.capabilities()
    }

    fn room(&self) -> Option<QueueRoom> {
        None
    }
}

impl<J: Send + Sync + 'static> Shared<J> {
    fn new(seed: u64) -> Self {
        let state = State {
            broker: Broker::new(seed),
            client: Client::default(),
            shell: QueueShell::new(),
            clock: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// The group has given a lane back, or nobody was there to do so.
    fn lane_is_given_back(&self, lane: u32, process: u64, wait: Duration) {
        let mut state = self.lock();
        let Some(now) = state.clock.as_ref().map(Clock::now) else {
            return;
        };
        if state.broker.process() == process {
            if state.broker.is_given_back(lane, now.after(wait)) {
                state.lane_is_lost(lane);
            }
            state.shell.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Send + Sync + 'static> WorldBroker for Shared<J> {
    fn strike(self: Arc<Self>, fault: BrokerFault) {
        let mut state = self.lock();
        let Some(now) = state.clock.as_ref().map(Clock::now) else {
            return;
        };
        match fault {
            BrokerFault::LinkLost { wait } => {
                state.link_breaks();
                state.client.is_back_at = Some(now.after(wait));
                state.tell_that_all_is_lost();
            }
            BrokerFault::LaneRevoked { lane, within, wait } => {
                let (leases, process) = state.broker.take_lane_away(lane);
                let kind = match within {
                    Duration::ZERO => RevokeKind::Lost,
                    within => RevokeKind::Drain { within },
                };
                if kind == RevokeKind::Lost {
                    state.lane_is_lost(lane);
                }
                let released = state.shell.revoke(Revoked::Leases(leases), kind);
                let shared = Arc::clone(&self);
                actix_rt::spawn(async move {
                    released.await;
                    shared.lane_is_given_back(lane, process, wait);
                });
            }
        }
        state.shell.wake();
    }
}
