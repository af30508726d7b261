//! Errors give back the whole job: the payload, and all that its producer wished for it.

use std::time::Duration;

use consumer_group::config::{Overflow, QueueConfig};
use consumer_group::queue::MemoryQueue;
use consumer_group::{CallError, Delivery, Failure, Group, Job, SendErrorKind};

use crate::common::{given_up, is_pending, local, paused, settle_down, within};

/// A job of which everything is wished that can be.
fn wished(name: &str) -> Job<String> {
    Job::new(name.to_owned())
        .key("host-7")
        .priority(3)
        .delay(Duration::from_secs(20))
        .expires_after(Duration::from_secs(90))
        .dedup(name)
}

/// Jobs as they are sent: with everything, with a key alone, with nothing.
fn jobs() -> [Job<String>; 3] {
    let plain = |name: &str| Job::new(name.to_owned());
    [wished("all"), plain("keyed").key(7), plain("plain")]
}

fn group() -> Group<String, ()> {
    let reject = async |_: &Delivery<String>| Err(Failure::reject("no"));
    local().consume_with(1, reject).start().unwrap()
}

#[test]
fn a_closed_door_gives_back_every_wish() {
    paused(async {
        let group = group();
        let (producer, (members, _results)) = (group.producer(), group.producer_group());
        group.stop().await;
        for job in jobs() {
            assert_eq!(
                producer.send(job.clone()).await.unwrap_err().job,
                Some(job.clone())
            );
            assert_eq!(
                members.send(job.clone()).await.unwrap_err().job,
                Some(job.clone())
            );
            assert_eq!(
                producer.call(job.clone()).await.unwrap_err().into_job(),
                Some(job)
            );
        }
        for error in [
            producer.send_batch(jobs()).await.unwrap_err(),
            members.send_batch(jobs()).await.unwrap_err(),
        ] {
            let back: Vec<_> = error.refused.into_iter().filter_map(|error| error.job).collect();
            assert_eq!(back, jobs());
        }
    });
}

#[test]
fn a_queue_that_refuses_gives_back_every_wish() {
    paused(async {
        let group = group();
        let producer = group.producer();
        // What is refused later than the first has waited; a wish does not shrink by that.
        producer.send(wished("all")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let error = producer.send(wished("all")).await.unwrap_err();
        assert!(matches!(error.kind, SendErrorKind::Duplicate { .. }), "{error}");
        assert_eq!(error.job, Some(wished("all")));
        let error = producer.call(wished("all")).await.unwrap_err();
        assert_eq!(error.into_job(), Some(wished("all")));
    });
}

#[test]
fn a_full_queue_gives_back_every_wish() {
    paused(async {
        let mut config = QueueConfig::default();
        (config.capacity, config.overflow) = (1, Overflow::Reject);
        let group: Group<String, ()> = local()
            .queue(MemoryQueue::new(config).unwrap())
            .consume_with(1, async |_: &Delivery<String>| Ok(()))
            .start()
            .unwrap();
        group.pause();
        group.producer().send("first".to_owned()).await.unwrap();
        for job in jobs() {
            let error = group.producer().send(job.clone()).await.unwrap_err();
            assert_eq!((error.kind, error.job), (SendErrorKind::Full, Some(job)));
        }
    });
}

#[test]
fn a_group_that_ends_gives_back_every_wish() {
    paused(async {
        let group = group();
        group.pause();
        let producer = group.producer();
        producer.send_batch(jobs()).await.unwrap();
        let mut call = Box::pin(producer.call(wished("called")));
        assert!(is_pending(&mut call));
        settle_down().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let drained = within("the stop", group.stop()).await;
        let error = within("the call", call).await.unwrap_err();
        assert!(matches!(error, CallError::Stopped(Some(_))), "{error:?}");
        let unfinished = drained.unfinished.into_iter();
        let mut back: Vec<_> = unfinished.filter_map(|rest| rest.into_job().ok()).collect();
        back.extend(error.into_job());
        back.sort_by(|one, other| one.payload().cmp(other.payload()));
        let mut sent = Vec::from(jobs());
        sent.push(wished("called"));
        sent.sort_by(|one, other| one.payload().cmp(other.payload()));
        assert_eq!(back, sent);
    });
}

#[test]
fn a_call_that_failed_gives_back_every_wish() {
    paused(async {
        let group = group();
        for job in jobs() {
            let error = within("the call", group.producer().call(job.clone()))
                .await
                .unwrap_err();
            assert!(matches!(error, CallError::Failed(_)), "{error:?}");
            // The queue keeps the dead letter, and with it the job, until it is purged.
            group.dead_letters().purge_all().await.unwrap();
            assert_eq!(error.into_job(), Some(job));
        }
        let letter = given_up(group.producer().call(wished("kept")).await);
        assert!(letter.job.clone().into_job().is_err(), "the queue has it too");
    });
}
