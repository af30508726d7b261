//! Jobs on their way to a broker, which confirms them when it likes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler};
use consumer_group::queue::{
    ActorQueue, Attach, AttachError, Attached, Capabilities, Command, Demand, Later, Push, Pushed,
    QueueReply, QueueShell, Refusal, Refused, Run, Settle, SettleReply,
};
use consumer_group::testing::{ManualQueue, end_role};
use consumer_group::{Delivery, Group, Role, SendErrorKind};
use tokio::sync::oneshot;

use crate::common::{local, paused, settle_down, within};

type Unconfirmed = (Push<u64>, oneshot::Sender<Pushed<u64>>);

/// A queue whose broker confirms by hand. What it has not confirmed it has not taken.
#[derive(Clone)]
struct Broker(Arc<Mutex<VecDeque<Unconfirmed>>>);

impl Broker {
    fn new() -> Self {
        Self(Arc::default())
    }

    /// The jobs that came, by push.
    fn unconfirmed(&self) -> Vec<Vec<u64>> {
        let pushes = self.0.lock().unwrap();
        let jobs = |(push, _): &Unconfirmed| {
            let runs = push.runs.peek().into_iter().flatten();
            runs.flat_map(Run::handles).map(|job| *job.payload()).collect()
        };
        pushes.iter().map(jobs).collect()
    }

    /// Takes the jobs of this push, or refuses all of them.
    fn answer(&self, index: usize, refusal: Option<Refusal>) {
        let (mut push, answer) = self.0.lock().unwrap().remove(index).unwrap();
        let jobs = push.take_jobs();
        let refuse = |refusal| {
            jobs.into_iter()
                .map(move |job| Refused { job, refusal })
                .collect()
        };
        let refused = refusal.map_or_else(Vec::new, refuse);
        answer.send(Pushed { refused }).unwrap();
    }

    fn group(&self) -> Group<u64, u64> {
        let queue = self.clone();
        local()
            .queue(ActorQueue::new(Capabilities::LEAST, move || queue.clone()))
            .consume_with(1, async |delivery: &Delivery<u64>| Ok(*delivery.job()))
            .start()
            .unwrap()
    }
}

impl Actor for Broker {
    type Context = Context<Self>;

    /// What was not confirmed is lost with the actor: it goes back.
    fn started(&mut self, _: &mut Context<Self>) {
        self.0.lock().unwrap().clear();
    }
}

impl Handler<Attach<u64>> for Broker {
    type Result = Result<Attached, AttachError>;
    fn handle(&mut self, attach: Attach<u64>, _: &mut Context<Self>) -> Self::Result {
        QueueShell::new().attach(attach, || 0)
    }
}

impl Handler<Push<u64>> for Broker {
    type Result = Later<Pushed<u64>>;
    fn handle(&mut self, push: Push<u64>, _: &mut Context<Self>) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        self.0.lock().unwrap().push_back((push, answer));
        Later::new(async move { answered.await.ok() })
    }
}

impl Handler<Demand> for Broker {
    type Result = ();
    fn handle(&mut self, _: Demand, _: &mut Context<Self>) {}
}

impl Handler<Settle> for Broker {
    type Result = SettleReply;
    fn handle(&mut self, _: Settle, _: &mut Context<Self>) -> SettleReply {
        SettleReply::APPLIED
    }
}

impl Handler<Command<u64>> for Broker {
    type Result = QueueReply<u64>;
    fn handle(&mut self, _: Command<u64>, _: &mut Context<Self>) -> QueueReply<u64> {
        QueueReply::Done
    }
}

/// Sends a job in a task of its own, and lets it go on its way.
async fn send(group: &Group<u64, u64>, job: u64) -> tokio::task::JoinHandle<Result<(), SendErrorKind>> {
    let producer = group.producer();
    let sent = actix_rt::spawn(async move {
        let sent = producer.send(job).await;
        sent.map(drop).map_err(|error| {
            assert_eq!(
                error.job.map(|job| job.into_payload()),
                Some(job),
                "it comes back"
            );
            error.kind
        })
    });
    settle_down().await;
    sent
}

#[test]
fn a_push_does_not_wait_for_the_confirm_of_the_one_before() {
    paused(async {
        let broker = Broker::new();
        let group = broker.group();
        let (first, second) = (send(&group, 1).await, send(&group, 2).await);
        assert_eq!(broker.unconfirmed(), [[1], [2]]);
        broker.answer(1, None);
        assert_eq!(within("the later confirm", second).await.unwrap(), Ok(()));
        assert!(!first.is_finished());
        broker.answer(0, None);
        assert_eq!(within("the earlier confirm", first).await.unwrap(), Ok(()));
    });
}

#[test]
fn eight_pushes_are_unconfirmed_at_most_and_what_comes_meanwhile_goes_together() {
    paused(async {
        let broker = Broker::new();
        let group = broker.group();
        let mut sent = Vec::new();
        for job in 0..12 {
            sent.push(send(&group, job).await);
        }
        assert_eq!(broker.unconfirmed().len(), 8);
        broker.answer(3, None);
        settle_down().await;
        assert_eq!(broker.unconfirmed()[7], [8, 9, 10, 11]);
        while !broker.unconfirmed().is_empty() {
            broker.answer(0, None);
        }
        for sent in sent {
            assert_eq!(within("a confirm", sent).await.unwrap(), Ok(()));
        }
    });
}

#[test]
fn what_was_not_confirmed_when_the_queue_died_goes_to_its_next_life_in_order_and_before_the_rest() {
    paused(async {
        let broker = Broker::new();
        let group = broker.group();
        let mut sent = Vec::new();
        for job in 0..3 {
            sent.push(send(&group, job).await);
        }
        broker.answer(1, None);
        end_role(&group, Role::Queue);
        sent.push(send(&group, 3).await);
        assert_eq!(broker.unconfirmed().concat(), [0, 2, 3]);
        while !broker.unconfirmed().is_empty() {
            broker.answer(0, None);
            settle_down().await;
        }
        for sent in sent {
            assert_eq!(within("a confirm", sent).await.unwrap(), Ok(()));
        }
    });
}

#[test]
fn the_sender_gets_its_job_back_with_the_word_of_the_broker() {
    paused(async {
        let broker = Broker::new();
        let group = broker.group();
        let too_large = (
            Refusal::TooLarge { bytes: 9, most: 8 },
            SendErrorKind::TooLarge { bytes: 9, most: 8 },
        );
        let why = "connection refused";
        let unavailable = (Refusal::Unavailable { why }, SendErrorKind::Unavailable { why });
        let words = [
            (Refusal::Unconfirmed, SendErrorKind::Unconfirmed),
            (Refusal::Unroutable, SendErrorKind::Unroutable),
            too_large,
            unavailable,
        ];
        for (refusal, kind) in words {
            let sent = send(&group, 7).await;
            broker.answer(0, Some(refusal));
            assert_eq!(within("the answer", sent).await.unwrap(), Err(kind));
        }
    });
}

#[test]
fn a_dead_letter_that_goes_back_while_the_broker_is_away_waits_for_it() {
    paused(async {
        let capabilities = Capabilities::LEAST;
        let queue = ManualQueue::with(capabilities).automatic();
        let group: Group<u64, u64> = local()
            .queue(queue.clone())
            .consume_with(1, async |delivery: &Delivery<u64>| match delivery.attempt() {
                1 if *delivery.job() == 1 => Err(consumer_group::Failure::reject("no")),
                _ => Ok(*delivery.job()),
            })
            .start()
            .unwrap();
        group.producer().send(1).await.unwrap();
        settle_down().await;
        let letters = group.dead_letters();
        assert_eq!(letters.list(10).await.unwrap().len(), 1);
        queue.refuse(Some(Refusal::Unavailable { why: "away" }));
        assert_eq!(letters.requeue_all().await.unwrap().len(), 1);
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(queue.ready() + queue.leased(), 0);
        queue.refuse(None);
        within("its second end", queue.until_accepted(2)).await;
    });
}
