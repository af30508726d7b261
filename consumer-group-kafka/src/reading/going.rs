//! How partitions are taken over and given up: one rebalance after the other, each answered when its part is done.
//!
//! ```text
//! Assigned ──▶ ask where to begin ──▶ assign
//! Revoked  ──▶ drain, polling on  ──▶ the last commits ──▶ unassign
//! Lost     ──▶ unassign
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task;
use std::time::Duration;

use consumer_group::queue::{Lane as LaneName, Released, RevokeKind, Revoked};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::assignment::{Beginning, beginnings, list_of};
use super::context::{Context, Name, Rebalanced, assign, report, unassign};
use crate::core::Core;
use crate::partitions::{LaneNumber, Partition, Partitions};
use crate::rules::Lane;

/// The wait before the server is asked again where to begin.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How long the supervisor may take to say that a drain is over, beyond its time.
const ANSWER: Duration = Duration::from_secs(2);

/// How long the last commits may take beyond the drain.
const LAST_COMMITS: Duration = Duration::from_secs(5);

/// A partition as the reading thread knows it.
pub(super) struct Route {
    /// What its jobs say of where they come from.
    pub(super) of: LaneName,
    partition: i32,
    pub(super) number: LaneNumber,
    pub(super) fence: u64,
}

impl Route {
    fn is(&self, (topic, partition): &Name) -> bool {
        self.partition == *partition && self.of.source == *topic
    }
}

/// Partitions that are given up.
struct Going {
    names: Vec<Name>,
    /// After this no commit is waited for, except one that is on its way.
    until: Duration,
    /// They are somebody else's already: nothing of them is committed.
    is_lost: bool,
    /// What the supervisor has not answered yet, by partition.
    asked: Vec<(LaneNumber, Releasing)>,
}

/// The answer of the supervisor: nobody is at work on the jobs of a partition any more.
type Releasing = Pin<Box<dyn Future<Output = Option<Released>>>>;

#[derive(Default)]
pub(super) struct Rebalancing {
    routes: Vec<Route>,
    coming: Option<Vec<Name>>,
    /// When the server is asked where to begin.
    ask_at: Duration,
    going: Option<Going>,
}

impl Rebalancing {
    pub(super) fn route(&self, topic: &str, partition: i32) -> Option<&Route> {
        let mut routes = self.routes.iter();
        routes.find(|route| route.partition == partition && &*route.of.source == topic)
    }

    /// Nothing is assigned, comes or goes.
    pub(super) fn is_idle(&self) -> bool {
        self.routes.is_empty() && self.is_calm()
    }

    /// Nothing comes or goes.
    pub(super) fn is_calm(&self) -> bool {
        self.coming.is_none() && self.going.is_none()
    }

    /// Acts on what has happened.
    pub(super) fn follow<J: Send + Sync + 'static>(
        &mut self,
        core: &Core<J>,
        consumer: &BaseConsumer<Context>,
    ) {
        loop {
            if self.going.is_some() && !self.give_up(core, consumer) {
                return;
            }
            if self.coming.is_some() && !self.take_over(core, consumer) {
                return;
            }
            match consumer.context().next() {
                None => return,
                Some(Rebalanced::Assigned(names)) => self.coming = Some(names),
                Some(Rebalanced::Revoked { names, is_lost: true }) => self.lose(core, names),
                Some(Rebalanced::Revoked {
                    names,
                    is_lost: false,
                }) => self.drain(core, names),
            }
        }
    }

    /// Asks where to begin, and begins. False if the server is to be asked again.
    fn take_over<J: Send + Sync + 'static>(
        &mut self,
        core: &Core<J>,
        consumer: &BaseConsumer<Context>,
    ) -> bool {
        if core.now() < self.ask_at {
            return false;
        }
        let names = self.coming.take().unwrap_or_default();
        match beginnings(consumer, &names, core.config.start) {
            Err(error) => {
                tracing::warn!(%error, "kafka: the server does not say where to begin and is asked again");
                self.ask_at = core.now() + ASK_AGAIN;
                // Whether it is still wanted, the events behind it say.
                self.coming = Some(names);
                // One that has been lost meanwhile is answered by the next event.
                consumer.assignment_lost()
            }
            Ok(beginnings) => {
                let list = self.begin(core, beginnings);
                report(list.and_then(|list| {
                    assign(consumer, &list)?;
                    // That a partition was paused outlives its assignment.
                    consumer.resume(&list_of(&names))
                }));
                true
            }
        }
    }

    /// The partitions are there before the first of their records comes.
    fn begin<J: Send + Sync + 'static>(
        &mut self,
        core: &Core<J>,
        beginnings: Vec<Beginning>,
    ) -> rdkafka::error::KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(beginnings.len());
        for Beginning {
            name: (topic, number),
            position,
            note,
        } in beginnings
        {
            list.add_partition_offset(&topic, number, rdkafka::Offset::Offset(position))?;
            tracing::info!(
                topic = &*topic,
                partition = number,
                position,
                "kafka: a partition is taken over"
            );
            let lane = Lane::assigned(position, note, core.config.above());
            let partition = Partition::new(Arc::clone(&topic), number, lane);
            let fence = partition.lane.fence();
            self.routes.push(Route {
                // No partition has a number below 0.
                of: LaneName::new(topic, number.unsigned_abs()),
                partition: number,
                number: core.operate(|partitions| partitions.insert(partition)),
                fence,
            });
        }
        Ok(list)
    }

    /// They go, but not at once: what is at work may finish.
    fn drain<J: Send + Sync + 'static>(&mut self, core: &Core<J>, names: Vec<Name>) {
        let within = core.config.drain;
        // The supervisor ends the drain; the lane only in case that nobody answers.
        let until = core.now() + within + ANSWER;
        let asked = core.operate(|partitions| {
            self.each(partitions, &names, |partition| partition.lane.revoke(until));
            self.revoke(partitions, &names, RevokeKind::Drain { within })
        });
        self.going = Some(Going {
            names,
            until: until + LAST_COMMITS,
            is_lost: false,
            asked,
        });
    }

    /// Looks whether everything of it is over, and gives up the partitions. False if not.
    ///
    /// Nothing is given up while a commit is on its way. Of a partition that was drained: or it would arrive after the next owner
    /// has asked where to begin. Of a lost one: this answer lets the member join anew, and a commit that is sent only then would
    /// count, for a partition that is somebody else's.
    fn give_up<J: Send + Sync + 'static>(
        &mut self,
        core: &Core<J>,
        consumer: &BaseConsumer<Context>,
    ) -> bool {
        let Some(mut going) = self.going.take() else {
            return true;
        };
        if !going.is_lost && consumer.assignment_lost() {
            core.operate(|partitions| drop(self.revoke(partitions, &going.names, RevokeKind::Lost)));
            self.forget(core, &going.names);
            going.is_lost = true;
        }
        let now = core.now();
        let released = released(&mut going.asked);
        let all_left = core.operate(|partitions| {
            for lane in released {
                if let Some(partition) = partitions.get_mut(lane) {
                    partition.lane.released();
                }
            }
            let mut all_left = !going.is_lost || !partitions.is_committing;
            self.each(partitions, &going.names, |partition| {
                partition.lane.tick(now);
                if going.until <= now {
                    partition.lane.gives_up_committing();
                }
                all_left &= partition.lane.has_left();
            });
            all_left
        });
        if all_left {
            self.forget(core, &going.names);
            report(unassign(consumer, &list_of(&going.names)));
        } else {
            self.going = Some(going);
        }
        all_left
    }

    /// They are somebody else's already.
    fn lose<J: Send + Sync + 'static>(&mut self, core: &Core<J>, names: Vec<Name>) {
        tracing::warn!(
            partitions = names.len(),
            "kafka: partitions are lost, nothing of them is committed any more"
        );
        self.forget(core, &names);
        self.going = Some(Going {
            names,
            until: core.now(),
            is_lost: true,
            asked: Vec::new(),
        });
    }

    /// Tells the supervisor that these go. The word is on its way when this returns, behind every job that was handed out.
    fn revoke<J: Send + Sync + 'static>(
        &self,
        partitions: &Partitions<J>,
        names: &[Name],
        kind: RevokeKind,
    ) -> Vec<(LaneNumber, Releasing)> {
        let routes = self.routes.iter();
        let going = routes.filter(|route| names.iter().any(|name| route.is(name)));
        let ask = |route: &Route| -> (LaneNumber, Releasing) {
            let lane = Revoked::Lane(route.of.clone());
            (route.number, Box::pin(partitions.shell.revoke(lane, kind)))
        };
        going.map(ask).collect()
    }

    /// What is settled of them from here on is stale.
    fn forget<J: Send + Sync + 'static>(&mut self, core: &Core<J>, names: &[Name]) {
        let gone = self
            .routes
            .extract_if(.., |route| names.iter().any(|name| route.is(name)));
        let gone: Vec<LaneNumber> = gone.map(|route| route.number).collect();
        core.operate(|partitions| {
            for lane in gone {
                drop(partitions.remove(lane));
            }
        });
    }

    /// The membership has ended. What is not answered yet is answered, or the end of the consumer would wait for it.
    pub(super) fn forget_all<J: Send + Sync + 'static>(
        &mut self,
        core: &Core<J>,
        consumer: &BaseConsumer<Context>,
    ) {
        let name = |route: &Route| (Arc::clone(&route.of.source), route.partition);
        let names: Vec<Name> = self.routes.iter().map(name).collect();
        self.forget(core, &names);
        if let Some(going) = self.going.take() {
            report(unassign(consumer, &list_of(&going.names)));
        }
        if self.coming.take().is_some() {
            report(assign(consumer, &TopicPartitionList::new()));
        }
    }

    fn each<J: Send + Sync + 'static>(
        &self,
        partitions: &mut Partitions<J>,
        names: &[Name],
        mut work: impl FnMut(&mut Partition<J>),
    ) {
        let routes = self.routes.iter();
        for route in routes.filter(|route| names.iter().any(|name| route.is(name))) {
            if let Some(partition) = partitions.get_mut(route.number) {
                work(partition);
            }
        }
    }
}

/// The partitions whose answers have come. Nobody is woken by them: the thread looks at them some times a second.
fn released(asked: &mut Vec<(LaneNumber, Releasing)>) -> Vec<LaneNumber> {
    let mut context = task::Context::from_waker(task::Waker::noop());
    let answered = asked.extract_if(.., |(_, answer)| answer.as_mut().poll(&mut context).is_ready());
    answered.map(|(lane, _)| lane).collect()
}
