//! What tracing is told: spans of jobs, and never a payload. In a file of its own, for a reason that stands at `recorded`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Log, local, next_outcome, paused, settle_down, told};
use consumer_group::{CallError, Delivery, Failure, Group, Job};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// A payload that gives itself away in `Debug`.
struct Secret(&'static str);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SECRET {}", self.0)
    }
}

/// Everything that tracing is told, as text, and the fields of spans.
#[derive(Clone, Default)]
struct Recorder {
    text: Arc<Mutex<String>>,
    spans: Spans,
}

/// Names and fields.
type Spans = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = attributes.metadata().name().to_owned();
        self.text
            .lock()
            .unwrap()
            .push_str(&format!("{name} {:?}\n", fields.0));
        self.spans.lock().unwrap().push((name, fields.0));
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.text.lock().unwrap().push_str(&format!("{:?}\n", fields.0));
    }
}

/// Records what this thread is told. One test at a time: tracing remembers for each place in the code whether anybody
/// listens, and another thread on which nobody does can make it remember that nobody does at all.
fn recorded() -> (Recorder, impl Drop) {
    struct Alone(
        #[expect(dead_code, reason = "held until the test ends")] tracing::subscriber::DefaultGuard,
        #[expect(dead_code, reason = "held until the test ends")] MutexGuard<'static, ()>,
    );
    impl Drop for Alone {
        fn drop(&mut self) {}
    }
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let recorder = Recorder::default();
    let listener = tracing_subscriber::registry().with(recorder.clone());
    (recorder, Alone(tracing::subscriber::set_default(listener), one))
}

#[test]
fn no_payload_is_told_in_events_errors_or_tracing() {
    let (recorder, _alone) = recorded();
    let said: Log<String> = Log::new();
    let noted = said.clone();
    paused(async move {
        let group: Group<Secret, Secret> = local()
            .configure(|config| {
                config.retry.attempts = 2;
                config.queue.capacity = 1;
                config.queue.overflow = consumer_group::Overflow::Reject;
            })
            .consume_with(1, {
                let noted = noted.clone();
                async move |delivery: &Delivery<Secret>| {
                    noted.note(format!("{delivery:?} {:?}", delivery.shared_job()));
                    match delivery.job().0 {
                        "dies" => panic!("no secret here"),
                        "rejected" => Err(Failure::reject("never")),
                        "hangs" => std::future::pending().await,
                        _ => Ok(Secret("output")),
                    }
                }
            })
            .start()
            .unwrap();
        let mut events = group.all_events();
        let producer = group.producer();
        noted.note(format!(
            "{:?}",
            producer.call(Job::new(Secret("done")).key("k").dedup("d")).await
        ));
        for name in ["dies", "rejected"] {
            let error = producer.call(Secret(name)).await.unwrap_err();
            let CallError::Failed(letter) = &error else {
                panic!("{error:?}")
            };
            noted.note(format!("{error:?} {error} {letter:?} {letter}"));
        }
        let error = producer
            .send(Job::new(Secret("again")).dedup("d"))
            .await
            .unwrap_err();
        noted.note(format!("{error:?} {error}"));
        let mut hangs = Box::pin(producer.call(Secret("hangs")));
        assert!(common::is_pending(&mut hangs));
        settle_down().await;
        let error = producer
            .send_batch([Secret("full"), Secret("full")])
            .await
            .unwrap_err();
        noted.note(format!("{error:?} {error}"));
        noted.note(format!("{:?}", group.dead_letters().list(9).await.unwrap()));
        noted.note(format!("{:?} {:?} {:?}", group, producer, group.health().await));
        let drained = group.drain(Duration::from_secs(5)).await;
        noted.note(format!("{drained:?}"));
        let error = hangs.await.unwrap_err();
        noted.note(format!("{error:?} {error}"));
        noted.note(format!("{:?}", told(&mut events)));
    });
    let said = said.all().join("\n");
    assert!(
        said.contains("DeadLettered") && said.contains("Undelivered"),
        "{said}"
    );
    // The output of a call that is printed by its caller is the caller's own.
    let said = said.replace("Ok(SECRET output)", "");
    assert!(!said.contains("SECRET"), "{said}");
    let traced = recorder.text.lock().unwrap().clone();
    assert!(traced.contains("no secret here"), "{traced}");
    assert!(!traced.contains("SECRET"), "{traced}");
}

#[test]
fn the_span_of_a_job_names_the_job_the_attempt_the_consumer_and_the_key() {
    let (recorder, _alone) = recorded();
    let (tell, told) = std::sync::mpsc::channel();
    paused(async move {
        let group = local()
            .consume_with(1, async |delivery: &Delivery<u64>| {
                assert!(delivery.attempt() > 1, "dies");
                Ok(())
            })
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        let id = producers.send(Job::new(1).key("host-7")).await.unwrap();
        next_outcome(&mut results, "it is done").await;
        tell.send(id).unwrap();
    });
    let id = told.recv().unwrap();
    let spans = recorder.spans.lock().unwrap().clone();
    let of_jobs: Vec<_> = spans
        .into_iter()
        .filter(|(name, _)| name == "job")
        .map(|(_, fields)| fields)
        .collect();
    let expected = |attempt: &str, incarnation: &str| {
        [
            ("id", id.to_string()),
            ("attempt", attempt.to_owned()),
            ("slot", "0".to_owned()),
            ("incarnation", incarnation.to_owned()),
            ("key", "host-7".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    };
    assert_eq!(of_jobs, [expected("1", "1"), expected("2", "2")]);
}
