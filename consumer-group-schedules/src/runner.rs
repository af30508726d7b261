//! The task that waits for the next planned moment and sends what is due.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use consumer_group::{Job, Producer, SendErrorKind};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::plan::{Make, ON_TIME, Run, due};
use crate::schedules::Table;

/// How often the clock is looked at, at least: it may have been set, and a timer does not count while the machine sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long to wait before a job that the queue did not take is sent again.
const SEND_AGAIN: Duration = Duration::from_secs(1);

/// A run on its way.
struct Sending<J> {
    run: Run,
    make: Make<J>,
    /// Whether it was asked for by hand: then it has no planned moment that others could have run.
    is_asked: bool,
}

/// What became of it.
enum Sent {
    Taken,
    Duplicate,
    /// The job could not be made.
    NotMade,
    /// The queue did not take it now.
    Refused,
    /// The group takes no more jobs.
    Closed,
}

pub(crate) async fn run<J: Send + Sync + 'static, O: Send + 'static>(
    producer: Producer<J, O>,
    table: Arc<Table<J>>,
    mut wakes: watch::Receiver<()>,
) {
    // Runs that the queue refused. Bounded: who cannot come any more is struck.
    let mut refused = Vec::new();
    loop {
        // First the changes are marked as seen, then the plans are looked at: a change in between wakes at once.
        wakes.borrow_and_update();
        strike_too_late(&table, &mut refused);
        refused.append(&mut take_due(&table));
        for sending in std::mem::take(&mut refused) {
            match send(&producer, &sending).await {
                Sent::Closed => return,
                Sent::Refused => refused.push(sending),
                sent => note(&table, &sending.run, &sent),
            }
        }
        let mut wait = if refused.is_empty() {
            LOOK_EVERY
        } else {
            SEND_AGAIN
        };
        let now = table.now();
        if let Some(next) = table.plans().values().filter_map(|entry| entry.view.next).min() {
            wait = wait.min(next.since(now));
        }
        // An error means that nobody holds the plans any more.
        if let Ok(Err(_)) = timeout(wait, wakes.changed()).await {
            return;
        }
    }
}

/// Strikes out runs that were refused, and that come too late by now for the policy of their plan.
fn strike_too_late<J>(table: &Table<J>, refused: &mut Vec<Sending<J>>) {
    let now = table.now();
    let mut plans = table.plans();
    refused.retain(|Sending { run, .. }| {
        let Some(entry) = plans.get_mut(&run.plan) else {
            return false;
        };
        let comes = now.since(run.planned) <= entry.view.missed.within().max(ON_TIME);
        entry.view.skipped += u64::from(!comes);
        comes
    });
}

/// Takes out every run that is due, the oldest first. A run that is taken out counts as handled.
fn take_due<J>(table: &Table<J>) -> Vec<Sending<J>> {
    let now = table.now();
    let mut all = Vec::new();
    for entry in table.plans().values_mut() {
        let mut take = |planned, is_out_of_turn, is_asked| {
            all.push(Sending {
                run: Run {
                    plan: Arc::clone(&entry.view.name),
                    planned,
                    is_out_of_turn,
                },
                make: Arc::clone(&entry.make),
                is_asked,
            });
        };
        for _ in 0..std::mem::take(&mut entry.asked) {
            take(now, true, true);
        }
        if entry.view.is_paused || now <= entry.handled {
            continue;
        }
        let due = due(&entry.view.schedule, entry.view.missed, entry.handled, now);
        for (planned, is_missed) in due.runs {
            take(planned, is_missed, false);
        }
        entry.view.skipped += due.skipped;
        entry.handled = now;
        entry.view.next = entry.view.schedule.next_after(now);
    }
    all.sort_by_key(|sending| sending.run.planned);
    all
}

async fn send<J: Send + Sync + 'static, O: Send + 'static>(
    producer: &Producer<J, O>,
    sending: &Sending<J>,
) -> Sent {
    let Sending { run, make, is_asked } = sending;
    let made = catch_unwind(AssertUnwindSafe(|| make(run)));
    let Ok(job) = made else {
        tracing::error!(plan = %run.plan, "the job of a run could not be made: its function panicked");
        return Sent::NotMade;
    };
    let job: Job<J> = match is_asked {
        true => job,
        false => job.dedup(dedup_key(run)),
    };
    match producer.send(job).await.map_err(|error| error.kind) {
        Ok(_) => Sent::Taken,
        Err(SendErrorKind::Duplicate { .. }) => Sent::Duplicate,
        Err(SendErrorKind::Closed) => Sent::Closed,
        Err(reason) => {
            tracing::warn!(plan = %run.plan, %reason, "the queue did not take a run");
            Sent::Refused
        }
    }
}

/// The same in every process.
fn dedup_key(run: &Run) -> String {
    format!("{} at {}", run.plan, run.planned.as_millis())
}

fn note<J>(table: &Table<J>, run: &Run, sent: &Sent) {
    if let Some(entry) = table.plans().get_mut(&run.plan) {
        let view = &mut entry.view;
        match sent {
            Sent::Taken => {
                view.sent += 1;
                view.last = view.last.max(Some(run.planned));
            }
            Sent::Duplicate => view.duplicates += 1,
            Sent::NotMade => view.skipped += 1,
            Sent::Refused | Sent::Closed => {}
        }
    }
}
