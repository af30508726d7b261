//! Dead letters: their records count as done when the topic for dead letters has them, or the group keeps them.

use consumer_group::codec::CodecError;
use consumer_group::queue::{JobRef, UnreadableJob};
use consumer_group::{AttemptRecord, DeadLetter, DeadReason, EventKind, JobId};
use rdkafka::producer::BaseRecord;

use crate::core::Core;
use crate::envelope::Envelope;
use crate::partitions::{Dying, Partitions};
use crate::sending::Sent;

/// What a dead letter is made of, taken out of the lock.
struct Corpse<J> {
    dying: Dying,
    envelope: Option<Box<Envelope>>,
    job: Option<JobRef<J>>,
    history: Vec<AttemptRecord>,
}

/// Makes dead letters of these. Their records count as done when the topic for dead letters has them; what cannot be sent now is
/// sent again later.
pub(crate) fn bury<J: Send + Sync + 'static>(core: &Core<J>, dying: Vec<Dying>) {
    if dying.is_empty() {
        return;
    }
    let corpses = core.operate(|partitions| {
        let corpses: Vec<_> = dying
            .into_iter()
            .filter_map(|dying| corpse(partitions, dying))
            .collect();
        if core.config.dead_letters.is_some() {
            return corpses;
        }
        for Corpse { dying, .. } in corpses {
            // The record stays in its topic, at the place that is told.
            died(partitions, core, dying);
        }
        Vec::new()
    });
    for corpse in corpses {
        if let Err((error, dying)) = send_dead(core, corpse) {
            tracing::warn!(error, "kafka: a dead letter cannot be sent now and is sent again");
            core.keep_unburied([dying]);
        }
    }
}

/// `None` if its partition has gone meanwhile: then its next owner meets it.
fn corpse<J: Send + Sync + 'static>(partitions: &mut Partitions<J>, mut dying: Dying) -> Option<Corpse<J>> {
    let partition = partitions.get_mut(dying.place.lane)?;
    let held = partition.lane.job_mut(dying.place.number)?;
    if let Some(why) = held
        .envelope
        .as_ref()
        .and_then(|envelope| envelope.unreadable.as_deref())
    {
        dying.reason = DeadReason::Unreadable(why.into());
    }
    Some(Corpse {
        envelope: held.envelope.clone(),
        job: held.job.clone(),
        history: held.history.clone(),
        dying,
    })
}

fn send_dead<J: Send + Sync + 'static>(core: &Core<J>, corpse: Corpse<J>) -> Result<(), (String, Dying)> {
    let Corpse {
        dying,
        envelope,
        job,
        history,
    } = corpse;
    let (Some(sender), Some(topic), Some(envelope)) =
        (core.sender(), core.config.dead_letters.as_deref(), envelope)
    else {
        return Err(("the queue is at its end".to_owned(), dying));
    };
    let written = job.map(|job| core.form.write(&job.payload()).map(|outgoing| outgoing.payload));
    let payload = match written.transpose() {
        Ok(payload) => payload.unwrap_or_else(|| envelope.payload.clone()),
        Err(error) => return Err((CodecError::to_string(&error), dying)),
    };
    let headers = envelope.headers(&dying.reason, &history);
    let opaque = Box::new(Sent::Dead(dying));
    let mut record = BaseRecord::<'_, [u8], [u8], _>::with_opaque_to(topic, opaque).headers(headers);
    if let Some(key) = &envelope.key {
        record = record.key(key);
    }
    if let Some(payload) = &payload {
        record = record.payload(payload);
    }
    match sender.send(record) {
        Ok(()) => Ok(()),
        Err((error, record)) => match *record.delivery_opaque {
            Sent::Dead(dying) => Err((error.to_string(), dying)),
            // Nothing else was put in.
            Sent::Job { .. } | Sent::Result(_) => Ok(()),
        },
    }
}

/// A dead letter is where it belongs: its record is done, and whoever waits for the outcome is told.
pub(crate) fn died<J: Send + Sync + 'static>(partitions: &mut Partitions<J>, core: &Core<J>, dying: Dying) {
    let Some(held) = partitions.done(dying.place) else {
        return;
    };
    let Dying { reason, .. } = dying;
    let Some(job) = held.job else {
        if let Some(envelope) = held.envelope {
            no_job(partitions, core, &envelope, &reason);
        }
        return;
    };
    let (id, at) = (job.id(), core.clock().now());
    let news = partitions.shell.news();
    news.events.push(EventKind::DeadLettered {
        job: id,
        reason: reason.clone(),
    });
    news.dead.push(DeadLetter {
        job,
        reason,
        history: held.history,
        at,
    });
    partitions.shell.tell();
}

/// A record is no job, and counts as done: it is where dead letters go, or the group keeps it.
fn no_job<J: Send + Sync + 'static>(
    partitions: &mut Partitions<J>,
    core: &Core<J>,
    envelope: &Envelope,
    reason: &DeadReason,
) {
    let Envelope {
        topic,
        partition,
        offset,
        ..
    } = envelope;
    tracing::warn!(topic = &**topic, partition, offset, %reason, "kafka: a record is no job");
    if core.config.dead_letters.is_some() {
        return;
    }
    let origin = envelope.origin();
    let id = JobId::of_place(&origin.lane, origin.position);
    let why = envelope.unreadable.as_deref().unwrap_or_default();
    let mut unreadable = UnreadableJob::new(id, why, envelope.payload.clone().unwrap_or_default());
    unreadable.origin = Some(origin);
    partitions.shell.news().unreadable.push(unreadable);
    partitions.shell.tell();
}
