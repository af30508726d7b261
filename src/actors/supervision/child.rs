//! Children: what a supervisor needs to know of an actor to make it, end it and make it again.

use std::any::{Any, type_name};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context};

use super::bus::TreeBus;
use super::errors::SupervisorStartError;
use super::handle::Handle;
use super::mail_pump::MailPump;
use super::mailbox::{Bounds, LifeNotes, PersistentMailbox, Undelivered, UndeliveredMessage};
use super::messages::{ChildDown, Reports};
use crate::actors::cell::{CellHooks, CellSeed, spawn_in_cell};
use crate::rules::supervision::ChildNumber;
use crate::types::{Cause, ChildKind, Down, Guarded, Restart, Shutdown, TreeEvent};

/// Makes each life of an actor, on the arbiter on which that life is lived.
pub(super) type Factory<A> = Arc<dyn Fn(&mut Context<A>) -> A + Send + Sync>;

/// An actor to be supervised: how it is made, and by which policies it is kept alive.
///
/// Any actor whose context is `actix::Context` will do, unchanged. Its [`handle`](Self::handle) can be given to others
/// before the actor exists; messages wait until it is up.
///
/// | policy | default |
/// |---|---|
/// | [`restart`](Self::restart) | [`Restart::Permanent`] |
/// | [`shutdown`](Self::shutdown) | within 5 s |
/// | [`significant`](Self::significant) | no |
/// | [`deadline`](Self::deadline) | none: a hang is not noticed |
/// | [`limit`](Self::limit), [`stash`](Self::stash), [`capacity`](Self::capacity) | 65,536, 1,024 and 16 messages |
#[must_use = "a description does nothing until it is started or added to a supervisor"]
pub struct Child<A: Actor<Context = Context<A>>> {
    name: Arc<str>,
    make: Factory<A>,
    policy: ChildPolicy,
    bounds: Bounds,
    undelivered: Option<Undelivered>,
    quiet: bool,
    mailbox: Option<PostKeeper<A>>,
}

/// What a supervisor decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChildPolicy {
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) significant: bool,
    pub(super) deadline: Option<Duration>,
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for Child<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child({}, {:?})", self.name, self.policy)
    }
}

impl<A: Actor<Context = Context<A>>> Child<A> {
    /// A child of this name. `make` is called for each life, on the arbiter on which that life is lived; a panic in it is
    /// a failed start.
    pub fn new(name: impl Into<Arc<str>>, make: impl Fn() -> A + Send + Sync + 'static) -> Self {
        Self::with_context(name, move |_| make())
    }

    /// As [`new`](Self::new), for actors that need their context when they are made, as in `Actor::create`.
    pub fn with_context(
        name: impl Into<Arc<str>>,
        make: impl Fn(&mut Context<A>) -> A + Send + Sync + 'static,
    ) -> Self {
        // What a closure holds is the user's, and is dropped with the last handle.
        let make = Guarded::new(make);
        Self {
            name: name.into(),
            make: Arc::new(move |context: &mut Context<A>| make(context)),
            policy: ChildPolicy {
                restart: Restart::Permanent,
                shutdown: Shutdown::default(),
                significant: false,
                deadline: None,
            },
            bounds: Bounds {
                capacity: 16,
                limit: 65_536,
                stash: 1_024,
            },
            undelivered: None,
            quiet: false,
            mailbox: None,
        }
    }

    /// Whether it is started again after its end.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// How it is ended.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.policy.shutdown = shutdown;
        self
    }

    /// Its end counts for the supervisor's [`auto_shutdown`](crate::supervision::SupervisorConfig::auto_shutdown). Not for
    /// permanent children: they never end by themselves for good.
    pub fn significant(mut self) -> Self {
        self.policy.significant = true;
        self
    }

    /// How long it may be at work without a step of progress, and on one asynchronous answer at all. Past it the life ends
    /// with [`Cause::DeadlinePassed`](crate::Cause::DeadlinePassed). A life that blocks its thread is replaced only if the
    /// supervisor lives on another thread ([`SupervisorSpec::placement`](super::SupervisorSpec::placement)).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.policy.deadline = Some(deadline);
        self
    }

    /// How many messages may wait in all, at least 1.
    pub fn limit(mut self, messages: usize) -> Self {
        self.bounds.limit = messages.max(1);
        self
    }

    /// How many messages may arrive and wait while the actor is being restarted, or before its first start.
    pub fn stash(mut self, messages: usize) -> Self {
        self.bounds.stash = messages;
        self
    }

    /// How many messages may wait for [`Handle::try_send`] to send another.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.bounds.capacity = messages;
        self
    }

    /// Called, in order, with each message that nobody waits for and that can no longer be delivered, when the actor is
    /// over for good. On the supervisor's thread; it should only hand the message on. A panic in it is logged and costs that
    /// one message, not those behind it.
    pub fn on_undelivered(mut self, hook: impl Fn(UndeliveredMessage) + Send + Sync + 'static) -> Self {
        let hook = Guarded::new(hook);
        self.undelivered = Some(Arc::new(move |message: UndeliveredMessage| (*hook)(message)));
        self
    }

    /// Panics of this actor are not printed by the panic hook; events, errors and tracing tell of them.
    pub fn quiet_panics(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// The handle. Bounds and hooks that are set after the first handle was taken do not reach it: take it last.
    pub fn handle(&mut self) -> Handle<A> {
        let keeper = self.take_post();
        let mailbox = Arc::clone(&keeper);
        self.mailbox = Some(keeper);
        Handle { mailbox }
    }

    fn take_post(&mut self) -> PostKeeper<A> {
        self.mailbox.take().unwrap_or_else(|| {
            let mailbox =
                PersistentMailbox::new(Arc::clone(&self.name), self.bounds, self.undelivered.clone());
            PostKeeper(Arc::new(mailbox))
        })
    }
}

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

/// A mailbox, as those hold it who can still make a life of its actor. When the last of them has gone, whoever waits for an
/// actor that was never started, or never will be again, gets the messages back.
pub(super) struct PostKeeper<A: Actor<Context = Context<A>>>(pub(super) Arc<PersistentMailbox<A>>);

impl<A: Actor<Context = Context<A>>> Deref for PostKeeper<A> {
    type Target = Arc<PersistentMailbox<A>>;

    fn deref(&self) -> &Arc<PersistentMailbox<A>> {
        &self.0
    }
}

impl<A: Actor<Context = Context<A>>> Drop for PostKeeper<A> {
    fn drop(&mut self) {
        self.0.close(&Cause::Killed);
    }
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
