//! Texts and causes of the user: each has a bound, and so have the letters that hold them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::error::Error;
use std::fmt;
use std::time::Duration;

use consumer_group::config::Overflow;
use consumer_group::queue::{AttachError, Refusal};
use consumer_group::supervision::{
    Child, ChildError, Registry, RegistryError, SendError as MessageError, SupervisorSpec,
    SupervisorStartError, stop_with_error,
};
use consumer_group::{
    Cause, DeadReason, Delivery, EventKind, Failure, Group, GroupConfig, Host, Job, JobId, StartError,
};

use crate::common::{event, given_up, local, next_outcome, paused, system, told, within};

/// What a text has at most, with the mark that says how much was cut.
const MOST: usize = 4_096 + 64;

const MEBIBYTE: usize = 1 << 20;

#[derive(Debug)]
struct Itself;

impl fmt::Display for Itself {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("round and round")
    }
}

impl Error for Itself {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

/// A chain of causes of this length.
#[derive(Debug)]
struct Chain(u32, Option<Box<Self>>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cause {}", self.0)
    }
}

impl Error for Chain {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

fn chain(length: u32) -> Chain {
    let longer = |cause, number| Some(Box::new(Chain(number, cause)));
    Chain(0, (1..length).rev().fold(None, longer))
}

/// Writes for ever, as long as it may.
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            f.write_str("and so on ")?;
        }
    }
}

/// The texts of a letter.
fn texts(letter: &consumer_group::DeadLetter<u64>) -> Vec<String> {
    let text = |cause: &Cause| match cause {
        Cause::Failed(text) => text.to_string(),
        Cause::Panicked(report) => report.message.to_string(),
        cause => panic!("{cause}"),
    };
    let mut texts: Vec<_> = letter.history.iter().map(|record| text(&record.cause)).collect();
    if let DeadReason::Rejected(text) = &letter.reason {
        texts.push(text.to_string());
    }
    texts
}

#[test]
fn an_error_that_is_its_own_cause_is_one_failure_with_a_short_text() {
    system(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.retry.attempts = 1)
            .consume_with(1, async |delivery: &Delivery<u64>| match delivery.job() {
                0 => Err(Itself)?,
                _ => Err(chain(1_000))?,
            })
            .start()
            .unwrap();
        let letter = given_up(within("it is given up", group.producer().call(0)).await);
        assert_eq!(texts(&letter), ["round and round: …"]);
        let letter = given_up(within("it is given up", group.producer().call(1)).await);
        let [text] = &texts(&letter)[..] else { panic!() };
        assert!(text.starts_with("cause 0: cause 1: "), "{text}");
        assert!(text.ends_with("cause 16: …"), "{text}");
    });
}

#[test]
fn every_text_of_an_attempt_has_a_bound_and_says_how_much_was_cut() {
    system(async {
        let group: Group<u64, ()> = local()
            .configure(|config| config.retry.attempts = 1)
            .consume_with(1, async |delivery: &Delivery<u64>| match delivery.job() {
                0 => Err(Failure::retry("x".repeat(MEBIBYTE))),
                1 => Err(Failure::reject("x".repeat(MEBIBYTE))),
                2 => Err(Failure::retry_after(Duration::ZERO, Endless)),
                3 => Err(std::io::Error::other("x".repeat(MEBIBYTE)))?,
                _ => panic!("{}", "x".repeat(MEBIBYTE)),
            })
            .start()
            .unwrap();
        let mut events = group.events();
        for job in 0..5 {
            let letter = given_up(within("it is given up", group.producer().call(job)).await);
            for text in texts(&letter) {
                assert!(text.len() <= MOST, "{} bytes", text.len());
                assert!(text.contains("bytes cut)"), "{text}");
            }
        }
        for event in told(&mut events) {
            let size = format!("{event:?}").len();
            assert!(size <= MOST + 1_024, "{size} bytes");
        }
        let health = within("the health", group.health()).await.unwrap();
        assert!(format!("{health:?}").len() <= 2 * MOST);
    });
}

struct Reader;

impl consumer_group::Consumer for Reader {
    type Job = u64;
    type Output = ();

    async fn started(&mut self, _: &consumer_group::ConsumerInfo) -> Result<(), Failure> {
        Err(Failure::retry("x".repeat(MEBIBYTE)))
    }

    async fn consume(&mut self, _: &Delivery<'_, u64>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn the_reason_of_a_start_that_failed_has_a_bound() {
    system(async {
        let group = local().consumers(1, || Reader).start().unwrap();
        let mut events = group.events();
        let cause = event(&mut events, "a failed start", |event| match event {
            EventKind::ConsumerDown { cause, .. } => Some(cause.to_string()),
            _ => None,
        });
        assert!(cause.await.len() <= MOST + 64);
        drop(group);
        let group: Group<u64, ()> = local()
            .configure(|config| {
                config.restart.intensity = 1;
                config.restart.past_budget = consumer_group::config::PastBudget::Escalate;
            })
            .consumers(1, || -> Reader { panic!("{}", "x".repeat(MEBIBYTE)) })
            .start()
            .unwrap();
        let reason = within("the group fails", group.stopped()).await;
        let size = format!("{reason:?}").len();
        assert!(size <= MOST + 1_024, "{size} bytes");
    });
}

/// Ends with an error, or by a panic.
struct Talker;

impl actix::Actor for Talker {
    type Context = actix::Context<Self>;
}

#[derive(Clone, Copy, actix::Message)]
#[rtype(result = "()")]
enum End {
    ByError,
    ByPanic,
}

impl actix::Handler<End> for Talker {
    type Result = ();

    fn handle(&mut self, end: End, context: &mut actix::Context<Self>) {
        match end {
            End::ByError => stop_with_error(context, "x".repeat(MEBIBYTE)),
            End::ByPanic => panic!("{}", "x".repeat(MEBIBYTE)),
        }
    }
}

#[test]
fn the_texts_of_a_tree_have_a_bound_also_when_they_escalate() {
    paused(async {
        for end in [End::ByError, End::ByPanic] {
            let mut child = Child::new("talker", || Talker).quiet_panics();
            let handle = child.handle();
            let mut spec = SupervisorSpec::new("leaf")
                .intensity(0, Duration::from_secs(1))
                .child(child);
            for name in ["c", "b", "a"] {
                spec = SupervisorSpec::new(name)
                    .intensity(0, Duration::from_secs(1))
                    .supervisor(spec);
            }
            let tree = spec.start().await.unwrap();
            handle.do_send(end).unwrap();
            let ending = within("the tree ends", tree.ended()).await;
            assert!(
                ending.to_string().len() <= MOST + 512,
                "{} bytes",
                ending.to_string().len()
            );
            let error = handle.do_send(end).unwrap_err();
            assert!(error.to_string().len() <= MOST + 512);
        }
    });
}

/// As in the report: 200 letters of five failures of 1 MiB.
#[test]
fn letters_have_a_bound_in_bytes_and_the_oldest_ones_go_with_a_word() {
    for own_shelf in [false, true] {
        system(async move {
            let mut builder = local()
                .configure(|config| {
                    config.retry.attempts = 5;
                    config.retry.backoff.min = Duration::ZERO;
                    config.retry.backoff.max = Duration::ZERO;
                    config.queue.dead_letter_bytes = MEBIBYTE;
                })
                .consume_with(1, async |_: &Delivery<u64>| {
                    Err::<(), _>(Failure::retry("x".repeat(MEBIBYTE)))
                });
            if own_shelf {
                builder = builder.queue(without_letters());
            }
            let group = builder.start().unwrap();
            let mut events = group.events();
            let (producers, mut results) = group.producer_group();
            let sent = producers.send_batch(0..200).await.unwrap();
            for _ in 0..200 {
                let outcome = next_outcome(&mut results, "a job ends").await;
                assert_eq!(outcome.result.unwrap_err().history.len(), 5);
            }
            let kept = within("they are listed", group.dead_letters().list(1_000))
                .await
                .unwrap();
            let bytes: usize = kept.iter().map(|letter| letter.to_string().len()).sum();
            assert!(
                (MEBIBYTE / 2..=MEBIBYTE).contains(&bytes),
                "{bytes} bytes in {} letters",
                kept.len()
            );
            let kept: Vec<JobId> = kept.iter().map(|letter| letter.id()).collect();
            let gone: Vec<JobId> = told(&mut events)
                .into_iter()
                .filter_map(|event| match event {
                    EventKind::DeadLetterDropped { job } => Some(job),
                    _ => None,
                })
                .collect();
            assert_eq!(gone.len() + kept.len(), 200);
            assert!(sent.iter().all(|job| gone.contains(job) != kept.contains(job)));
            // What was purged makes room again.
            within("they are purged", group.dead_letters().purge_all())
                .await
                .unwrap();
            given_up(within("it is given up", group.producer().call(1)).await);
            assert_eq!(group.dead_letters().list(10).await.unwrap().len(), 1);
        });
    }
}

/// The memory queue with no dead letters of its own, so that the group keeps them.
fn without_letters() -> impl consumer_group::queue::QueueSource<u64> {
    use consumer_group::config::QueueConfig;
    use consumer_group::queue::{ActorQueue, Capabilities, Clock, MemoryStore, QueueCore, StoreQueue};

    let core = std::sync::Arc::new(QueueCore::new(MemoryStore::new(&QueueConfig::default())));
    let clock = Clock::start();
    let capabilities = Capabilities {
        dead_letter: false,
        ..Capabilities::MEMORY
    };
    ActorQueue::new(capabilities, move || {
        StoreQueue::new(std::sync::Arc::clone(&core), clock)
    })
}

#[cfg(feature = "durable")]
#[test]
fn letters_of_a_durable_queue_have_the_same_bound() {
    use consumer_group::codec::Json;
    use consumer_group::config::QueueConfig;
    use consumer_group::durable::DurableQueue;

    system(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.queue");
        let config = QueueConfig {
            dead_letter_bytes: 256 * 1_024,
            ..QueueConfig::default()
        };
        let queue = || {
            DurableQueue::at(&path, Json)
                .config(config.clone())
                .open()
                .unwrap()
        };
        let group = local()
            .configure(|config| config.retry.attempts = 1)
            .consume_with(1, async |_: &Delivery<u64>| {
                Err::<(), _>(Failure::retry("x".repeat(MEBIBYTE)))
            })
            .queue(queue())
            .start()
            .unwrap();
        let (producers, mut results) = group.producer_group();
        producers.send_batch(0..100).await.unwrap();
        for _ in 0..100 {
            next_outcome(&mut results, "a job ends").await;
        }
        let listed = || async { group.dead_letters().list(1_000).await.unwrap() };
        let kept = within("they are listed", listed()).await;
        let bytes: usize = kept.iter().map(|letter| letter.to_string().len()).sum();
        assert!((128 * 1_024..=256 * 1_024).contains(&bytes), "{bytes} bytes");
        within("the stop", group.stop()).await;
    });
}

/// An error, and everything that says something about it below.
#[track_caller]
pub(crate) fn says_its_causes(error: &dyn Error) {
    let text = error.to_string();
    let mut cause = error.source();
    let mut depth = 0;
    while let Some(next) = cause {
        assert!(text.contains(&next.to_string()), "`{text}` does not say: {next}");
        depth += 1;
        assert!(depth < 16, "{text}");
        cause = next.source();
    }
    assert!(text.len() > 8, "`{text}` says nothing");
}

/// The rule of CONTRIBUTING.md: `{error}` alone says what is wrong. Every error type of the crate is named here; a new one
/// has to be.
#[test]
fn every_error_says_its_causes_in_its_own_text() {
    fn wrong() -> consumer_group::config::ConfigError {
        let config = GroupConfig {
            hold: 0,
            ..GroupConfig::default()
        };
        config.check().unwrap_err()
    }
    says_its_causes(&wrong());
    says_its_causes(&StartError::from(wrong()));
    let no_arbiter = local::<u64, ()>()
        .consume_with(1, async |_: &Delivery<u64>| Ok(()))
        .start()
        .unwrap_err();
    says_its_causes(&no_arbiter);
    let host = Host::start().unwrap();
    let panicked = host.block_on(host.run(async || panic!("no paper"))).unwrap_err();
    assert!(panicked.to_string().contains("no paper"), "{panicked}");
    says_its_causes(&panicked);
    drop(host);
    for refusal in [
        Refusal::Full,
        Refusal::Closed,
        Refusal::NotWritten(consumer_group::events::WriteFailure::Disk(
            std::io::ErrorKind::StorageFull,
        )),
        Refusal::NotEncoded,
    ] {
        says_its_causes(&refusal);
    }
    says_its_causes(&AttachError::OutOfOrder("no disk".into()));
    system(async {
        says_its_causes(&StartError::NoConsumers);
        let group: Group<u64, ()> = local()
            .configure(|config| {
                config.queue.capacity = 2;
                config.queue.overflow = Overflow::Reject;
                config.retry.attempts = 1;
            })
            .consume_with(1, async |_: &Delivery<u64>| Err(Failure::reject("a bad job")))
            .start()
            .unwrap();
        let failed = within("it is given up", group.producer().call(1))
            .await
            .unwrap_err();
        says_its_causes(&failed);
        assert!(failed.to_string().contains("a bad job"));
        let refused = |job| Job::new(job).dedup(7);
        group.producer().send(refused(1)).await.unwrap();
        let twice = group.producer().send(refused(2)).await.unwrap_err();
        says_its_causes(&twice);
        assert!(twice.to_string().contains("deduplication key"));
        let batch = group
            .producer()
            .send_batch((0..3).map(refused))
            .await
            .unwrap_err();
        says_its_causes(&batch);
        let letters = group.dead_letters();
        within("the stop", group.stop()).await;
        let closed = group.producer().call(2).await.unwrap_err();
        says_its_causes(&closed);
        assert!(closed.to_string().contains("takes no more jobs"), "{closed}");
        says_its_causes(&letters.list(1).await.unwrap_err());
    });
    paused(async {
        let error = SupervisorSpec::new("root")
            .intensity(1, Duration::ZERO)
            .start()
            .await
            .unwrap_err();
        assert!(matches!(error, SupervisorStartError::Config { .. }));
        says_its_causes(&error);
        let bad = || Child::new("bad", || -> Talker { panic!("no paper") }).quiet_panics();
        let error = SupervisorSpec::new("root")
            .child(bad())
            .start()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no paper"), "{error}");
        says_its_causes(&error);
        let mut talker = Child::new("talker", || Talker).quiet_panics();
        let handle = talker.handle();
        let tree = SupervisorSpec::new("root")
            .intensity(9, Duration::from_secs(9))
            .child(talker)
            .start()
            .await
            .unwrap();
        let error: ChildError = tree.add(bad()).await.unwrap_err();
        assert!(error.to_string().contains("no paper"), "{error}");
        says_its_causes(&error);
        says_its_causes(&tree.terminate("nobody").await.unwrap_err());
        let registry = Registry::new();
        let error: RegistryError = registry.find::<Talker>("nobody").unwrap_err();
        says_its_causes(&error);
        let error: MessageError<End> = handle.send(End::ByPanic).await.unwrap_err();
        says_its_causes(&error);
        assert!(error.to_string().contains("bytes cut"));
        tree.stop().await;
        says_its_causes(&handle.send(End::ByPanic).await.unwrap_err());
    });
    of_features(wrong);
}

/// The errors of the edges.
fn of_features(wrong: fn() -> consumer_group::config::ConfigError) {
    #[cfg(feature = "config-file")]
    {
        let missing = GroupConfig::from_file("no/such/group.toml").unwrap_err();
        says_its_causes(&missing);
        says_its_causes(&consumer_group::config::ConfigFileError::Wrong {
            path: "group.toml".into(),
            source: wrong(),
        });
    }
    #[cfg(feature = "durable")]
    {
        use consumer_group::codec::CodecError;
        use consumer_group::durable::{DurableQueue, FileError};
        let folder = tempfile::tempdir().unwrap();
        // A folder is no file.
        let Err(opened) = DurableQueue::<u64>::open(folder.path()) else {
            panic!("a folder was opened");
        };
        says_its_causes(&opened);
        says_its_causes(&FileError::Io(std::io::Error::other("the disk is gone")));
        for error in [FileError::InUse, FileError::Moved, FileError::TakenOver] {
            says_its_causes(&error);
        }
        says_its_causes(&CodecError::new(std::io::Error::other("no such variant")));
    }
    let _ = wrong;
}
