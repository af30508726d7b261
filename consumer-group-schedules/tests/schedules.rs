//! Plans in groups, on a paused clock: time passes when nothing else can happen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test may fail"
)]

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use actix::System;
use consumer_group::config::{Overflow, QueueConfig};
use consumer_group::durable::DurableQueue;
use consumer_group::events::Moment;
use consumer_group::queue::MemoryQueue;
use consumer_group::{Delivery, Group, Placement};
use consumer_group_schedules::{Missed, Plan, PlanError, PlanView, Schedule, ScheduleError, Schedules};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// Midnight in UTC, a Thursday.
const BEGIN: u64 = 1_767_225_600;

fn paused(test: impl Future<Output = ()>) {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    System::with_tokio_rt(runtime).block_on(test);
}

/// The clock of the machine in a test: goes with the paused one, and can be set.
#[derive(Clone)]
struct Wall {
    began: Instant,
    /// Seconds by which it was set forward.
    set: Arc<AtomicU64>,
}

impl Wall {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            set: Arc::default(),
        }
    }

    fn now(&self) -> SystemTime {
        let set = Duration::from_secs(BEGIN + self.set.load(Ordering::Relaxed));
        SystemTime::UNIX_EPOCH + set + self.began.elapsed()
    }

    fn set_forward(&self, by: Duration) {
        self.set.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// Seconds since the beginning.
    fn since(&self, moment: Moment) -> u64 {
        moment.as_millis() / 1_000 - BEGIN
    }
}

type Done = Arc<Mutex<Vec<u64>>>;

/// A group whose jobs are the seconds at which they were planned.
fn group(done: &Done) -> Group<u64, ()> {
    let done = Arc::clone(done);
    Group::builder()
        .placement(Placement::Local)
        .consume_with(1, async move |delivery: &Delivery<u64>| {
            done.lock().unwrap().push(*delivery.job());
            Ok(())
        })
        .start()
        .unwrap()
}

fn schedules(group: &Group<u64, ()>, wall: &Wall) -> Schedules<u64> {
    let wall = wall.clone();
    Schedules::start_by(group.producer(), move || wall.now()).unwrap()
}

fn plan(name: &str, wall: &Wall, every: Duration) -> Plan<u64> {
    let wall = wall.clone();
    Plan::new(name, Schedule::every(every).unwrap(), move |run| {
        wall.since(run.planned)
    })
}

fn seen(done: &Done) -> Vec<u64> {
    done.lock().unwrap().clone()
}

fn view(schedules: &Schedules<u64>, name: &str) -> PlanView {
    schedules.get(name).unwrap()
}

#[test]
fn jobs_come_at_the_planned_moments() {
    paused(async {
        let (done, wall) = (Done::default(), Wall::new());
        let group = group(&done);
        let schedules = schedules(&group, &wall);
        schedules.add(plan("minutely", &wall, MINUTE)).unwrap();
        let at = wall.clone();
        let half_past = Schedule::cron("30 1 * * *").unwrap();
        let nightly = Plan::new("nightly", half_past, move |run| wall_seconds(&at, run.planned));
        schedules.add(nightly).unwrap();
        sleep(5 * MINUTE + Duration::from_millis(1)).await;
        assert_eq!(seen(&done), [60, 120, 180, 240, 300]);
        schedules.remove("minutely").unwrap();
        sleep(24 * 60 * MINUTE).await;
        assert_eq!(seen(&done)[5..], [5_400]);
        let view = view(&schedules, "nightly");
        assert_eq!((view.sent, view.skipped, view.duplicates), (1, 0, 0));
        assert_eq!(wall.since(view.last.unwrap()), 5_400);
        assert_eq!(wall.since(view.next.unwrap()), 24 * 3_600 + 5_400);
        group.stop().await;
    });
}

fn wall_seconds(wall: &Wall, moment: Moment) -> u64 {
    wall.since(moment)
}

#[test]
fn plans_are_listed_and_changed_while_they_run() {
    paused(async {
        let (done, wall) = (Done::default(), Wall::new());
        let group = group(&done);
        let schedules = schedules(&group, &wall);
        schedules.add(plan("a", &wall, MINUTE)).unwrap();
        schedules.add(plan("b", &wall, 1_000 * MINUTE)).unwrap();
        assert_eq!(
            schedules.add(plan("a", &wall, MINUTE)),
            Err(PlanError::NameTaken("a".into()))
        );
        let names: Vec<_> = schedules
            .list()
            .into_iter()
            .map(|view| view.name.to_string())
            .collect();
        assert_eq!(names, ["a", "b"]);
        sleep(MINUTE + Duration::from_secs(1)).await;
        schedules.pause("a").unwrap();
        assert!(view(&schedules, "a").is_paused && view(&schedules, "a").next.is_none());
        sleep(10 * MINUTE).await;
        assert_eq!(seen(&done), [60], "it rested");
        schedules.resume("a").unwrap();
        sleep(MINUTE).await;
        assert_eq!(
            seen(&done),
            [60, 720],
            "what it would have run meanwhile does not come"
        );
        schedules
            .change("a", Schedule::every(10 * MINUTE).unwrap())
            .unwrap();
        sleep(20 * MINUTE).await;
        assert_eq!(seen(&done)[2..], [1_200, 1_800]);
        schedules.run_now("b").unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(seen(&done).len(), 5);
        schedules.remove("a").unwrap();
        let unknown = PlanError::Unknown("a".to_owned());
        assert_eq!(schedules.remove("a"), Err(unknown.clone()));
        assert_eq!(schedules.pause("a"), Err(unknown.clone()));
        assert_eq!(schedules.run_now("a"), Err(unknown));
        group.stop().await;
    });
}

/// What comes of a plan that begins at 5 s past, when the machine sleeps half a minute later for three minutes and ten seconds.
fn after_a_sleep(missed: Missed) -> Vec<u64> {
    let done = Done::default();
    let noted = Arc::clone(&done);
    paused(async move {
        let wall = Wall::new();
        wall.set_forward(Duration::from_secs(3_605));
        let group = group(&noted);
        let schedules = schedules(&group, &wall);
        schedules.add(plan("a", &wall, MINUTE).missed(missed)).unwrap();
        sleep(MINUTE / 2).await;
        wall.set_forward(Duration::from_secs(190));
        sleep(Duration::from_secs(11)).await;
        group.stop().await;
    });
    // What is looked back to at the start is another matter.
    seen(&done)
        .into_iter()
        .filter(|planned| *planned > 3_605)
        .collect()
}

#[test]
fn runs_that_a_machine_slept_through_come_by_policy() {
    let within = 3 * MINUTE;
    assert_eq!(after_a_sleep(Missed::Skip), [0_u64; 0]);
    assert_eq!(after_a_sleep(Missed::Latest { within }), [3_780]);
    assert_eq!(after_a_sleep(Missed::All { within }), [3_660, 3_720, 3_780]);
    assert_eq!(
        after_a_sleep(Missed::All { within: MINUTE }),
        [3_780],
        "what is too old does not come"
    );
}

#[test]
fn a_clock_that_is_set_back_makes_no_run_come_twice() {
    paused(async {
        let (done, wall) = (Done::default(), Wall::new());
        wall.set_forward(60 * MINUTE);
        let group = group(&done);
        let schedules = schedules(&group, &wall);
        schedules.add(plan("a", &wall, MINUTE)).unwrap();
        sleep(2 * MINUTE + Duration::from_secs(1)).await;
        wall.set.fetch_sub(120, Ordering::Relaxed);
        sleep(3 * MINUTE).await;
        assert_eq!(seen(&done), [3_660, 3_720, 3_780]);
        group.stop().await;
    });
}

#[test]
fn each_run_comes_once_from_two_schedulers_over_one_queue() {
    paused(async {
        let (done, wall) = (Done::default(), Wall::new());
        let group = group(&done);
        let both = [schedules(&group, &wall), schedules(&group, &wall)];
        for schedules in &both {
            schedules.add(plan("a", &wall, MINUTE)).unwrap();
        }
        sleep(10 * MINUTE + Duration::from_secs(1)).await;
        let expected: Vec<u64> = (1..=10).map(|minute| minute * 60).collect();
        assert_eq!(seen(&done), expected);
        let views = both.map(|schedules| view(&schedules, "a"));
        assert_eq!(views.iter().map(|view| view.sent).sum::<u64>(), 10);
        assert_eq!(views.iter().map(|view| view.duplicates).sum::<u64>(), 10);
        group.stop().await;
    });
}

/// A life of a program over a durable queue, on the clock of the machine, which is set to `second`.
fn life(file: &std::path::Path, second: u64) -> (Vec<u64>, PlanView) {
    let done = Done::default();
    let found = Arc::new(Mutex::new(None));
    let (done_there, found_there) = (Arc::clone(&done), Arc::clone(&found));
    System::new().block_on(async move {
        let queue = DurableQueue::open(file).unwrap();
        let done = Arc::clone(&done_there);
        let group: Group<u64, ()> = Group::builder()
            .queue(queue)
            .consume_with(1, async move |delivery: &Delivery<u64>| {
                done.lock().unwrap().push(*delivery.job());
                Ok(())
            })
            .start()
            .unwrap();
        let began = Instant::now();
        let wall = Wall {
            began,
            set: Arc::new(AtomicU64::new(second)),
        };
        let schedules = schedules(&group, &wall);
        let all = Missed::All { within: 10 * MINUTE };
        schedules.add(plan("a", &wall, MINUTE).missed(all)).unwrap();
        while view(&schedules, "a").sent + view(&schedules, "a").duplicates < 10 {
            sleep(Duration::from_millis(1)).await;
        }
        *found_there.lock().unwrap() = Some(view(&schedules, "a"));
        let drained = group.drain(MINUTE).await;
        assert!(drained.unfinished.is_empty());
    });
    let view = found.lock().unwrap().take().unwrap();
    (seen(&done), view)
}

#[test]
fn what_was_missed_while_a_program_was_down_comes_from_a_durable_queue_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.queue");
    // Ten minutes are looked back at each start; the second one is five minutes later.
    let (first, _) = life(&file, 3_630);
    let expected: Vec<u64> = (51..=60).map(|minute| minute * 60).collect();
    assert_eq!(first, expected);
    let (second, view) = life(&file, 3_930);
    let expected: Vec<u64> = (61..=65).map(|minute| minute * 60).collect();
    assert_eq!(second, expected);
    assert_eq!((view.sent, view.duplicates), (5, 5));
}

#[test]
fn a_function_that_panics_ends_neither_its_plan_nor_others() {
    paused(async {
        let (done, wall) = (Done::default(), Wall::new());
        let group = group(&done);
        let schedules = schedules(&group, &wall);
        schedules.add(plan("sound", &wall, MINUTE)).unwrap();
        let panics = Plan::new("panics", Schedule::every(MINUTE).unwrap(), |run| {
            if run.planned.as_millis() / 60_000 % 2 == 1 {
                // As a panic, and without a word on the terminal.
                std::panic::resume_unwind(Box::new("an odd minute"));
            }
            0_u64
        });
        schedules.add(panics).unwrap();
        sleep(4 * MINUTE + Duration::from_secs(1)).await;
        let sound: Vec<u64> = seen(&done).into_iter().filter(|done| *done > 0).collect();
        assert_eq!(sound, [60, 120, 180, 240]);
        assert_eq!(
            (
                view(&schedules, "panics").sent,
                view(&schedules, "panics").skipped
            ),
            (2, 2)
        );
        group.stop().await;
    });
}

#[test]
fn a_run_that_a_full_queue_refuses_comes_when_there_is_room_or_not_at_all() {
    for (missed, expected) in [
        (Missed::Skip, vec![]),
        (Missed::Latest { within: MINUTE }, vec![60]),
    ] {
        paused(async move {
            let config = QueueConfig {
                capacity: 1,
                overflow: Overflow::Reject,
                ..Default::default()
            };
            let (done, wall) = (Done::default(), Wall::new());
            let noted = Arc::clone(&done);
            let group = Group::builder()
                .placement(Placement::Local)
                .queue(MemoryQueue::new(config).unwrap())
                .consume_with(1, async move |delivery: &Delivery<u64>| {
                    noted.lock().unwrap().push(*delivery.job());
                    Ok(())
                })
                .start()
                .unwrap();
            group.pause();
            group.producer().send(1).await.unwrap();
            let schedules = schedules(&group, &wall);
            schedules.add(plan("a", &wall, MINUTE).missed(missed)).unwrap();
            sleep(MINUTE + Duration::from_secs(5)).await;
            group.resume();
            sleep(Duration::from_secs(5)).await;
            assert_eq!(seen(&done)[1..], expected);
            group.stop().await;
        });
    }
}

#[test]
fn plans_end_with_their_last_handle() {
    paused(async {
        let (done, wall) = (Done::default(), Wall::new());
        let group = group(&done);
        let schedules = schedules(&group, &wall);
        schedules.add(plan("a", &wall, MINUTE)).unwrap();
        let other = schedules.clone();
        drop(schedules);
        sleep(MINUTE + Duration::from_secs(1)).await;
        drop(other);
        sleep(10 * MINUTE).await;
        assert_eq!(seen(&done), [60]);
        group.stop().await;
    });
}

/// The next runs after a moment, as a zone's clock shows them.
fn runs(schedule: &Schedule, zone: &str, after: &str, count: usize) -> Vec<String> {
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    let after: jiff::Timestamp = after.parse().unwrap();
    let mut moment = Moment::from_millis(u64::try_from(after.as_millisecond()).unwrap());
    let mut next = || {
        moment = schedule.next_after(moment)?;
        let millis = i64::try_from(moment.as_millis()).ok()?;
        let time = jiff::Timestamp::from_millisecond(millis).ok()?;
        Some(time.to_zoned(zone.clone()).strftime("%m-%d %H:%M %z").to_string())
    };
    (0..count).map_while(|_| next()).collect()
}

#[test]
fn a_time_of_the_day_follows_the_clock_of_its_zone_through_the_year() {
    let berlin = "Europe/Berlin";
    let morning = Schedule::cron("30 7 * * *").unwrap().in_zone(berlin).unwrap();
    let around = runs(&morning, berlin, "2026-03-28T00:00:00Z", 2);
    assert_eq!(around, ["03-28 07:30 +0100", "03-29 07:30 +0200"]);
    let night = Schedule::cron("30 2 * * *").unwrap().in_zone(berlin).unwrap();
    let spring = runs(&night, berlin, "2026-03-28T12:00:00Z", 2);
    assert_eq!(
        spring,
        ["03-29 03:00 +0200", "03-30 02:30 +0200"],
        "the hour does not exist"
    );
    let autumn = runs(&night, berlin, "2026-10-24T12:00:00Z", 2);
    assert_eq!(
        autumn,
        ["10-25 02:30 +0200", "10-26 02:30 +0100"],
        "the hour comes twice"
    );
    let often = Schedule::cron("*/30 * * * *").unwrap().in_zone(berlin).unwrap();
    let autumn = runs(&often, berlin, "2026-10-24T23:59:00Z", 4);
    assert_eq!(
        autumn,
        [
            "10-25 02:00 +0200",
            "10-25 02:30 +0200",
            "10-25 02:00 +0100",
            "10-25 02:30 +0100"
        ]
    );
}

#[test]
fn what_cannot_be_a_schedule_is_told_with_its_cure() {
    let told = |text: &str| Schedule::cron(text).unwrap_err().to_string();
    for text in ["", "* * * *", "61 * * * *", "tomorrow", "* * * * * * *"] {
        let error = told(text);
        assert!(
            error.starts_with(&format!("`{text}` is no cron expression: ")),
            "{error}"
        );
        assert!(error.contains("five fields"), "{error}");
    }
    assert_eq!(told("0 0 30 2 *"), "`0 0 30 2 *` never comes");
    let zone = Schedule::cron("@daily")
        .unwrap()
        .in_zone("Europe/Bearlin")
        .unwrap_err();
    assert!(
        zone.to_string().contains("`Europe/Bearlin` is no time zone"),
        "{zone}"
    );
    let every = Schedule::every(Duration::from_secs(1)).unwrap();
    assert_eq!(every.in_zone("UTC").unwrap_err(), ScheduleError::ZoneOfInterval);
    for wrong in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
        let error = Schedule::every(wrong).unwrap_err();
        assert_eq!(error, ScheduleError::Interval(wrong));
    }
    let error = std::thread::spawn(|| {
        let group = System::new().block_on(async { group(&Done::default()).producer() });
        Schedules::start(group).map(drop).unwrap_err().to_string()
    });
    assert!(error.join().unwrap().contains("tokio runtime"));
}

#[test]
fn a_schedule_tells_what_it_is() {
    let cron = Schedule::cron("0 3 * * MON")
        .unwrap()
        .in_zone("Asia/Tokyo")
        .unwrap();
    assert_eq!(cron.to_string(), "0 3 * * MON in Asia/Tokyo");
    let every = Schedule::every(MINUTE).unwrap();
    assert_eq!(every.to_string(), "every 60s");
    assert_eq!(every.later_by(3 * MINUTE / 2).to_string(), "every 60s, 30s later");
}
