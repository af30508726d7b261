//! New jobs: encoded, admitted, written down, placed, and their senders told.

use std::ops::Range;
use std::sync::Arc;

use super::Writer;
use super::round::Body;
use crate::durable::core::{Pushing, Written, lock, refused_of};
use crate::durable::engine::{Change, Table};
use crate::durable::format::ChunkWriter;
use crate::durable::state::{Admission, Decided};
use crate::rules::store::Refusal;
use crate::types::{JobRef, Moment, Run, WriteFailure};

impl<J: Send + Sync + 'static> Writer<J> {
    /// Encodes the jobs of a push, outside of the lock.
    pub(super) fn take_push(&mut self, pushing: Pushing<J>) {
        let round = &mut self.round;
        let from = round.jobs.len();
        for job in pushing.runs.peek().into_iter().flatten().flat_map(Run::handles) {
            let begin = round.bytes.len();
            let written = self.paper.write_new(&job, &mut round.bytes);
            let body = written.map(|()| begin..round.bytes.len());
            round.jobs.push(job);
            round.bodies.push(body);
        }
        round.pushes.push((from..round.jobs.len(), pushing));
    }

    pub(super) fn push_round(
        &mut self,
        jobs: Vec<JobRef<J>>,
        bytes: Vec<u8>,
        bodies: Vec<Body>,
        pushes: Vec<(Range<usize>, Pushing<J>)>,
    ) {
        let now = lock(&self.state).now();
        let mut written = Vec::new();
        let (admission, decided) = self.admit(now, &jobs, &bodies, &mut written);
        if decided == 0 {
            self.round.stay(0, jobs, (&bytes, bodies), pushes);
            self.save_changes();
            return self.wake();
        }
        if admission.refuses(decided) {
            // Nothing of it will be on the disk: a duplicate of a job that is there already is answered without a commit. One
            // of a job that is not there yet is in the round of that job, or behind it.
            self.placed((now, admission, decided), jobs, (&bytes, bodies), pushes);
            self.save_changes();
            return self.wake();
        }
        self.write_down(&admission, &jobs, &bytes, &bodies, &mut written);
        let saved = self.save(&written, false);
        match &saved {
            Ok(()) => {
                self.placed((now, admission, decided), jobs, (&bytes, bodies), pushes);
                self.told(&saved);
            }
            Err(error) => {
                let mut state = lock(&self.state);
                state.forget_admission(&admission);
                drop(state);
                drop(jobs);
                // A commit that failed may be on the disk all the same. What was handed back must not come out there.
                self.unsaved.extend(written.iter().filter_map(Change::undone));
                let failure = error.failure();
                // What leaves the queue needs no room that the new jobs would have taken.
                let without = self.save(&[], false);
                if without.is_ok() {
                    self.told(&saved);
                }
                self.told(&without);
                // After that, so that the sender finds the queue as it was told of it.
                self.refuse(pushes, failure);
            }
        }
        self.wake();
    }

    /// What was admitted is on disk: the queue has it from here on, and the senders are told. What waits for room stays for the
    /// next round.
    fn placed(
        &mut self,
        (now, mut admission, decided): (Moment, Admission, usize),
        mut jobs: Vec<JobRef<J>>,
        bodies: (&[u8], Vec<Body>),
        pushes: Vec<(Range<usize>, Pushing<J>)>,
    ) {
        let mut refused = std::mem::take(&mut admission.refused);
        let mut state = lock(&self.state);
        let later = jobs.split_off(decided);
        state.place(now, admission, &jobs, &mut self.unsaved);
        state.settle_accounts(&mut self.unsaved);
        drop(state);
        // A refused job goes back to its sender whole: nobody else may hold it by then.
        drop(jobs);
        refused.sort_unstable_by_key(|(index, _)| *index);
        let waiting = answer(pushes, refused, decided);
        if !waiting.is_empty() {
            self.round.stay(decided, later, bodies, waiting);
        }
    }

    /// Hands the jobs of these pushes back, but for those that were decided about in earlier commits.
    pub(super) fn refuse(&mut self, pushes: Vec<(Range<usize>, Pushing<J>)>, failure: WriteFailure) {
        let mut state = lock(&self.state);
        for (range, pushing) in pushes {
            let room = state.account.hand_back(range.len());
            let failed = Written::Failed {
                runs: pushing.runs,
                decided: pushing.decided,
                refused: pushing.refused,
                refusal: Refusal::NotWritten(failure),
                room: room.map(|room| room.semaphore),
            };
            // An error means that the actor has died; then the jobs go back by the handover.
            let _ = pushing.answer.send(failed);
        }
    }

    /// Decides about the jobs of the round: about so many of them, up to the first one that waits for room for its bytes.
    fn admit(
        &mut self,
        now: Moment,
        jobs: &[JobRef<J>],
        bodies: &[Body],
        written: &mut Vec<Change>,
    ) -> (Admission, usize) {
        let mut decided = jobs.len();
        let mut admission = Admission::default();
        let state = Arc::clone(&self.state);
        let mut state = lock(&state);
        state.wake(now, &mut self.unsaved);
        for (index, (job, body)) in jobs.iter().zip(bodies).enumerate() {
            let body = match body {
                Ok(body) => body,
                Err(refusal) => {
                    admission.refused.push((index, *refusal));
                    continue;
                }
            };
            let job = (index, job, body.len());
            let found = loop {
                let needed = match state.admit(now, job, &mut admission, &mut self.unsaved) {
                    Ok(found) => break found,
                    Err(needed) => needed,
                };
                let mut failure = None;
                for (first, mark) in needed {
                    let loaded = self.read_chunk(state.first_own(), first, &mark);
                    match loaded {
                        Ok(loaded) => state.loaded(now, loaded, &mut self.unsaved),
                        Err(error) => {
                            state.not_loaded(first);
                            failure = Some(error.failure());
                        }
                    }
                }
                // The job that had to make room cannot be read: asking again at once would find the same.
                if let Some(failure) = failure {
                    admission.refused.push((index, Refusal::NotWritten(failure)));
                    break Decided::Yes;
                }
            };
            if found == Decided::Later {
                decided = index;
                break;
            }
        }
        state.close_chunks(now, &mut admission, written);
        state.write_marks(&mut self.unsaved);
        (admission, decided)
    }

    /// The records of the admitted jobs.
    fn write_down(
        &self,
        admission: &Admission,
        jobs: &[JobRef<J>],
        bytes: &[u8],
        bodies: &[Body],
        written: &mut Vec<Change>,
    ) {
        let body = |index: usize| bytes.get(bodies.get(index)?.clone().ok()?);
        for chunk in &admission.chunks {
            let mut record = ChunkWriter::with_room(chunk.jobs.len(), chunk.bytes as usize);
            for index in &chunk.jobs {
                record.add(body(*index).unwrap_or_default());
            }
            written.push(Change::Put(Table::Chunks, chunk.first, record.finish()));
            written.push(Change::Put(Table::Marks, chunk.first, chunk.mark().write()));
        }
        for (index, number, _) in &admission.singles {
            if let Some(Ok(record)) = jobs
                .get(*index)
                .map(|job| self.paper.single(job, 0, false, None, &[]))
            {
                written.push(Change::Put(Table::Singles, *number, record));
            }
        }
    }
}

/// Tells each sender which of its jobs were refused, and takes the others over. `decided` jobs of the round were decided about;
/// what is left of the pushes that have more waits for the next round and is returned.
fn answer<J: Send + Sync + 'static>(
    pushes: Vec<(Range<usize>, Pushing<J>)>,
    refused: Vec<(usize, Refusal)>,
    decided: usize,
) -> Vec<(Range<usize>, Pushing<J>)> {
    let mut refused = refused.into_iter().peekable();
    let mut waiting = Vec::new();
    for (range, mut pushing) in pushes {
        let of_push = pushing.decided;
        while let Some((index, refusal)) = refused.next_if(|(index, _)| *index < range.end) {
            pushing.refused.push((index - range.start + of_push, refusal));
        }
        if range.end > decided {
            pushing.decided += decided.saturating_sub(range.start);
            waiting.push((range.start.max(decided) - decided..range.end - decided, pushing));
            continue;
        }
        // From here on they are the queue's.
        let sent = pushing.runs.take().unwrap_or_default();
        let sent = sent.into_iter().flat_map(Run::into_jobs);
        let back = refused_of(sent, &pushing.refused);
        // An error means that the actor has died; the handover has told the sender.
        let _ = pushing.answer.send(Written::Done(back));
    }
    waiting
}
