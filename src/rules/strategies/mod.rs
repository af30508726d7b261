//! Strategies as pure choosers: which consumer gets a job. A [`Strategy`] runs inside the stock strategy actor.

mod closure;
mod hash;
mod least_loaded;
mod recent;
mod round_robin;
mod sticky;
mod two_choices;
mod weighted;

pub use closure::{StrategyFn, strategy_fn};
pub use hash::ConsistentHash;
pub use least_loaded::LeastLoaded;
pub use round_robin::RoundRobin;
pub use sticky::Sticky;
pub use two_choices::TwoChoices;
pub use weighted::Weighted;

use crate::types::{JobId, KeyHash, Places, Priority, Roster, Seat, SlotId, StrategyKind};

/// The built-in strategy of this name. `seed` is for those that draw at random; the others do not look at it.
pub fn by_name(name: StrategyKind, seed: u64) -> Box<dyn Strategy> {
    match name {
        StrategyKind::RoundRobin => Box::new(RoundRobin::default()),
        StrategyKind::Weighted => Box::new(Weighted::default()),
        StrategyKind::ConsistentHash => Box::new(ConsistentHash::default()),
        StrategyKind::LeastLoaded => Box::new(LeastLoaded::default()),
        StrategyKind::TwoChoices => Box::new(TwoChoices::new(seed)),
        StrategyKind::Sticky => Box::new(Sticky::default()),
    }
}

/// What a strategy knows about a job. It never sees the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AssignJob {
    /// The job.
    pub id: JobId,
    /// The hash of its key, if it has one.
    pub key: Option<KeyHash>,
    /// How urgent it is.
    pub priority: Priority,
    /// The attempt that the delivery would be, counted from one.
    pub attempt: u32,
}

/// A strategy's answer for one job.
///
/// | choice | the slot has room | the slot is live and full | no such live slot |
/// |---|---|---|---|
/// | `Slot` | delivered | waits for that very slot | treated as `Hold` and counted |
/// | `Hold` | – | – | offered again in the next round |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The job goes to this slot; if the slot is full, the job waits for it.
    Slot(SlotId),
    /// Nobody now; ask again when something changed.
    Hold,
}

impl AssignJob {
    /// A job of which nothing is said, for a strategy that [does not look](Strategy::looks_at_jobs).
    pub const UNSEEN: Self = Self::new(JobId::from_uuid(uuid::Uuid::nil()));

    /// A job of this name in its first attempt, with no key and priority 0.
    pub const fn new(id: JobId) -> Self {
        Self {
            id,
            key: None,
            priority: Priority(0),
            attempt: 1,
        }
    }
}

/// Jobs of a block that a strategy gives to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    /// Which of the parts that it was asked about, counted from zero.
    pub part: u32,
    /// To whom.
    pub slot: SlotId,
    /// Which of its jobs.
    pub places: Places,
}

/// Consecutive turns of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Turns {
    /// The seat's index in the roster.
    pub index: usize,
    /// How many jobs it gets.
    pub jobs: u32,
}

/// A pure strategy: one decision at a time, with no clock and no I/O.
///
/// Ordering: jobs are offered in the order in which they were leased. After each [`Choice::Slot`] the shell notes the
/// placement in the roster, so the next call sees it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a strategy",
    label = "needs `impl Strategy for {Self}`",
    note = "a closure works too: `strategy_fn(|job, roster| roster.next_open(0).and_then(|i| roster.seat(i)).map_or(Choice::Hold, |seat| Choice::Slot(seat.slot)))`"
)]
pub trait Strategy: Send + 'static {
    /// Called before the first choice and after every change of membership or weight.
    fn roster_changed(&mut self, roster: &Roster) {
        let _ = roster;
    }

    /// Chooses a consumer for `job`, or holds it.
    fn choose(&mut self, job: &AssignJob, roster: &Roster) -> Choice;

    /// Whether the answer depends on the job. A strategy that does not look is not told about plain jobs: it is asked with
    /// [`AssignJob::UNSEEN`] for each of them, which saves a name and a copy for each job.
    fn looks_at_jobs(&self) -> bool {
        true
    }

    /// Chooses for `count` unseen jobs at once: appends who gets how many to `turns`. Each consumer that is named must have
    /// the room. False, and nothing is changed, if that is not to be had; then it is asked one by one.
    fn take_turns(&mut self, count: u32, roster: &Roster, turns: &mut Vec<Turns>) -> bool {
        let _ = (count, roster, turns);
        false
    }
}

impl Strategy for Box<dyn Strategy> {
    fn roster_changed(&mut self, roster: &Roster) {
        (**self).roster_changed(roster);
    }

    fn choose(&mut self, job: &AssignJob, roster: &Roster) -> Choice {
        (**self).choose(job, roster)
    }

    fn looks_at_jobs(&self) -> bool {
        (**self).looks_at_jobs()
    }

    fn take_turns(&mut self, count: u32, roster: &Roster, turns: &mut Vec<Turns>) -> bool {
        (**self).take_turns(count, roster, turns)
    }
}

/// How many jobs may wait for one full consumer whose turn it is. Up to this lag the shares of the strategies by turn are
/// exact; beyond it the consumer loses its turns, so that one that hangs does not stop the whole group. With the default
/// `hold` of 16,384 three consumers can hang and the others still get jobs.
const PATIENCE: u32 = 4_096;

/// Whether a consumer gets the job when it is its turn. One that is stuck loses its turns, as one that is too far behind.
fn takes_turns(seat: &Seat) -> bool {
    seat.room > 0 || (!seat.is_stuck && seat.waiting < PATIENCE)
}

/// The choice of the seat at `index`, if there is one.
fn choice(roster: &Roster, index: Option<usize>) -> Choice {
    index
        .and_then(|index| roster.seat(index))
        .map_or(Choice::Hold, |seat| Choice::Slot(seat.slot))
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::testing::{job, roster_of, seat};
    use super::*;
    use crate::types::Seat;
    use crate::types::cases::cases;

    const ALL: &[StrategyKind] = StrategyKind::ALL;

    #[test]
    fn every_strategy_holds_a_job_while_no_consumer_is_alive() {
        for &name in ALL {
            let mut chooser = by_name(name, 1);
            let empty = Roster::default();
            assert_eq!(chooser.choose(&job(1, None), &empty), Choice::Hold, "{name:?}");
            chooser.roster_changed(&empty);
            assert_eq!(chooser.choose(&job(2, Some(2)), &empty), Choice::Hold, "{name:?}");
        }
    }

    #[test]
    fn every_strategy_gives_a_job_without_key_to_the_only_consumer() {
        for &name in ALL {
            let mut chooser = by_name(name, 1);
            let roster = roster_of(vec![seat(3, 1, 0, 5)], 1);
            assert_eq!(
                chooser.choose(&job(1, None), &roster),
                Choice::Slot(SlotId(3)),
                "{name:?}"
            );
        }
    }

    #[test]
    fn every_strategy_by_load_holds_while_all_are_full_and_goes_on_after() {
        for name in [
            StrategyKind::LeastLoaded,
            StrategyKind::TwoChoices,
            StrategyKind::Sticky,
        ] {
            let mut chooser = by_name(name, 1);
            let full = roster_of(vec![seat(0, 1, 9, 0), seat(1, 1, 9, 0)], 1);
            for nth in 0..10 {
                assert_eq!(chooser.choose(&job(nth, None), &full), Choice::Hold, "{name:?}");
            }
            let open = roster_of(vec![seat(0, 1, 9, 0), seat(1, 1, 8, 1)], 1);
            assert_eq!(
                chooser.choose(&job(11, None), &open),
                Choice::Slot(SlotId(1)),
                "{name:?}"
            );
        }
    }

    /// A seat that may be full, loaded or weightless.
    fn any_seat(random: &mut Rng, slot: u32) -> Seat {
        seat(slot, random.u32(0..4), random.u32(0..5), random.u32(0..3))
    }

    /// Also where the rules of the seam are broken: a change that nobody told, or that did not raise the version.
    #[test]
    fn no_strategy_ever_names_a_slot_outside_the_roster() {
        cases(1_500, |random| {
            let name = ALL[random.usize(..ALL.len())];
            let mut chooser = by_name(name, random.u64(..));
            let mut version = 0;
            for _step in 0..random.usize(1..12) {
                version += u64::from(random.bool());
                let living = (0..12).filter(|_| random.u8(..) < 80).collect::<Vec<_>>();
                let seats = living.iter().map(|slot| any_seat(random, *slot));
                let mut roster = roster_of(seats.collect(), version);
                if random.bool() {
                    chooser.roster_changed(&roster);
                }
                for _job in 0..random.usize(0..12) {
                    let key = random.bool().then(|| random.u64(0..6));
                    let chosen = chooser.choose(&job(random.u64(0..1_000), key), &roster);
                    if let Choice::Slot(slot) = chosen {
                        let index = roster.position(slot);
                        assert!(index.is_some(), "{name:?} named {slot}");
                        roster.place(index.unwrap());
                    }
                }
            }
        });
    }

    /// What is not bound to a key or a turn goes only where there is room, and is held only if there is none.
    #[test]
    fn a_strategy_by_load_uses_room_and_only_room() {
        let by_load = [
            StrategyKind::LeastLoaded,
            StrategyKind::TwoChoices,
            StrategyKind::Sticky,
        ];
        cases(300, |random| {
            for name in by_load {
                let mut chooser = by_name(name, random.u64(..));
                let seats = (0..random.u32(1..80)).map(|slot| any_seat(random, slot));
                let mut roster = roster_of(seats.collect(), 1);
                let rooms: u32 = roster.seats().iter().map(|seat| seat.room).sum();
                for nth in 0..rooms {
                    let Choice::Slot(slot) = chooser.choose(&job(u64::from(nth), None), &roster) else {
                        panic!("{name:?} held a job with room left");
                    };
                    let index = roster.position(slot).unwrap();
                    assert!(roster.seat(index).unwrap().room > 0, "{name:?} chose a full seat");
                    roster.place(index);
                }
                assert_eq!(chooser.choose(&job(99, None), &roster), Choice::Hold);
            }
        });
    }
}
