//! The reading thread: it polls without end, whatever the consumers of the group do, and acts on rebalances between two polls.
//!
//! | file | what is in it |
//! |---|---|
//! | `context.rs` | what librdkafka calls |
//! | `assignment.rs` | where an assigned partition begins |
//! | `incoming.rs` | how a record becomes a job |
//! | `going.rs` | how partitions are taken over and given up |
//! | `pausing.rs` | when fetching pauses |

mod assignment;
mod context;
mod going;
mod incoming;
mod pausing;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use consumer_group::events::LinkState;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;

pub(crate) use context::{Context, logged};
use going::Rebalancing;
use incoming::Read;

use crate::burying;
use crate::core::{Core, Wanted};
use crate::partitions::{Held, LaneNumber};

/// Records that are taken into the partitions at once, and their bytes.
const A_BATCH: usize = 512;
const A_BATCH_BYTES: usize = 1 << 20;

/// The longest poll while nothing else is to be looked after, and while something is.
const LONG: Duration = Duration::from_millis(100);
const SHORT: Duration = Duration::from_millis(5);

/// How often dead letters that could not be sent are sent again.
const BURY_AGAIN: Duration = Duration::from_millis(500);

pub(crate) struct Reader<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
    consumer: Arc<BaseConsumer<Context>>,
    committer: JoinHandle<()>,
    rebalancing: Rebalancing,
    is_member: bool,
    /// Since when it wants to be none.
    leaving: Option<Duration>,
    /// Something is paused, or going: the next poll is a short one.
    is_busy: bool,
    buried: Duration,
    batch: Vec<Incoming<J>>,
}

/// A record that was read.
struct Incoming<J> {
    lane: LaneNumber,
    offset: i64,
    bytes: usize,
    read: Read<J>,
}

impl<J: Send + Sync + 'static> Reader<J> {
    pub(crate) fn new(
        core: Arc<Core<J>>,
        consumer: Arc<BaseConsumer<Context>>,
        committer: JoinHandle<()>,
    ) -> Self {
        Self {
            core,
            consumer,
            committer,
            rebalancing: Rebalancing::default(),
            is_member: false,
            leaving: None,
            is_busy: false,
            buried: Duration::ZERO,
            batch: Vec::new(),
        }
    }

    /// Works until the end is wanted.
    pub(crate) fn run(mut self) {
        loop {
            let stood_still = self.core.stood_still();
            self.core.seen();
            match (self.core.wanted(), self.is_member) {
                (Wanted::Ended, false) => break,
                (Wanted::Apart, false) => {
                    self.core.is_apart();
                    continue;
                }
                (Wanted::Member, false) => self.join(),
                (Wanted::Member, true) => self.leaving = None,
                (Wanted::Apart | Wanted::Ended, true) => self.leave(),
            }
            self.read();
            self.rebalancing.follow(&self.core, &self.consumer);
            if stood_still {
                // What is still its own can be handed out again.
                let dying = self.core.operate(|partitions| self.core.hand_out(partitions));
                burying::bury(&self.core, dying);
            }
            self.look_after();
        }
        // An error would mean that the thread panicked, which was told.
        self.core.end_commits();
        let _ = self.committer.join();
        drop(self.core.set_sender(None));
        // Its `Drop` polls until the group knows that this member is gone, for which there is time here.
        self.consumer.context().closes();
    }

    fn join(&mut self) {
        let topics: Vec<&str> = self.core.config.topics.iter().map(String::as_str).collect();
        match self.consumer.subscribe(&topics) {
            Ok(()) => self.is_member = true,
            Err(error) => {
                self.core
                    .breaks(format!("its topics cannot be subscribed to: {error}"));
                self.core.want(Wanted::Apart);
            }
        }
    }

    /// Gives up the partitions like any others, and then the membership.
    fn leave(&mut self) {
        let now = self.core.now();
        let since = match self.leaving {
            Some(since) => since,
            None => {
                self.consumer.unsubscribe();
                self.leaving = Some(now);
                now
            }
        };
        let is_late =
            now.saturating_sub(since) > self.core.config.drain.saturating_add(Duration::from_secs(5));
        if self.rebalancing.is_idle() || is_late {
            self.rebalancing.forget_all(&self.core, &self.consumer);
            self.is_member = false;
            self.leaving = None;
        }
        self.is_busy = true;
    }

    /// Takes what has come, up to a batch.
    fn read(&mut self) {
        let mut wait = if self.is_busy { SHORT } else { LONG };
        let mut bytes = 0;
        while self.batch.len() < A_BATCH && bytes < A_BATCH_BYTES {
            match self.consumer.poll(std::mem::take(&mut wait)) {
                None => break,
                Some(Ok(message)) => {
                    let incoming = incoming(&self.core, &self.rebalancing, &message);
                    bytes += incoming.as_ref().map_or(0, |incoming| incoming.bytes);
                    self.batch.extend(incoming);
                }
                Some(Err(error)) => {
                    failed(&self.core, &error);
                    break;
                }
            }
        }
        if self.batch.is_empty() {
            return;
        }
        let batch = &mut self.batch;
        let dying = self.core.operate(|partitions| {
            for Incoming {
                lane,
                offset,
                bytes,
                read,
            } in batch.drain(..)
            {
                let Some(partition) = partitions.get_mut(lane) else {
                    continue;
                };
                match read {
                    Read::Done => partition.lane.pass(offset),
                    Read::Held(held) => partition.lane.deliver(offset, bytes, || held),
                }
            }
            self.core.hand_out(partitions)
        });
        burying::bury(&self.core, dying);
    }

    /// Everything that has its time: pauses, lag, dead letters that wait.
    fn look_after(&mut self) {
        let paused = pausing::pause(&self.core, &self.consumer);
        self.is_busy = paused || !self.rebalancing.is_calm();
        let now = self.core.now();
        if now.saturating_sub(self.buried) >= BURY_AGAIN {
            self.buried = now;
            burying::bury(&self.core, self.core.take_unburied());
        }
        if let Some(is_up) = self.consumer.context().take_is_up() {
            let link = match is_up {
                true => LinkState::Connected,
                false => LinkState::Disconnected {
                    why: "no server is connected".into(),
                },
            };
            let now = self.core.clock().now();
            self.core.operate(|partitions| {
                partitions.shell.set_link(link, now);
                partitions.shell.tell();
            });
        }
        let highs = self.consumer.context().take_highs();
        if !highs.is_empty() {
            self.core.operate(|partitions| {
                for ((topic, partition), high) in highs {
                    let lane = partitions.find(&topic, partition);
                    if let Some(partition) = lane.and_then(|lane| partitions.get_mut(lane)) {
                        partition.high = Some(high);
                    }
                }
            });
        }
    }
}

/// Makes a job of a record, if its partition is one that is read.
fn incoming<J: Send + Sync + 'static>(
    core: &Core<J>,
    rebalancing: &Rebalancing,
    message: &BorrowedMessage<'_>,
) -> Option<Incoming<J>> {
    let route = rebalancing.route(message.topic(), message.partition())?;
    let (offset, bytes) = (
        message.offset(),
        size_of::<Held<J>>() + message.payload_len() + message.key_len(),
    );
    Some(Incoming {
        lane: route.number,
        offset,
        bytes,
        read: incoming::read(core, message, route),
    })
}

fn failed<J: Send + Sync + 'static>(core: &Core<J>, error: &KafkaError) {
    match error {
        // Nothing can be done with this consumer any more.
        KafkaError::MessageConsumptionFatal(code) => core.breaks(code.to_string()),
        // The server is away, a topic is not there: librdkafka goes on trying.
        error => tracing::warn!(%error, "kafka: reading fails for now"),
    }
}
