//! A service of tower is a consumer, and the layers of tower work as they are.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use consumer_group::tower::{Request, ServiceConsumer};
use consumer_group::{Cause, DeadReason, EventKind, Failure, GroupBuilder};
use tokio::time::Instant;
use tower::retry::{Policy, RetryLayer};
use tower::{BoxError, Service, ServiceBuilder, service_fn};

use super::common::{Gate, Log, event, given_up, local, paused, probe};

fn group() -> GroupBuilder<u64, u64> {
    local()
}

async fn double(request: Request<u64>) -> Result<u64, Infallible> {
    Ok(*request.job() * 2)
}

#[test]
fn a_service_is_a_consumer_and_its_answer_is_the_output() {
    paused(async {
        let service = || ServiceConsumer::new(service_fn(double));
        let group = group().consumers(2, service).start().unwrap();
        assert_eq!(group.producer().call(21).await.unwrap(), 42);
        group.stop().await;
    });
}

#[test]
fn a_request_tells_what_a_delivery_tells() {
    paused(async {
        let (note, mut noted) = probe();
        let service = move || {
            let note = note.clone();
            ServiceConsumer::new(service_fn(move |request: Request<String>| {
                let copy = request.clone();
                let told = (copy.job().clone(), copy.id(), copy.key().cloned(), copy.attempt());
                note.send((told, copy.slot(), copy.token())).unwrap();
                ready(Ok::<_, Infallible>(()))
            }))
        };
        let group = local::<String, ()>().consumers(1, service).start().unwrap();
        let job = consumer_group::Job::new("text".to_owned()).key("host");
        let id = group.producer().send(job).await.unwrap();
        let ((text, told, key, attempt), slot, token) = noted.next("the call").await;
        assert_eq!((&*text, told, attempt, slot.0), ("text", id, 1, 0));
        assert_eq!(key, Some("host".into()));
        assert!(token.number.0 > 0);
        group.stop().await;
    });
}

#[test]
fn a_timeout_layer_ends_a_call_and_the_job_is_tried_again() {
    paused(async {
        let stack = ServiceBuilder::new()
            .timeout(Duration::from_secs(1))
            .service(service_fn(async |request: Request<u64>| {
                if request.attempt() == 1 {
                    pending::<()>().await;
                }
                double(request).await
            }));
        let group = group()
            .consumers(1, move || ServiceConsumer::new(stack.clone()))
            .start()
            .unwrap();
        let mut events = group.events();
        assert_eq!(group.producer().call(1).await.unwrap(), 2);
        let cause = event(&mut events, "the first attempt", |kind| match kind {
            EventKind::Retried { record, .. } => Some(record.cause.clone()),
            _ => None,
        });
        let Cause::Failed(text) = cause.await else {
            panic!("it failed in some other way")
        };
        assert!(text.contains("timed out"), "{text}");
        group.stop().await;
    });
}

#[test]
fn a_rate_limit_layer_is_waited_for_beyond_the_deadline() {
    paused(async {
        let began = Instant::now();
        let calls = Log::new();
        let noting = calls.clone();
        let service = move || {
            let calls = noting.clone();
            let limited = ServiceBuilder::new().rate_limit(1, Duration::from_secs(60));
            ServiceConsumer::new(limited.service(service_fn(move |request: Request<u64>| {
                calls.note(began.elapsed().as_secs());
                double(request)
            })))
        };
        let short = |config: &mut consumer_group::GroupConfig| config.deadline = Duration::from_secs(1);
        let group = group().consumers(1, service).configure(short).start().unwrap();
        let (producers, mut results) = group.producer_group();
        for job in 0..4 {
            producers.send(job).await.unwrap();
        }
        for _ in 0..4 {
            let outcome = super::common::within_a_year("an outcome", results.next()).await;
            assert!(outcome.unwrap().result.is_ok());
        }
        assert_eq!(calls.all(), [0, 60, 120, 180]);
        assert_eq!(group.health().await.unwrap().slots[0].restarts, 0);
        group.stop().await;
    });
}

#[test]
fn a_concurrency_limit_layer_that_is_shared_holds_for_all_consumers() {
    paused(async {
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, seen) = (Gate::shut(), Arc::clone(&most));
        let passed = gate.clone();
        let stack =
            ServiceBuilder::new()
                .concurrency_limit(2)
                .service(service_fn(move |request: Request<u64>| {
                    let (inside, most, gate) = (Arc::clone(&inside), Arc::clone(&most), gate.clone());
                    async move {
                        most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        gate.pass().await;
                        inside.fetch_sub(1, Ordering::Relaxed);
                        double(request).await
                    }
                }));
        let group = group()
            .consumers(8, move || ServiceConsumer::new(stack.clone()))
            .start()
            .unwrap();
        let producer = group.producer();
        let calls: Vec<_> = (0..32)
            .map(|job| {
                actix::spawn({
                    let producer = producer.clone();
                    async move { producer.call(job).await.unwrap() }
                })
            })
            .collect();
        super::common::settle_down().await;
        passed.open();
        for (job, call) in (0..).zip(calls) {
            assert_eq!(call.await.unwrap(), job * 2);
        }
        assert_eq!(seen.load(Ordering::Relaxed), 2);
        group.stop().await;
    });
}

#[test]
fn a_load_shed_layer_fails_what_is_too_much_and_the_group_tries_it_again() {
    paused(async {
        let gate = Gate::shut();
        let inside = gate.clone();
        let (note, mut noted) = probe();
        let stack = ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(1)
            .service(service_fn(move |request: Request<u64>| {
                let (gate, note) = (inside.clone(), note.clone());
                async move {
                    note.send(()).unwrap();
                    gate.pass().await;
                    double(request).await
                }
            }));
        let group = group()
            .consumers(2, move || ServiceConsumer::new(stack.clone()))
            .configure(|config| config.retry.attempts = 1_000_000)
            .start()
            .unwrap();
        let mut events = group.events();
        let producer = group.producer();
        let calls = [1, 2].map(|job| {
            let producer = producer.clone();
            actix::spawn(async move { producer.call(job).await })
        });
        noted.next("the first call").await;
        let text = event(&mut events, "a call that is shed", |kind| match kind {
            EventKind::Retried { record, .. } => Some(record.cause.to_string()),
            _ => None,
        });
        assert!(text.await.contains("overloaded"));
        gate.open();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        group.stop().await;
    });
}

/// Calls again until it goes well.
#[derive(Clone)]
struct Always;

impl<O, E> Policy<Request<u64>, O, E> for Always {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<u64>, result: &mut Result<O, E>) -> Option<Ready<()>> {
        result.is_err().then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<u64>) -> Option<Request<u64>> {
        Some(request.clone())
    }
}

#[test]
fn a_retry_layer_calls_again_within_one_attempt() {
    paused(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::new(Always))
            .service(service_fn(move |request: Request<u64>| {
                let is_late = calls.fetch_add(1, Ordering::Relaxed) == 2;
                let attempt = request.attempt();
                ready(if is_late {
                    Ok(u64::from(attempt))
                } else {
                    Err("not yet")
                })
            }));
        let group = group()
            .consumers(1, move || ServiceConsumer::new(stack.clone()))
            .start()
            .unwrap();
        assert_eq!(
            group.producer().call(1).await.unwrap(),
            1,
            "the first attempt did it"
        );
        group.stop().await;
    });
}

#[test]
fn a_failure_keeps_its_advice_through_the_layers() {
    paused(async {
        let stack = ServiceBuilder::new()
            .timeout(Duration::from_secs(1))
            .load_shed()
            .service(service_fn(async |_: Request<u64>| {
                Err::<u64, Failure>(Failure::reject("no such account"))
            }));
        let group = group()
            .consumers(1, move || ServiceConsumer::new(stack.clone()))
            .start()
            .unwrap();
        let letter = given_up(group.producer().call(1).await);
        assert_eq!(letter.reason, DeadReason::Rejected("no such account".into()));
        group.stop().await;
    });
}

/// Is ready for one call, and never again.
struct Once(bool);

impl Service<Request<u64>> for Once {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(if self.0 { Err("used up".into()) } else { Ok(()) })
    }

    fn call(&mut self, request: Request<u64>) -> Self::Future {
        self.0 = true;
        ready(Ok(*request.job() * 2))
    }
}

#[test]
fn a_service_that_will_never_be_ready_again_is_replaced() {
    paused(async {
        let group = group()
            .consumers(1, || ServiceConsumer::new(Once(false)))
            .start()
            .unwrap();
        let mut events = group.events();
        for job in 0..3 {
            assert_eq!(group.producer().call(job).await.unwrap(), job * 2);
        }
        let cause = event(&mut events, "the end of the first one", |kind| match kind {
            EventKind::ConsumerDown { cause, .. } => Some(cause.to_string()),
            _ => None,
        });
        let cause = cause.await;
        assert!(
            cause.contains("never will be") && cause.contains("used up"),
            "{cause}"
        );
        group.stop().await;
    });
}
