//! The life of a [`BatchConsumer`] inside the stock shell: gathers deliveries by size and by time.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::inbox::{Inbox, urgent_first};
use super::shell::{ShellParams, not_started, stopped};
use crate::actors::instant_after;
use crate::protocol::faults;
use crate::protocol::{BatchConsumer, ConsumerAddr, ConsumerInfo, Deliver, Heartbeat, Parcel};
use crate::types::{Cause, Guarded};

/// When a batch closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// When it has this many deliveries; at least 1. The prefetch window of the group is made at least as large.
    pub most: usize,
    /// When this much time has passed since its first delivery was taken up. Zero: a batch is whatever has arrived.
    /// [`Duration::MAX`]: it waits until it is full. A batch that can get no larger is closed at once: while the group drains or
    /// is paused, when its slot is taken away, and around a job that must be delivered alone.
    pub wait: Duration,
}

pub(super) async fn work<C: BatchConsumer>(
    consumer: C,
    params: ShellParams<C::Job, C::Output>,
    address: ConsumerAddr<C::Job, C::Output>,
    inbox: Rc<Inbox<C::Job>>,
    size: BatchSize,
) -> Cause {
    // As in the shell of one: its `Drop` may panic while its own panic unwinds.
    let mut consumer = Guarded::new(consumer);
    if let Err(failure) = consumer.started(&params.info).await {
        return not_started(&failure);
    }
    params.tell_up(address);
    let mut arrived = VecDeque::new();
    loop {
        gather(&mut arrived, &inbox, size, &params.info).await;
        if params.info.heartbeat.has_ended() {
            return Cause::Killed;
        }
        if arrived.is_empty() {
            return stopped(consumer.stopping().await);
        }
        let mut batch: Vec<_> = take_out(&mut arrived, size.most.max(1))
            .iter()
            .flat_map(|parcel| Deliver::all_of(parcel, &params.info, &params.settles))
            .filter_map(Deliver::unless_expired)
            .filter_map(Deliver::unless_recalled)
            .collect();
        if batch.is_empty() {
            continue;
        }
        if faults::is_simulated() {
            batch = with_faults(batch, &params.info.heartbeat).await;
        }
        if let Err(failure) = consumer.consume(&mut batch).await {
            for delivery in batch {
                delivery.finish(Err(failure.clone()));
            }
        }
    }
}

/// Meets each delivery with the fault that a simulation has for it; those that fail do not come to the consumer.
async fn with_faults<J: Send + Sync + 'static, O: Send + 'static>(
    batch: Vec<Deliver<J, O>>,
    heartbeat: &Heartbeat,
) -> Vec<Deliver<J, O>> {
    let mut left = Vec::with_capacity(batch.len());
    for delivery in batch {
        // A fault may have held it up for so long that it was given up on.
        if heartbeat.has_ended() {
            break;
        }
        if faults::before_work(delivery.seen()).await {
            delivery.fail(faults::planned_failure());
        } else {
            left.push(delivery);
        }
    }
    left
}

/// Waits until a batch can be closed; nothing has arrived if the consumer was asked to stop. It rests only while it holds deliveries back: one that waits for the first of them may
/// have others out, which it gave to a task and which never end.
async fn gather<J>(
    arrived: &mut VecDeque<Parcel<J>>,
    inbox: &Inbox<J>,
    size: BatchSize,
    info: &ConsumerInfo,
) {
    if arrived.is_empty() {
        match inbox.take_unless(|| info.heartbeat.shall_stop()).await {
            Some(mut more) => arrived.append(&mut more),
            None => return,
        }
    }
    let deadline = instant_after(size.wait);
    let heartbeat = &info.heartbeat;
    heartbeat.rest((info.now.0)().after(size.wait));
    while jobs(arrived) < size.most {
        let more = inbox.take_unless(|| heartbeat.is_complete());
        match tokio::time::timeout_at(deadline, more).await {
            Ok(Some(mut more)) => arrived.append(&mut more),
            Ok(None) | Err(_) => break,
        }
    }
    heartbeat.end_rest();
    urgent_first(arrived);
}

fn jobs<J>(parcels: &VecDeque<Parcel<J>>) -> usize {
    parcels.iter().map(|parcel| parcel.run.len()).sum()
}

/// Takes out the first `most` jobs. A parcel that has more stays with the rest of them.
fn take_out<J>(parcels: &mut VecDeque<Parcel<J>>, most: usize) -> Vec<Parcel<J>> {
    let (mut taken, mut left) = (Vec::new(), most);
    while left > 0
        && let Some(parcel) = parcels.front_mut()
    {
        let places = parcel.run.places.take_first(left);
        left -= places.len();
        let run = parcel.run.part(places);
        taken.push(Parcel { run, ..*parcel });
        if parcel.run.places.is_empty() {
            parcels.pop_front();
        }
    }
    taken
}
