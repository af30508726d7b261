//! Children: what a supervisor needs to know of an actor to make it, end it and make it again.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context};

use super::handle::Handle;
use super::mailbox::{Bounds, PersistentMailbox, Undelivered, UndeliveredMessage};

use crate::types::{Cause, Guarded, Restart, Shutdown};

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
    pub(super) name: Arc<str>,
    pub(super) make: Factory<A>,
    pub(super) policy: ChildPolicy,
    pub(super) bounds: Bounds,
    pub(super) undelivered: Option<Undelivered>,
    pub(super) quiet: bool,
    pub(super) mailbox: Option<PostKeeper<A>>,
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

    pub(super) fn take_post(&mut self) -> PostKeeper<A> {
        self.mailbox.take().unwrap_or_else(|| {
            let mailbox =
                PersistentMailbox::new(Arc::clone(&self.name), self.bounds, self.undelivered.clone());
            PostKeeper(Arc::new(mailbox))
        })
    }
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
