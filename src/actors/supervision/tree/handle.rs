//! What others hold of a supervisor.

use std::any::type_name;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message};
use tokio::sync::watch;

use super::requests::{AddChild, AskCounts, AskTree, WishFor};
use super::{TreeSupervisor, supervisor_of};
use crate::actors::supervision::bus::TreeEvents;
use crate::actors::supervision::child::Child;
use crate::actors::supervision::errors::ChildError;
use crate::actors::supervision::handle::Handle;
use crate::actors::supervision::mailbox::PersistentMailbox;
use crate::actors::supervision::ready_child::{AnyChild, ReadyChild};
use crate::actors::supervision::shared::{Lives, TreeShared};
use crate::actors::{Drained, Resident};
use crate::rules::supervision::Wish;
use crate::types::{ChildCounts, ChildKind, ChildState, Ending, Restart, TreeNode};

/// A handle of a supervisor; it stays valid over restarts of the supervisor. Dropping it ends nothing.
///
/// The supervisor answers while children of it loop in restarts. Answers of one that has ended are
/// [`ChildError::SupervisorGone`].
#[derive(Clone)]
pub struct SupervisorHandle {
    actor: Handle<TreeSupervisor>,
    shared: Arc<TreeShared>,
}

impl std::fmt::Debug for SupervisorHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SupervisorHandle({})", self.path())
    }
}

impl SupervisorHandle {
    pub(in crate::actors::supervision) fn new(
        mailbox: Arc<PersistentMailbox<TreeSupervisor>>,
        shared: Arc<TreeShared>,
    ) -> Self {
        Self {
            actor: Handle { mailbox },
            shared,
        }
    }

    /// The path from the root.
    pub fn path(&self) -> Arc<str> {
        self.shared.path()
    }

    /// Adds a child and starts it; done when it is up. It ends for good with this life of the supervisor.
    ///
    /// # Errors
    /// [`ChildError::NameTaken`], [`ChildError::BadSpec`]; [`ChildError::StartFailed`] if it did not start: then it is not
    /// listed.
    pub async fn add<A: Actor<Context = Context<A>>>(
        &self,
        child: Child<A>,
    ) -> Result<Handle<A>, ChildError> {
        let child = ReadyChild::from_child(child);
        let handle = Handle {
            mailbox: Arc::clone(&child.mailbox),
        };
        self.ask(AddChild(Arc::new(child))).await??;
        Ok(handle)
    }

    /// Ends a child as it wishes to be ended; done when it has. It stays listed unless it is temporary.
    ///
    /// # Errors
    /// [`ChildError::Unknown`].
    pub async fn terminate(&self, child: &str) -> Result<(), ChildError> {
        self.wish(child, Wish::Terminate).await
    }

    /// Starts a child again that has ended; done when it is up. Unlike a restart by the rules it spends no budget.
    ///
    /// # Errors
    /// [`ChildError::Unknown`], [`ChildError::NotEnded`], [`ChildError::StartFailed`].
    pub async fn restart(&self, child: &str) -> Result<(), ChildError> {
        self.wish(child, Wish::Restart).await
    }

    /// Lists a child no more that has ended.
    ///
    /// # Errors
    /// [`ChildError::Unknown`], [`ChildError::NotEnded`].
    pub async fn delete(&self, child: &str) -> Result<(), ChildError> {
        self.wish(child, Wish::Delete).await
    }

    async fn wish(&self, child: &str, wish: Wish) -> Result<(), ChildError> {
        self.ask(WishFor {
            child: child.into(),
            wish,
        })
        .await?
    }

    /// How many children there are.
    ///
    /// # Errors
    /// [`ChildError::SupervisorGone`].
    pub async fn count(&self) -> Result<ChildCounts, ChildError> {
        self.ask(AskCounts).await
    }

    /// The children, in the order of their start; supervisors among them with their own.
    ///
    /// # Errors
    /// [`ChildError::SupervisorGone`].
    pub async fn children(&self) -> Result<Vec<TreeNode>, ChildError> {
        self.nodes().await
    }

    /// The tree from here on, as data; its `Display` draws it.
    ///
    /// # Errors
    /// [`ChildError::SupervisorGone`].
    pub async fn tree(&self) -> Result<TreeNode, ChildError> {
        let children = self.nodes().await?;
        Ok(TreeNode {
            name: Arc::clone(&self.shared.name),
            kind: ChildKind::Supervisor,
            about: self.shared.about(),
            restart: Restart::Permanent,
            state: ChildState::Up,
            life: 1,
            last_down: None,
            children,
        })
    }

    pub(super) async fn nodes(&self) -> Result<Vec<TreeNode>, ChildError> {
        // Boxed, since a tree is asked for from supervisor to supervisor.
        let asked: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(self.ask(AskTree));
        asked.await
    }

    async fn ask<M>(&self, message: M) -> Result<M::Result, ChildError>
    where
        TreeSupervisor: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.actor
            .send(message)
            .await
            .map_err(|_| ChildError::SupervisorGone)
    }

    /// The handle of the actor at this path below the supervisor: `till`, `shelves/left`.
    ///
    /// # Errors
    /// [`ChildError::Unknown`], [`ChildError::OtherActor`].
    pub fn actor<A: Actor<Context = Context<A>>>(&self, path: &str) -> Result<Handle<A>, ChildError> {
        let child = self.find(path)?;
        match child.handle().downcast::<Handle<A>>() {
            Ok(handle) => Ok(*handle),
            Err(_) => Err(ChildError::OtherActor {
                child: path.into(),
                is: child.actor(),
                asked: type_name::<A>(),
            }),
        }
    }

    /// The handle of the supervisor at this path below this one.
    ///
    /// # Errors
    /// [`ChildError::Unknown`], [`ChildError::OtherActor`].
    pub fn supervisor(&self, path: &str) -> Result<Self, ChildError> {
        let child = self.find(path)?;
        supervisor_of(&*child).ok_or_else(|| ChildError::OtherActor {
            child: path.into(),
            is: child.actor(),
            asked: "supervisor",
        })
    }

    fn find(&self, path: &str) -> Result<Arc<dyn AnyChild>, ChildError> {
        let (first, rest) = path
            .split_once('/')
            .map_or((path, None), |(first, rest)| (first, Some(rest)));
        let found = self.shared.find(first).ok_or_else(|| ChildError::Unknown {
            supervisor: self.path(),
            child: first.into(),
            known: self.shared.known(),
        })?;
        match (rest, supervisor_of(&*found)) {
            (None, _) => Ok(found),
            (Some(rest), Some(below)) => below.find(rest),
            (Some(_), None) => Err(ChildError::OtherActor {
                child: first.into(),
                is: found.actor(),
                asked: "supervisor",
            }),
        }
    }

    /// The events of the whole tree from now on.
    pub fn events(&self) -> TreeEvents {
        self.shared.bus().subscribe()
    }

    /// Ends the supervisor: first its children, youngest first, each as it wishes to be ended. Done when all have ended;
    /// dropping the future does not call it off. The root of a tree stays ended; another supervisor is started again by
    /// its own, if it is permanent: use [`terminate`](Self::terminate) there.
    pub async fn stop(&self) -> Ending {
        // Which life it is about is settled before that life can end.
        let (lives, life) = self.present_life();
        self.actor.mailbox.ask_to_stop();
        end_of(lives, life).await
    }

    /// Whether it has ended and is not started again by itself. For the root of a tree: whether the tree has ended.
    pub fn is_over(&self) -> bool {
        self.actor.is_over()
    }

    /// The tree as something that lives on a host.
    pub(in crate::actors::supervision) fn resident(&self) -> Resident {
        let (asked, ends) = (self.clone(), self.clone());
        Resident {
            what: format!("tree {}", self.path()).into(),
            is_over: Box::new(move || asked.is_over()),
            drain: Box::new(move |within| {
                Box::pin(async move {
                    let stopped = tokio::time::timeout(within, ends.stop()).await;
                    Drained {
                        unfinished: Vec::new(),
                        has_ended: stopped.is_ok(),
                    }
                })
            }),
        }
    }

    /// Waits until the present life of the supervisor has ended, and says why. At once if it has.
    pub async fn ended(&self) -> Ending {
        let (lives, life) = self.present_life();
        end_of(lives, life).await
    }

    fn present_life(&self) -> (watch::Receiver<Lives>, u64) {
        let lives = self.shared.lives.subscribe();
        let life = lives.borrow().present();
        (lives, life)
    }
}

async fn end_of(mut lives: watch::Receiver<Lives>, life: u64) -> Ending {
    let found = lives.wait_for(|lives| lives.ending_of(life).is_some()).await;
    // The sender lives as long as the handle that is waited with, so there is an answer.
    let ending = found.ok().and_then(|lives| lives.ending_of(life).cloned());
    ending.unwrap_or(Ending::Stopped)
}
