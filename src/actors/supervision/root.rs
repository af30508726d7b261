//! The root of a tree: it starts the first supervisor and sees it end.

use actix::{Actor, ActorContext, AsyncContext, Context, Handler};

use super::bus::{OpenBus, TreeBus};
use super::errors::SupervisorStartError;
use super::messages::{ChildDown, ChildUp, LifeFault, Reports};
use super::nested::SupervisorChild;
use super::ready_child::{AnyChild, Cradle};
use super::tree::SupervisorHandle;
use crate::actors::cell::CellHandle;
use crate::types::Cause;

/// Starts a tree and waits until it is up.
pub(super) async fn start(
    child: SupervisorChild,
    events_kept: usize,
) -> Result<SupervisorHandle, SupervisorStartError> {
    let open_bus = OpenBus::new(events_kept);
    let bus = open_bus.bus();
    child.added_to("", &bus);
    let handle = child.supervisor_handle();
    let supervisor = child.path();
    let (up, is_up) = tokio::sync::oneshot::channel();
    RootKeeper {
        child,
        bus,
        _open_bus: open_bus,
        cell: None,
        up: Some(up),
        has_ended: false,
    }
    .start();
    match is_up.await {
        Ok(()) => Ok(handle),
        // It ended before it was up.
        Err(_) => Err(SupervisorStartError::Ended {
            supervisor,
            ending: handle.ended().await,
        }),
    }
}

/// Holds the cell of the root supervisor. It runs no code of the user, and ends with the tree, or with its arbiter: whichever
/// way it goes, nobody is left who waits for the tree.
struct RootKeeper {
    child: SupervisorChild,
    bus: TreeBus,
    /// Held until all is told.
    _open_bus: OpenBus,
    cell: Option<CellHandle>,
    /// Tells the starter. Dropped unsent if the tree ends first.
    up: Option<tokio::sync::oneshot::Sender<()>>,
    has_ended: bool,
}

impl RootKeeper {
    /// No supervisor follows the root: every actor of the tree is over, and whoever waits for one is told.
    fn end(&mut self, cause: &Cause) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.child.close(cause, &self.bus);
        self.up = None;
    }
}

impl Drop for RootKeeper {
    fn drop(&mut self) {
        // It stops only after its end, so whoever drops it before is its arbiter.
        self.end(&Cause::ArbiterEnded);
    }
}

impl Actor for RootKeeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let (cell, seed) = CellHandle::new();
        self.cell = Some(cell);
        let own = context.address();
        self.child.make(Cradle {
            child: 0,
            life: 1,
            seed,
            reports: Reports::to(own),
        });
        // Its own address keeps it alive, and is in the cradle; it stops when the tree has ended.
    }
}

impl Handler<ChildUp> for RootKeeper {
    type Result = ();

    fn handle(&mut self, _: ChildUp, _: &mut Context<Self>) {
        if let Some(up) = self.up.take() {
            // An error means that the starter waits no more; the tree goes on.
            let _ = up.send(());
        }
    }
}

impl Handler<LifeFault> for RootKeeper {
    type Result = ();

    fn handle(&mut self, fault: LifeFault, _: &mut Context<Self>) {
        if let Some(cell) = &mut self.cell {
            cell.end(fault.cause);
        }
    }
}

impl Handler<ChildDown> for RootKeeper {
    type Result = ();

    fn handle(&mut self, ChildDown { down, .. }: ChildDown, context: &mut Context<Self>) {
        self.end(&down.cause);
        context.stop();
    }
}
