//! The supervisor's side of the queue protocol.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, MailboxError, WrapFuture};

use super::Supervisor;
use super::turn::renew;
use crate::protocol::faults;
use crate::protocol::{Attach, AttachError, Attached, Batch, Demand, QueueUp, ResultsUp, Settle};
use crate::rules::store::{Leased, LeasedBlock};
use crate::words::{DeadReason, EventKind, Key, LeaseId, Moment, Places};

/// How long to wait before a queue that is out of order is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Batch<J>> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, batch: Batch<J>, context: &mut Context<Self>) {
        if batch.epoch != self.epoch {
            return;
        }
        let now = self.now();
        for leased in batch.jobs {
            let copy = copy_of(&leased);
            self.lease(now, leased);
            if let Some(copy) = copy {
                self.lease(now, copy);
            }
        }
        for leased in batch.blocks {
            let left = self.lease_copied(now, leased);
            self.lease_block(left);
        }
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    fn lease(&mut self, now: Moment, leased: Leased<J>) {
        // What a queue without delays cannot do for producers is done here.
        let knows_no_time = !self.wiring.capabilities.delay;
        let Leased {
            lease,
            attempt,
            job,
            suspect,
        } = leased;
        if suspect || attempt > 1 {
            // It has begun before, or may have.
            job.forget_expiry();
        }
        if job.expires_at().is_some_and(|until| until <= now) {
            let reason = DeadReason::Expired;
            return self
                .ledger
                .turned_away(job, lease, attempt, reason, &mut self.effects);
        }
        // Every attempt that could end with a verdict did so within the limit: the last ones ended a whole process.
        if attempt > self.wiring.config.retry.attempts {
            let attempts = attempt - 1;
            let reason = DeadReason::Poison { attempts };
            return self
                .ledger
                .turned_away(job, lease, attempt, reason, &mut self.effects);
        }
        job.view().begun().close(self.ledger.next_number());
        let key = job.key_hash();
        let (until, expires) = (job.not_before(), job.expires_at());
        let Some(ticket) = self
            .ledger
            .leased(job, lease, attempt, key, suspect, &mut self.effects)
        else {
            return;
        };
        if knows_no_time && let Some(until) = until.filter(|until| *until > now) {
            self.ledger.shelve(ticket, until);
        }
        self.expiring.note(lease, ticket, expires);
    }

    /// Jobs in blocks are in their first attempt, nobody has begun them, and their queue knows the time.
    fn lease_block(&mut self, leased: LeasedBlock<J>) {
        let LeasedBlock { lease, places, block } = leased;
        if places.is_empty() {
            return;
        }
        let keys = Arc::clone(&block);
        let keys = keys.keys().iter().map(Key::hashed);
        self.ledger.leased_block(block, lease, places, keys);
    }
}

/// A source outside of the process delivers some jobs twice, one directly behind the other.
fn copy_of<J>(leased: &Leased<J>) -> Option<Leased<J>> {
    if !faults::is_simulated() {
        return None;
    }
    let (id, attempt) = (leased.job.id(), leased.attempt);
    let is_repeated = faults::ask(|world| world.repeats(id, attempt)) == Some(true);
    is_repeated.then(|| Leased {
        // A lease that the queue does not know: it refuses every word on it.
        lease: LeaseId(u64::MAX - leased.lease.0),
        attempt,
        job: leased.job.clone(),
        suspect: leased.suspect,
    })
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Leases a block up to the last job that comes twice, each copy behind its original. Returns the rest.
    fn lease_copied(&mut self, now: Moment, mut leased: LeasedBlock<J>) -> LeasedBlock<J> {
        if !faults::is_simulated() {
            return leased;
        }
        for place in leased.places.iter() {
            let only = Places::only(place);
            let alone = LeasedBlock {
                lease: leased.lease,
                places: only,
                block: Arc::clone(&leased.block),
            };
            let copy = alone.one_by_one().next().as_ref().and_then(copy_of);
            if let Some(copy) = copy {
                let places = leased.places.both(Places::first(usize::from(place) + 1));
                leased.places.remove(places);
                self.lease_block(LeasedBlock { places, ..alone });
                self.lease(now, copy);
            }
        }
        leased
    }
}

/// The queue was restarted: it is attached again, and what it has not answered is sent again.
impl<J: Send + Sync + 'static, O: Send + 'static> Handler<QueueUp<J>> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, QueueUp(door): QueueUp<J>, context: &mut Context<Self>) {
        let unanswered = self.queue.replaced(door);
        self.attach(context);
        // First `Attach`, then the settles: a queue keeps the order of what one sender sends.
        for (number, settle) in unanswered {
            self.send_settle(number, settle, context);
        }
        self.turn(context);
    }
}

/// The result queue was restarted.
impl<J: Send + Sync + 'static, O: Send + 'static> Handler<ResultsUp<J, O>> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, results: ResultsUp<J, O>, _: &mut Context<Self>) {
        self.outgoing.replaced(results);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Takes the queue into service. Until it confirms, nothing is demanded.
    pub(super) fn attach(&mut self, context: &mut Context<Self>) {
        self.ledger.credit_lost();
        let life = self.queue.life();
        let attach = Attach {
            epoch: self.epoch,
            batches: context.address().recipient(),
            tell: self.wiring.tell.clone(),
            fates: self.wiring.fates.clone(),
        };
        let answer = self.queue.attach(attach).into_actor(self);
        context.spawn(answer.map(move |answer, this, context| {
            if life == this.queue.life() {
                this.attach_answered(answer, context);
            }
        }));
    }

    fn attach_answered(
        &mut self,
        answer: Result<Result<Attached, AttachError>, MailboxError>,
        context: &mut Context<Self>,
    ) {
        match answer {
            Ok(Ok(Attached { returned })) => {
                self.wiring.bus.tell(EventKind::Attached {
                    epoch: self.epoch,
                    returned,
                });
                self.queue.confirmed();
                self.ledger.credit_lost();
                self.turn(context);
            }
            Ok(Err(AttachError::OutOfOrder(reason))) => {
                tracing::error!(%reason, "the queue cannot work");
                context.run_later(ASK_AGAIN, |this, context| this.attach(context));
            }
            // A later life of the supervisor is at work.
            Ok(Err(AttachError::Superseded(_))) => context.terminate(),
            // The queue died before it answered; `QueueUp` follows.
            Err(_) => {}
        }
    }

    pub(super) fn demand(&mut self) {
        let now = self.now();
        if self.queue.is_attached()
            && self.slots.opens(now)
            && let Some(credit) = self.ledger.demand()
        {
            let epoch = self.epoch;
            self.queue.demand(Demand { epoch, credit });
        }
    }

    /// Tells the queue what became of its leases, and remembers it until the queue has answered.
    pub(super) fn send_settles(&mut self, context: &mut Context<Self>) {
        if self.effects.settle.is_empty() && self.effects.acked.is_empty() {
            return;
        }
        let settle = Settle {
            epoch: self.epoch,
            items: Arc::new(renew(&mut self.effects.settle)),
            acked: Arc::new(renew(&mut self.effects.acked)),
        };
        let begins = self.effects.beginning.take();
        let number = self.queue.remember(settle.clone(), begins);
        self.send_settle(number, settle, context);
    }

    fn send_settle(&mut self, number: u64, settle: Settle, context: &mut Context<Self>) {
        let answer = self.queue.send(settle).into_actor(self);
        context.spawn(answer.map(move |answer, this, context| {
            // Without an answer the queue has died; what it did not answer is sent again when it is back.
            if answer.is_ok() {
                if let Some(ticket) = this.queue.answered(number) {
                    this.ledger.begun(ticket, &mut this.effects);
                    return this.turn(context);
                }
                this.tell_idle();
            }
        }));
    }
}
