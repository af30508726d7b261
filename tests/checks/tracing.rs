//! What tracing is told: spans of jobs, and never a payload. In a file of its own, for a reason that stands at `recorded`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorContext, Context as ActorLife, Handler};
use common::{Log, event, local, next_outcome, paused, settle_down, system, told, within};
use consumer_group::supervision::{Child, GroupChild, Restart, SupervisorSpec};
use consumer_group::{
    BatchConsumer, BatchSize, CallError, Cause, Deliver, Delivery, EventKind, Failure, Group, GroupBuilder,
    Job, Placement, Role, SlotId,
};
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
        let level = event.metadata().level();
        self.text
            .lock()
            .unwrap()
            .push_str(&format!("{level} {:?}\n", fields.0));
    }
}

impl Recorder {
    /// Everything that is worse than news.
    fn warnings(&self) -> Vec<String> {
        let text = self.text.lock().unwrap();
        let is_bad = |line: &&str| line.starts_with("WARN") || line.starts_with("ERROR");
        text.lines().filter(is_bad).map(str::to_owned).collect()
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
                config.queue.overflow = consumer_group::config::Overflow::Reject;
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

struct Rows;

impl BatchConsumer for Rows {
    type Job = u64;
    type Output = ();

    async fn consume(&mut self, batch: &mut Vec<Deliver<u64, ()>>) -> Result<(), Failure> {
        batch.drain(..).for_each(|delivery| delivery.ack(()));
        Ok(())
    }
}

struct Acker;

impl Actor for Acker {
    type Context = ActorLife<Self>;
}

impl Handler<Deliver<u64, ()>> for Acker {
    type Result = ();

    fn handle(&mut self, delivery: Deliver<u64, ()>, _: &mut ActorLife<Self>) {
        delivery.ack(());
    }
}

/// A group of each kind of consumer.
fn groups() -> [GroupBuilder<u64, ()>; 3] {
    let size = BatchSize {
        most: 4,
        wait: Duration::from_secs(60),
    };
    let calm = || Group::builder().configure(common::calm);
    [
        calm().consume_with(3, async |_: &Delivery<u64>| Ok(())),
        calm().actor_consumers(3, |_| Acker),
        calm().batch_consumers(3, size, || Rows),
    ]
}

#[test]
fn a_group_that_is_stopped_drained_dropped_or_made_smaller_logs_no_warning() {
    let (recorder, _alone) = recorded();
    for placement in [Placement::Local, Placement::Arbiters(2), Placement::Dedicated] {
        for index in 0..3 {
            system(async move {
                let started = || {
                    groups()
                        .into_iter()
                        .nth(index)
                        .unwrap()
                        .placement(placement)
                        .start()
                        .unwrap()
                };
                for drains in [false, true] {
                    let group = started();
                    let mut events = group.events();
                    group.producer().send_batch(0..10).await.unwrap();
                    event(&mut events, "it is up", |kind| {
                        matches!(kind, EventKind::ConsumerUp { slot: SlotId(2), .. }).then_some(())
                    })
                    .await;
                    group.scale(1);
                    let cause = event(&mut events, "the last one goes", |kind| match kind {
                        EventKind::ConsumerDown {
                            slot: SlotId(2),
                            cause,
                            ..
                        } => Some(cause.clone()),
                        _ => None,
                    });
                    assert_eq!(cause.await, Cause::Killed, "the event itself stays");
                    if drains {
                        group.drain(Duration::from_secs(60)).await;
                    } else {
                        group.stop().await;
                    }
                }
                let group = started();
                let mut events = group.events();
                drop(group);
                event(&mut events, "it stops", |kind| {
                    (*kind == EventKind::Stopped).then_some(())
                })
                .await;
            });
        }
    }
    assert!(
        recorder.text.lock().unwrap().contains("ConsumerUp"),
        "it recorded"
    );
    assert_eq!(recorder.warnings(), Vec::<String>::new());
}

#[test]
fn a_group_over_a_durable_queue_that_is_stopped_or_drained_logs_no_warning() {
    let (recorder, _alone) = recorded();
    let folder = tempfile::tempdir().unwrap();
    for drains in [false, true] {
        let path = folder.path().join("jobs.queue");
        system(async move {
            let queue = consumer_group::durable::DurableQueue::open(path).unwrap();
            let [plain, ..] = groups();
            let group = plain.queue(queue).start().unwrap();
            group.producer().send_batch(0..10).await.unwrap();
            if drains {
                group.drain(Duration::from_secs(60)).await;
            } else {
                group.stop().await;
            }
        });
    }
    assert_eq!(recorder.warnings(), Vec::<String>::new());
}

/// Ends by its own will when it is told to.
struct Till;

impl Actor for Till {
    type Context = ActorLife<Self>;
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Close;

impl Handler<Close> for Till {
    type Result = ();

    fn handle(&mut self, _: Close, context: &mut ActorLife<Self>) {
        context.stop();
    }
}

#[test]
fn a_tree_that_is_stopped_or_whose_child_ends_by_its_own_will_logs_no_warning() {
    let (recorder, _alone) = recorded();
    paused(async {
        let mut group = GroupChild::new("group", async move || {
            let [plain, ..] = groups();
            Ok(plain.placement(Placement::Local))
        });
        let jobs = group.handle();
        let mut closes = Child::new("closes", || Till).restart(Restart::Transient);
        let till = closes.handle();
        let nested = SupervisorSpec::new("nested").child(Child::new("till", || Till));
        let tree = SupervisorSpec::new("root")
            .child(group.into_child())
            .child(closes)
            .supervisor(nested)
            .start()
            .await
            .unwrap();
        jobs.producer().await.unwrap().send(1).await.unwrap();
        within("it hears", till.send(Close)).await.unwrap();
        settle_down().await;
        within("the end", tree.stop()).await;
    });
    assert!(recorder.text.lock().unwrap().contains("closes"), "it recorded");
    assert_eq!(recorder.warnings(), Vec::<String>::new());
}

/// What nobody ordered is told as before.
#[test]
fn an_end_that_nobody_ordered_is_a_warning() {
    let (recorder, _alone) = recorded();
    paused(async {
        let group = local()
            .consume_with(1, async |delivery: &Delivery<u64>| {
                assert!(delivery.attempt() > 1, "dies");
                Ok(())
            })
            .start()
            .unwrap();
        let mut events = group.events();
        group.producer().call(1).await.unwrap();
        group.end_role(Role::Queue);
        event(&mut events, "it is back", |kind| {
            matches!(
                kind,
                EventKind::RoleUp {
                    role: Role::Queue,
                    life: 2
                }
            )
            .then_some(())
        })
        .await;
        group.stop().await;
    });
    let warnings = recorder.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("dies"), "{warnings:#?}");
}
