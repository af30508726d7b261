//! Jobs on their way to the queue that do not arrive: each goes back to whoever waits for it, or is put aside for the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Intake;
use super::buffer::{Asked, Waiter};
use crate::protocol::{Handover, Push};
use crate::rules::store::{Refusal, Refused};
use crate::types::{JobId, JobRef, Run};

impl<J: Send + Sync + 'static> Intake<J> {
    /// Everything that never reached the queue, oldest first, but for jobs whose senders wait for the queue's word: those go
    /// back to them. For the end of the group, when the intake is closed. Later calls find what came back since.
    pub(crate) fn take_rest(&self) -> Vec<JobRef<J>> {
        let (runs, waiters) = {
            let mut buffer = self.lock();
            let waiting = buffer.len;
            let waiters: Vec<_> = buffer.waiters.drain(..).collect();
            (buffer.take(waiting), waiters)
        };
        self.hand_back(runs, waiters);
        std::mem::take(&mut self.lock().stranded)
    }

    /// The last word to everyone who waits for the queue's: it is not to be had any more. Jobs in `accepted` are with the
    /// queue, which only could not say so.
    pub(crate) fn end(&self, accepted: &[JobRef<J>]) {
        let asked = std::mem::take(&mut self.lock().left_waiting);
        if asked.iter().all(|asked| asked.waiters.is_empty()) {
            return;
        }
        let accepted: BTreeSet<JobId> = accepted.iter().map(|job| job.id()).collect();
        for Asked { ids, waiters, .. } in asked {
            for waiter in waiters {
                let mine = ids.get(waiter.jobs).unwrap_or_default();
                // Whoever is not answered is told so by the end of its channel.
                if mine.iter().all(|id| accepted.contains(id)) {
                    let _ = waiter.answer.send(Vec::new());
                }
            }
        }
    }

    /// These jobs never reached the queue, and nobody is left to push them: those for which somebody waits go back to their
    /// senders, the others are put aside.
    fn hand_back(&self, runs: Vec<Run<J>>, waiters: Vec<Waiter<J>>) {
        let jobs: Vec<_> = runs.into_iter().flat_map(Run::into_jobs).collect();
        let mut waiters = waiters.into_iter().peekable();
        let (mut answers, mut stranded) = (Vec::new(), Vec::new());
        let mut own = Vec::new();
        for (index, job) in jobs.into_iter().enumerate() {
            // Waiters stand in the order of their jobs.
            match waiters.peek() {
                Some(waiter) if waiter.jobs.contains(&index) => {
                    (self.turned_away)(&job);
                    own.push(closed(job));
                    let is_last = waiter.jobs.end == index + 1;
                    if is_last && let Some(waiter) = waiters.next() {
                        answers.push((waiter.answer, std::mem::take(&mut own)));
                    }
                }
                _ => stranded.push(job),
            }
        }
        self.lock().stranded.extend(stranded);
        for (answer, refused) in answers {
            // An error means that the producer has gone.
            let _ = answer.send(refused);
        }
    }

    /// A push came back, and the pump that sent it has ended.
    fn came_back_late(&self, runs: Vec<Run<J>>) {
        let first = runs.first().and_then(|run| run.ids().next());
        let asked = {
            let waiting = &mut self.lock().left_waiting;
            let index = waiting.iter().position(|asked| asked.first == first);
            index.map(|index| waiting.remove(index))
        };
        match asked {
            Some(asked) => self.hand_back(runs, asked.waiters),
            None if self.volatile => self.hand_back(runs, Vec::new()),
            // All senders were told that no answer will come, and each has its job from its own hand.
            None => {}
        }
    }
}

/// A batch in the hands of the pump, or on its way to the queue. If the pump is dropped with it, which happens when the group
/// or its arbiter ends, the jobs are handed back.
pub(super) struct InHand<'a, J: Send + Sync + 'static> {
    intake: &'a Intake<J>,
    /// The jobs while they are here.
    runs: Option<Vec<Run<J>>>,
    /// The way back while they are not.
    back: Option<oneshot::Receiver<Vec<Run<J>>>>,
    count: usize,
    /// The name of the first job.
    first: Option<JobId>,
    /// The names of the jobs, if somebody waits; else empty.
    ids: Vec<JobId>,
    waiters: Vec<Waiter<J>>,
}

impl<'a, J: Send + Sync + 'static> InHand<'a, J> {
    pub(super) fn new(intake: &'a Intake<J>, runs: Vec<Run<J>>, waiters: Vec<Waiter<J>>) -> Self {
        let mut ids = Vec::new();
        if !waiters.is_empty() {
            ids.extend(runs.iter().flat_map(Run::ids));
        }
        Self {
            intake,
            count: runs.iter().map(Run::len).sum(),
            first: runs.first().and_then(|run| run.ids().next()),
            runs: Some(runs),
            back: None,
            ids,
            waiters,
        }
    }

    /// Sends the jobs on their way.
    pub(super) fn send(&mut self, intake: &Arc<Intake<J>>) -> Option<Push<J>> {
        let runs = self.runs.take()?;
        let (way_back, back) = oneshot::channel();
        self.back = Some(back);
        let intake = Arc::clone(intake);
        let runs = Handover::or_else(runs, move |runs| {
            // An error means that the pump has ended.
            if let Err(runs) = way_back.send(runs) {
                intake.came_back_late(runs);
            }
        });
        Some(Push { runs })
    }

    /// Waits until the jobs are here again. False if somebody took them.
    pub(super) async fn comes_back(&mut self) -> bool {
        let Some(back) = &mut self.back else { return false };
        self.runs = back.await.ok();
        self.back = None;
        self.runs.is_some()
    }

    /// The jobs are with the queue, but for those that it refused.
    pub(super) fn arrived(&mut self, refused: Vec<Refused<J>>) {
        self.back = None;
        self.intake.leave_transit(self.count);
        let waiters = std::mem::take(&mut self.waiters);
        self.intake.answer(waiters, &self.ids, refused);
    }
}

impl<J: Send + Sync + 'static> Drop for InHand<'_, J> {
    fn drop(&mut self) {
        let waiters = std::mem::take(&mut self.waiters);
        if let Some(runs) = self.runs.take() {
            return self.intake.hand_back(runs, waiters);
        }
        let Some(mut back) = self.back.take() else { return };
        // First those who wait are noted, then the way back is closed: jobs that come back find either the channel open, and
        // are taken out of it below, or the note.
        let ids = std::mem::take(&mut self.ids);
        let first = self.first;
        self.intake
            .lock()
            .left_waiting
            .push(Asked { first, ids, waiters });
        back.close();
        if let Ok(runs) = back.try_recv() {
            self.intake.came_back_late(runs);
        }
    }
}

fn closed<J>(job: JobRef<J>) -> Refused<J> {
    let refusal = Refusal::Closed;
    Refused { job, refusal }
}
