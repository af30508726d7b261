//! Events: what is told, and in which order.

use std::time::Duration;

use crate::common::{given_up, local, next_outcome, paused, settle_down, told, within};
use consumer_group::{Cause, DeadReason, Delivery, EventKind, Failure, Group, Job, JobId, Role, SlotId};

/// The events of one job, in short.
fn life_of(job: JobId, told: &[EventKind]) -> Vec<String> {
    told.iter()
        .filter_map(|kind| match kind {
            EventKind::Accepted { job: of } if *of == job => Some("accepted".to_owned()),
            EventKind::Delivered { job: of, attempt, .. } if *of == job => {
                Some(format!("delivered {attempt}"))
            }
            EventKind::Acked { job: of, attempt, .. } if *of == job => Some(format!("acked {attempt}")),
            EventKind::Retried {
                job: of,
                record,
                after,
            } if *of == job => Some(format!("retried {} after {after:?}", record.attempt)),
            EventKind::Returned { job: of, .. } if *of == job => Some("returned".to_owned()),
            EventKind::DeadLettered { job: of, .. } if *of == job => Some("dead".to_owned()),
            EventKind::Requeued { job: of } if *of == job => Some("requeued".to_owned()),
            EventKind::Duplicate { job: of, .. } if *of == job => Some("duplicate".to_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_events_of_a_job_tell_its_life_in_order() {
    paused(async {
        let group = local()
            .configure(|config| config.retry.attempts = 3)
            .consume_with(1, async |delivery: &Delivery<&'static str>| {
                match *delivery.job() {
                    "dies" if delivery.attempt() == 1 => panic!("dies"),
                    "fails" if delivery.attempt() == 1 => {
                        Err(Failure::retry_after(Duration::from_secs(1), "later"))
                    }
                    "rejected" => Err(Failure::reject("never")),
                    _ => Ok(()),
                }
            })
            .start()
            .unwrap();
        let mut events = group.all_events();
        let (producers, mut results) = group.producer_group();
        let mut ids = Vec::new();
        for job in ["fine", "dies", "fails", "rejected"] {
            ids.push(producers.send(job).await.unwrap());
            next_outcome(&mut results, "it ends").await;
        }
        settle_down().await;
        group.dead_letters().requeue([ids[3]]).await.unwrap();
        settle_down().await;
        let told = told(&mut events);
        assert_eq!(life_of(ids[0], &told), ["accepted", "delivered 1", "acked 1"]);
        assert_eq!(
            life_of(ids[1], &told),
            [
                "accepted",
                "delivered 1",
                "retried 1 after 0ns",
                "delivered 2",
                "acked 2"
            ]
        );
        assert_eq!(
            life_of(ids[2], &told),
            [
                "accepted",
                "delivered 1",
                "retried 1 after 1s",
                "delivered 2",
                "acked 2"
            ]
        );
        assert_eq!(
            life_of(ids[3], &told),
            [
                "accepted",
                "delivered 1",
                "dead",
                "requeued",
                "delivered 1",
                "dead"
            ]
        );
    });
}

#[test]
fn a_job_that_was_refused_is_never_told_to_be_accepted() {
    paused(async {
        let group = local()
            .consume_with(1, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        let mut events = group.all_events();
        let of = group.producer().send(Job::new(1).dedup("a")).await.unwrap();
        group.producer().send(Job::new(2).dedup("a")).await.unwrap_err();
        settle_down().await;
        let told = told(&mut events);
        let refused = told
            .iter()
            .find_map(|kind| match kind {
                EventKind::Duplicate { job, of: first } if *first == of => Some(*job),
                _ => None,
            })
            .unwrap();
        assert_eq!(life_of(refused, &told), ["duplicate"]);
        assert!(life_of(of, &told).contains(&"accepted".to_owned()));
    });
}

#[test]
fn events_of_single_jobs_come_only_to_whoever_asked_for_them() {
    paused(async {
        let group = local()
            .consume_with(1, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        let (mut few, mut all) = (group.events(), group.all_events());
        group.producer().call(1).await.unwrap();
        let is_of_a_job = |kind: &EventKind| kind.is_of_a_job();
        assert!(told(&mut all).iter().any(is_of_a_job));
        assert!(!told(&mut few).iter().any(is_of_a_job));
    });
}

#[test]
fn the_life_of_the_group_is_told_and_the_stream_ends_with_it() {
    paused(async {
        let group = local()
            .consume_with(2, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        let mut events = group.events();
        settle_down().await;
        group.scale(3);
        group.set_weight(SlotId(0), 4);
        group.pause();
        group.resume();
        group.end_role(Role::Queue);
        settle_down().await;
        group.drain(Duration::from_secs(60)).await;
        // The handle is still held; the group has ended all the same.
        let mut told = Vec::new();
        while let Some(event) = within("the stream ends", events.next()).await {
            told.push(event);
        }
        assert!(told.is_sorted_by_key(|event| event.at));
        let kinds: Vec<_> = told.into_iter().map(|event| event.kind).collect();
        for role in [Role::Queue, Role::Strategy, Role::Supervisor, Role::Results] {
            assert!(kinds.contains(&EventKind::RoleUp { role, life: 1 }), "{role}");
        }
        assert!(kinds.contains(&EventKind::RoleDown {
            role: Role::Queue,
            life: 1,
            cause: Cause::Killed
        }));
        assert!(kinds.contains(&EventKind::RoleUp {
            role: Role::Queue,
            life: 2
        }));
        let line: Vec<_> = kinds
            .iter()
            .filter(|kind| {
                matches!(
                    kind,
                    EventKind::Scaled { .. }
                        | EventKind::Weighted { .. }
                        | EventKind::Paused
                        | EventKind::Resumed
                        | EventKind::Draining
                        | EventKind::Drained { .. }
                        | EventKind::Stopped
                )
            })
            .cloned()
            .collect();
        let weight = consumer_group::strategy::Weight(4);
        assert_eq!(
            line,
            [
                EventKind::Scaled { from: 2, to: 3 },
                EventKind::Weighted {
                    slot: SlotId(0),
                    weight
                },
                EventKind::Paused,
                EventKind::Resumed,
                EventKind::Draining,
                EventKind::Drained { unfinished: 0 },
                EventKind::Stopped,
            ]
        );
        assert_eq!(kinds.last(), Some(&EventKind::Stopped));
        assert!(
            within("a late subscription ends as well", group.events().next())
                .await
                .is_none()
        );
    });
}

#[test]
fn an_answer_of_the_strategy_that_names_nobody_is_told_and_the_job_waits() {
    paused(async {
        let group = local()
            .strategy(|| {
                let mut asked = 0;
                consumer_group::strategy::strategy_fn(move |_, _| {
                    asked += 1;
                    consumer_group::strategy::Choice::Slot(SlotId(if asked == 1 { 77 } else { 0 }))
                })
            })
            .consume_with(1, async |_: &Delivery<u64>| Ok(()))
            .start()
            .unwrap();
        let mut events = group.events();
        settle_down().await;
        group.producer().send(1).await.unwrap();
        settle_down().await;
        // Nothing changed, so the strategy is not asked again; then something does.
        group.producer().send(2).await.unwrap();
        assert!(group.drain(Duration::from_secs(60)).await.unfinished.is_empty());
        let bad = told(&mut events)
            .into_iter()
            .find(|kind| matches!(kind, EventKind::BadChoice { .. }));
        assert_eq!(bad, Some(EventKind::BadChoice { slot: SlotId(77) }));
    });
}

#[test]
fn a_dead_letter_tells_its_reason_and_its_history_in_words() {
    paused(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.retry.attempts = 2)
            .consume_with(1, async |_: &Delivery<u64>| Err(Failure::retry("no luck")))
            .start()
            .unwrap();
        let letter = given_up(group.producer().call(1).await);
        assert_eq!(letter.reason, DeadReason::AttemptsUsedUp { attempts: 2 });
        assert_eq!(
            letter.to_string(),
            "failed 2 times; attempt 1 on slot 0 (incarnation 1): failed: no luck; \
             attempt 2 on slot 0 (incarnation 1): failed: no luck"
        );
    });
}
