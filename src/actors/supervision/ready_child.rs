//! A child that was added to a supervisor: how each of its lives is made.

use std::any::{Any, type_name};
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context};

use super::bus::TreeBus;
use super::child::{Child, ChildPolicy, Factory, PostKeeper};
use super::errors::SupervisorStartError;
use super::handle::Handle;
use super::mail_pump::MailPump;
use super::mailbox::LifeNotes;
use super::messages::{ChildDown, Reports};
use crate::actors::cell::{CellHooks, CellSeed, spawn_in_cell};
use crate::rules::supervision::ChildNumber;
use crate::types::{Cause, ChildKind, Down, Restart, TreeEvent};

/// What a supervisor prepares for one life of a child; it travels to the arbiter of that life.
pub(super) struct Cradle {
    pub(super) child: ChildNumber,
    pub(super) life: u64,
    pub(super) seed: CellSeed,
    pub(super) reports: Arc<Reports>,
}

/// A child of any type, as its supervisor sees it.
pub(super) trait AnyChild: Send + Sync {
    fn name(&self) -> &Arc<str>;
    /// The path from the root.
    fn path(&self) -> Arc<str>;
    fn policy(&self) -> ChildPolicy;
    fn kind(&self) -> ChildKind;
    /// The type of the actor, or what a supervisor does.
    fn about(&self) -> Arc<str>;
    /// The child is added to the supervisor at this path.
    fn added_to(&self, path: &str, bus: &TreeBus);
    /// Its present life was given up: its thread does not come back.
    fn give_up(&self, down: &Arc<Down>);
    fn make(&self, cradle: Cradle);
    fn ask_to_stop(&self);
    /// It was over and is to live again: messages wait for it.
    fn open_again(&self);
    /// No life follows by itself, for this cause if one is still there. Tells of messages that could not be delivered.
    fn over(&self, cause: &Cause, bus: &TreeBus);
    /// No life follows, ever.
    fn close(&self, cause: &Cause, bus: &TreeBus);
    fn pulse(&self) -> (u64, bool);
    /// Its `Handle<A>`, or its `SupervisorHandle`, as something that can be asked for its type.
    fn handle(&self) -> Box<dyn Any + Send>;
    fn actor(&self) -> &'static str;
    /// Looks for what cannot be in the supervisors below it.
    fn check_below(&self, _: &str) -> Result<(), SupervisorStartError> {
        Ok(())
    }
    /// What cannot be about its specification, in words.
    fn problem(&self) -> Option<String>;
}

/// A child that was handed to a supervisor.
pub(super) struct ReadyChild<A: Actor<Context = Context<A>>> {
    pub(super) name: Arc<str>,
    pub(super) make: Factory<A>,
    pub(super) policy: ChildPolicy,
    pub(super) quiet: bool,
    pub(super) mailbox: PostKeeper<A>,
}

impl<A: Actor<Context = Context<A>>> ReadyChild<A> {
    pub(super) fn from_child(mut child: Child<A>) -> Self {
        let mailbox = child.take_post();
        Self {
            name: child.name,
            make: child.make,
            policy: child.policy,
            quiet: child.quiet,
            mailbox,
        }
    }

    fn tell_undelivered(&self, messages: usize, bus: &TreeBus) {
        if messages > 0 {
            let child = self.mailbox.path();
            bus.tell(TreeEvent::Undelivered { child, messages });
        }
    }

    /// Makes one life in a cell of its own. With `tells_up` it is up when `started` is done.
    pub(super) fn make_life(&self, cradle: Cradle, tells_up: bool) {
        let Cradle {
            child,
            life,
            seed,
            reports,
        } = cradle;
        self.mailbox.begin(Arc::clone(&reports), child, life);
        let notes = Rc::new(LifeNotes::new(
            Arc::clone(&self.mailbox),
            (child, life),
            self.policy.deadline,
            self.quiet,
            Arc::clone(&reports),
        ));
        let (at_end, mailbox) = (Rc::clone(&notes), Arc::clone(&self.mailbox));
        let told = Rc::new(std::cell::OnceCell::new());
        let noted = Rc::clone(&told);
        let hooks = CellHooks {
            ended: Box::new(move |cause| {
                if let Some(down) = at_end.ended(cause) {
                    // The first and only call.
                    let _ = noted.set(down);
                }
            }),
            down: Box::new(move |_| {
                if let Some(told) = told.get() {
                    mailbox.tell_down(told);
                    reports.down.do_send(ChildDown {
                        child,
                        down: Arc::clone(told),
                    });
                }
            }),
        };
        let make = &self.make;
        spawn_in_cell(seed, hooks, self.quiet, |context| {
            let actor = make(context);
            context.spawn(MailPump::new(notes, tells_up));
            actor
        });
    }
}

impl<A: Actor<Context = Context<A>>> AnyChild for ReadyChild<A> {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn path(&self) -> Arc<str> {
        self.mailbox.path()
    }

    fn policy(&self) -> ChildPolicy {
        self.policy
    }

    fn kind(&self) -> ChildKind {
        ChildKind::Worker
    }

    fn about(&self) -> Arc<str> {
        short_name(self.actor()).into()
    }

    fn give_up(&self, down: &Arc<Down>) {
        self.mailbox.ended(down);
        self.mailbox.tell_down(down);
    }

    fn added_to(&self, path: &str, _: &TreeBus) {
        self.mailbox.set_path(format!("{path}/{}", self.name).into());
    }

    fn make(&self, cradle: Cradle) {
        self.make_life(cradle, true);
    }

    fn ask_to_stop(&self) {
        self.mailbox.ask_to_stop();
    }

    fn open_again(&self) {
        self.mailbox.open_again();
    }

    fn over(&self, cause: &Cause, bus: &TreeBus) {
        self.tell_undelivered(self.mailbox.over(cause), bus);
    }

    fn close(&self, cause: &Cause, bus: &TreeBus) {
        self.tell_undelivered(self.mailbox.close(cause), bus);
    }

    fn pulse(&self) -> (u64, bool) {
        self.mailbox.pulse()
    }

    fn handle(&self) -> Box<dyn Any + Send> {
        Box::new(Handle {
            mailbox: Arc::clone(&self.mailbox),
        })
    }

    fn actor(&self) -> &'static str {
        type_name::<A>()
    }

    fn problem(&self) -> Option<String> {
        problem_of(&self.name, self.policy)
    }
}

/// What no child can be, in words.
pub(super) fn problem_of(name: &str, policy: ChildPolicy) -> Option<String> {
    if name.is_empty() || name.contains('/') {
        return Some("a name is not empty and has no `/`, which parts the names of a path".to_owned());
    }
    if policy.significant && policy.restart == Restart::Permanent {
        return Some(
            "a permanent child cannot be significant, since it never ends by itself for good; make it transient or \
             temporary"
                .to_owned(),
        );
    }
    if policy.deadline.is_some_and(|deadline| deadline.is_zero()) {
        return Some("a deadline of zero is over before any work; leave it out for none".to_owned());
    }
    None
}

/// A type's name without the path of its module.
fn short_name(full: &str) -> &str {
    let generics = full.find('<').unwrap_or(full.len());
    let module = full.get(..generics).and_then(|head| head.rfind("::"));
    module.and_then(|colons| full.get(colons + 2..)).unwrap_or(full)
}
