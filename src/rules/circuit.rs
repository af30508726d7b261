//! When a group pauses by itself, and when it tries again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::{CircuitConfig, CircuitState, Moment};

/// Failures that are counted at most; a configuration that wants more has that many.
const MOST_FAILURES: u32 = 1_000_000;

/// Opens after so many failures within a window; after a pause one job tells whether it closes.
///
/// | state | an attempt failed | one was done, or rejected | the pause is over |
/// |---|---|---|---|
/// | closed | counts; opens at the limit | – | – |
/// | open | – | – | probing |
/// | probing | opens | closes, with no failure counted | – |
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Circuit {
    failures: usize,
    window: Duration,
    pause: Duration,
    /// The latest failures while it is closed, oldest first; fewer than `failures`.
    seen: VecDeque<Moment>,
    state: CircuitState,
    /// While it is open: until when.
    until: Moment,
}

impl Circuit {
    /// A closed circuit by this configuration, if there is one.
    pub fn new(config: &CircuitConfig) -> Option<Self> {
        Some(Self {
            failures: config.failures?.clamp(1, MOST_FAILURES) as usize,
            window: config.window,
            pause: config.pause,
            seen: VecDeque::new(),
            state: CircuitState::Closed,
            until: Moment::START,
        })
    }

    /// What it is now.
    pub fn state(&self) -> CircuitState {
        self.state
    }

    /// How long it stays open.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// An attempt failed.
    pub fn failed(&mut self, now: Moment) {
        match self.state {
            CircuitState::Open => {}
            CircuitState::Probing => self.open(now),
            CircuitState::Closed => {
                while self
                    .seen
                    .front()
                    .is_some_and(|first| now.since(*first) > self.window)
                {
                    self.seen.pop_front();
                }
                self.seen.push_back(now);
                if self.seen.len() >= self.failures {
                    self.open(now);
                }
            }
        }
    }

    /// What the jobs need was there.
    pub fn succeeded(&mut self) {
        if self.state == CircuitState::Probing {
            self.state = CircuitState::Closed;
        }
    }

    /// When something happens by itself.
    pub fn next_due(&self) -> Option<Moment> {
        (self.state == CircuitState::Open).then_some(self.until)
    }

    /// Time has passed.
    pub fn due(&mut self, now: Moment) {
        if self.next_due().is_some_and(|until| until <= now) {
            self.state = CircuitState::Probing;
        }
    }

    fn open(&mut self, now: Moment) {
        self.seen.clear();
        self.state = CircuitState::Open;
        self.until = now.after(self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CircuitState::{Closed, Open, Probing};

    fn circuit() -> Circuit {
        let config = CircuitConfig {
            failures: Some(3),
            window: Duration::from_millis(100),
            pause: Duration::from_millis(1_000),
        };
        Circuit::new(&config).unwrap()
    }

    fn at(milliseconds: u64) -> Moment {
        Moment::from_millis(milliseconds)
    }

    #[test]
    fn it_opens_after_so_many_failures_within_the_window_and_not_before() {
        let mut circuit = circuit();
        for (time, expected) in [(0, Closed), (1, Closed), (101, Closed), (101, Open), (103, Open)] {
            circuit.failed(at(time));
            assert_eq!(circuit.state(), expected, "at {time}");
        }
        assert_eq!(circuit.next_due(), Some(at(1_101)));
    }

    #[test]
    fn after_the_pause_one_job_tells() {
        let mut circuit = circuit();
        for _ in 0..3 {
            circuit.failed(at(0));
        }
        circuit.succeeded();
        circuit.due(at(999));
        assert_eq!(circuit.state(), Open, "what began before tells nothing");
        circuit.due(at(1_000));
        assert_eq!((circuit.state(), circuit.next_due()), (Probing, None));
        circuit.failed(at(1_001));
        assert_eq!((circuit.state(), circuit.next_due()), (Open, Some(at(2_001))));
        circuit.due(at(2_001));
        circuit.succeeded();
        assert_eq!(circuit.state(), Closed);
        circuit.failed(at(2_002));
        assert_eq!(circuit.state(), Closed, "it begins to count anew");
    }

    #[test]
    fn without_a_number_there_is_none() {
        assert_eq!(Circuit::new(&CircuitConfig::default()), None);
    }
}
