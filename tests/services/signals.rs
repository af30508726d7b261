//! The border to the operating system's wish that a program ends: the first signal drains, the second one ends.

use std::time::Duration;

use consumer_group::{Delivery, Group};
use futures_util::{FutureExt, StreamExt};

use crate::common::{Gate, is_pending, local, paused, within};

/// Signals that a test gives by hand, and the hand.
fn by_hand() -> (tokio::sync::mpsc::UnboundedSender<()>, impl futures_util::Stream) {
    let (give, given) = tokio::sync::mpsc::unbounded_channel();
    let stream = futures_util::stream::unfold(given, |mut given| async {
        given.recv().await.map(|()| ((), given))
    });
    (give, stream.boxed_local())
}

/// A group of one consumer that passes this gate with each job.
fn gated(gate: &Gate) -> Group<u64, u64> {
    let gate = gate.clone();
    let builder = local().consume_with(1, async move |delivery: &Delivery<u64>| {
        gate.pass().await;
        Ok(*delivery.job())
    });
    builder.start().unwrap()
}

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn the_first_signal_drains_and_everything_that_was_accepted_is_finished() {
    paused(async {
        let gate = Gate::shut();
        let group = gated(&gate);
        let (signal, signals) = by_hand();
        group.producer().send_batch(0..20).await.unwrap();
        let mut drained = Box::pin(group.drain_on(signals, LONG));
        assert!(is_pending(&mut drained));
        assert!(group.producer().is_open(), "no signal came");
        signal.send(()).unwrap();
        assert!(is_pending(&mut drained));
        assert!(!group.producer().is_open());
        gate.open();
        let drained = within("the drain", drained).await;
        assert!(drained.is_clean());
        assert_eq!(drained.to_string(), "everything was finished");
    });
}

#[test]
fn the_second_signal_ends_at_once_and_the_report_names_what_was_not_finished() {
    paused(async {
        let group = gated(&Gate::shut());
        let (signal, signals) = by_hand();
        let sent = group.producer().send_batch(0..20).await.unwrap();
        let mut drained = Box::pin(group.drain_on(signals, LONG));
        signal.send(()).unwrap();
        assert!(is_pending(&mut drained));
        signal.send(()).unwrap();
        let before = tokio::time::Instant::now();
        let drained = within("the end", drained).await;
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "it does not wait for the drain"
        );
        let names: Vec<_> = drained.unfinished.iter().map(|job| job.id()).collect();
        assert_eq!(names, sent);
        let told = drained.to_string();
        assert!(
            told.starts_with("20 jobs were not finished:") && told.ends_with("and 10 more"),
            "{told}"
        );
    });
}

#[test]
fn signals_that_have_ended_say_nothing_and_a_group_that_ends_by_itself_is_not_waited_for() {
    paused(async {
        let group = gated(&Gate::shut());
        let mut drained = Box::pin(group.drain_on(futures_util::stream::empty::<()>(), LONG));
        assert!(is_pending(&mut drained));
        let left = group.stop().await;
        assert!(left.is_clean());
        assert!(within("the end", drained).await.is_clean());
    });
}

#[test]
fn a_drain_that_takes_longer_than_its_limit_reports_what_is_left_after_one_signal() {
    paused(async {
        let group = gated(&Gate::shut());
        group.producer().send_batch(0..3).await.unwrap();
        let once = futures_util::stream::once(async {});
        let drained = within("the end", group.drain_on(once, Duration::from_secs(5))).await;
        assert_eq!(drained.unfinished.len(), 3);
        assert!(
            group
                .drain_on(futures_util::stream::empty::<()>(), LONG)
                .now_or_never()
                .is_some()
        );
    });
}

/// Programs in other processes, which get real signals.
#[cfg(all(unix, feature = "signals"))]
mod processes {
    use actix::System;
    use consumer_group::{Failure, GroupBuilder, Host, Placement, Signals};

    use super::*;
    use crate::child::{self, Other};

    /// Jobs of two milliseconds; one in ten of them is given up.
    fn working() -> GroupBuilder<u64, u64> {
        Group::builder().placement(Placement::Arbiters(2)).consume_with(
            4,
            async |delivery: &Delivery<u64>| {
                tokio::time::sleep(Duration::from_millis(2)).await;
                match *delivery.job() {
                    job if job % 10 == 0 => Err(Failure::reject("every tenth")),
                    job => Ok(job),
                }
            },
        )
    }

    /// Sends on a thread of its own until the group takes no more, says that it has begun, and returns how many were accepted
    /// and how many of them ended.
    fn load(group: &Group<u64, u64>) -> std::thread::JoinHandle<(usize, usize)> {
        let (producers, mut results) = group.producer_group();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut accepted = 0;
                while producers.send(accepted as u64 + 1).await.is_ok() {
                    accepted += 1;
                    if accepted == 500 {
                        child::say("busy", "");
                    }
                }
                let mut ended = 0;
                while results.next().await.is_some() {
                    ended += 1;
                }
                (accepted, ended)
            })
        })
    }

    /// What every one of these programs does: works until a signal comes, drains, tells what became of its jobs.
    async fn serve(group: Group<u64, u64>, signals: Signals, within: Duration) {
        let load = load(&group);
        let drained = group.drain_on(signals, within).await;
        let (accepted, ended) = load.join().unwrap();
        child::say("report", &drained);
        assert_eq!(accepted, ended + drained.unfinished.len(), "{drained}");
    }

    #[test]
    #[ignore = "plays a program in another process"]
    fn actix_main() {
        System::new().block_on(async {
            serve(working().start().unwrap(), Signals::stop().unwrap(), LONG).await;
        });
    }

    #[test]
    #[ignore = "plays a program in another process"]
    fn tokio_main() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let host = Host::start().unwrap();
            let group = working().start_on(&host).await.unwrap();
            tokio::spawn(serve(group, Signals::stop().unwrap(), LONG))
                .await
                .unwrap();
            assert!(host.shutdown(LONG).await.is_clean());
        });
    }

    #[test]
    #[ignore = "plays a program in another process"]
    fn plain_main() {
        let host = Host::start().unwrap();
        host.block_on(async {
            let group = working().start_on(&host).await.unwrap();
            serve(group, Signals::stop().unwrap(), LONG).await;
        });
        assert!(host.block_on(host.shutdown(LONG)).is_clean());
    }

    #[test]
    #[ignore = "plays a program in another process"]
    fn stuck_main() {
        System::new().block_on(async {
            let stuck = Group::<u64, ()>::builder()
                .consume_with(1, async |_: &Delivery<u64>| std::future::pending().await);
            let group = stuck
                .configure(|config| config.deadline = Duration::ZERO)
                .start()
                .unwrap();
            group.producer().send(7).await.unwrap();
            let signals = Signals::stop().unwrap();
            child::say("busy", "");
            let mut drained = Box::pin(group.drain_on(signals, LONG));
            // The parent sends the second one when the group drains.
            let told = async {
                while group.producer().is_open() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                child::say("draining", "");
            };
            let (drained, ()) = futures_util::future::join(&mut drained, told).await;
            child::say("report", &drained);
            assert_eq!(drained.unfinished.len(), 1);
        });
    }

    #[test]
    fn whatever_the_main_a_signal_under_load_loses_nothing() {
        for main in ["actix_main", "tokio_main", "plain_main"] {
            for signal in ["-TERM", "-INT"] {
                let mut program = Other::ignored(&format!("signals::processes::{main}"));
                program.says("busy");
                program.signal(signal);
                let report = program.says("report");
                assert!(report.starts_with("everything was finished"), "{main}: {report}");
                program.ends_well();
            }
        }
    }

    #[test]
    fn a_second_signal_ends_a_program_whose_drain_hangs() {
        let mut program = Other::ignored("signals::processes::stuck_main");
        program.says("busy");
        program.signal("-TERM");
        program.says("draining");
        program.signal("-INT");
        assert!(program.says("report").starts_with("1 jobs were not finished:"));
        program.ends_well();
    }
}
