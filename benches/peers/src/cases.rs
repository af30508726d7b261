//! The works, at every size.

use std::time::Duration;

use crate::meter::Handler;

/// How the producer sends, where a peer knows more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    Batches,
    Singly,
    WithResults,
}

/// How much is done in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Jobs are sent for so long. So a fast pool and a slow one are both measured for long enough.
    Time(Duration),
    Jobs(u64),
    /// The only worker dies so many times.
    Deaths(u64),
}

impl Amount {
    pub fn is_reached(self, sent: u64, took: Duration) -> bool {
        match self {
            Self::Time(time) => took >= time,
            Self::Jobs(jobs) | Self::Deaths(jobs) => sent >= jobs,
        }
    }

    fn half(self) -> Self {
        match self {
            Self::Time(time) => Self::Time(time / 2),
            Self::Jobs(jobs) => Self::Jobs(jobs / 2),
            Self::Deaths(deaths) => Self::Deaths(deaths / 2),
        }
    }

    /// Jobs that are sent at this rate.
    pub fn jobs_at(self, rate: u64) -> u64 {
        match self {
            Self::Time(time) => (time.as_secs_f64() * rate as f64) as u64,
            Self::Jobs(jobs) | Self::Deaths(jobs) => jobs,
        }
    }
}

/// What jobs carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Numbers,
    /// Texts of 64 letters.
    Texts,
    /// The same, each with one of a thousand keys. Jobs of a key are done in order.
    TextsInOrder,
}

/// The work that says most of what people send, and that every peer does.
pub const TEXTS: &str = "texts, batches";

/// Keys of jobs that have some.
pub const KEYS: u64 = 1_000;

/// A work at one size.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub work: &'static str,
    pub handler: Handler,
    pub sending: Sending,
    pub kind: Kind,
    pub amount: Amount,
    /// Jobs a second; absent: as fast as they go.
    pub rate: Option<u64>,
    pub workers: usize,
    /// Threads with a runtime: 1, or 2.
    pub arbiters: usize,
    /// How long jobs are sent before it counts.
    pub warm: Duration,
}

impl Case {
    /// Jobs that may be on the way at most.
    pub fn window(&self) -> u64 {
        match self.handler {
            // More would only be waited for at the end.
            Handler::Millisecond => 8 * self.workers as u64,
            _ => 16_384,
        }
    }

    /// Whether it tells how long so many workers take to start.
    pub fn shows_the_start(&self) -> bool {
        self.workers >= MANY && self.sending == Sending::Batches
    }
}

/// Ten thousand workers.
const MANY: usize = 10_000;

/// Cases whose runs alternate. Each one after the first is also compared with the first, peer by peer.
pub type Set = Vec<Case>;

pub fn sets(quick: bool) -> Vec<Set> {
    let ms = Duration::from_millis;
    let (time, warm) = if quick {
        (ms(100), ms(10))
    } else {
        (ms(300), ms(100))
    };
    let base = Case {
        work: "batches",
        handler: Handler::Nothing,
        sending: Sending::Batches,
        kind: Kind::Numbers,
        amount: Amount::Time(time),
        rate: None,
        workers: 4,
        arbiters: 1,
        warm,
    };
    let mut sets = Vec::new();
    for arbiters in [1, 2] {
        let base = Case { arbiters, ..base };
        sets.extend(texts(base));
        sets.extend(throughput(base, quick));
        if arbiters == 1 || !quick {
            sets.extend(waits(base, quick));
            sets.extend(handlers(base));
        }
    }
    sets.push(many_jobs(base, quick));
    sets.push(deaths(base));
    sets
}

/// As fast as it goes, by the number of workers; with panics; with results.
fn throughput(base: Case, quick: bool) -> Vec<Set> {
    let single = Case {
        work: "single sends",
        sending: Sending::Singly,
        ..base
    };
    let panics = Case {
        work: "1 in 1,000 panics",
        handler: Handler::OneInThousandPanics,
        ..base
    };
    let results = Case {
        work: "with results",
        sending: Sending::WithResults,
        ..base
    };
    let at = |case: Case, workers| Case {
        workers,
        // Each of them should have had a job.
        warm: if workers >= MANY { 3 * base.warm } else { base.warm },
        ..case
    };
    match (quick, base.arbiters) {
        (true, 1) => vec![vec![base, panics, at(base, MANY)], vec![single], vec![results]],
        (true, _) => vec![vec![base]],
        (false, 1) => vec![
            vec![base, at(base, 1), at(base, 64), at(base, MANY), panics],
            vec![single, at(single, 1), at(single, 64), at(single, MANY)],
            vec![results],
        ],
        (false, _) => vec![
            vec![base, at(base, 1), at(base, 64), at(base, MANY), panics],
            vec![single, at(single, 1), at(single, 64)],
            vec![results],
        ],
    }
}

/// Jobs that own memory, as most do.
fn texts(base: Case) -> Vec<Set> {
    let base = Case {
        work: TEXTS,
        kind: Kind::Texts,
        ..base
    };
    let single = Case {
        work: "texts, single sends",
        sending: Sending::Singly,
        ..base
    };
    let in_order = Case {
        work: "texts, keys in order",
        kind: Kind::TextsInOrder,
        ..base
    };
    let results = Case {
        work: "texts, with results",
        sending: Sending::WithResults,
        ..base
    };
    [base, single, in_order, results].map(|case| vec![case]).into()
}

/// How long a job waits from when it should be sent until its handler has it, by the load.
fn waits(base: Case, quick: bool) -> Vec<Set> {
    let loads = [
        ("latency at 1,000/s", 1_000),
        ("latency at 10,000/s", 10_000),
        ("latency at 30,000/s", 30_000),
        ("latency at 100,000/s", 100_000),
        ("latency at 300,000/s", 300_000),
        ("latency at 1,000,000/s", 1_000_000),
    ];
    let is_done = |rate: u64| match (quick, base.arbiters) {
        (true, _) => rate == 100_000,
        (false, 1) => true,
        (false, _) => rate == 10_000 || rate == 100_000,
    };
    let case = |(work, rate)| {
        vec![Case {
            work,
            sending: Sending::Singly,
            rate: Some(rate),
            ..base
        }]
    };
    let loads = loads.into_iter().filter(|&(_, rate)| is_done(rate));
    loads.map(case).collect()
}

/// Handlers that take their time.
fn handlers(base: Case) -> Vec<Set> {
    // They vary little, so half the time is enough.
    let half = Case {
        amount: base.amount.half(),
        ..base
    };
    let works = Case {
        work: "1 us of work",
        handler: Handler::Microsecond,
        ..half
    };
    let sleeps = Case {
        work: "1 ms of sleep",
        handler: Handler::Millisecond,
        workers: 64,
        ..half
    };
    let slow = Case {
        work: "1 % slow",
        handler: Handler::OneInHundredSlow,
        sending: Sending::Singly,
        rate: Some(2_500),
        amount: Amount::Jobs(base.amount.jobs_at(2_500).max(300)),
        ..base
    };
    vec![vec![works], vec![sleeps], vec![slow]]
}

/// Whether a job costs more where there are more of them.
fn many_jobs(base: Case, quick: bool) -> Set {
    let case = |work, jobs| Case {
        work,
        amount: Amount::Jobs(jobs),
        ..base
    };
    if quick {
        vec![case("100,000 jobs", 100_000), case("1 M jobs", 1_000_000)]
    } else {
        vec![case("1 M jobs", 1_000_000), case("10 M jobs", 10_000_000)]
    }
}

/// How long it takes from a panic until the replacement handles a job. With one worker, so that nobody else can.
fn deaths(base: Case) -> Set {
    vec![Case {
        work: "death to replacement",
        handler: Handler::PoisonPanics,
        sending: Sending::Singly,
        amount: Amount::Deaths(1_000),
        workers: 1,
        ..base
    }]
}
