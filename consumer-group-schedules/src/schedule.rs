//! When a plan runs: plain data that reads no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use consumer_group::events::Moment;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// When a plan runs.
#[derive(Debug, Clone)]
pub struct Schedule(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Cron {
        text: Box<str>,
        cron: Box<Cron>,
        zone: TimeZone,
    },
    Every {
        interval: Duration,
        offset: Duration,
    },
}

/// A schedule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The text is no cron expression.
    #[error(
        "`{text}` is no cron expression: {reason} (five fields: minute, hour, day of the month, month, day of the week; with a sixth in front: second)"
    )]
    Cron {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No moment that ever comes matches the expression: the 30th of February, for example.
    #[error("`{0}` never comes")]
    Never(String),
    /// There is no time zone of that name.
    #[error("`{0}` is no time zone; the names are those of the IANA, such as `Europe/Berlin` or `UTC`")]
    Zone(String),
    /// An interval has no zone: it is the same everywhere.
    #[error("an interval has no time zone; use a cron expression for times of the day")]
    ZoneOfInterval,
    /// The interval is shorter than a millisecond, or longer than a hundred years.
    #[error("an interval of {0:?} cannot be; use a millisecond at least, and a hundred years at most")]
    Interval(Duration),
}

const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

impl Schedule {
    /// By a cron expression, in UTC: `30 3 * * *` is half past three each night. Five fields: minute, hour, day of the month,
    /// month, day of the week (0 and 7 are Sunday); a sixth one in front is the second. Ranges (`1-5`), lists (`1,15`), steps
    /// (`*/10`), names (`MON`, `JAN`), `L` for the last, `#` for the nth weekday, `W` for the nearest weekday, and nicknames such
    /// as `@hourly`. If both days are given, one of them is enough, as in cron.
    ///
    /// # Errors
    /// [`ScheduleError::Cron`] with the reason; [`ScheduleError::Never`] if it never comes.
    pub fn cron(text: &str) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(text).map_err(|error| ScheduleError::Cron {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        let schedule = Self(Kind::Cron {
            text: text.trim().into(),
            cron: Box::new(cron),
            zone: TimeZone::UTC,
        });
        // From a fixed moment, so that what is a schedule today is one for ever. 2000 was a leap year.
        match schedule.next_after(Moment::from_millis(946_684_800_000)) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never(text.to_owned())),
        }
    }

    /// Again and again, so far apart. The moments are multiples of the interval since 1970, not since the start of the program,
    /// so all processes agree about them.
    ///
    /// # Errors
    /// [`ScheduleError::Interval`].
    pub fn every(interval: Duration) -> Result<Self, ScheduleError> {
        if interval < Duration::from_millis(1) || interval > LONGEST {
            return Err(ScheduleError::Interval(interval));
        }
        let offset = Duration::ZERO;
        Ok(Self(Kind::Every { interval, offset }))
    }

    /// The times of a cron expression are those of this zone: `Europe/Berlin`, `America/New_York`. The rules of all zones are built in;
    /// those of the machine, if it has them, go before.
    ///
    /// # Errors
    /// [`ScheduleError::Zone`] for a name that is unknown; [`ScheduleError::ZoneOfInterval`].
    pub fn in_zone(self, name: &str) -> Result<Self, ScheduleError> {
        let Kind::Cron { text, cron, .. } = self.0 else {
            return Err(ScheduleError::ZoneOfInterval);
        };
        let zone = TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?;
        Ok(Self(Kind::Cron { text, cron, zone }))
    }

    /// The moments of an interval are so much later; for a cron expression this does nothing. What is more than the interval
    /// counts as the rest of it.
    #[must_use]
    pub fn later_by(self, offset: Duration) -> Self {
        let Kind::Every { interval, .. } = self.0 else {
            return self;
        };
        let rest = nanos(offset) % nanos(interval);
        let offset = Duration::from_nanos(rest);
        Self(Kind::Every { interval, offset })
    }

    /// The first planned moment after this one. None if there is none before the year 9999, or in the bounds of [`Moment`].
    pub fn next_after(&self, moment: Moment) -> Option<Moment> {
        match &self.0 {
            Kind::Cron { cron, zone, .. } => {
                let next = cron.find_next_occurrence(&zoned(moment, zone)?, false).ok()?;
                moment_of(&next)
            }
            Kind::Every { interval, offset } => {
                let (interval, offset) = (nanos(*interval), nanos(*offset));
                let periods = match moment.as_nanos().checked_sub(offset) {
                    Some(since) => (since / interval).checked_add(1)?,
                    None => 0,
                };
                let next = periods.checked_mul(interval)?.checked_add(offset)?;
                Some(Moment::from_nanos(next))
            }
        }
    }

    /// The last planned moment that is not after this one, if there is one.
    pub fn last_until(&self, moment: Moment) -> Option<Moment> {
        match &self.0 {
            Kind::Cron { cron, zone, .. } => {
                let last = cron.find_previous_occurrence(&zoned(moment, zone)?, true).ok()?;
                moment_of(&last)
            }
            Kind::Every { interval, offset } => {
                let (interval, offset) = (nanos(*interval), nanos(*offset));
                let since = moment.as_nanos().checked_sub(offset)?;
                Some(Moment::from_nanos(since / interval * interval + offset))
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn zoned(moment: Moment, zone: &TimeZone) -> Option<Zoned> {
    let timestamp = Timestamp::from_nanosecond(i128::from(moment.as_nanos())).ok()?;
    Some(timestamp.to_zoned(zone.clone()))
}

fn moment_of(time: &Zoned) -> Option<Moment> {
    let nanoseconds = u64::try_from(time.timestamp().as_nanosecond()).ok()?;
    Some(Moment::from_nanos(nanoseconds))
}

/// As [`Schedule::cron`].
impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::cron(text)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cron { text, zone, .. } => write!(f, "{text} in {}", zone.iana_name().unwrap_or("UTC")),
            Kind::Every { interval, offset } if offset.is_zero() => write!(f, "every {interval:?}"),
            Kind::Every { interval, offset } => write!(f, "every {interval:?}, {offset:?} later"),
        }
    }
}
