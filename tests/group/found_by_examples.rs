//! What the examples brought to light.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler, Recipient};
use consumer_group::events::QueueCounts;
use consumer_group::queue::{
    ActorQueue, Attach, AttachError, Attached, Batch, Capabilities, Command, Demand, JobRef, LeaseId, Leased,
    Push, Pushed, QueueCommand, QueueReply, Settle, SettleReply, Verdict,
};
use consumer_group::{
    BatchConsumer, BatchSize, CallError, Cause, DeadReason, Deliver, Delivery, EventKind, Failure, Group,
    Job, Placement,
};
use tokio::time::{Instant, timeout};

/// More than anything in here takes.
const LONG: Duration = Duration::from_secs(5);

/// The least queue: keeps jobs until their lease ends.
#[derive(Default)]
struct Least {
    waiting: Vec<JobRef<u32>>,
    leased: BTreeMap<LeaseId, JobRef<u32>>,
    link: Option<(consumer_group::queue::Epoch, Recipient<Batch<u32>>)>,
    total: u64,
    handed_out: u64,
    next_lease: u64,
    rejected: Arc<Mutex<usize>>,
}

impl Least {
    fn hand_out(&mut self) {
        let Some((epoch, batches)) = &self.link else {
            return;
        };
        let credit = self.total.saturating_sub(self.handed_out) as usize;
        let count = credit.min(self.waiting.len());
        let mut jobs = Vec::new();
        for job in self.waiting.drain(..count) {
            self.next_lease += 1;
            let lease = LeaseId(self.next_lease);
            self.leased.insert(lease, JobRef::clone(&job));
            jobs.push(Leased::one(lease, 1, job));
        }
        self.handed_out += jobs.len() as u64;
        batches.do_send(Batch::new(*epoch, jobs));
    }
}

impl Actor for Least {
    type Context = Context<Self>;
}

impl Handler<Attach<u32>> for Least {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<u32>, _: &mut Context<Self>) -> Self::Result {
        self.link = Some((attach.epoch, attach.batches));
        (self.total, self.handed_out) = (0, 0);
        Ok(Attached { returned: 0 })
    }
}

impl Handler<Push<u32>> for Least {
    type Result = Pushed<u32>;

    fn handle(&mut self, mut push: Push<u32>, _: &mut Context<Self>) -> Pushed<u32> {
        self.waiting.extend(push.take_jobs());
        self.hand_out();
        Pushed { refused: Vec::new() }
    }
}

impl Handler<Demand> for Least {
    type Result = ();

    fn handle(&mut self, demand: Demand, _: &mut Context<Self>) {
        self.total = demand.total;
        self.hand_out();
    }
}

impl Handler<Settle> for Least {
    type Result = SettleReply;

    fn handle(&mut self, settle: Settle, _: &mut Context<Self>) -> SettleReply {
        for item in settle.items.iter() {
            match item.verdict {
                Verdict::Renew(_) | Verdict::Extend | Verdict::Begin(_) => {}
                Verdict::Ack => {
                    self.leased.remove(&item.lease);
                }
                Verdict::Reject(_) => {
                    *self.rejected.lock().unwrap() += 1;
                    self.leased.remove(&item.lease);
                }
                Verdict::Retry(_) => self.waiting.extend(self.leased.remove(&item.lease)),
            }
        }
        SettleReply::APPLIED
    }
}

impl Handler<Command<u32>> for Least {
    type Result = QueueReply<u32>;

    fn handle(&mut self, message: Command<u32>, _: &mut Context<Self>) -> QueueReply<u32> {
        match message.command {
            QueueCommand::Counts => QueueReply::Counts(QueueCounts {
                ready: self.waiting.len(),
                leased: self.leased.len(),
                ..QueueCounts::default()
            }),
            QueueCommand::Close => QueueReply::Done,
            _ => QueueReply::Unsupported("the least queue"),
        }
    }
}

fn on_the_least_queue(rejected: &Arc<Mutex<usize>>) -> Group<u32, u32> {
    let rejected = Arc::clone(rejected);
    let queue = ActorQueue::new(Capabilities::LEAST, move || Least {
        rejected: Arc::clone(&rejected),
        ..Least::default()
    });
    Group::builder()
        .queue(queue)
        .consume_with(1, async |delivery: &Delivery<u32>| match delivery.job() {
            0 => Err(Failure::reject("not zero")),
            number => Ok(*number),
        })
        .start()
        .unwrap()
}

/// Panics while 0 is in the batch.
struct AllButZero;

impl BatchConsumer for AllButZero {
    type Job = u32;
    type Output = u32;

    async fn consume(&mut self, batch: &mut Vec<Deliver<u32, u32>>) -> Result<(), Failure> {
        let mut sum = 100;
        for delivery in batch.iter() {
            sum += 100 / *delivery.job();
        }
        for delivery in batch.drain(..) {
            delivery.ack(sum);
        }
        Ok(())
    }
}

#[actix::test]
async fn a_poison_job_in_a_batch_makes_no_poison_of_the_others() {
    let size = BatchSize {
        most: 10,
        wait: Duration::from_millis(20),
    };
    let group = Group::builder()
        .configure(|config| config.quiet_panics = true)
        .batch_consumers(2, size, || AllButZero)
        .start()
        .unwrap();
    let (producers, mut results) = group.producer_group();
    producers.send_batch([1, 2, 3, 0, 4]).await.unwrap();
    let mut dead = Vec::new();
    for _ in 0..5 {
        let outcome = timeout(LONG, results.next()).await.unwrap().unwrap();
        dead.extend(outcome.result.err().map(|letter| *letter.job.payload()));
    }
    assert_eq!(dead, [0]);
}

/// Panics for 0 and does everything else at once, so that what it settled is still in the shell when it panics.
async fn all_but_zero(delivery: &Delivery<'_, u32>) -> Result<u32, Failure> {
    assert!(*delivery.job() != 0, "no zeros, please");
    Ok(delivery.attempt())
}

#[actix::test]
async fn jobs_that_a_consumer_settled_before_it_panicked_are_not_done_again_and_not_blamed() {
    let group = Group::builder()
        .configure(|config| {
            config.quiet_panics = true;
            config.retry.attempts = 3;
        })
        .consume_with(1, all_but_zero)
        .start()
        .unwrap();
    let mut events = group.events();
    let (producers, mut results) = group.producer_group();
    producers.send_batch([1, 2, 3, 0, 4]).await.unwrap();
    let (mut attempts, mut poison) = (Vec::new(), 0);
    for _ in 0..5 {
        match timeout(LONG, results.next()).await.unwrap().unwrap().result {
            Ok(attempt) => attempts.push(attempt),
            Err(letter) => {
                assert_eq!(letter.reason, DeadReason::Poison { attempts: 3 });
                assert_eq!(*letter.job.payload(), 0);
                poison += 1;
            }
        }
    }
    assert_eq!((attempts, poison), (vec![1; 4], 1));
    // Those that were settled were not held any more when the consumer died.
    while let Some(event) = events.try_next() {
        if let EventKind::ConsumerDown { held, .. } = event.kind {
            assert!(held <= 2, "held {held}");
        }
    }
}

#[actix::test]
async fn a_job_rejected_on_a_queue_without_dead_letters_comes_back_to_its_caller_and_is_listed() {
    let rejected = Arc::default();
    let group = on_the_least_queue(&rejected);
    let answer = timeout(LONG, group.producer().call(0)).await.expect("no answer");
    let Err(CallError::Failed(letter)) = answer else {
        panic!("a rejected job was answered with {answer:?}")
    };
    assert!(matches!(letter.reason, DeadReason::Rejected(_)));
    assert_eq!(group.dead_letters().list(10).await.unwrap().len(), 1);
    // The queue only ever hears of acks.
    assert_eq!(*rejected.lock().unwrap(), 0);
}

#[actix::test]
async fn a_delayed_job_on_a_queue_without_delays_waits_for_its_time() {
    let group = on_the_least_queue(&Arc::default());
    let delay = Duration::from_millis(100);
    let began = Instant::now();
    let call = group.producer().call(Job::new(7).delay(delay)).await;
    assert_eq!(call.unwrap(), 7);
    assert!(began.elapsed() >= delay, "came after {:?}", began.elapsed());
}

#[actix::test]
async fn a_job_that_waits_in_a_paused_group_expires() {
    let group = Group::builder()
        .consume_with(1, async |delivery: &Delivery<u32>| Ok(*delivery.job()))
        .start()
        .unwrap();
    let mut events = group.events();
    assert_eq!(group.producer().call(1).await.unwrap(), 1);
    group.pause();
    let job = Job::new(2).expires_after(Duration::from_millis(10));
    let late = group.producer().send(job).await.unwrap();
    let expired = async {
        while let Some(event) = events.next().await {
            if let EventKind::DeadLettered { job, reason } = event.kind {
                return (job, reason);
            }
        }
        panic!("the group ended")
    };
    let expired = timeout(LONG, expired).await.expect("it did not expire");
    assert_eq!(expired, (late, DeadReason::Expired));
}

#[actix::test]
async fn a_hang_right_after_the_start_is_found_within_a_sixteenth_after_its_deadline() {
    let group = Group::builder()
        .placement(Placement::Local)
        .configure(|config| config.deadline = Duration::from_millis(160))
        .consume_with(1, async |delivery: &Delivery<u32>| {
            if delivery.attempt() == 1 {
                pending::<()>().await;
            }
            Ok(0_u32)
        })
        .start()
        .unwrap();
    let mut events = group.events();
    let began = Instant::now();
    group.producer().send(1).await.unwrap();
    let found = async {
        while let Some(event) = events.next().await {
            if let EventKind::ConsumerDown { cause, .. } = event.kind {
                return cause;
            }
        }
        panic!("the group ended")
    };
    assert_eq!(
        timeout(LONG, found).await.unwrap(),
        Cause::DeadlinePassed(Duration::from_millis(160))
    );
    // A sixteenth is 10 ms, twice: the look that saw the beginning and the one that saw the end. The rest is for the machine.
    assert!(
        began.elapsed() < Duration::from_millis(280),
        "found after {:?}",
        began.elapsed()
    );
}
