//! What actor and connections share, and what they do with it together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use consumer_group::DeadLetter;
use consumer_group::codec::GuardedCodec;
use consumer_group::events::{LinkState, Moment};
use consumer_group::queue::{Arrival, Clock, JobRef, Lane, Refusal, UnreadableJob};
use lapin::message::Delivery;
use lapin::types::ShortString;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::config::RabbitMqConfig;
use crate::error::PublishError;
use crate::link::{Link, LinkSender};
use crate::message::{self, Arrived, Message, Outgoing, Place, Process};
use crate::publisher::{Publication, Until};
use crate::state::{Leaving, State, Whereto};

pub(crate) struct Core<J: Send + Sync + 'static> {
    pub(crate) config: RabbitMqConfig,
    pub(crate) process: Process,
    codec: GuardedCodec<J>,
    state: Mutex<State<J>>,
    /// Rung when the consuming side has something to do.
    pub(crate) bell: Notify,
    publish: UnboundedSender<Publication>,
    /// The consuming channel that is open, for whoever must not wait for the lock; 0 while there is none.
    pub(crate) channel: Arc<AtomicU64>,
    clock: OnceLock<Clock>,
    /// How the connection stands by which messages come.
    pub(crate) link: LinkSender,
    /// How the other one stands.
    pub(crate) publishing: LinkSender,
    /// Set when the last handle has gone.
    pub(crate) is_ending: AtomicBool,
    names: Names,
    /// The queue as its messages name it.
    lane: Lane,
}

/// Names of queues in the form of the protocol.
struct Names {
    queue: ShortString,
    dead_letters: Option<ShortString>,
}

impl<J: Send + Sync + 'static> Core<J> {
    pub(crate) fn new(
        config: RabbitMqConfig,
        codec: GuardedCodec<J>,
        publish: UnboundedSender<Publication>,
        (queue, dead_letters): (ShortString, Option<ShortString>),
    ) -> Self {
        Self {
            lane: Lane::new(config.queue.as_str(), 0),
            config,
            process: Process(uuid::Uuid::new_v4()),
            codec,
            state: Mutex::new(State::new()),
            bell: Notify::new(),
            publish,
            channel: Arc::default(),
            clock: OnceLock::new(),
            link: LinkSender::new(),
            publishing: LinkSender::new(),
            is_ending: AtomicBool::new(false),
            names: Names { queue, dead_letters },
        }
    }

    /// Held for moments only: no code of the user runs under it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock of the first group over this queue; every later one goes on with it.
    pub(crate) fn set_clock(&self, clock: Clock) {
        self.clock.get_or_init(|| clock);
    }

    pub(crate) fn clock(&self) -> Option<Clock> {
        self.clock.get().copied()
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.get_or_init(Clock::start).now()
    }

    /// Tells how the connection stands by which messages come.
    pub(crate) fn tell_link(&self, link: Link) {
        self.link.set(link);
        self.tell_state();
    }

    /// Tells the group how the queue stands: the worse of both connections counts.
    pub(crate) fn tell_state(&self) {
        let (consuming, publishing) = (self.link.get(), self.publishing.get());
        let state = match (consuming, publishing) {
            (Link::Closed, _) => return,
            (Link::Down { why }, _) => LinkState::Disconnected { why },
            (_, Link::Blocked { why }) => LinkState::Blocked { why: why.into() },
            _ => LinkState::Connected,
        };
        let now = self.now();
        let mut own = self.lock();
        own.shell.set_link(state, now);
        own.shell.tell();
    }

    /// Whether the last handle has gone.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// The last handle has gone.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Waits until the last handle has gone.
    pub(crate) async fn until_ending(&self) {
        while !self.is_ending() {
            self.bell.notified().await;
        }
    }

    /// A channel was opened; gives its number.
    pub(crate) fn opened(&self) -> u64 {
        let mut state = self.lock();
        let channel = state.opened();
        self.channel.store(channel, Ordering::Release);
        channel
    }

    /// The channel has ended, and with it every lease of what came by it.
    pub(crate) fn lost(&self) {
        self.channel.store(0, Ordering::Release);
        let revoked = self.lock().lost();
        if let Some(revoked) = revoked {
            // Nothing depends on the answer, and the word counts only as long as somebody waits for it.
            tokio::spawn(revoked);
        }
    }

    /// Whether delays and expiry are ours to keep.
    pub(crate) fn keeps_time(&self) -> bool {
        self.config.keeps_retries()
    }

    /// Does something with the state, hands out what can be handed out, sends on what must go, and rings the bell. The receivers
    /// hear when what was sent on has left.
    pub(crate) fn operate<R>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut State<J>, Moment) -> (R, Vec<Leaving<J>>),
    ) -> (R, Vec<oneshot::Receiver<()>>) {
        let now = self.now();
        let (answer, leaving) = {
            let mut state = self.lock();
            let (answer, mut leaving) = work(&mut state, now);
            leaving.extend(state.hand_out(now, self.keeps_time()));
            state.shell.tell();
            (answer, leaving)
        };
        self.bell.notify_one();
        let sent = leaving
            .into_iter()
            .filter_map(|leaving| self.send_on(leaving, now));
        (answer, sent.collect())
    }

    /// Publishes what leaves; it is acked when that is confirmed.
    fn send_on(self: &Arc<Self>, leaving: Leaving<J>, now: Moment) -> Option<oneshot::Receiver<()>> {
        let Leaving { arrived, to } = leaving;
        let queue = &self.config.queue;
        let message = match &to {
            Whereto::Dead(reason) => {
                arrived.dead_letter(queue, self.names.dead_letters.clone()?, reason, now)
            }
            Whereto::Retry(after) => arrived.retry(queue, self.retry_queue(*after)?),
        };
        Some(self.leave(arrived.place, message))
    }

    fn leave(self: &Arc<Self>, place: Place, message: Outgoing) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let core = Arc::clone(self);
        self.publish(Publication {
            message,
            until: Until::Confirmed {
                channel: place.channel,
            },
            done: Box::new(move |end| {
                if end.is_ok() {
                    core.lock().has_left(place);
                    core.bell.notify_one();
                }
                // An error means that nobody waits any more.
                let _ = tell.send(());
            }),
        });
        told
    }

    pub(crate) fn publish(&self, publication: Publication) {
        if let Err(unsent) = self.publish.send(publication) {
            (unsent.0.done)(Err(PublishError::Unavailable));
        }
    }

    /// For who publishes without anything else of the queue.
    pub(crate) fn publisher(&self) -> UnboundedSender<Publication> {
        self.publish.clone()
    }

    fn retry_queue(&self, after: Duration) -> Option<ShortString> {
        ShortString::try_new(self.config.retry_queue(self.config.step_of(after)?)).ok()
    }

    /// The message of a job that is sent, and whether it may be tried.
    pub(crate) fn encode(&self, job: &JobRef<J>) -> Result<Outgoing, Refusal> {
        let mut body = Vec::new();
        let payload = job.payload();
        self.codec
            .encode(&payload, &mut body)
            .map_err(|_| Refusal::NotEncoded)?;
        if body.len() > self.config.most_bytes {
            return Err(Refusal::TooLarge {
                bytes: body.len() as u64,
                most: self.config.most_bytes as u64,
            });
        }
        let wait = job
            .not_before()
            .map(|at| at.since(self.now()))
            .filter(|wait| !wait.is_zero());
        let delayed = wait
            .filter(|_| self.keeps_time())
            .and_then(|wait| self.retry_queue(wait));
        let to = delayed.unwrap_or_else(|| self.names.queue.clone());
        Ok(message::of_job(
            job,
            (body, self.codec.media_type()),
            to,
            self.process,
        ))
    }

    /// Messages came by this channel, in this order.
    pub(crate) fn came(self: &Arc<Self>, channel: u64, deliveries: Vec<Delivery>) {
        let now = self.now();
        let mut arrived = Vec::with_capacity(deliveries.len());
        let mut unreadable = Vec::new();
        for delivery in deliveries {
            let tag = delivery.delivery_tag;
            let place = Place { channel, tag };
            let message = Box::new(Message::of(delivery));
            match self.decode(&message) {
                Ok(payload) => arrived.push(self.arrived(place, message, payload, now)),
                Err(why) => unreadable.push((place, message, why)),
            }
        }
        for (place, message, why) in unreadable {
            self.came_unreadable(place, &message, &why, now);
        }
        let _ = self.operate(|state, _| (state.came(arrived), Vec::new()));
    }

    fn decode(&self, message: &Message) -> Result<J, String> {
        self.codec
            .decode(&message.body)
            .map_err(|error| error.to_string())
    }

    fn arrived(&self, place: Place, message: Box<Message>, payload: J, now: Moment) -> Arrived<J> {
        let arrival = message.arrival(&self.lane, place);
        let job = message.job(payload, now);
        let job = match message.waiting(self.process) {
            // It was sent here, and somebody here waits for its outcome.
            waiting @ Some(_) => JobRef::new(arrival.id, job, waiting, now),
            None => JobRef::arrived(arrival, job, now),
        };
        Arrived {
            place,
            offset: message.offset(),
            job,
            attempt: message.attempts().saturating_add(1),
            history: Vec::new(),
            message,
        }
    }

    /// What is no job becomes a dead letter as it is; without a queue for those the group keeps it, and it is done at the server.
    fn came_unreadable(self: &Arc<Self>, place: Place, message: &Message, why: &str, now: Moment) {
        let Arrival { id, origin } = message.arrival(&self.lane, place);
        let to = self.names.dead_letters.clone();
        let mut job = UnreadableJob::new(id, why, message.body.as_slice());
        job.origin = Some(origin);
        self.lock()
            .came_unreadable(place, message.offset(), to.is_some(), job);
        if let Some(to) = to {
            let letter = message::unreadable(message, id, &self.config.queue, to, why, now);
            drop(self.leave(place, letter));
        }
    }

    /// What a message of the dead letters tells; none if it is no job of ours.
    pub(crate) fn letter(&self, delivery: &Delivery, place: Place) -> Option<DeadLetter<J>> {
        let message = Box::new(Message::copy_of(delivery));
        let payload = self.decode(&message).ok()?;
        let (reason, at) = message.death();
        let arrived = self.arrived(place, message, payload, self.now());
        Some(DeadLetter {
            job: arrived.job,
            reason,
            history: Vec::new(),
            at,
        })
    }

    /// The message by which a dead letter goes back to the queue of the jobs, as on its first day.
    pub(crate) fn resurrected(&self, delivery: &Delivery) -> Outgoing {
        Message::copy_of(delivery).resurrected(self.names.queue.clone())
    }
}
