//! The rig: stands where the supervisor stands.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler};
use tokio::sync::{Notify, mpsc};

use crate::actors::cell::CellHandle;
use crate::actors::consumer::{ConsumerMaker, SpawnParams};
use crate::protocol::{
    ConsumerAddr, ConsumerDown, ConsumerInfo, ConsumerUp, Deliver, DeliverBatch, DonePlaces, Now, OwnGroup,
    Parcel, SettleQueue, SettlesQueued, Work,
};
use crate::testing::conformance::runner::{Held, Pace, Remarks, Stop, ensure};
use crate::types::{Cause, DeliveryNumber, Epoch, Incarnation, JobRef, Moment, SlotId, Ticket};

/// The jobs that a consumer is given.
pub(super) type Sample<J> = Vec<JobRef<J>>;

type LifeName = (SlotId, Incarnation);

/// What was heard of consumers.
struct Heard<J: Send + Sync + 'static, O: Send + 'static> {
    up: RefCell<BTreeMap<LifeName, ConsumerAddr<J, O>>>,
    down: RefCell<BTreeMap<LifeName, Cause>>,
    news: Notify,
}

/// Hears what consumers and their cells say.
struct Desk<J: Send + Sync + 'static, O: Send + 'static> {
    heard: Rc<Heard<J, O>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Unpin for Desk<J, O> {}

impl<J: Send + Sync + 'static, O: Send + 'static> Actor for Desk<J, O> {
    type Context = Context<Self>;
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<ConsumerUp<J, O>> for Desk<J, O> {
    type Result = ();

    fn handle(&mut self, up: ConsumerUp<J, O>, _: &mut Context<Self>) {
        let name = (up.slot, up.incarnation);
        self.heard.up.borrow_mut().insert(name, up.address);
        self.heard.news.notify_one();
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<ConsumerDown> for Desk<J, O> {
    type Result = ();

    fn handle(&mut self, down: ConsumerDown, _: &mut Context<Self>) {
        let name = (down.slot, down.incarnation);
        self.heard.down.borrow_mut().insert(name, down.cause);
        self.heard.news.notify_one();
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<SettlesQueued> for Desk<J, O> {
    type Result = ();

    fn handle(&mut self, _: SettlesQueued, _: &mut Context<Self>) {
        self.heard.news.notify_one();
    }
}

/// One life of the consumer under test.
pub(super) struct Life<J: Send + Sync + 'static, O: Send + 'static> {
    name: LifeName,
    info: Arc<ConsumerInfo>,
    cell: CellHandle,
    door: ConsumerAddr<J, O>,
    /// Closes when nothing of this life exists any more.
    exists: mpsc::Receiver<Infallible>,
}

pub(super) struct Rig<J: Send + Sync + 'static, O: Send + 'static> {
    maker: Arc<dyn ConsumerMaker<J, O>>,
    pub(super) jobs: Sample<J>,
    pub(super) large: usize,
    pace: Pace,
    pub(super) remarks: Remarks,
    heard: Rc<Heard<J, O>>,
    hears: Addr<Desk<J, O>>,
    settles: Arc<SettleQueue<O>>,
    next: u64,
    /// How each delivery was settled. A second word on one is noted in `twice`.
    settled: BTreeMap<DeliveryNumber, How>,
    twice: Option<DeliveryNumber>,
}

/// In which way a delivery was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Done,
    Failed,
    Abandoned,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Rig<J, O> {
    pub(super) fn new(
        maker: Arc<dyn ConsumerMaker<J, O>>,
        jobs: Sample<J>,
        large: usize,
        pace: Pace,
        remarks: Remarks,
    ) -> Self {
        let heard = Rc::new(Heard {
            up: RefCell::default(),
            down: RefCell::default(),
            news: Notify::new(),
        });
        let hears = Desk {
            heard: Rc::clone(&heard),
        }
        .start();
        Self {
            maker,
            jobs,
            large,
            pace,
            remarks,
            heard,
            settles: Arc::new(SettleQueue::new(hears.clone().recipient())),
            hears,
            next: 1,
            settled: BTreeMap::new(),
            twice: None,
        }
    }

    /// Makes a consumer and waits until it takes deliveries.
    pub(super) async fn start(&mut self, slot: u32, incarnation: u32) -> Held<Life<J, O>> {
        let name = (SlotId(slot), Incarnation(incarnation));
        let life = (name.0, name.1, Epoch(1));
        let info = ConsumerInfo::new(life, Now::new(|| Moment::START), OwnGroup::none());
        let (cell, seed) = CellHandle::new();
        let (held, exists) = mpsc::channel(1);
        self.maker.make(SpawnParams {
            info: Arc::clone(&info),
            settles: Arc::clone(&self.settles),
            seed,
            quiet: true,
            up: self.hears.clone().recipient(),
            down: self.hears.clone().recipient(),
            exists: held,
        });
        loop {
            self.alive(name)?;
            if let Some(door) = self.heard.up.borrow_mut().remove(&name) {
                return Ok(Life {
                    name,
                    info,
                    cell,
                    door,
                    exists,
                });
            }
            self.pace
                .wait("the start of the consumer", self.heard.news.notified())
                .await?;
        }
    }

    /// Stops the check if this life is over.
    fn alive(&self, name: LifeName) -> Held {
        match self.heard.down.borrow().get(&name) {
            None => Ok(()),
            Some(cause) => Err(Stop::Broken(format!("the consumer ended by itself: {cause}"))),
        }
    }

    /// Hands these jobs to a consumer, in one message where its door takes many.
    pub(super) fn deliver(
        &mut self,
        life: &Life<J, O>,
        jobs: &[JobRef<J>],
        attempt: u32,
    ) -> Vec<DeliveryNumber> {
        let (mut parcels, mut numbers) = (Vec::with_capacity(jobs.len()), Vec::new());
        for job in jobs {
            let number = DeliveryNumber(self.next);
            let ticket = Ticket(u32::try_from(self.next).unwrap_or(u32::MAX));
            self.next += 1;
            numbers.push(number);
            parcels.push(Parcel::one(job, ticket, number, attempt));
        }
        match &life.door {
            ConsumerAddr::Shell(door) => door.do_send(DeliverBatch {
                parcels,
                has_urgent: false,
            }),
            ConsumerAddr::Actor(door) => {
                let deliveries = parcels
                    .iter()
                    .flat_map(|parcel| Deliver::all_of(parcel, &life.info, &self.settles));
                deliveries.for_each(|delivery| door.do_send(delivery));
            }
        }
        numbers
    }

    /// The samples as often as it takes for this many jobs.
    pub(super) fn many(&self, jobs: usize) -> Sample<J> {
        self.jobs.iter().cycle().take(jobs).cloned().collect()
    }

    /// Takes everything from the settle queue.
    fn absorb(&mut self) {
        for settlement in self.settles.take() {
            let done = settlement
                .done
                .into_iter()
                .flat_map(|DonePlaces { first, places, .. }| {
                    let at = move |place| (first.at(place), How::Done);
                    places.iter().map(at)
                });
            let others = settlement.deliveries.into_iter().map(|delivery| {
                let how = match delivery.work {
                    Work::Failed(_) | Work::Expired | Work::Recalled => How::Failed,
                    Work::Abandoned => How::Abandoned,
                };
                (delivery.number, how)
            });
            for (number, how) in done.chain(others) {
                if self.settled.insert(number, how).is_some() {
                    self.twice = Some(number);
                }
            }
        }
    }

    /// Waits until each of these deliveries was settled, by a consumer that lives on, and that none was settled twice or
    /// dropped without a word.
    pub(super) async fn all_settled(&mut self, life: &Life<J, O>, numbers: &[DeliveryNumber]) -> Held {
        loop {
            self.absorb();
            let open = numbers
                .iter()
                .filter(|number| !self.settled.contains_key(number))
                .count();
            if open == 0 {
                break;
            }
            self.alive(life.name)?;
            let what = format!("the word on {open} of {} deliveries", numbers.len());
            self.pace.wait(&what, self.heard.news.notified()).await?;
        }
        let dropped = numbers
            .iter()
            .filter(|number| self.settled.get(number) == Some(&How::Abandoned))
            .count();
        ensure(dropped == 0, || {
            format!(
                "{dropped} of {} deliveries were dropped without a word",
                numbers.len()
            )
        })?;
        self.nothing_twice()
    }

    pub(super) fn nothing_twice(&self) -> Held {
        ensure(self.twice.is_none(), || "a delivery was settled twice".into())
    }

    pub(super) fn how(&mut self, number: DeliveryNumber) -> Option<How> {
        self.absorb();
        self.settled.get(&number).copied()
    }

    /// Delivers jobs and waits until each was settled.
    pub(super) async fn work(&mut self, life: &Life<J, O>, jobs: &[JobRef<J>], attempt: u32) -> Held {
        let numbers = self.deliver(life, jobs, attempt);
        self.all_settled(life, &numbers).await
    }

    pub(super) async fn rest(&self) {
        tokio::time::sleep(self.pace.quiet).await;
    }

    /// Ends a life, waits for its end, and checks that it let go of everything.
    pub(super) async fn end(&mut self, life: Life<J, O>) -> Held {
        let Life {
            name,
            info,
            mut cell,
            door,
            mut exists,
        } = life;
        drop(door);
        cell.end(Cause::Killed);
        self.pace.wait("the end of the consumer", exists.recv()).await?;
        self.pace
            .wait("the death notice of the consumer", async {
                while !self.heard.down.borrow().contains_key(&name) {
                    self.heard.news.notified().await;
                }
            })
            .await?;
        self.absorb();
        // Free tasks may outlive a consumer for a while; what they say is refused. What is never let go is a leak.
        let patience = self.pace.patience;
        let let_go = async {
            while Arc::strong_count(&info) > 1 {
                tokio::time::sleep(self.pace.quiet).await;
                self.absorb();
            }
        };
        if tokio::time::timeout(patience, let_go).await.is_err() {
            let held = Arc::strong_count(&info) - 1;
            return Err(Stop::Broken(format!(
                "{held} deliveries of an ended consumer are still held after {patience:?}"
            )));
        }
        Ok(())
    }
}
