//! Children added, ended, started again, removed and listed while the supervisor runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix::{Context, Handler, Message, MessageResult, ResponseFuture};
use tokio::sync::oneshot;

use super::{TreeSupervisor, supervisor_of};
use crate::actors::supervision::errors::ChildError;
use crate::actors::supervision::ready_child::AnyChild;
use crate::rules::supervision::{ChildNumber, ChildRequestError, Wish};
use crate::types::{ChildCounts, ChildKind, ChildState, TreeNode};

/// List and start a child. Answered when it is up, or has not started.
#[derive(Message)]
#[rtype(result = "Result<(), ChildError>")]
pub(super) struct AddChild(pub(super) Arc<dyn AnyChild>);

/// Do something with one child. Answered when it is done; for an end, when the child has ended.
#[derive(Message)]
#[rtype(result = "Result<(), ChildError>")]
pub(super) struct WishFor {
    pub(super) child: Arc<str>,
    pub(super) wish: Wish,
}

/// Draw the tree.
#[derive(Message)]
#[rtype(result = "Vec<TreeNode>")]
pub(super) struct AskTree;

/// Count the children.
#[derive(Message)]
#[rtype(result = "ChildCounts")]
pub(super) struct AskCounts;

impl Handler<AddChild> for TreeSupervisor {
    type Result = ResponseFuture<Result<(), ChildError>>;

    fn handle(&mut self, AddChild(spec): AddChild, context: &mut Context<Self>) -> Self::Result {
        let name = Arc::clone(spec.name());
        if self.child_set.is_ending() {
            return at_once(Err(ChildError::SupervisorGone));
        }
        if let Some(problem) = spec.problem() {
            return at_once(Err(ChildError::BadSpec { child: name, problem }));
        }
        if self.numbers.contains_key(&name) {
            let supervisor = self.shared.path();
            return at_once(Err(ChildError::NameTaken {
                supervisor,
                child: name,
            }));
        }
        let child = self.list(spec, true);
        let (answer, answered) = oneshot::channel();
        self.awaited.adding.insert(child, answer);
        self.child_set.start(child, &mut self.orders);
        self.carry_out(context);
        later(answered)
    }
}

impl Handler<WishFor> for TreeSupervisor {
    type Result = ResponseFuture<Result<(), ChildError>>;

    fn handle(
        &mut self,
        WishFor { child: name, wish }: WishFor,
        context: &mut Context<Self>,
    ) -> Self::Result {
        let Some(child) = self.numbers.get(&name).copied() else {
            return at_once(Err(self.unknown(name)));
        };
        let (answer, answered) = oneshot::channel();
        let lives = self.state(child) != ChildState::Ended;
        match wish {
            Wish::Terminate if lives => self.awaited.terminating.entry(child).or_default().push(answer),
            Wish::Restart if !lives => {
                self.adding_again(child, answer);
            }
            _ => {
                // Done, or not, as soon as the rules have spoken.
                let _ = answer.send(Ok(()));
            }
        }
        let done = self.child_set.wish(child, wish, &mut self.orders);
        self.carry_out(context);
        match done {
            Ok(()) => later(answered),
            Err(ChildRequestError::NotEnded(state)) => {
                at_once(Err(ChildError::NotEnded { child: name, state }))
            }
            Err(ChildRequestError::Unknown) => at_once(Err(self.unknown(name))),
            Err(ChildRequestError::FamilyEnds) => at_once(Err(ChildError::SupervisorGone)),
        }
    }
}

impl Handler<AskTree> for TreeSupervisor {
    type Result = ResponseFuture<Vec<TreeNode>>;

    fn handle(&mut self, _: AskTree, _: &mut Context<Self>) -> Self::Result {
        let nodes = self.entries.iter().map(|(child, entry)| {
            let node = TreeNode {
                name: Arc::clone(entry.spec.name()),
                kind: entry.spec.kind(),
                about: entry.spec.about(),
                restart: entry.spec.policy().restart,
                state: self.state(*child),
                life: self.life(*child),
                last_down: entry.last.as_ref().map(|down| down.cause.clone()),
                children: Vec::new(),
            };
            (node, supervisor_of(&*entry.spec))
        });
        let nodes: Vec<_> = nodes.collect();
        Box::pin(async move {
            let mut drawn = Vec::with_capacity(nodes.len());
            for (mut node, supervisor) in nodes {
                if let Some(supervisor) = supervisor
                    && node.state == ChildState::Up
                {
                    // One that ends meanwhile is drawn without its children.
                    node.children = supervisor.nodes().await.unwrap_or_default();
                }
                drawn.push(node);
            }
            drawn
        })
    }
}

impl Handler<AskCounts> for TreeSupervisor {
    type Result = MessageResult<AskCounts>;

    fn handle(&mut self, _: AskCounts, _: &mut Context<Self>) -> Self::Result {
        let mut counts = ChildCounts {
            specs: self.entries.len(),
            ..ChildCounts::default()
        };
        for (child, entry) in &self.entries {
            counts.active += usize::from(self.state(*child) == ChildState::Up);
            match entry.spec.kind() {
                ChildKind::Supervisor => counts.supervisors += 1,
                ChildKind::Worker => counts.workers += 1,
            }
        }
        MessageResult(counts)
    }
}

impl TreeSupervisor {
    /// A child that is started again by wish is answered like one that is added, but stays listed if it does not start.
    fn adding_again(&mut self, child: ChildNumber, answer: super::Answer) {
        self.awaited.restarting.insert(child, answer);
        if let Some(entry) = self.entries.get(&child) {
            entry.spec.open_again();
        }
    }

    fn unknown(&self, child: Arc<str>) -> ChildError {
        let known = self.shared.known();
        ChildError::Unknown {
            supervisor: self.shared.path(),
            child,
            known,
        }
    }
}

type Later<T> = Pin<Box<dyn Future<Output = T>>>;

fn at_once<T: 'static>(answer: Result<T, ChildError>) -> Later<Result<T, ChildError>> {
    Box::pin(std::future::ready(answer))
}

fn later(answered: oneshot::Receiver<Result<(), ChildError>>) -> Later<Result<(), ChildError>> {
    // Nobody answers any more once the supervisor has ended.
    Box::pin(async move { answered.await.unwrap_or(Err(ChildError::SupervisorGone)) })
}
