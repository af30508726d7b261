//! What cannot be is told, with what, where and what would be right.

use std::time::Duration;

use consumer_group::config::BackoffConfig;
use consumer_group::supervision::{ChildError, SupervisorConfig, SupervisorSpec, SupervisorStartError};

use crate::common::paused;
use crate::patient::*;

fn refused(spec: impl FnOnce() -> SupervisorSpec + 'static, expected: &'static str) {
    paused(async move {
        let error = spec().start().await.unwrap_err();
        assert!(matches!(error, SupervisorStartError::Config { .. }), "{error}");
        assert_eq!(error.to_string(), expected);
    });
}

fn ward() -> SupervisorSpec {
    SupervisorSpec::new("ward")
}

#[test]
fn a_factory_that_panics_is_a_start_that_fails_and_names_the_child_and_the_cause() {
    paused(async {
        let (fine, handle, mut notes) = patient("fine");
        let bad = consumer_group::supervision::Child::new("bad", || -> Patient { panic!("no paper") });
        let error = ward()
            .child(fine)
            .supervisor(SupervisorSpec::new("inner").child(bad.quiet_panics()))
            .start()
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("supervisor ward did not start: a child did not start: ward/inner"),
            "{text}"
        );
        assert!(text.contains("ward/inner/bad"), "{text}");
        assert!(text.contains("did not start: no paper"), "{text}");
        assert!(text.contains("bad_input.rs"), "{text}");
        assert_eq!(noted(&mut notes), ["fine started", "fine stopped"]);
        assert!(handle.is_over());
    });
}

#[test]
fn a_period_of_zero_is_refused() {
    refused(
        || ward().intensity(1, Duration::ZERO),
        "supervisor ward: `period_ms` is zero; restarts are counted within a period of at least 1 ms",
    );
    refused(
        || ward().supervisor(SupervisorSpec::new("inner").intensity(1, Duration::from_micros(999))),
        "supervisor ward/inner: `period_ms` is zero; restarts are counted within a period of at least 1 ms",
    );
}

#[test]
fn other_numbers_of_zero_are_refused() {
    let config = SupervisorConfig::default;
    let start = SupervisorConfig {
        start_deadline: Duration::ZERO,
        ..config()
    };
    refused(
        || ward().config(start),
        "supervisor ward: `start_deadline_ms` is zero; a start takes at least 1 ms",
    );
    let grace = SupervisorConfig {
        kill_grace: Duration::ZERO,
        ..config()
    };
    refused(
        || ward().config(grace),
        "supervisor ward: `kill_grace_ms` is zero; an end takes at least 1 ms",
    );
    let kept = SupervisorConfig {
        events_kept: 0,
        ..config()
    };
    refused(
        || ward().config(kept),
        "supervisor ward: `events_kept` is zero; at least one event must be kept for a subscriber",
    );
}

#[test]
fn a_backoff_that_makes_no_sense_is_refused() {
    let backoff = |min_ms, max_ms, factor, jitter| {
        move || {
            ward().backoff(BackoffConfig {
                min: Duration::from_millis(min_ms),
                max: Duration::from_millis(max_ms),
                factor,
                jitter,
            })
        }
    };
    refused(
        backoff(9, 5, 2.0, 0.0),
        "supervisor ward: `backoff.min_ms` is 9 ms, above `backoff.max_ms`, 5 ms",
    );
    refused(
        backoff(1, 5, 0.5, 0.0),
        "supervisor ward: `backoff.factor` is 0.5; a wait grows by a factor of at least 1",
    );
    refused(
        backoff(1, 5, f64::NAN, 0.0),
        "supervisor ward: `backoff.factor` is NaN; a wait grows by a factor of at least 1",
    );
    refused(
        backoff(1, 5, 2.0, 1.5),
        "supervisor ward: `backoff.jitter` is 1.5; it is a part of the wait, from 0 to 1",
    );
}

#[test]
fn names_that_cannot_be_are_refused() {
    refused(
        || ward().child(patient("a/b").0),
        "supervisor ward: `child` `a/b`: a name is not empty and has no `/`, which parts the names of a path",
    );
    refused(
        || SupervisorSpec::new(""),
        "supervisor : `name` a name is not empty and has no `/`, which parts the names of a path",
    );
    refused(
        || ward().child(patient("p").0).supervisor(SupervisorSpec::new("p")),
        "supervisor ward: `child` `p` stands there twice; give each a name of its own",
    );
}

#[test]
fn policies_that_contradict_each_other_are_refused() {
    refused(
        || ward().child(patient("p").0.significant()),
        "supervisor ward: `child` `p`: a permanent child cannot be significant, since it never ends by itself for \
         good; make it transient or temporary",
    );
    refused(
        || ward().child(patient("p").0.deadline(Duration::ZERO)),
        "supervisor ward: `child` `p`: a deadline of zero is over before any work; leave it out for none",
    );
}

#[test]
fn at_run_time_the_same_is_refused_and_nothing_changes() {
    paused(async {
        let ward = ward()
            .child(patient("p").0)
            .child(patient("q").0)
            .start()
            .await
            .unwrap();
        let unknown = ward.terminate("r").await.unwrap_err();
        assert!(matches!(unknown, ChildError::Unknown { .. }));
        assert_eq!(unknown.to_string(), "ward has no child `r`; it has: p, q");
        let taken = ward.add(patient("p").0).await.unwrap_err();
        assert_eq!(taken.to_string(), "ward has a child `p` already");
        let name = ward.add(patient("a/b").0).await.unwrap_err();
        assert_eq!(
            name.to_string(),
            "`a/b`: a name is not empty and has no `/`, which parts the names of a path"
        );
        let deadline = ward
            .add(patient("r").0.deadline(Duration::ZERO))
            .await
            .unwrap_err();
        assert_eq!(
            deadline.to_string(),
            "`r`: a deadline of zero is over before any work; leave it out for none"
        );
        assert_eq!(ward.count().await.unwrap().specs, 2);
        ward.stop().await;
    });
}
