//! Plans from seeds.

use fastrand::Rng;

use super::fault::{Fault, FaultKind, When};
use super::plan::Plan;
use crate::types::Role;

/// What the random plans are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanShape {
    /// How many jobs.
    pub jobs: usize,
    /// How many consumers the group has.
    pub consumers: u32,
    /// How many faults at most; half of it at least.
    pub faults: usize,
    /// How many keys; about a third of the jobs has none.
    pub keys: u32,
    /// The places of the consumers' `failpoint!`s.
    pub failpoints: Vec<String>,
    /// Whether some plans have up to three faults more, of what lies under the group: the process stands still, there are no
    /// threads, or the host ends.
    pub host: bool,
    /// Whether there is a durable queue: then some plans have up to eight faults more, of its file. Commits fail, another
    /// process wants the file, and the process ends, perhaps several times, and is started again.
    pub durable: bool,
    /// Whether there is a [`RemoteQueue`](super::RemoteQueue): then plans have up to four faults more, of its link and its
    /// lanes, and in some the process ends.
    pub remote: bool,
}

impl Default for PlanShape {
    fn default() -> Self {
        Self {
            jobs: 40,
            consumers: 4,
            faults: 24,
            keys: 6,
            failpoints: vec!["half done".to_owned()],
            host: true,
            durable: false,
            remote: false,
        }
    }
}

/// How far bursts of jobs are apart, in ms.
const BURST_MS: u64 = 20;

/// How the jobs of a plan come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    OneByOne,
    Bursts,
    /// In bursts, and none of them has a key.
    PlainBursts,
    /// In bursts, and some are urgent.
    UrgentBursts,
}

impl Arrival {
    fn of(seed: u64) -> Self {
        match seed % 16 {
            13 => Self::UrgentBursts,
            14 => Self::Bursts,
            15 => Self::PlainBursts,
            _ => Self::OneByOne,
        }
    }
}

impl PlanShape {
    /// The plan of this seed: dense, and in the manner of a swarm. Each seed leaves some kinds of faults out, so that the
    /// others meet more often. In three of sixteen seeds jobs come in bursts instead of one by one, in one of these three
    /// without keys: such jobs travel in blocks, and in one some are urgent: all of a key, or none.
    ///
    /// Reference: Groce and others, "Swarm Testing", ISSTA 2012.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut random = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5157_4550);
        let mut plan = Plan::new(seed);
        let mut times: Vec<u64> = (0..self.jobs).map(|_| random.u64(0..60)).collect();
        times.sort_unstable();
        let arrival = Arrival::of(seed);
        for at_ms in times {
            let key = (random.u8(0..3) > 0 && self.keys > 0).then(|| random.u32(0..self.keys));
            let key = key.filter(|_| arrival != Arrival::PlainBursts);
            let late_ms = if arrival == Arrival::OneByOne {
                0
            } else {
                at_ms % BURST_MS
            };
            plan = plan.job(at_ms - late_ms, key, random.u64(0..8));
            if arrival == Arrival::UrgentBursts {
                let priority = match key {
                    Some(key) => u8::try_from(key % 3).unwrap_or(0),
                    None => random.u8(0..3),
                };
                plan = plan.priority(priority);
            }
        }
        let swarm: u32 = random.u32(..) | random.u32(..);
        let faults = random.usize(self.faults.div_ceil(2)..=self.faults);
        while plan.faults.len() < faults && self.jobs > 0 && self.consumers > 0 {
            let number = random.u8(0..40);
            if number == 0 {
                self.poison(&mut random, &mut plan, faults);
            } else if number == 1 {
                self.echo(&mut random, &mut plan, faults);
            } else if let Some(fault) = self.fault(&mut random, swarm) {
                plan.faults.push(fault);
            }
        }
        if self.host && self.jobs > 0 && self.consumers > 0 {
            self.host_faults(seed, &mut plan);
        }
        if self.durable && self.jobs > 0 && self.consumers > 0 {
            self.file_faults(seed, &mut plan);
        }
        if self.remote && self.jobs > 0 && self.consumers > 0 {
            // A remote queue repeats by itself, and knows what it repeats.
            plan.faults
                .retain(|fault| fault.kind != FaultKind::RepeatDelivery);
            self.link_faults(seed, &mut plan);
        }
        plan
    }

    /// Faults of the link to a remote queue.
    fn link_faults(&self, seed: u64, plan: &mut Plan) {
        let mut random = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x4c49_4e4b);
        for _ in 0..random.usize(1..=4) {
            let ms = random.u64(1..150);
            let kind = match random.u8(0..4) {
                0 | 1 => FaultKind::LinkLost { ms },
                of => FaultKind::LaneRevoked {
                    lane: random.u32(0..3),
                    within_ms: if of == 2 { 0 } else { random.u64(1..80) },
                    ms,
                },
            };
            let when = self.when(&mut random, &kind);
            plan.faults.push(Fault { when, kind });
        }
        if random.u8(0..4) == 0 {
            let kind = FaultKind::ProcessEnd;
            let when = self.when(&mut random, &kind);
            plan.faults.push(Fault { when, kind });
        }
        if random.u8(0..8) == 0 {
            self.deadly(&mut random, plan);
        }
    }

    /// Faults of the file of a durable queue.
    fn file_faults(&self, seed: u64, plan: &mut Plan) {
        let mut random = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x4649_4c45);
        let failures = random.usize(0..3);
        let mut kinds: Vec<FaultKind> = Vec::with_capacity(4);
        for _ in 0..failures {
            kinds.push(FaultKind::FailedCommit {
                times: random.u32(1..5),
            });
        }
        if random.bool() {
            kinds.push(FaultKind::SecondOpener {
                ms: random.u64(50..600),
            });
        }
        if random.bool() {
            kinds.push(FaultKind::ProcessEnd);
        }
        for kind in kinds {
            let when = self.when(&mut random, &kind);
            plan.faults.push(Fault { when, kind });
        }
        if random.u8(0..8) == 0 {
            self.deadly(&mut random, plan);
        }
    }

    /// A job that ends the process whenever it begins: first unnoticed among others, then alone.
    fn deadly(&self, random: &mut Rng, plan: &mut Plan) {
        let job = random.usize(0..self.jobs);
        let ends = random.usize(2..=4);
        for attempt in [1, 1, 2, 3].into_iter().take(ends) {
            plan.faults.push(Fault {
                when: When::Attempt { job, attempt },
                kind: FaultKind::ProcessEnd,
            });
        }
    }

    /// Faults of what lies under the group: in half of the seeds, and beside the others, so that those keep their share.
    fn host_faults(&self, seed: u64, plan: &mut Plan) {
        let mut random = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x484f_5354);
        let (freezes, shortages, ends) = match random.u8(0..16) {
            0..=2 => (1, 0, false),
            3 => (2, 1, false),
            4..=5 => (0, 1, false),
            6 => (0, 2, false),
            7 => (random.u8(0..2), random.u8(0..2), true),
            _ => (0, 0, false),
        };
        let freeze = |random: &mut Rng| FaultKind::Freeze {
            ms: random.u64(1..400),
        };
        let shortage = |random: &mut Rng| FaultKind::NoThreads {
            ms: random.u64(10..400),
        };
        let mut kinds: Vec<FaultKind> = (0..freezes).map(|_| freeze(&mut random)).collect();
        kinds.extend((0..shortages).map(|_| shortage(&mut random)));
        kinds.extend(ends.then_some(FaultKind::HostEnd));
        for kind in kinds {
            let when = self.when(&mut random, &kind);
            plan.faults.push(Fault { when, kind });
        }
    }

    /// A job that kills whoever takes it, until it is given up.
    fn poison(&self, random: &mut Rng, plan: &mut Plan, most: usize) {
        let job = random.usize(0..self.jobs);
        for attempt in 1..=3 {
            if plan.faults.len() < most {
                plan.faults.push(Fault {
                    when: When::Attempt { job, attempt },
                    kind: FaultKind::Panic,
                });
            }
        }
    }

    /// A failure that is told once more while the next attempt runs.
    fn echo(&self, random: &mut Rng, plan: &mut Plan, most: usize) {
        let job = random.usize(0..self.jobs);
        let ms = random.u64(1..60);
        let kinds = [
            (1, FaultKind::EchoSettle { ms }),
            (1, FaultKind::Error),
            (2, FaultKind::Slow { ms }),
        ];
        for (attempt, kind) in kinds {
            if plan.faults.len() < most {
                let when = When::Attempt { job, attempt };
                plan.faults.push(Fault { when, kind });
            }
        }
    }

    fn fault(&self, random: &mut Rng, swarm: u32) -> Option<Fault> {
        let number = random.u32(0..18);
        if swarm & (1 << number) == 0 {
            return None;
        }
        let roles = [Role::Queue, Role::Strategy, Role::Supervisor, Role::Results];
        let kind = match number {
            0 => FaultKind::Panic,
            1 => FaultKind::PanicAfterWork,
            2 => FaultKind::Failpoint {
                place: random.choice(&self.failpoints)?.clone(),
            },
            3 => FaultKind::Error,
            4 => FaultKind::Hang,
            5 | 6 => FaultKind::Block {
                ms: random.u64(10..400),
            },
            7 => FaultKind::Slow {
                ms: random.u64(1..200),
            },
            8 => FaultKind::CrashArbiter,
            9 | 10 => FaultKind::Crash {
                role: *random.choice(&roles)?,
            },
            11 => FaultKind::LoseSettle,
            12 => FaultKind::RepeatSettle,
            13 => FaultKind::DelaySettle {
                ms: random.u64(1..250),
            },
            14 => FaultKind::RepeatDelivery,
            15 => FaultKind::Disconnect {
                ms: random.u64(1..150),
            },
            16 => FaultKind::ClockJump {
                ms: random.u64(1..300),
            },
            _ => FaultKind::Crash {
                role: Role::Supervisor,
            },
        };
        let when = self.when(random, &kind);
        Some(Fault { when, kind })
    }

    fn when(&self, random: &mut Rng, kind: &FaultKind) -> When {
        let attempt = When::Attempt {
            job: random.usize(0..self.jobs),
            attempt: 1 + u32::from(random.u8(0..4) == 0),
        };
        let (slot, at_ms, choice) = (random.u32(0..self.consumers), random.u64(0..200), random.u8(0..8));
        match kind {
            FaultKind::Crash { .. }
            | FaultKind::Disconnect { .. }
            | FaultKind::ClockJump { .. }
            | FaultKind::Freeze { .. }
            | FaultKind::NoThreads { .. }
            | FaultKind::HostEnd
            | FaultKind::ProcessEnd
            | FaultKind::FailedCommit { .. }
            | FaultKind::SecondOpener { .. }
            | FaultKind::LinkLost { .. }
            | FaultKind::LaneRevoked { .. } => {
                if choice < 4 {
                    When::Time { at_ms }
                } else {
                    attempt
                }
            }
            FaultKind::Panic | FaultKind::Hang | FaultKind::Block { .. } | FaultKind::CrashArbiter
                if choice == 0 =>
            {
                When::Slot { slot, at_ms }
            }
            FaultKind::RepeatDelivery => attempt,
            _ if choice == 1 => When::Delivery {
                slot,
                number: 1 + random.u32(0..12),
            },
            _ => attempt,
        }
    }
}
