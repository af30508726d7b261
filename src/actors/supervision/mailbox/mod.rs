//! The mailbox of a supervised actor: the messages that wait for it, over all of its lives.
//!
//! actix keeps the messages of an actor in a mailbox that dies with the actor. Here they wait outside: a future inside the
//! actor (`mail_pump.rs`) takes them one by one, each only when the actor can handle it. So a life that ends takes along at
//! most what it had in hand, everything else waits for the next life, in order. The lock is held for a push or a pop and
//! never while a message is handled.

mod closing;
mod ends;
mod life_notes;
mod message;

use std::any::type_name;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use actix::{Actor, Context};

use crate::actors::supervision::errors::NotDelivered;
use crate::actors::supervision::messages::{LifeFault, Reports};
use crate::rules::supervision::ChildNumber;
use crate::types::{Cause, Down};

use ends::News;
pub(super) use life_notes::LifeNotes;
pub use message::UndeliveredMessage;
pub(super) use message::{QueuedMessage, Undelivered};

/// How many ends of lives are remembered, for senders that ask late.
const REMEMBERED: usize = 8;

/// The bounds of a mailbox, in messages.
#[derive(Debug, Clone, Copy)]
pub(in crate::actors::supervision) struct Bounds {
    /// For `try_send`.
    pub(in crate::actors::supervision) capacity: usize,
    /// For everything.
    pub(in crate::actors::supervision) limit: usize,
    /// For what arrives while no life is up.
    pub(in crate::actors::supervision) stash: usize,
}

/// What the handles of a supervised actor and its lives share.
pub(in crate::actors::supervision) struct PersistentMailbox<A: Actor> {
    /// The path from the root; set when the child is added to a supervisor.
    path: OnceLock<Arc<str>>,
    name: Arc<str>,
    bounds: Bounds,
    queue: Mutex<Queue<A>>,
    /// Changes with each message that was handled or answered.
    progress: AtomicU64,
    /// Answers that are being worked on.
    open_answers: AtomicU64,
    news: Mutex<News>,
    undelivered: Option<Undelivered>,
}

struct Queue<A: Actor> {
    waiting: VecDeque<Box<dyn QueuedMessage<A>>>,
    address: DoorState,
    /// Messages that arrived since the last life ended.
    stashed: usize,
    /// Set while the mail pump sleeps.
    waker: Option<Waker>,
    /// The actor is asked to stop.
    stop: bool,
    /// Whether the present life was ever asked to.
    asked: bool,
    /// The present life, and where to tell that it shall end.
    present: Option<(Arc<Reports>, ChildNumber, u64)>,
}

#[derive(Debug, Clone)]
enum DoorState {
    /// A life takes messages.
    Up,
    /// No life is up; messages wait.
    Down,
    /// No life will follow.
    Over(NotDelivered),
}

impl<A: Actor> Queue<A> {
    fn is_present(&self, life: u64) -> bool {
        self.present
            .as_ref()
            .is_some_and(|(_, _, present)| *present == life)
    }
}

/// What the mail pump gets.
pub(in crate::actors::supervision) enum Next<A: Actor> {
    QueuedMessage(Box<dyn QueuedMessage<A>>),
    Stop,
    /// This life is over: what waits belongs to its successor.
    Fenced,
    Nothing,
}

fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding one of these locks; if the code of a listener ever did, the data are whole.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<A: Actor<Context = Context<A>>> PersistentMailbox<A> {
    pub(in crate::actors::supervision) fn new(
        name: Arc<str>,
        bounds: Bounds,
        undelivered: Option<Undelivered>,
    ) -> Self {
        Self {
            path: OnceLock::new(),
            name,
            bounds,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                address: DoorState::Down,
                stashed: 0,
                waker: None,
                stop: false,
                asked: false,
                present: None,
            }),
            progress: AtomicU64::new(0),
            open_answers: AtomicU64::new(0),
            news: Mutex::default(),
            undelivered,
        }
    }

    /// The path of the child, or its name before it was added anywhere.
    pub(in crate::actors::supervision) fn path(&self) -> Arc<str> {
        Arc::clone(self.path.get().unwrap_or(&self.name))
    }

    pub(in crate::actors::supervision) fn set_path(&self, path: Arc<str>) {
        // A child that moves to another tree keeps its first path; the name is the same.
        let _ = self.path.set(path);
    }

    pub(in crate::actors::supervision) fn actor(&self) -> &'static str {
        type_name::<A>()
    }

    /// Puts a message into the mailbox, or gives it back with the reason.
    pub(in crate::actors::supervision) fn push<P: QueuedMessage<A> + 'static>(
        &self,
        parcel: Box<P>,
        only_below_capacity: bool,
    ) -> Result<(), (Box<P>, NotDelivered)> {
        let mut queue = open(&self.queue);
        let waiting = queue.waiting.len();
        let refused = match &queue.address {
            DoorState::Up if only_below_capacity && waiting >= self.bounds.capacity => {
                Some(NotDelivered::Full(self.bounds.capacity))
            }
            DoorState::Up => None,
            DoorState::Down if queue.stashed >= self.bounds.stash => {
                Some(NotDelivered::StashFull(self.bounds.stash))
            }
            DoorState::Down => {
                queue.stashed += 1;
                None
            }
            DoorState::Over(why) => Some(why.clone()),
        };
        let refused = refused
            .or_else(|| (waiting >= self.bounds.limit).then_some(NotDelivered::Full(self.bounds.limit)));
        if let Some(why) = refused {
            return Err((parcel, why));
        }
        queue.waiting.push_back(parcel);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The next thing for the mail pump of this life to do. With nothing to do, `waker` is woken by the next push. A life that
    /// was given up gets nothing more.
    pub(in crate::actors::supervision) fn next(&self, life: u64, waker: &Waker) -> Next<A> {
        let mut queue = open(&self.queue);
        if !queue.is_present(life) {
            return Next::Fenced;
        }
        if queue.stop {
            queue.stop = false;
            return Next::Stop;
        }
        match queue.waiting.pop_front() {
            Some(parcel) => Next::QueuedMessage(parcel),
            None => {
                if !queue.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    queue.waker = Some(waker.clone());
                }
                Next::Nothing
            }
        }
    }

    /// This life is up.
    pub(in crate::actors::supervision) fn up(&self, life: u64) {
        let mut queue = open(&self.queue);
        if queue.is_present(life) && matches!(queue.address, DoorState::Down) {
            queue.address = DoorState::Up;
            queue.stashed = 0;
        }
    }

    /// A life begins: what an earlier one was asked concerns it no more, and what comes waits.
    pub(in crate::actors::supervision) fn begin(&self, reports: Arc<Reports>, child: ChildNumber, life: u64) {
        let mut queue = open(&self.queue);
        queue.present = Some((reports, child, life));
        queue.stop = false;
        queue.asked = false;
        queue.waker = None;
        queue.stashed = 0;
        queue.address = DoorState::Down;
    }

    /// A life has ended, and what it had in hand with it; nothing of it has been dropped yet. False if that was known: it
    /// was given up before, and told as such.
    pub(in crate::actors::supervision) fn ended(&self, down: &Arc<Down>) -> bool {
        {
            let mut queue = open(&self.queue);
            if !queue.is_present(down.life) {
                return false;
            }
            if matches!(queue.address, DoorState::Up) {
                queue.address = DoorState::Down;
            }
            queue.stashed = 0;
            queue.waker = None;
            queue.present = None;
        }
        let mut news = open(&self.news);
        if news.last.len() == REMEMBERED {
            news.last.pop_front();
        }
        news.last.push_back(Arc::clone(down));
        true
    }

    /// Ends the present life, because that of an actor at `path` ended to which this one is linked.
    pub(in crate::actors::supervision) fn end_by_link(&self, path: Arc<str>) {
        let present = open(&self.queue).present.clone();
        if let Some((reports, child, life)) = present {
            let cause = Cause::Linked(path);
            reports.faults.do_send(LifeFault { child, life, cause });
        }
    }

    /// Whether the present life was asked to stop.
    pub(in crate::actors::supervision) fn was_asked(&self) -> bool {
        open(&self.queue).asked
    }

    /// Asks the present life to stop.
    pub(in crate::actors::supervision) fn ask_to_stop(&self) {
        let waker = {
            let mut queue = open(&self.queue);
            queue.stop = true;
            queue.asked = true;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many messages wait.
    pub(in crate::actors::supervision) fn len(&self) -> usize {
        open(&self.queue).waiting.len()
    }

    /// A number that changes with each step of progress, and whether there is anything to do.
    pub(in crate::actors::supervision) fn pulse(&self) -> (u64, bool) {
        let busy = self.len() > 0 || self.open_answers.load(Ordering::Relaxed) > 0;
        (self.progress.load(Ordering::Relaxed), busy)
    }

    pub(in crate::actors::supervision) fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::actors::supervision) fn answer_begins(&self) {
        self.open_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::actors::supervision) fn answer_ends(&self) {
        self.open_answers.fetch_sub(1, Ordering::Relaxed);
        self.progressed();
    }
}
