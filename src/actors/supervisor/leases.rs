//! The supervisor's side of the queue protocol.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, MailboxError, WrapFuture};

use super::Supervisor;
use crate::protocol::faults;
use crate::protocol::{Attach, AttachError, Attached, Batch, Demand, QueueUp, ResultsUp};
use crate::rules::ledger::Totals;
use crate::rules::store::Leased;
use crate::types::{DeadReason, EventKind, JobId, Key, LeaseId, Moment, Run};

/// How long to wait before a queue that is out of order is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Batch<J>> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, batch: Batch<J>, context: &mut Context<Self>) {
        if batch.epoch != self.epoch {
            return;
        }
        let jobs = batch.jobs.iter().map(|leased| leased.run.len()).sum();
        self.ledger.arrived(jobs, batch.beyond_credit);
        let now = self.now();
        for leased in batch.jobs {
            if faults::is_simulated() {
                self.lease_repeated(now, leased);
            } else {
                self.lease(now, leased);
            }
        }
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    fn lease(&mut self, now: Moment, leased: Leased<J>) {
        let block = &leased.run.block;
        let is_early = block.not_before().is_some_and(|until| until > now);
        // A limit of each key looks at jobs one by one.
        let goes_alone = self.ledger.has_key_rate() || block.expiry().is_some() || is_early;
        // Jobs that have neighbours and to which nothing happened yet stay in their block, but for urgent ones: those overtake.
        if leased.run.len() > 1
            && !block.priority().is_urgent()
            && self.attempt_of(&leased) == 1
            && !leased.suspect
            && !goes_alone
        {
            let keys = Arc::clone(block);
            let keys = keys.keys().iter().map(Key::hashed);
            let Run { block, places } = leased.run;
            self.ledger.leased_block(block, leased.lease, places, keys);
            return;
        }
        for leased in leased.one_by_one() {
            self.lease_one(now, &leased);
        }
    }

    /// Which attempt begins with a lease. One that does not count them says what it likes: a broker may count how often it handed
    /// the job out to anybody, or how often it was near when something broke.
    fn attempt_of(&self, leased: &Leased<J>) -> u32 {
        match self.group.capabilities.attempts {
            true => leased.attempt,
            false => 1,
        }
    }

    fn lease_one(&mut self, now: Moment, leased: &Leased<J>) {
        let (lease, attempt, suspect) = (leased.lease, self.attempt_of(leased), leased.suspect);
        let job = leased.job();
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
        if attempt > self.group.config.retry.attempts {
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
        // What a queue without delays cannot do for producers is done here.
        if let Some(until) = until.filter(|until| *until > now) {
            self.ledger.shelve(ticket, until);
        }
        self.expiring.note(lease, ticket, expires);
    }

    /// As [`lease`](Self::lease), where a simulated source outside of the process delivers some jobs twice, one directly behind the
    /// other.
    fn lease_repeated(&mut self, now: Moment, leased: Leased<J>) {
        let is_repeated = |job: JobId| faults::ask(|world| world.repeats(job, leased.attempt)) == Some(true);
        let repeated: Vec<bool> = leased.run.ids().map(is_repeated).collect();
        if !repeated.contains(&true) {
            return self.lease(now, leased);
        }
        for (one, is_repeated) in leased.one_by_one().zip(repeated) {
            self.lease_one(now, &one);
            if is_repeated {
                // A lease that the queue does not know: it refuses every word on it.
                let mut copy = Leased::one(LeaseId(u64::MAX - one.lease.0), one.attempt, one.job());
                copy.suspect = one.suspect;
                self.lease_one(now, &copy);
            }
        }
    }
}

/// The queue was restarted: it is attached again, and what it has not answered is sent again.
impl<J: Send + Sync + 'static, O: Send + 'static> Handler<QueueUp<J>> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, QueueUp(address): QueueUp<J>, context: &mut Context<Self>) {
        let unanswered = self.queue.replaced(address);
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
            ceiling: self.ledger.ceiling(self.desired.consumers),
            batches: context.address().recipient(),
            revoke: context.address().recipient(),
            tell: self.group.tell.clone(),
            dead_lettered: self.group.dead_lettered.clone(),
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
                self.group.bus.tell(EventKind::Attached {
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
        let clock = self.group.clock;
        // While the sink confirms nothing, what waits for it is not to become more and more.
        let replies_wait = self.replies.len() >= self.group.config.hold.max(64);
        if !self.queue.is_attached() || !self.slots.opens(|| clock.now()) {
            return;
        }
        let Totals { total, urgent_total } = self.ledger.demand(!replies_wait);
        self.queue.demand(Demand {
            epoch: self.epoch,
            total,
            urgent_total,
            ceiling: self.ledger.ceiling(self.desired.consumers),
        });
    }
}
