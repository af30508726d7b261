//! Runs whose host ends: the group lives in a set of tasks of its own, which is dropped as an arbiter drops its tasks.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::LocalSet;

use super::history::Answer;
use super::patience::{LOOK, Patience};
use super::world::RunWorld;
use crate::group::{CallError, Group, Producer};
use crate::types::Job;

/// Of so many jobs of such a run one is sent by a caller, who waits for its outcome.
const CALLS: usize = 3;

/// Whether this job is sent by somebody who waits for its outcome.
pub(super) fn is_call(job: usize) -> bool {
    job.is_multiple_of(CALLS)
}

/// Does the work beside the host and everyone `elsewhere`, until it is done. When the world ends the host, it is dropped with
/// all that lives there: first the tasks that were begun first, as an arbiter does. Tasks that a fault had begun anew are
/// younger, so the order is another one in every plan.
///
/// `None` if the whole process ended: then everything was dropped, the work too.
pub(super) async fn beside<T>(
    host: LocalSet,
    elsewhere: Rc<LocalSet>,
    world: &RunWorld,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut host = Some(Box::pin(host));
    let mut elsewhere = pin!(elsewhere.run_until(std::future::pending::<()>()));
    let mut end = pin!(world.host.end.notified());
    let mut turns: Option<u8> = None;
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if turns.is_none() && end.as_mut().poll(context).is_ready() {
            turns = Some(world.host.last_turns());
        }
        match turns {
            Some(0) if world.host.ends_all() => {
                world.process_ends();
                host = None;
                return Poll::Ready(None);
            }
            Some(0) if host.is_some() => {
                world.host_ends();
                host = None;
            }
            Some(0) => {}
            Some(left) => {
                turns = Some(left - 1);
                context.waker().wake_by_ref();
            }
            None => {}
        }
        if let Some(host) = &mut host {
            // Ready means that everyone there has ended by himself.
            let _ = host.as_mut().poll(context);
        }
        let _ = elsewhere.as_mut().poll(context);
        match work.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            done => done.map(Some),
        }
    })
    .await
}

/// Sends a job as one who waits for its outcome; goes on as soon as the job was taken. False if there was no room for it
/// and nothing went on any more.
pub(super) async fn call<J: Send + Sync + 'static, O: Send + 'static>(
    producer: Producer<J, O>,
    world: &Arc<RunWorld>,
    index: usize,
    job: Job<J>,
    patience: &Patience<'_>,
) -> bool {
    let named = Arc::clone(world);
    let mut call = Box::pin(async move { producer.call_noting(job, |name| named.named(index, name)).await });
    // Before the job is sent, since the queue may tell of it at once.
    world.waits(index);
    let first = patience
        .wait_for(pin!(taken_or_over(&mut call, world, index)))
        .await;
    let Some(first) = first else {
        world.answered(index, Answer::GivenBack);
        return false;
    };
    match first {
        Some(Err(CallError::Send(refused))) => {
            world.answered(index, Answer::GivenBack);
            world.refused(index, refused.kind.to_string());
        }
        Some(answer) => world.answered(index, answer_of(&answer)),
        None => {
            let world = Arc::clone(world);
            actix_rt::spawn(async move {
                let answer = call.await;
                world.answered(index, answer_of(&answer));
            });
        }
    }
    true
}

/// What came of a call, or `None` once its job was taken.
async fn taken_or_over<T>(
    call: &mut (impl Future<Output = T> + Unpin),
    world: &RunWorld,
    job: usize,
) -> Option<T> {
    loop {
        let mut news = pin!(world.news.notified());
        news.as_mut().enable();
        if world.has_taken(job) {
            return None;
        }
        let answer = std::future::poll_fn(|context| {
            if let Poll::Ready(answer) = Pin::new(&mut *call).poll(context) {
                return Poll::Ready(Some(answer));
            }
            news.as_mut().poll(context).map(|()| None)
        });
        if let Some(answer) = answer.await {
            return Some(answer);
        }
    }
}

fn answer_of<J, O>(answer: &Result<O, CallError<J>>) -> Answer {
    match answer {
        Ok(_) => Answer::Done,
        Err(CallError::Failed(_)) => Answer::GivenUp,
        Err(CallError::Send(_) | CallError::Stopped(Some(_))) => Answer::GivenBack,
        Err(CallError::Stopped(None)) => Answer::Nothing,
    }
}

/// Waits until the file of a durable queue is free.
pub(super) async fn files_are_free(world: &RunWorld, patience: &Patience<'_>) {
    patience.begin();
    let free = pin!(async {
        while world.has_locks() {
            tokio::time::sleep(LOOK).await;
        }
    });
    // One that is never free is told by whoever opens it.
    let _ = patience.wait_for(free).await;
}

/// Ends the group and notes what it hands out; then waits for callers that were not answered.
pub(super) async fn hand_out<J: Send + Sync + 'static, O: Send + 'static>(
    group: &Group<J, O>,
    world: &RunWorld,
    patience: &Patience<'_>,
) {
    patience.begin();
    let Some(drained) = patience.wait_for(pin!(group.stop())).await else {
        return;
    };
    for job in drained.unfinished {
        world.handed_out(job.id());
    }
    let answered = pin!(async {
        while !world.are_all_answered() {
            world.news.notified().await;
        }
    });
    // Who is not answered is told by the checker.
    let _ = patience.wait_for(answered).await;
}
