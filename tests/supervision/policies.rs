//! OTP's behaviours, through real actors.

use std::time::Duration;

use consumer_group::Cause;
use consumer_group::config::BackoffConfig;
use consumer_group::supervision::{
    AutoShutdown, Ending, Handle, Restart, RestartReach, Shutdown, SupervisorHandle, SupervisorSpec,
    TreeEvent,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::common::{paused, within};
use crate::patient::*;

const LONG: Duration = Duration::from_secs(60);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The children `a`, `b` and `c`, which note into one channel.
async fn three(spec: SupervisorSpec) -> (SupervisorHandle, [Handle<Patient>; 3], Notes) {
    let (sender, mut notes) = mpsc::unbounded_channel();
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| patient_of(name, &sender, Stopping::Stops));
    let handles = [a.handle(), b.handle(), c.handle()];
    let supervisor = spec.child(a).child(b).child(c).start().await.unwrap();
    assert_eq!(noted(&mut notes), ["a started", "b started", "c started"]);
    (supervisor, handles, notes)
}

async fn lives(handles: &[Handle<Patient>; 3]) -> [u32; 3] {
    let mut lives = [0; 3];
    for (life, handle) in lives.iter_mut().zip(handles) {
        *life = handle.send(WhichLife).await.unwrap();
    }
    lives
}

async fn die(handle: &Handle<Patient>) {
    within("a death", handle.send(Die::InTheHandler))
        .await
        .unwrap_err();
}

#[test]
fn a_restart_that_is_exactly_one_period_old_still_counts_and_a_millisecond_later_it_does_not() {
    for (third, is_allowed) in [(10_000, false), (10_001, true)] {
        paused(async move {
            let (child, handle, _notes) = patient("p");
            let spec = SupervisorSpec::new("ward").intensity(2, secs(10));
            let supervisor = spec.child(child).start().await.unwrap();
            let began = Instant::now();
            for at in [0, 6_000, third] {
                sleep_until(began + Duration::from_millis(at)).await;
                die(&handle).await;
            }
            if is_allowed {
                assert_eq!(handle.send(WhichLife).await.unwrap(), 4);
                assert_eq!(supervisor.stop().await, Ending::Stopped);
            } else {
                let ending = within("it gives up", supervisor.ended()).await;
                let Ending::BudgetSpent(down) = &ending else {
                    panic!("{ending}")
                };
                assert_eq!(down.life, 3);
                assert!(handle.is_over());
            }
        });
    }
}

#[test]
fn an_intensity_of_zero_allows_no_restart_at_all() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let spec = SupervisorSpec::new("ward").intensity(0, secs(10));
        let supervisor = spec.child(child).start().await.unwrap();
        die(&handle).await;
        let ending = within("it gives up", supervisor.ended()).await;
        assert!(matches!(ending, Ending::BudgetSpent(_)), "{ending}");
    });
}

#[test]
fn each_reach_ends_the_youngest_first_starts_the_eldest_first_and_leaves_bystanders_alone() {
    let cases: [(RestartReach, &[&str], [u32; 3]); 3] = [
        (RestartReach::OneForOne, &["b stopped", "b started"], [1, 2, 1]),
        (
            RestartReach::OneForAll,
            &[
                "b stopped",
                "c stopped",
                "a stopped",
                "a started",
                "b started",
                "c started",
            ],
            [2, 2, 2],
        ),
        (
            RestartReach::RestForOne,
            &["b stopped", "c stopped", "b started", "c started"],
            [1, 2, 2],
        ),
    ];
    for (reach, expected, expected_lives) in cases {
        paused(async move {
            let spec = SupervisorSpec::new("ward").reach(reach).intensity(9, LONG);
            let (supervisor, handles, mut notes) = three(spec).await;
            die(&handles[1]).await;
            assert_eq!(lives(&handles).await, expected_lives, "{reach:?}");
            assert_eq!(noted(&mut notes), expected, "{reach:?}");
            supervisor.stop().await;
            assert_eq!(noted(&mut notes), ["c stopped", "b stopped", "a stopped"]);
        });
    }
}

#[test]
fn with_one_for_all_a_temporary_bystander_is_forgotten_and_a_transient_one_is_started_again() {
    paused(async {
        let (sender, _notes) = mpsc::unbounded_channel();
        let mut first = patient_of("first", &sender, Stopping::Stops);
        let mut transient = patient_of("transient", &sender, Stopping::Stops).restart(Restart::Transient);
        let temporary = patient_of("temporary", &sender, Stopping::Stops).restart(Restart::Temporary);
        let (handle, bystander) = (first.handle(), transient.handle());
        let supervisor = SupervisorSpec::new("ward")
            .reach(RestartReach::OneForAll)
            .intensity(9, LONG)
            .child(first)
            .child(transient)
            .child(temporary)
            .start()
            .await
            .unwrap();
        die(&handle).await;
        assert_eq!(bystander.send(WhichLife).await.unwrap(), 2);
        assert_eq!(supervisor.count().await.unwrap().specs, 2);
        supervisor.stop().await;
    });
}

#[test]
fn a_child_that_hangs_in_its_shutdown_is_killed_when_its_limit_is_over_and_not_before() {
    for (shutdown, takes) in [
        (Shutdown::Within(secs(3)), secs(3)),
        (Shutdown::AtOnce, Duration::ZERO),
    ] {
        paused(async move {
            let (sender, _notes) = mpsc::unbounded_channel();
            let mut child = patient_of("p", &sender, Stopping::Continues).shutdown(shutdown);
            let mut monitor = child.handle().monitor();
            let supervisor = SupervisorSpec::new("ward").child(child).start().await.unwrap();
            let began = Instant::now();
            assert_eq!(within("the end", supervisor.stop()).await, Ending::Stopped);
            assert_eq!(began.elapsed(), takes, "{shutdown:?}");
            assert_eq!(monitor.next().await.unwrap().cause, Cause::Killed);
        });
    }
}

#[test]
fn a_fault_that_goes_on_escalates_through_three_levels() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let inner = SupervisorSpec::new("inner").child(child);
        let middle = SupervisorSpec::new("middle").supervisor(inner);
        let root = SupervisorSpec::new("root").supervisor(middle);
        let supervisor = root.start().await.unwrap();
        let mut events = supervisor.events();
        // Each level allows one restart of what is below it, so each doubles the deaths that it takes.
        for life in 1..=8 {
            let asked = within("an answer", handle.send(WhichLife)).await;
            assert_eq!(asked.unwrap(), life);
            die(&handle).await;
        }
        let ending = within("the root gives up", supervisor.ended()).await;
        let Ending::BudgetSpent(down) = &ending else {
            panic!("{ending}")
        };
        assert_eq!(&*down.child, "root/middle");
        assert!(down.cause.to_string().contains("root/middle/inner/p"), "{down}");
        assert!(down.cause.to_string().contains("in the handler"), "{down}");
        handle.send(WhichLife).await.unwrap_err();
        let mut spent = Vec::new();
        while let Some(event) = events.try_next() {
            if let TreeEvent::BudgetSpent { supervisor } = event {
                spent.push(supervisor.to_string());
            }
        }
        let (inner, middle) = ("root/middle/inner", "root/middle");
        assert_eq!(spent, [inner, inner, middle, inner, inner, middle, "root"]);
    });
}

#[test]
fn a_supervisor_ends_with_its_significant_children_as_its_policy_says() {
    for (policy, first_is_enough) in [
        (AutoShutdown::AnySignificant, true),
        (AutoShutdown::AllSignificant, false),
    ] {
        paused(async move {
            let (sender, mut notes) = mpsc::unbounded_channel();
            let [mut a, mut b, c] = ["a", "b", "c"].map(|name| patient_of(name, &sender, Stopping::Stops));
            let (first, second) = (a.handle(), b.handle());
            let supervisor = SupervisorSpec::new("ward")
                .auto_shutdown(policy)
                .intensity(9, LONG)
                .child(a.restart(Restart::Transient).significant())
                .child(b.restart(Restart::Transient).significant())
                .child(c)
                .start()
                .await
                .unwrap();
            // A death that is followed by a fresh life ends nobody.
            die(&first).await;
            assert_eq!(first.send(WhichLife).await.unwrap(), 2);
            noted(&mut notes);
            let mut monitor = first.monitor();
            first.do_send(Die::BySelfStop).unwrap();
            within("the first ends", monitor.next()).await.unwrap();
            if !first_is_enough {
                assert_eq!(second.send(WhichLife).await.unwrap(), 1);
                assert_eq!(supervisor.count().await.unwrap().active, 2);
                second.do_send(Die::BySelfStop).unwrap();
            }
            let ending = within("the ward ends", supervisor.ended()).await;
            assert_eq!(ending, Ending::AutoShutdown);
            let expected: &[&str] = if first_is_enough {
                &["a stopped", "c stopped", "b stopped"]
            } else {
                &["a stopped", "b stopped", "c stopped"]
            };
            assert_eq!(noted(&mut notes), expected);
        });
    }
}

#[test]
fn to_its_parent_an_automatic_shutdown_is_an_end_of_its_own_will() {
    for (restart, lives_again) in [(Restart::Transient, false), (Restart::Permanent, true)] {
        paused(async move {
            let (child, handle, _notes) = patient("p");
            let inner = SupervisorSpec::new("inner")
                .auto_shutdown(AutoShutdown::AnySignificant)
                .restart(restart)
                .child(child.restart(Restart::Transient).significant());
            let outer = SupervisorSpec::new("outer")
                .supervisor(inner)
                .start()
                .await
                .unwrap();
            let mut events = outer.events();
            handle.do_send(Die::BySelfStop).unwrap();
            tree_event(&mut events, "the inner one ends", |event| match event {
                TreeEvent::Down(down) if &*down.child == "outer/inner" => {
                    assert_eq!(down.cause, Cause::Stopped);
                    Some(())
                }
                _ => None,
            })
            .await;
            if lives_again {
                tree_event(&mut events, "it is up again", |event| match event {
                    TreeEvent::Up { child, life: 2 } if &**child == "outer/inner" => Some(()),
                    _ => None,
                })
                .await;
                assert_eq!(handle.send(WhichLife).await.unwrap(), 2);
            } else {
                assert_eq!(outer.count().await.unwrap().active, 0);
                handle.send(WhichLife).await.unwrap_err();
            }
            outer.stop().await;
        });
    }
}

#[test]
fn the_waits_before_restarts_grow_to_the_maximum_and_are_short_again_after_a_quiet_period() {
    paused(async {
        let (child, handle, _notes) = patient("p");
        let backoff = BackoffConfig {
            min: Duration::from_millis(100),
            max: Duration::from_millis(400),
            factor: 2.0,
            jitter: 0.0,
        };
        let spec = SupervisorSpec::new("ward")
            .intensity(100, secs(10))
            .backoff(backoff);
        let supervisor = spec.child(child).start().await.unwrap();
        for expected in [100, 200, 400, 400] {
            die(&handle).await;
            let began = Instant::now();
            handle.send(WhichLife).await.unwrap();
            assert_eq!(began.elapsed(), Duration::from_millis(expected));
        }
        tokio::time::sleep(secs(11)).await;
        die(&handle).await;
        let began = Instant::now();
        assert_eq!(handle.send(WhichLife).await.unwrap(), 6);
        assert_eq!(began.elapsed(), Duration::from_millis(100));
        supervisor.stop().await;
    });
}
