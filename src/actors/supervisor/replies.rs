//! Outcomes for those who wait outside of this process: the queue hears of the end of such a job when the sink has confirmed.
//!
//! ```text
//! ledger ──verdict──▶ held back ──────────────confirmed──▶ settle ──▶ QUEUE
//!                         └──Reply──▶ SINK ──────┘
//!                               ▲        └─failed: again after a backoff
//! ```
//!
//! For the ledger the job is over at once, so its consumer and its key go on; only its lease lasts. If the supervisor ends before
//! the sink has confirmed, the queue gives the job to the next one.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Supervisor;
use crate::protocol::{Reply, Sink};
use crate::types::{
    Advice, EventKind, Failure, Guarded, JobRef, LeaseId, Rejection, Revoked, SettleItem, Verdict, caught,
};

/// How long a sink may take for one outcome.
const LIMIT: Duration = Duration::from_secs(30);

/// An outcome that may be sent several times.
type SharedReply<O> = Rc<Guarded<Reply<O>>>;

/// What is on its way to the sink, and waits for its word.
pub(super) struct Replies<J, O> {
    /// Made when the first outcome goes there; `None` before that.
    sink: Option<Sink<O>>,
    /// Outputs of jobs that were done, by lease; empty between two messages.
    outputs: BTreeMap<LeaseId, Guarded<O>>,
    /// Verdicts that are held back. Bounded: while there are many, nothing more is leased.
    held: BTreeMap<LeaseId, Held<J>>,
    /// Verdicts whose outcome was confirmed, on their way back to the effects; empty between two messages.
    confirmed: Vec<Held<J>>,
}

struct Held<J> {
    item: SettleItem,
    job: JobRef<J>,
    /// How often the sink failed.
    failures: u32,
}

impl<J, O> Replies<J, O> {
    pub(super) fn new() -> Self {
        Self {
            sink: None,
            outputs: BTreeMap::new(),
            held: BTreeMap::new(),
            confirmed: Vec::new(),
        }
    }

    /// How many verdicts are held back.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether the verdict on this lease is held back.
    pub(super) fn holds(&self, lease: LeaseId) -> bool {
        self.held.contains_key(&lease)
    }

    /// The leases of verdicts that are held back, of those that are meant.
    pub(super) fn meant(&self, what: &Revoked) -> Vec<LeaseId> {
        let is_meant = |held: &&Held<J>| match what {
            Revoked::All => true,
            Revoked::Lane(lane) => held.job.origin().is_some_and(|origin| origin.lane == *lane),
            Revoked::Leases(leases) => leases.contains(&held.item.lease),
        };
        let held = self.held.values().filter(is_meant);
        held.map(|held| held.item.lease).collect()
    }

    /// The lease has died, and with it what was to be said of it. The outcome may be sent all the same.
    pub(super) fn lose(&mut self, lease: LeaseId) {
        self.held.remove(&lease);
    }

    /// The leases that last because of it, each with its attempt.
    pub(super) fn leases(&self) -> impl Iterator<Item = (LeaseId, u32)> {
        self.held
            .values()
            .map(|held| (held.item.lease, held.item.attempt))
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// A job is done whose outcome is waited for outside.
    pub(super) fn keep_reply(&mut self, lease: LeaseId, job: JobRef<J>, output: Guarded<O>) {
        if self.group.make_sink.is_some() && is_asked(&job) {
            self.replies.outputs.insert(lease, output);
            // The verdict on it is among the effects, and finds its job there as one that was given up does.
            self.effects.ended.push((lease, job));
        }
    }

    /// Takes verdicts out of the effects whose outcome has to go to the sink first, and puts those back whose outcome is there.
    pub(super) fn hold_back(&mut self, context: &mut Context<Self>) {
        if self.group.make_sink.is_none() {
            return;
        }
        self.hold_new(context);
        for Held { item, job, .. } in std::mem::take(&mut self.replies.confirmed) {
            self.effects.ended.push((item.lease, job));
            self.effects.settle.push(item);
        }
    }

    fn hold_new(&mut self, context: &mut Context<Self>) {
        let asked = self.effects.ended.iter().filter(|(_, job)| is_asked(job));
        let mut asked: BTreeMap<_, _> = asked.cloned().collect();
        if asked.is_empty() {
            return;
        }
        let mut replies = Vec::new();
        self.effects.settle.retain(|item| {
            let outcome = match &item.verdict {
                Verdict::Ack => self.replies.outputs.remove(&item.lease).map(Ok),
                Verdict::Reject(rejection) => Some(Err((**rejection).clone())),
                Verdict::Retry(_) | Verdict::Renew(_) | Verdict::Extend | Verdict::Begin(_) => None,
            };
            let Some((outcome, job)) =
                outcome.and_then(|outcome| Some((outcome, asked.remove(&item.lease)?)))
            else {
                return true;
            };
            replies.extend(reply_of(&job, outcome).map(|reply| (item.lease, reply)));
            let held = Held {
                item: item.clone(),
                job,
                failures: 0,
            };
            self.replies.held.insert(item.lease, held);
            false
        });
        for (lease, reply) in replies {
            self.send_reply(lease, reply, Duration::ZERO, context);
        }
    }

    fn send_reply(
        &mut self,
        lease: LeaseId,
        reply: SharedReply<O>,
        after: Duration,
        context: &mut Context<Self>,
    ) {
        let (sink, sent) = (self.sink(), Rc::clone(&reply));
        let sending = async move {
            if !after.is_zero() {
                actix_rt::time::sleep(after).await;
            }
            sent_within_limit(sink?, &sent).await
        };
        context.spawn(sending.into_actor(self).map(move |sent, this, context| {
            this.reply_sent(lease, reply, sent, context);
        }));
    }

    fn sink(&mut self) -> Result<Sink<O>, Failure> {
        if let (None, Some(make)) = (&self.replies.sink, &self.group.make_sink) {
            let made = caught(make);
            self.replies.sink = Some(made.map_err(|message| panicked("the factory of the sink", &message))?);
        }
        let sink = self.replies.sink.clone();
        sink.ok_or_else(|| Failure::reject("the group has no sink"))
    }

    fn reply_sent(
        &mut self,
        lease: LeaseId,
        reply: SharedReply<O>,
        sent: Result<(), Failure>,
        context: &mut Context<Self>,
    ) {
        let Some(held) = self.replies.held.get_mut(&lease) else {
            return;
        };
        let again = match &sent {
            Ok(()) => None,
            Err(failure) => {
                let failures = held.failures;
                held.failures = failures.saturating_add(1);
                match failure.advice() {
                    Advice::Reject => None,
                    Advice::Retry(Some(after)) | Advice::Snooze(after) => Some(after),
                    Advice::Retry(None) => Some(self.group.retry_backoff.wait(failures, self.random.f64())),
                }
            }
        };
        if let Err(failure) = sent {
            let (job, reason) = (reply.job, Arc::from(failure.text()));
            self.group.bus.tell(EventKind::ReplyFailed { job, reason, again });
        }
        if let Some(after) = again {
            return self.send_reply(lease, reply, after, context);
        }
        if let Some(held) = self.replies.held.remove(&lease) {
            self.replies.confirmed.push(held);
            self.effects.released.push(lease);
            self.turn(context);
        }
    }
}

/// Whether the outcome of a job is waited for outside of this process.
fn is_asked<J>(job: &JobRef<J>) -> bool {
    job.origin().is_some_and(|origin| origin.reply.is_some())
}

/// The outcome of a job for who waits outside.
fn reply_of<J, O>(job: &JobRef<J>, outcome: Result<Guarded<O>, Rejection>) -> Option<SharedReply<O>> {
    let to = job.origin()?.reply.as_deref()?.clone();
    let reply = Reply::new(job.id(), to, outcome.map(Guarded::into_inner));
    Some(Rc::new(Guarded::new(reply)))
}

/// Has the sink send an outcome. Its code is the user's: a panic, or no answer, is a failure.
async fn sent_within_limit<O>(sink: Sink<O>, reply: &Reply<O>) -> Result<(), Failure> {
    const WHAT: &str = "the sink";
    let mut sending = match caught(|| Guarded::new(sink.send(reply))) {
        Ok(sending) => sending,
        Err(message) => return Err(panicked(WHAT, &message)),
    };
    let sent = poll_fn(|context| {
        let polled = caught(|| sending.as_mut().poll(context));
        polled.unwrap_or_else(|message| Poll::Ready(Err(panicked(WHAT, &message))))
    });
    match tokio::time::timeout(LIMIT, sent).await {
        Ok(sent) => sent,
        Err(_) => Err(Failure::retry(format!(
            "the sink did not answer within {LIMIT:?}"
        ))),
    }
}

fn panicked(what: &str, message: &str) -> Failure {
    Failure::retry(format!("{what} panicked: {message}"))
}
