//! What every strategy promises, a check each.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use crate::testing::conformance::runner::{Held, Stop, claimed, ensure};

use super::rig::{Rig, equals, named, seat};
use crate::rules::strategies::Choice;
use crate::types::{KeyHash, Roster, SlotId};

pub(super) type Steps<'r> = Pin<Box<dyn Future<Output = Held> + 'r>>;

pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) steps: for<'r> fn(&'r mut Rig) -> Steps<'r>,
}

macro_rules! checks {
    ($($name:ident,)*) => {
        vec![$(Check {
            name: stringify!($name),
            steps: |rig| Box::pin($name(rig)),
        }),*]
    };
}

/// Every check, by its name.
pub(super) fn all() -> Vec<Check> {
    checks![
        every_job_gets_a_choice,
        only_live_slots_are_named,
        nobody_alive_holds_every_job,
        a_single_slot_gets_the_jobs,
        jobs_go_where_there_is_room,
        no_room_anywhere_is_survived,
        members_come_and_go,
        a_new_life_starts_anywhere,
        ten_thousand_slots_are_survived,
        ten_thousand_jobs_are_answered_at_once,
        extreme_weights_and_loads_are_survived,
        the_same_questions_get_the_same_answers,
        jobs_of_one_key_meet_one_slot,
        a_key_whose_slot_is_full_goes_nowhere_else,
    ]
}

async fn every_job_gets_a_choice(rig: &mut Rig) -> Held {
    let roster = equals(0..4, 1_000, 1);
    for jobs in [0, 1, 2, 0, 63, 256] {
        rig.ask_plain(jobs, &roster).await?;
    }
    rig.ask_keyed((0..100).map(|nth| nth % 7), &roster)
        .await
        .map(|_| ())
}

async fn only_live_slots_are_named(rig: &mut Rig) -> Held {
    // Gaps between the slots: whoever takes an index for a slot is found out.
    for (version, slots) in [
        (1, vec![3, 5, 9]),
        (2, vec![1_000_000]),
        (3, vec![2, 4]),
        (9, vec![3, 5, 9]),
    ] {
        let roster = equals(slots, 1_000, version);
        rig.ask_plain(50, &roster).await?;
        rig.ask_keyed(0..50, &roster).await?;
    }
    Ok(())
}

async fn nobody_alive_holds_every_job(rig: &mut Rig) -> Held {
    let nobody = Roster::new(Vec::new(), 1);
    let choices = rig.ask_plain(10, &nobody).await?;
    ensure(named(&choices).count() == 0, || {
        "nobody is alive, and a slot was named".into()
    })?;
    rig.ask_keyed(0..10, &nobody).await?;
    rig.ask_plain(10, &equals(0..2, 100, 2)).await?;
    rig.ask_keyed(0..10, &Roster::new(Vec::new(), 3))
        .await
        .map(|_| ())
}

async fn a_single_slot_gets_the_jobs(rig: &mut Rig) -> Held {
    let roster = equals([7], 1_000, 1);
    let choices = rig.ask_plain(100, &roster).await?;
    some_go(&choices)?;
    let choices = rig.ask_keyed(0..100, &roster).await?;
    some_go(&choices)
}

/// A strategy that holds everything while everybody has room would hold it for ever.
fn some_go(choices: &[Choice]) -> Held {
    ensure(named(choices).next().is_some(), || {
        format!(
            "every one of {} jobs was held, though there is room",
            choices.len()
        )
    })
}

async fn jobs_go_where_there_is_room(rig: &mut Rig) -> Held {
    let seats = (0..10).map(|slot| seat(slot, 1, 3, slot % 3));
    let roster = Roster::new(seats.collect(), 1);
    let mut keyless = rig.ask_plain(10, &roster).await?;
    keyless.extend(rig.ask_plain(10, &equals(0..10, 100, 2)).await?);
    some_go(&keyless)?;
    // Keys may belong to a full slot, so only the answers as such are looked at.
    rig.ask_keyed(0..40, &roster).await?;
    if rig.parked > 0 {
        let parked = rig.parked;
        rig.remarks.add(format!(
            "{parked} jobs were given to slots without room, and wait for them"
        ));
    }
    Ok(())
}

async fn no_room_anywhere_is_survived(rig: &mut Rig) -> Held {
    let full = equals(0..5, 0, 1);
    rig.ask_plain(20, &full).await?;
    rig.ask_keyed(0..20, &full).await?;
    let choices = rig.ask_plain(20, &equals(0..5, 20, 2)).await?;
    some_go(&choices)
}

async fn members_come_and_go(rig: &mut Rig) -> Held {
    let lives: [&[u32]; 9] = [
        &[0, 1, 2, 3],
        &[0, 1, 3],
        &[0, 1, 3, 4, 5, 6, 7],
        &[7],
        &[],
        &[2],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[10, 11, 12],
        &[0, 1, 2, 3],
    ];
    for (version, slots) in (1..).zip(lives) {
        let roster = equals(slots.iter().copied(), 1_000, version);
        for _ in 0..3 {
            let choices = rig.ask_plain(17, &roster).await?;
            if !slots.is_empty() {
                some_go(&choices)?;
            }
            rig.ask_keyed(0..17, &roster).await?;
        }
    }
    Ok(())
}

async fn a_new_life_starts_anywhere(rig: &mut Rig) -> Held {
    rig.ask_keyed(0..20, &equals(0..4, 100, 1)).await?;
    let mut next = rig.another()?;
    let roster = equals([2, 40, 41], 100, 77 << 32);
    let choices = next.ask_plain(20, &roster).await?;
    some_go(&choices)?;
    next.ask_keyed(0..20, &roster).await.map(|_| ())
}

async fn ten_thousand_slots_are_survived(rig: &mut Rig) -> Held {
    let roster = equals(0..10_000, 2, 1);
    let choices = rig.ask_plain(1_000, &roster).await?;
    some_go(&choices)?;
    rig.ask_keyed(0..1_000, &roster).await?;
    rig.ask_plain(100, &equals(1..10_000, 2, 2)).await.map(|_| ())
}

async fn ten_thousand_jobs_are_answered_at_once(rig: &mut Rig) -> Held {
    let roster = equals(0..8, 1_000, 1);
    rig.ask_plain(10_000, &roster).await?;
    rig.ask_keyed(0..10_000, &roster).await.map(|_| ())
}

async fn extreme_weights_and_loads_are_survived(rig: &mut Rig) -> Held {
    let seats = vec![
        seat(0, 1, 0, 1),
        seat(1, u32::MAX, u32::MAX, u32::MAX),
        seat(2, u32::MAX, 0, u32::MAX),
        seat(3, 1, u32::MAX, 0),
        seat(4, 0, 0, u32::MAX),
    ];
    for version in 1..=3 {
        let roster = Roster::new(seats.clone(), version);
        rig.ask_plain(100, &roster).await?;
        rig.ask_keyed(0..100, &roster).await?;
    }
    let roster = Roster::new(vec![seat(4, 0, 0, 9), seat(5, 0, 0, 9)], 4);
    rig.ask_plain(10, &roster).await.map(|_| ())
}

async fn the_same_questions_get_the_same_answers(rig: &mut Rig) -> Held {
    claimed(!rig.claims.is_random, "it draws at random")?;
    let mut other = rig.another()?;
    for (version, slots) in [(1, 0..8), (2, 1..8), (3, 0..12)] {
        let roster = equals(slots, 500, version);
        for round in 0..4 {
            let mut jobs = rig.jobs((0..25).map(|_| None));
            jobs.extend(rig.jobs((0..25).map(|key| Some(key + round))));
            let (one, two) = (
                rig.ask(jobs.clone(), &roster).await?,
                other.ask(jobs, &roster).await?,
            );
            ensure(one == two, || {
                let first = one.iter().zip(&two).find(|(one, two)| one != two);
                format!("two lives were asked the same questions and answered {first:?}")
            })?;
        }
    }
    Ok(())
}

async fn jobs_of_one_key_meet_one_slot(rig: &mut Rig) -> Held {
    claimed(rig.claims.keeps_keys, "StrategySuite::keeps_keys")?;
    let roster = equals([0, 1, 2, 5, 9], 10_000, 1);
    let mut homes: BTreeMap<KeyHash, SlotId> = BTreeMap::new();
    for round in 0..5 {
        // In another order each time, so that no strategy that takes turns keeps the keys by chance.
        let jobs = rig.jobs((0..61).map(|nth| Some(nth * (2 * round + 1) % 20)));
        for (job, choice) in jobs.iter().zip(rig.ask(jobs.clone(), &roster).await?) {
            if let (Some(key), Choice::Slot(slot)) = (job.key, choice) {
                let home = *homes.entry(key).or_insert(slot);
                ensure(home == slot, || {
                    format!("one key went to {home} and then to {slot}, with everybody alive")
                })?;
            }
        }
    }
    ensure(homes.len() == 20, || {
        format!("of 20 keys only {} went anywhere", homes.len())
    })
}

async fn a_key_whose_slot_is_full_goes_nowhere_else(rig: &mut Rig) -> Held {
    claimed(rig.claims.keeps_keys, "StrategySuite::keeps_keys")?;
    let choices = rig.ask_keyed([1], &equals(0..4, 100, 1)).await?;
    let Some(home) = named(&choices).next() else {
        return Err(Stop::Broken(
            "a key went nowhere, though everybody has room".into(),
        ));
    };
    let seats = (0..4).map(|slot| seat(slot, 1, 9, if SlotId(slot) == home { 0 } else { 100 }));
    let choices = rig.ask_keyed([1, 1, 1], &Roster::new(seats.collect(), 1)).await?;
    ensure(named(&choices).all(|slot| slot == home), || {
        format!("the key lives on {home}, which is full, and its next jobs went to {choices:?}")
    })
}
