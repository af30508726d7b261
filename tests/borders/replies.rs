//! Outcomes that are waited for outside of the process: the sink has them before the queue hears that a job is over.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consumer_group::queue::{Arrival, Capabilities, Reply, ReplyAddress, ResultSink, Verdict, queue_of};
use consumer_group::{DeadReason, Delivery, EventKind, Failure, Group, GroupBuilder, Job, Role};
use tokio::sync::{Semaphore, mpsc};

use crate::arrivals::{Broker, arrival};
use crate::common::{local, paused, told};

/// A job whose outcome is waited for at `answers`.
fn asked(position: u64) -> (Arrival, Job<u64>) {
    let mut arrival = arrival(position);
    arrival.origin.reply = Some(Box::new(ReplyAddress {
        to: "answers".into(),
        correlation: Some(format!("question {position}").into()),
    }));
    (arrival, Job::new(position))
}

/// What a sink sees: the correlation, and the output or the reason.
type Sent = (String, Result<u64, DeadReason>);

/// What a sink answers for its nth outcome, counted from zero.
type Answers = fn(usize) -> Result<(), Failure>;

/// Notes each outcome and answers it when it may.
struct NotingSink {
    sent: mpsc::UnboundedSender<Sent>,
    may_answer: Arc<Semaphore>,
    count: Arc<AtomicUsize>,
    answers: Answers,
}

impl ResultSink<u64> for NotingSink {
    async fn send(&self, reply: &Reply<u64>) -> Result<(), Failure> {
        assert_eq!(&*reply.to.to, "answers");
        let result = match &reply.result {
            Ok(output) => Ok(*output),
            Err(rejection) => Err(rejection.reason.clone()),
        };
        let correlation = reply.to.correlation.as_deref().unwrap().to_owned();
        self.sent.send((correlation, result)).unwrap();
        self.may_answer.acquire().await.unwrap().forget();
        (self.answers)(self.count.fetch_add(1, Ordering::Relaxed))
    }
}

/// A group over a broker with these jobs, each doubled by its consumer, with a sink.
struct Rig {
    group: Group<u64, u64>,
    settled: mpsc::UnboundedReceiver<(u64, Verdict)>,
    sent: mpsc::UnboundedReceiver<Sent>,
    may_answer: Arc<Semaphore>,
}

impl Rig {
    fn new(jobs: impl IntoIterator<Item = (Arrival, Job<u64>)>, may_answer: usize, answers: Answers) -> Self {
        let work = async |delivery: &Delivery<'_, u64>| Ok(delivery.job() * 2);
        Self::of(
            local().consume_with(1, work),
            Capabilities::LEAST,
            jobs,
            may_answer,
            answers,
        )
    }

    fn of(
        builder: GroupBuilder<u64, u64>,
        capabilities: Capabilities,
        jobs: impl IntoIterator<Item = (Arrival, Job<u64>)>,
        may_answer: usize,
        answers: Answers,
    ) -> Self {
        let (mut broker, settled) = Broker::new(jobs);
        broker.capabilities = capabilities;
        Self::over(builder.queue(queue_of(broker)), settled, may_answer, answers)
    }

    fn over(
        builder: GroupBuilder<u64, u64>,
        settled: mpsc::UnboundedReceiver<(u64, Verdict)>,
        may_answer: usize,
        answers: Answers,
    ) -> Self {
        let (send, sent) = mpsc::unbounded_channel();
        let (gate, count) = (Arc::new(Semaphore::new(may_answer)), Arc::default());
        let may_answer = Arc::clone(&gate);
        let sink = move || NotingSink {
            sent: send.clone(),
            may_answer: Arc::clone(&gate),
            count: Arc::clone(&count),
            answers,
        };
        Self {
            group: builder.result_sink(sink).start().unwrap(),
            settled,
            sent,
            may_answer,
        }
    }

    async fn sent(&mut self) -> Sent {
        self.sent.recv().await.unwrap()
    }
}

fn answer(position: u64, result: Result<u64, DeadReason>) -> Sent {
    (format!("question {position}"), result)
}

#[test]
fn the_queue_hears_that_a_job_is_done_when_the_sink_has_confirmed_its_outcome() {
    paused(async {
        let jobs = [asked(1), (arrival(2), Job::new(2)), asked(3)];
        let mut rig = Rig::new(jobs, 0, |_| Ok(()));
        assert_eq!(rig.sent().await, answer(1, Ok(2)));
        assert_eq!(rig.sent().await, answer(3, Ok(6)));
        // The one for which nobody waits is settled at once; the others are leased.
        assert_eq!(rig.settled.recv().await.unwrap(), (1 << 6, Verdict::Ack));
        assert_eq!(rig.group.health().await.unwrap().leased, 2);
        rig.may_answer.add_permits(2);
        assert_eq!(rig.settled.recv().await.unwrap(), (0, Verdict::Ack));
        assert_eq!(rig.settled.recv().await.unwrap(), (2 << 6, Verdict::Ack));
    });
}

#[test]
fn a_sink_that_fails_or_panics_is_asked_again_after_a_backoff() {
    paused(async {
        let mut rig = Rig::new([asked(1)], 9, |count| match count {
            0 => Err(Failure::retry("no connection")),
            1 => panic!("no connection at all"),
            _ => Ok(()),
        });
        let mut events = rig.group.events();
        for _ in 0..3 {
            assert_eq!(rig.sent().await, answer(1, Ok(2)));
        }
        assert_eq!(rig.settled.recv().await.unwrap().1, Verdict::Ack);
        let told = told(&mut events);
        let failed = told.iter().filter_map(|kind| match kind {
            EventKind::ReplyFailed { reason, again, .. } => Some((&**reason, again.is_some())),
            _ => None,
        });
        let wanted = [
            ("no connection", true),
            ("the sink panicked: no connection at all", true),
        ];
        assert_eq!(failed.collect::<Vec<_>>(), wanted);
    });
}

#[test]
fn an_outcome_that_nobody_can_be_reached_for_is_dropped_and_its_job_is_done() {
    paused(async {
        let mut rig = Rig::new([asked(1)], 9, |_| Err(Failure::reject("no such queue")));
        assert_eq!(rig.settled.recv().await.unwrap().1, Verdict::Ack);
        assert_eq!(rig.sent().await, answer(1, Ok(2)));
        assert!(rig.sent.try_recv().is_err());
    });
}

#[test]
fn the_final_failure_of_a_job_goes_to_the_sink_before_the_queue_hears_of_it() {
    for dead_letter in [true, false] {
        paused(async {
            let capabilities = Capabilities {
                dead_letter,
                ..Capabilities::LEAST
            };
            let work = async |_: &Delivery<'_, u64>| Err(Failure::reject("odd"));
            let builder = local().consume_with(1, work);
            let mut rig = Rig::of(builder, capabilities, [asked(1)], 0, |_| Ok(()));
            assert_eq!(
                rig.sent().await,
                answer(1, Err(DeadReason::Rejected("odd".into())))
            );
            assert!(rig.settled.try_recv().is_err());
            rig.may_answer.add_permits(1);
            let verdict = rig.settled.recv().await.unwrap().1;
            // Of a queue without dead letters the group keeps it, with its history.
            assert_eq!(matches!(verdict, Verdict::Reject(_)), dead_letter, "{verdict:?}");
            if !dead_letter {
                let letters = rig.group.dead_letters().list(9).await.unwrap();
                assert_eq!((letters.len(), letters[0].history.len()), (1, 1));
            }
        });
    }
}

#[test]
fn a_supervisor_that_ends_before_the_sink_has_confirmed_makes_the_job_come_again() {
    paused(async {
        let mut rig = Rig::new([asked(1)], 0, |_| Ok(()));
        assert_eq!(rig.sent().await, answer(1, Ok(2)));
        rig.group.end_role(Role::Supervisor);
        assert_eq!(rig.sent().await, answer(1, Ok(2)));
        rig.may_answer.add_permits(9);
        assert_eq!(rig.settled.recv().await.unwrap().1, Verdict::Ack);
    });
}

#[test]
fn a_sink_that_never_answers_is_asked_again_and_holds_a_bounded_number_of_jobs() {
    paused(async {
        let work = async |delivery: &Delivery<'_, u64>| Ok(delivery.job() * 2);
        let builder = local()
            .configure(|config| config.hold = 100)
            .consume_with(1, work);
        let jobs = (0..1_000).map(asked);
        let mut rig = Rig::of(builder, Capabilities::LEAST, jobs, 0, |_| Ok(()));
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut sent = 0;
        while rig.sent.try_recv().is_ok() {
            sent += 1;
        }
        // Beyond the hold come the jobs that were demanded before it was full.
        assert!((100..500).contains(&sent), "{sent}");
        // Thirty seconds are its limit.
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(rig.sent.try_recv().is_ok());
        rig.may_answer.add_permits(usize::MAX >> 4);
        for _ in 0..1_000 {
            assert_eq!(rig.settled.recv().await.unwrap().1, Verdict::Ack);
        }
    });
}

#[test]
fn a_drain_waits_for_the_sink_until_its_deadline() {
    for confirms in [true, false] {
        paused(async {
            let mut rig = Rig::new([asked(1)], 0, |_| Ok(()));
            assert_eq!(rig.sent().await, answer(1, Ok(2)));
            let began = tokio::time::Instant::now();
            let gate = Arc::clone(&rig.may_answer);
            let answered = async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                gate.add_permits(usize::from(confirms));
            };
            let (_, _) = tokio::join!(rig.group.drain(Duration::from_secs(20)), answered);
            let seconds = began.elapsed().as_secs();
            assert_eq!(seconds, if confirms { 5 } else { 20 });
            assert_eq!(rig.settled.try_recv().is_ok(), confirms);
        });
    }
}

#[test]
fn without_a_sink_a_reply_address_is_not_looked_at() {
    paused(async {
        let (broker, mut settled) = Broker::new([asked(1)]);
        let _group = local()
            .queue(queue_of(broker))
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .start()
            .unwrap();
        assert_eq!(settled.recv().await.unwrap().1, Verdict::Ack);
    });
}

#[cfg(feature = "testing")]
mod leases_that_are_taken_back {
    use consumer_group::queue::{RevokeKind, Revoked};
    use consumer_group::testing::ManualQueue;

    use super::*;
    use crate::common::{Gate, settle_down};

    /// A queue that takes leases back, a group over it with a sink that waits, and a gate before each job ends.
    fn rig() -> (ManualQueue<u64>, Rig, Gate) {
        let (queue, gate) = (ManualQueue::new(), Gate::shut());
        let pass = gate.clone();
        let builder = local()
            .queue(queue.clone())
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                pass.pass().await;
                Ok(delivery.job() * 2)
            });
        let (_, nothing) = mpsc::unbounded_channel();
        let rig = Rig::over(builder, nothing, 0, |_| Ok(()));
        queue.arrive([asked(1)]);
        (queue, rig, gate)
    }

    /// Leases all and lets everything happen that can.
    async fn lease(queue: &ManualQueue<u64>) {
        queue.until_demanded(1).await;
        queue.lease(9);
        settle_down().await;
    }

    #[test]
    fn an_outcome_whose_lease_is_lost_on_its_way_is_forgotten_and_comes_again_with_the_job() {
        paused(async {
            let (queue, mut rig, gate) = rig();
            gate.open();
            lease(&queue).await;
            assert_eq!(rig.sent().await, answer(1, Ok(2)));
            let released = queue.revoke(Revoked::All, RevokeKind::Lost).await.unwrap();
            assert_eq!((released.waiting, released.fenced), (0, 1));
            rig.may_answer.add_permits(1);
            settle_down().await;
            assert!(queue.settles().is_empty());
            lease(&queue).await;
            assert_eq!(rig.sent().await, answer(1, Ok(2)));
            rig.may_answer.add_permits(1);
            assert_eq!(queue.next_settle().await.item.verdict, Verdict::Ack);
        });
    }

    #[test]
    fn an_outcome_whose_lease_was_lost_at_work_is_sent_to_nobody() {
        paused(async {
            let (queue, mut rig, gate) = rig();
            lease(&queue).await;
            let released = queue.revoke(Revoked::All, RevokeKind::Lost).await.unwrap();
            assert_eq!((released.waiting, released.fenced), (0, 1));
            gate.open();
            settle_down().await;
            assert!(rig.sent.try_recv().is_err() && queue.settles().is_empty());
        });
    }

    #[test]
    fn a_lease_that_has_to_be_given_back_is_so_when_its_outcome_is_confirmed_and_the_queue_knows() {
        paused(async {
            for at_work in [true, false] {
                let (queue, mut rig, gate) = rig();
                if !at_work {
                    gate.open();
                }
                lease(&queue).await;
                let kind = RevokeKind::Drain {
                    within: Duration::from_secs(60),
                };
                let revoked = queue.clone();
                let answer = actix::spawn(async move { revoked.revoke(Revoked::All, kind).await.unwrap() });
                settle_down().await;
                gate.open();
                assert_eq!(rig.sent().await, super::answer(1, Ok(2)));
                settle_down().await;
                assert!(!answer.is_finished(), "its outcome is on its way");
                rig.may_answer.add_permits(1);
                let released = answer.await.unwrap();
                assert_eq!((released.waiting, released.fenced), (0, 0));
                assert_eq!(queue.settles().len(), 1);
            }
        });
    }
}
