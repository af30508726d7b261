//! Runs of jobs that came from elsewhere.

use std::sync::Arc;

use super::job::Wishes;
use super::place::Place;
use super::{Arrival, Block, Job, Key, Moment, Places, Run};

impl<J> Run<J> {
    /// The runs of jobs that came from elsewhere, in this order: neighbours that agree in their lane and in what is wished for
    /// them travel together, 64 at most. A job whose outcome is waited for outside of the process travels alone. `now` is the
    /// moment from which delay and expiry count.
    pub fn of_arrivals(jobs: impl IntoIterator<Item = (Arrival, Job<J>)>, now: Moment) -> Vec<Self> {
        let (mut open, mut runs) = (OpenRun::default(), Vec::new());
        for (arrival, job) in jobs {
            let wishes = job.wishes(now);
            if !open.takes(&arrival, &job, &wishes) {
                runs.extend(std::mem::take(&mut open).close());
            }
            open.put(arrival, job, wishes);
        }
        runs.extend(open.close());
        runs
    }
}

/// A run that is being filled.
struct OpenRun<J> {
    jobs: Vec<Place<J>>,
    /// One for each job, or none.
    keys: Vec<Key>,
    wishes: Wishes,
    arrivals: Vec<Arrival>,
}

impl<J> Default for OpenRun<J> {
    fn default() -> Self {
        Self {
            jobs: Vec::new(),
            keys: Vec::new(),
            wishes: Wishes::default(),
            arrivals: Vec::new(),
        }
    }
}

impl<J> OpenRun<J> {
    /// Whether a job can join.
    fn takes(&self, arrival: &Arrival, job: &Job<J>, wishes: &Wishes) -> bool {
        let Some(last) = self.arrivals.last() else {
            return true;
        };
        let is_asked = |arrival: &Arrival| arrival.origin.reply.is_some();
        self.jobs.len() < Places::MOST
            && last.origin.lane == arrival.origin.lane
            && !is_asked(last)
            && !is_asked(arrival)
            && self.keys.is_empty() == job.key.is_none()
            && self.wishes.dedup.is_none()
            && self.wishes == *wishes
    }

    fn put(&mut self, arrival: Arrival, job: Job<J>, wishes: Wishes) {
        self.wishes = wishes;
        self.arrivals.push(arrival);
        self.keys.extend(job.key);
        self.jobs.push(Place::new(job.payload));
    }

    fn close(self) -> Option<Run<J>> {
        let is_empty = self.jobs.is_empty();
        let block = || Block::of_arrivals(self.jobs, self.keys, self.wishes, self.arrivals);
        (!is_empty).then(|| Run::from(Arc::new(block())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{JobId, Lane, Origin, ReplyAddress};

    fn arrival(source: &str, position: u64) -> Arrival {
        let lane = Lane::new(source, 0);
        Arrival {
            id: JobId::of_place(&lane, position),
            origin: Origin::new(lane, position),
        }
    }

    fn lengths(jobs: Vec<(Arrival, Job<u64>)>) -> Vec<usize> {
        let runs = Run::of_arrivals(jobs, Moment::START);
        runs.iter().map(Run::len).collect()
    }

    #[test]
    fn arrivals_of_one_lane_travel_together_and_keep_their_names_and_origins() {
        let jobs = (0..70).map(|number| (arrival("a", number), Job::new(number).key(number)));
        let runs = Run::of_arrivals(jobs, Moment::START);
        let handles: Vec<_> = runs.iter().flat_map(Run::handles).collect();
        assert_eq!(runs.iter().map(Run::len).collect::<Vec<_>>(), [64, 6]);
        for (number, job) in (0_u64..).zip(&handles) {
            assert_eq!(Some(&arrival("a", number).origin), job.origin());
            assert_eq!((job.id(), *job.payload()), (arrival("a", number).id, number));
            assert_eq!(job.key(), Some(&Key::Number(number)));
        }
    }

    #[test]
    fn arrivals_that_do_not_agree_travel_apart() {
        let plain = |source, position| (arrival(source, position), Job::new(position));
        assert_eq!(lengths(vec![plain("a", 0), plain("b", 1), plain("b", 2)]), [1, 2]);
        let keyed = (arrival("a", 1), Job::new(1).key(1));
        assert_eq!(lengths(vec![plain("a", 0), keyed, plain("a", 2)]), [1, 1, 1]);
        let urgent = (arrival("a", 1), Job::new(1).priority(3));
        assert_eq!(lengths(vec![plain("a", 0), urgent]), [1, 1]);
        let mut asked = plain("a", 1);
        asked.0.origin.reply = Some(Box::new(ReplyAddress {
            to: "answers".into(),
            correlation: None,
        }));
        assert_eq!(lengths(vec![plain("a", 0), asked, plain("a", 2)]), [1, 1, 1]);
        assert!(lengths(Vec::new()).is_empty());
    }

    #[test]
    fn a_job_that_leaves_its_run_takes_its_name_and_its_origin_along() {
        let jobs = (0..3).map(|number| (arrival("a", number), Job::new(number)));
        let mut runs = Run::of_arrivals(jobs, Moment::START);
        let jobs = runs.remove(0).into_jobs();
        let found: Vec<_> = jobs.iter().map(|job| (job.id(), job.origin().cloned())).collect();
        let wanted = (0..3).map(|number| (arrival("a", number).id, Some(arrival("a", number).origin)));
        assert_eq!(found, wanted.collect::<Vec<_>>());
    }
}
