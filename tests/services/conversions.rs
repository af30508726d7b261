//! What turns into keys, names, failures and jobs without a word, what is refused with its cure, and sends that do not wait.

use std::error::Error;
use std::time::Duration;

use crate::common::{Gate, given_up, local, paused};
use consumer_group::config::Overflow;
use consumer_group::queue::MemoryQueue;
use consumer_group::{
    Cause, Delivery, Failure, Group, Job, JobId, Key, SendErrorKind, StartError, StrategyKind,
};

#[test]
fn every_integer_is_a_key_and_the_same_one_whatever_its_type() {
    let seven = [
        Key::from(7_u8),
        7_u16.into(),
        7_u32.into(),
        7_u64.into(),
        7_u128.into(),
        7_usize.into(),
        7_i8.into(),
        7_i16.into(),
        7_i32.into(),
        7_i64.into(),
        7_i128.into(),
        7_isize.into(),
    ];
    assert!(seven.iter().all(|key| *key == Key::Number(7)));
    assert_eq!(Key::from(-1_i8), Key::from(-1_i128));
    assert_ne!(Key::from(-1), Key::from(u64::MAX));
    assert_eq!(Key::from(-1).to_string(), "-1");
    assert_ne!(Key::from(1_u128 << 64), Key::from(0));
}

#[test]
fn texts_in_every_form_and_uuids_are_keys() {
    let text = "host-7".to_owned();
    let uuid = uuid::Uuid::from_u128(0xA7);
    assert_eq!(Key::from(&text), Key::from("host-7"));
    assert_eq!(Key::from(std::sync::Arc::<str>::from("host-7")), Key::from(text));
    assert_eq!(Key::from(uuid), Key::from(uuid.to_string()));
}

#[test]
fn the_name_of_a_job_is_read_back_from_its_text() {
    let id = JobId::from_uuid(uuid::Uuid::from_u128(7));
    assert_eq!(id.to_string().parse(), Ok(id));
    let refused = "no such thing".parse::<JobId>().unwrap_err();
    assert!(
        refused.to_string().contains("is a UUID") && refused.source().is_some(),
        "{refused}"
    );
}

/// How the consumer below fails: by an error of each kind that programs hand upwards.
fn fails(how: &str) -> Result<u32, Failure> {
    let number = "seven".parse::<u32>();
    match how {
        "boxed" => Ok(number.map_err(Box::<dyn Error>::from)?),
        "boxed, to be sent" => Ok(number
            .map_err(Box::<dyn Error + Send + Sync>::from)
            .map_err(Failure::boxed)?),
        "anyhow" => Ok(anyhow::Context::context(number, "no count")?),
        "text" => Err("no number")?,
        borrowed => {
            let what = Borrowed(borrowed);
            Err(what)?
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("nothing known of {0}")]
struct Borrowed<'t>(&'t str);

#[test]
fn every_kind_of_error_becomes_a_failure_through_the_question_mark() {
    paused(async {
        let group = local()
            .configure(|config| config.retry.attempts = 1)
            .consume_with(1, async |delivery: &Delivery<&str>| fails(delivery.job()))
            .start()
            .unwrap();
        for (how, told) in [
            ("boxed", "invalid digit found in string"),
            ("boxed, to be sent", "invalid digit found in string"),
            ("anyhow", "no count: invalid digit found in string"),
            ("text", "no number"),
            ("this", "nothing known of this"),
        ] {
            let letter = given_up(group.producer().call(how).await);
            assert_eq!(letter.history[0].cause, Cause::Failed(told.into()), "{how}");
        }
    });
}

#[test]
fn a_send_that_cannot_wait_is_accepted_now_or_hands_the_job_back() {
    paused(async {
        let gate = Gate::shut();
        let passed = gate.clone();
        let group = local()
            .configure(|config| config.queue.capacity = 1)
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                passed.pass().await;
                Ok(*delivery.job())
            })
            .start()
            .unwrap();
        let producer = group.producer();
        producer.try_send(1).unwrap();
        let full = producer.try_send(Job::new(2).key(7)).unwrap_err();
        assert_eq!(full.kind, SendErrorKind::Full);
        assert_eq!(full.job, Some(Job::new(2).key(7)));
        let asks = producer.try_send(Job::new(3).dedup(7)).unwrap_err();
        assert_eq!(asks.kind, SendErrorKind::MustWait);
        gate.open();
        assert!(group.drain(Duration::from_secs(60)).await.unfinished.is_empty());
        let closed = producer.try_send(4).unwrap_err();
        assert_eq!(
            (closed.kind, closed.job),
            (SendErrorKind::Closed, Some(Job::new(4)))
        );
    });
}

#[test]
fn a_deadline_that_passed_names_its_cure() {
    let told = Cause::DeadlinePassed(Duration::from_millis(250)).to_string();
    assert!(
        told.contains("250 ms") && told.contains("`deadline_ms`") && told.contains("`Delivery::extend`"),
        "{told}"
    );
    let told = Cause::ThreadBlocked.to_string();
    assert!(told.contains("`dedicated`"), "{told}");
}

/// Starts a group of this and says which key of the configuration was refused, and how.
fn refused(
    change: impl FnOnce(&mut consumer_group::GroupConfig),
    own_queue: bool,
) -> Option<(String, String)> {
    let builder = Group::<u64, u64>::builder().configure(change);
    let mut builder = builder.consume_with(2, async |delivery: &Delivery<u64>| Ok(*delivery.job()));
    if own_queue {
        builder = builder.queue(MemoryQueue::new(Default::default()).unwrap());
    }
    match builder.start() {
        Err(StartError::Config(error)) => Some((error.key.clone(), error.to_string())),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[test]
fn a_setting_without_effect_is_refused_by_name() {
    paused(async {
        let (key, told) = refused(|config| config.weights = vec![3, 1], false).unwrap();
        assert!(
            key == "weights" && told.contains("RoundRobin") && told.contains("Weighted"),
            "{told}"
        );
        let (key, told) = refused(|config| config.queue.capacity = 7, true).unwrap();
        assert!(
            key == "queue.capacity" && told.contains("bounds of its own"),
            "{told}"
        );
        let (key, _) = refused(|config| config.queue.overflow = Overflow::Reject, true).unwrap();
        assert_eq!(key, "queue.overflow");
    });
}

#[test]
fn a_setting_with_an_effect_is_taken() {
    paused(async {
        let weighs = |config: &mut consumer_group::GroupConfig| {
            config.weights = vec![3, 1];
            config.strategy = StrategyKind::Weighted;
        };
        assert_eq!(refused(weighs, false), None);
        assert_eq!(refused(|config| config.weights = vec![1, 1], false), None);
        assert_eq!(refused(|config| config.queue.capacity = 7, false), None);
        assert_eq!(refused(|config| config.queue.dead_letters = 7, true), None);
    });
}
