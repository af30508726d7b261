//! Guarantee 1: an accepted job ends acknowledged or dead-lettered, whatever actor dies.

use std::collections::BTreeMap;

use consumer_group::{
    Delivery, EventKind, Events, Failure, Group, GroupConfig, JobId, Placement, Role, StrategyKind,
};

use crate::common::{Log, calm, event, local, next_outcome, paused, system, within};

/// How many jobs end between two kills: few enough for many kills, enough for the group to get on.
const BETWEEN_KILLS: usize = 40;

const JOBS: u64 = 1_200;

/// How a job behaves, by its number.
fn ends_dead(job: u64) -> bool {
    job % 53 == 7
}

fn kills_its_consumer(job: u64, attempt: u32) -> bool {
    job % 31 == 3 && attempt == 1
}

fn fails_at_first(job: u64, attempt: u32) -> bool {
    job % 17 == 5 && attempt == 1
}

async fn killed(group: &Group<u64, u64>, events: &mut Events, role: Role) {
    group.end_role(role);
    event(events, &format!("the {role} is back"), |kind| match kind {
        EventKind::RoleUp { role: up, .. } if *up == role => Some(()),
        _ => None,
    })
    .await;
}

/// Sends jobs, kills the given roles in turn while they are done, and checks that each has exactly one outcome.
async fn every_job_ends(placement: Placement, roles: &[Role], strategy: StrategyKind) {
    let done: Log<u64> = Log::new();
    let noted = done.clone();
    let group = Group::builder()
        .config(GroupConfig {
            strategy,
            placement,
            ..GroupConfig::default()
        })
        .configure(calm)
        .consume_with(4, async move |delivery: &Delivery<u64>| {
            let (job, attempt) = (*delivery.job(), delivery.attempt());
            if job % 3 == 0 {
                tokio::task::yield_now().await;
            }
            assert!(!kills_its_consumer(job, attempt), "job {job} kills");
            if fails_at_first(job, attempt) {
                return Err(Failure::retry("not yet"));
            }
            if ends_dead(job) {
                return Err(Failure::reject("never"));
            }
            noted.note(job);
            Ok(job * 2)
        })
        .start()
        .unwrap();
    let mut events = group.events();
    let (producers, mut results) = group.producer_group();
    let mut sent: BTreeMap<JobId, u64> = BTreeMap::new();
    let mut roles = roles.iter().copied().cycle();
    let mut ended: BTreeMap<JobId, bool> = BTreeMap::new();
    for lot in 0..JOBS / 100 {
        let jobs = lot * 100..(lot + 1) * 100;
        let ids = within("the jobs are accepted", producers.send_batch(jobs.clone()))
            .await
            .unwrap();
        sent.extend(ids.into_iter().zip(jobs));
        let mut until_kill = BETWEEN_KILLS / 2;
        // Half of the jobs are left unfinished for the next lot, so that there is always load.
        while ended.len() + 50 < sent.len() {
            let outcome = next_outcome(&mut results, "a job ends").await;
            assert!(
                ended.insert(outcome.id, outcome.result.is_ok()).is_none(),
                "two outcomes"
            );
            until_kill -= 1;
            if until_kill == 0 {
                until_kill = BETWEEN_KILLS;
                if let Some(role) = roles.next() {
                    killed(&group, &mut events, role).await;
                }
            }
        }
    }
    while ended.len() < sent.len() {
        let what = format!(
            "the other {} of {} jobs end; dead letters: {}",
            sent.len() - ended.len(),
            sent.len(),
            group.dead_letters().list(usize::MAX).await.unwrap().len()
        );
        let outcome = next_outcome(&mut results, &what).await;
        assert!(ended.insert(outcome.id, outcome.result.is_ok()).is_none());
    }
    for (id, job) in &sent {
        assert_eq!(ended.get(id), Some(&!ends_dead(*job)), "job {job}");
    }
    let done = done.all();
    for job in (0..JOBS).filter(|job| !ends_dead(*job)) {
        assert!(done.contains(&job), "job {job} was acked and never done");
    }
    assert_eq!(results.outstanding(), 0);
    let rest = within("the group stops", group.stop()).await;
    assert!(rest.unfinished.is_empty(), "{rest:?}");
}

macro_rules! survives {
    ($($name:ident: $placement:expr, $roles:expr, $strategy:ident, $run:ident;)*) => {$(
        #[test]
        fn $name() {
            $run(every_job_ends($placement, &$roles, StrategyKind::$strategy));
        }
    )*};
}

const ALL: [Role; 4] = [Role::Queue, Role::Supervisor, Role::Results, Role::Strategy];

survives! {
    no_job_is_lost_when_consumers_die: Placement::Arbiters(3), [], RoundRobin, system;
    no_job_is_lost_when_the_queue_actor_dies_again_and_again: Placement::Arbiters(3), [Role::Queue], TwoChoices, system;
    no_job_is_lost_when_the_strategy_dies_again_and_again: Placement::Arbiters(3), [Role::Strategy], LeastLoaded, system;
    no_job_is_lost_when_the_supervisor_dies_again_and_again: Placement::Arbiters(3), [Role::Supervisor], RoundRobin, system;
    no_job_is_lost_when_the_result_queue_dies_again_and_again: Placement::Arbiters(3), [Role::Results], Weighted, system;
    no_job_is_lost_when_all_of_them_die_in_turn: Placement::Arbiters(3), ALL, RoundRobin, system;
    no_job_is_lost_on_dedicated_threads_when_all_of_them_die_in_turn: Placement::Dedicated, ALL, RoundRobin, system;
    no_job_is_lost_on_one_thread_when_the_queue_actor_dies: Placement::Local, [Role::Queue], RoundRobin, paused;
    no_job_is_lost_on_one_thread_when_the_strategy_dies: Placement::Local, [Role::Strategy], ConsistentHash, paused;
    no_job_is_lost_on_one_thread_when_the_supervisor_dies: Placement::Local, [Role::Supervisor], TwoChoices, paused;
    no_job_is_lost_on_one_thread_when_the_result_queue_dies: Placement::Local, [Role::Results], RoundRobin, paused;
    no_job_is_lost_on_one_thread_when_all_of_them_die_in_turn: Placement::Local, ALL, Sticky, paused;
}

/// The kill is ordered right behind the rejections, so that the news of dead letters is on its way when it strikes.
#[test]
fn the_news_of_a_dead_letter_survives_the_death_of_the_result_queue() {
    paused(async {
        let group: Group<u64, ()> = local()
            .consume_with(1, async |_: &Delivery<u64>| Err(Failure::reject("never")))
            .start()
            .unwrap();
        let producer = group.producer();
        for turns in 0..40 {
            let (results, mut outcomes) = group.producer_group();
            results.send_batch(0..20).await.unwrap();
            // Kills at every point between the push and the outcome, one turn of the thread after the other.
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            group.end_role(Role::Results);
            for nth in 0..20 {
                let what =
                    format!("dead letter {nth} is told although the result queue died after {turns} turns");
                let outcome = next_outcome(&mut outcomes, &what).await;
                assert!(outcome.result.is_err());
            }
        }
        drop(producer);
    });
}
