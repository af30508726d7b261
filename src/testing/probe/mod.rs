//! A probe: a consumer that does what the test says and writes everything down.

mod consumer;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use consumer::ProbeConsumer;

use super::Gate;

use crate::types::{FencingToken, Incarnation, JobId, Key, SlotId};

/// What a probe does with a delivery.
///
/// | act | what the group sees | the consumer |
/// |---|---|---|
/// | `Ack` | the job is done | lives |
/// | `Fail` | the job is tried again after the backoff | lives |
/// | `FailAfter` | the job is tried again after this delay | lives |
/// | `Reject` | the job is a dead letter | lives |
/// | `Panic` | the consumer died | is replaced |
/// | `Hang` | nothing, until the deadline | is replaced then |
/// | `Wait` | nothing, until the gate opens, then the other act | lives |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Act {
    /// Does the job.
    Ack,
    /// Fails it.
    Fail,
    /// Fails it and asks for a delay.
    FailAfter(Duration),
    /// Fails it for good.
    Reject,
    /// Panics.
    Panic,
    /// Waits for ever, in an `await`.
    Hang,
    /// Waits at a gate, then does the other act. See [`behind`](Self::behind).
    Wait(Gate, Box<Self>),
}

impl Act {
    /// This act, once the gate lets it pass.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        Self::Wait(gate.clone(), Box::new(self))
    }
}

/// A delivery as a probe saw it; also what a probe returns for a job that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<J> {
    /// What the producer sent.
    pub job: J,
    /// The name of the job.
    pub id: JobId,
    /// Its key.
    pub key: Option<Key>,
    /// The attempt, counted from one.
    pub attempt: u32,
    /// Where the probe sat.
    pub slot: SlotId,
    /// Which life of the probe.
    pub incarnation: Incarnation,
    /// The token of the delivery.
    pub token: FencingToken,
}

/// What happened to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The probe began with it.
    Began,
    /// The probe did it.
    Acked,
    /// The probe failed it, or rejected it.
    Failed,
    /// The probe was dropped in the middle of it: a panic, or its life was ended.
    Dropped,
}

/// One line of a probe's log. The log is in the order in which things happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<J> {
    /// What happened.
    pub step: Step,
    /// To which delivery.
    pub seen: Seen<J>,
}

/// Makes [`ProbeConsumer`]s that act by one script and write into one log. Clones are the same probe.
///
/// A rule names a job by its payload; the first rule that fits decides; without one the job is acked.
///
/// ```
/// use consumer_group::{Group, Placement};
/// use consumer_group::testing::{Act, Probe, paused};
///
/// paused(async {
///     let probe = Probe::new().at(7, 1, Act::Panic);
///     let group = Group::builder()
///         .consumers(2, probe.consumers())
///         .placement(Placement::Local)
///         .configure(|config| config.quiet_panics = true)
///         .start()
///         .unwrap();
///     let done = group.producer().call(7_u64).await.unwrap();
///     assert_eq!(done.attempt, 2, "the first attempt ended its consumer");
///     assert_eq!(probe.deliveries().len(), 2);
///     assert_eq!(probe.lives().len(), 3, "two consumers, and one replacement");
/// });
/// ```
pub struct Probe<J> {
    shared: Arc<Shared<J>>,
}

type Rule<J> = (Box<dyn Fn(&J, u32) -> bool + Send + Sync>, Act);

struct Shared<J> {
    rules: Mutex<Vec<Rule<J>>>,
    notes: Mutex<Notes<J>>,
    /// Grows with every line of the log and every life.
    changes: watch::Sender<u64>,
}

struct Notes<J> {
    log: Vec<Entry<J>>,
    lives: Vec<(SlotId, Incarnation)>,
    starts_to_fail: usize,
}

impl<J: Clone + Send + Sync + 'static> Probe<J> {
    /// A probe that acks everything.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                rules: Mutex::new(Vec::new()),
                notes: Mutex::new(Notes {
                    log: Vec::new(),
                    lives: Vec::new(),
                    starts_to_fail: 0,
                }),
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// What to do with one attempt at a job.
    #[must_use]
    pub fn at(self, job: J, attempt: u32, act: Act) -> Self
    where
        J: PartialEq,
    {
        self.when(move |found, nth| *found == job && nth == attempt, act)
    }

    /// What to do with every attempt at a job.
    #[must_use]
    pub fn on(self, job: J, act: Act) -> Self
    where
        J: PartialEq,
    {
        self.when(move |found, _| *found == job, act)
    }

    /// What to do with the deliveries for which `fits` says yes to the job and the attempt.
    #[must_use]
    pub fn when(self, fits: impl Fn(&J, u32) -> bool + Send + Sync + 'static, act: Act) -> Self {
        lock(&self.shared.rules).push((Box::new(fits), act));
        self
    }

    /// Makes the next starts of consumers fail, this many of them.
    pub fn fail_starts(&self, starts: usize) {
        lock(&self.shared.notes).starts_to_fail = starts;
    }

    /// The factory, for [`GroupBuilder::consumers`](crate::GroupBuilder::consumers).
    pub fn consumers(&self) -> impl Fn() -> ProbeConsumer<J> + Send + Sync + 'static {
        let probe = self.clone();
        move || ProbeConsumer { probe: probe.clone() }
    }

    /// Everything that happened so far.
    pub fn log(&self) -> Vec<Entry<J>> {
        lock(&self.shared.notes).log.clone()
    }

    /// Every delivery that was begun so far, in order.
    pub fn deliveries(&self) -> Vec<Seen<J>> {
        self.seen(Step::Began)
    }

    /// Every delivery that was acked so far, in the order of the acks.
    pub fn acked(&self) -> Vec<Seen<J>> {
        self.seen(Step::Acked)
    }

    /// Every consumer that started so far.
    pub fn lives(&self) -> Vec<(SlotId, Incarnation)> {
        lock(&self.shared.notes).lives.clone()
    }

    /// Waits until the log is as `fits` wants it.
    pub async fn until(&self, mut fits: impl FnMut(&[Entry<J>]) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !fits(&lock(&self.shared.notes).log) {
            // An error would mean that the probe is gone; `self` holds it.
            let _ = changes.changed().await;
        }
    }

    /// Waits until this many deliveries have begun, all attempts counted.
    pub async fn until_begun(&self, deliveries: usize) {
        self.until(|log| count(log, Step::Began) >= deliveries).await;
    }

    /// Waits until this many deliveries were acked.
    pub async fn until_acked(&self, deliveries: usize) {
        self.until(|log| count(log, Step::Acked) >= deliveries).await;
    }

    fn seen(&self, step: Step) -> Vec<Seen<J>> {
        let notes = lock(&self.shared.notes);
        let found = notes.log.iter().filter(|entry| entry.step == step);
        found.map(|entry| entry.seen.clone()).collect()
    }

    fn act(&self, job: &J, attempt: u32) -> Act {
        let rules = lock(&self.shared.rules);
        let rule = rules.iter().find(|(fits, _)| fits(job, attempt));
        rule.map_or(Act::Ack, |(_, act)| act.clone())
    }
}

impl<J> Probe<J> {
    fn note(&self, write: impl FnOnce(&mut Notes<J>)) {
        // First the note, then the news: whoever is woken finds it.
        write(&mut lock(&self.shared.notes));
        self.shared.changes.send_modify(|changes| *changes += 1);
    }
}

fn count<J>(log: &[Entry<J>], step: Step) -> usize {
    log.iter().filter(|entry| entry.step == step).count()
}

/// A test that panicked while it held the lock has left a whole log.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J: Clone + Send + Sync + 'static> Default for Probe<J> {
    fn default() -> Self {
        Self::new()
    }
}

impl<J> Clone for Probe<J> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<J> fmt::Debug for Probe<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = lock(&self.shared.notes);
        f.debug_struct("Probe")
            .field("lines", &notes.log.len())
            .field("lives", &notes.lives.len())
            .finish_non_exhaustive()
    }
}
